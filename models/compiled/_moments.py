"""River's running mean and variance, over all values or a window of the last."""

from streamgauge.arrays import Floats
from streamgauge.kernels import lean

__all__ = ["AVERAGE", "COUNT", "SQUARES", "VALUES", "learn", "learn_window"]

# Columns: how many values, mean, sum of squares, place of the oldest; then the values of a window.
COUNT, AVERAGE, SQUARES, OLDEST, VALUES = range(5)


@lean
def learn(w: Floats, v: float) -> None:
    """One more value."""
    old = w[AVERAGE]
    w[COUNT] += 1.0
    w[AVERAGE] += (1.0 / w[COUNT]) * (v - old)
    w[SQUARES] += (v - old) * (v - w[AVERAGE])


@lean
def learn_window(w: Floats, window: int, v: float) -> None:
    """The oldest value leaves a full window, then the new one enters."""
    at = int(w[OLDEST])
    if w[COUNT] == window:
        gone, old = w[VALUES + at], w[AVERAGE]
        w[COUNT] -= 1.0
        if w[COUNT] == 0.0:
            w[AVERAGE] = 0.0
        else:
            w[AVERAGE] -= (1.0 / w[COUNT]) * (gone - old)
        w[SQUARES] -= (gone - old) * (gone - w[AVERAGE])
    learn(w, v)
    w[VALUES + at] = v
    w[OLDEST] = at + 1 if at + 1 < window else 0
