"""Weights of experts by what each would have saved: a mixture no worse than the best of them.

Gaillard, Stoltz and van Erven (2014), "A second-order bound with excess losses": ML-Poly, with the
gradient of the loss in place of the loss, so that it is the best fixed mixture that is matched, and
with regrets that fade, so that another expert may be the best later.
"""

from streamgauge.arrays import Floats
from streamgauge.kernels import kernel

__all__ = ["mixed", "reweigh"]

FADES = 0.999
"""Of a regret, from one label to the next: a thousand labels count."""
STEEP = 3.0
"""An error of a third of the scale already counts as a whole one: nearly the absolute loss, whose
best answer is the median, without its kink at 0."""
MOST = 5.0
"""Scales that one label may save or cost at most."""


@kernel
def mixed(weights: Floats, answers: Floats) -> float:
    """The weighted mean; all weights 0 stands for the first expert alone."""
    found, total = 0.0, 0.0
    for k in range(len(answers)):
        found += weights[k] * answers[k]
        total += weights[k]
    return found if total > 0.0 else float(answers[0])


@kernel
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
