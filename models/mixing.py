"""Weights of experts, so that their mixture is no worse than the best of them.

Of numbers by what each would have saved: Gaillard, Stoltz and van Erven (2014), "A second-order
bound with excess losses", ML-Poly, with the gradient of the loss in place of the loss, so that it
is the best fixed mixture that is matched, and with regrets that fade, so that another expert may be
the best later. Of probabilities by what each has lost: Cesa-Bianchi and Lugosi (2006), "Prediction,
Learning, and Games", section 2.2, with losses that fade.
"""

import math

from streamgauge.arrays import Floats
from streamgauge.kernels import lean

__all__ = ["brier", "mixed", "outweigh", "reweigh"]

FADES = 0.999
"""Of a regret, from one label to the next: a thousand labels count."""
STEEP = 3.0
"""An error of a third of the scale already counts as a whole one: nearly the absolute loss, whose
best answer is the median, without its kink at 0."""
MOST = 5.0
"""Scales that one label may save or cost at most."""
SHARP = 0.1
"""Of a Brier score, which is 2 at most: an expert that is better by .01 for a thousand labels has
e times the weight of another."""


@lean
def mixed(weights: Floats, answers: Floats) -> float:
    """The weighted mean; all weights 0 stands for the first expert alone."""
    found, total = 0.0, 0.0
    for k in range(len(answers)):
        found += weights[k] * answers[k]
        total += weights[k]
    return found if total > 0.0 else float(answers[0])


@lean
def reweigh(
    weights: Floats, regrets: Floats, spreads: Floats, answers: Floats, mix: float, truth: float,
    scale: float,
) -> None:  # fmt: skip
    """Learn from one label: `answers float64[k]` and their `mix` were told before it, `scale` is
    how large errors usually are. The other arrays are state, float64[k], 0 at first."""
    slope = STEEP * (mix - truth) / scale
    slope = 1.0 if slope > 1.0 else -1.0 if slope < -1.0 else slope
    total = 0.0
    for k in range(len(answers)):
        saved = slope * (mix - answers[k]) / scale
        saved = MOST if saved > MOST else -MOST if saved < -MOST else saved
        regrets[k] = FADES * regrets[k] + saved
        spreads[k] = FADES * spreads[k] + saved * saved
        weights[k] = max(regrets[k], 0.0) / (1.0 + spreads[k])
        total += weights[k]
    for k in range(len(answers)):
        # Where nobody is better than the mixture, the first one is safe.
        weights[k] = weights[k] / total if total > 0.0 else 1.0 if k == 0 else 0.0


@lean
def brier(chances: Floats, truth: float) -> float:
    """The Brier score of `chances float64[classes]` where the class `truth` came: 0 to 2."""
    lost = 0.0
    for c in range(len(chances)):
        miss = chances[c] - (1.0 if c == truth else 0.0)
        lost += miss * miss
    return lost


@lean
def outweigh(weights: Floats, losses: Floats, chances: Floats, truth: int) -> None:
    """Learn from one label, class `truth`, of which `chances float64[k, classes]` were told before
    it: by their Brier scores. The others are state, float64[k], 0 at first; weights become 1
    together."""
    experts = len(chances)
    for k in range(experts):
        losses[k] = FADES * losses[k] + brier(chances[k], truth)
    least, total = min(losses), 0.0
    for k in range(experts):
        weights[k] = math.exp(SHARP * (least - losses[k]))
        total += weights[k]
    for k in range(experts):
        weights[k] /= total
