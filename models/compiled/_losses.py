"""River's losses of one number: gradient and mean function, chosen by a setting."""

import math
from typing import Any

from river.optim import losses

from models.compiled._python import overflowed
from streamgauge.arrays import Floats
from streamgauge.kernels import inlined, lean

__all__ = ["BINARY", "REGRESSION", "SIZE", "gradient", "mean", "settings_of", "sigmoid", "tell"]

# Columns of the settings: which loss, up to two numbers of it, and the exponent 2.
KIND, FIRST, SECOND, TWO, SIZE = range(5)
SQUARED, ABSOLUTE, CAUCHY, EPSILON, HUBER, POISSON, QUANTILE, LOG, HINGE, FOCAL = range(10)

REGRESSION = {
    losses.Squared: (SQUARED, ()),
    losses.Absolute: (ABSOLUTE, ()),
    losses.Cauchy: (CAUCHY, ("C",)),
    losses.EpsilonInsensitiveHinge: (EPSILON, ("eps",)),
    losses.Huber: (HUBER, ("epsilon",)),
    losses.Poisson: (POISSON, ()),
    losses.Quantile: (QUANTILE, ("alpha",)),
}
BINARY = {
    losses.Log: (LOG, ("weight_pos", "weight_neg")),
    losses.Hinge: (HINGE, ("threshold",)),
    losses.BinaryFocalLoss: (FOCAL, ("gamma", "beta")),
}
KINDS = REGRESSION | BINARY


@lean
def sigmoid(x: float) -> float:
    """River's: 0 and 1 beyond 30."""
    if x < -30.0:
        return 0.0
    if x > 30.0:
        return 1.0
    return 1.0 / (1.0 + math.exp(-x))


@lean
def _log(y: float, p: float, positive: float, negative: float) -> float:
    sign = 1.0 if y != 0.0 else -1.0
    weight = positive if y != 0.0 else negative
    z = p * sign
    if z > 18.0:
        return weight * math.exp(-z) * -sign
    if z < -18.0:
        return weight * -sign
    return weight * -sign / (math.exp(z) + 1.0)


@lean
def _binary(kind: int, y: float, p: float, settings: Floats) -> float:
    if kind == LOG:
        return _log(y, p, settings[FIRST], settings[SECOND])
    sign = y * 2.0 - 1.0
    if kind == HINGE:
        return -sign if sign * p <= settings[FIRST] else 0.0
    return sign * (sigmoid(settings[FIRST] * (sign * p) + settings[SECOND]) - 1.0)


@inlined
def gradient(settings: Floats, y: float, p: float) -> tuple[float, bool]:
    """With respect to the answer p before the mean function; whether River raises OverflowError."""
    kind, first, r = int(settings[KIND]), settings[FIRST], p - y
    if kind == SQUARED:
        return 2.0 * r, False
    if kind == ABSOLUTE:
        return (1.0 if p > y else -1.0), False
    if kind == CAUCHY:
        share = r / first
        square = share ** settings[TWO]
        return r / (square + 1.0), overflowed(share, square)
    if kind == EPSILON:
        y = y * 2.0 - 1.0
        return (1.0 if p > y + first else -1.0 if p + first < y else 0.0), False
    if kind == HUBER:
        return (r if abs(r) <= first else first if r > 0.0 else -first), False
    if kind == POISSON:
        power = math.exp(p)
        return power - y, overflowed(p, power)
    if kind == QUANTILE:
        return (1.0 if y < p else 0.0) - first, False
    return _binary(kind, y, p, settings), False


@inlined
def mean(settings: Floats, p: float) -> tuple[float, bool]:
    """What is answered; whether River raises OverflowError."""
    kind = int(settings[KIND])
    if kind == POISSON:
        power = math.exp(p)
        return power, overflowed(p, power)
    return (sigmoid(p) if kind >= LOG else p), False


@lean
def tell(answers: Floats, parts: Floats, i: int, p: float, refused: bool) -> None:
    """Answer the more probable of two classes, and the probability of each; p is that of the
    second. River prefers the first where p is not a number; `refused` is no answer at all."""
    answers[i] = math.nan if refused else 1.0 if p > 1.0 - p else 0.0
    for k in range(parts.shape[1]):
        parts[i, k] = 1.0 - p if k == 0 else p if k == 1 else math.nan


def settings_of(loss: Any) -> list[float]:
    """Settings of a loss that is one of the keys above."""
    kind, names = KINDS[type(loss)]
    return [kind, *[*(getattr(loss, name) for name in names), 0.0, 0.0][:2], 2.0]
