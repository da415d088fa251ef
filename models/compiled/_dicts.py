"""Weights that River keeps in a dict: features get one when they are first learned, and a sum
follows the order of the shorter dict."""

from models.compiled._python import plus, summed
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import lean
from streamgauge.state import Field

__all__ = ["fields_of", "meet", "product"]

# Columns: how many features are known, their weights, their numbers in the order in which they
# came, and 1 for those that are known.
KNOWN, WEIGHTS = range(2)


def fields_of(f: int) -> list[Field]:
    """The part of a model's row that holds such a dict."""
    return [
        Field("known"),
        *(Field(name, (f,)) for name in ("weight", "order", "in_use")),
    ]


@lean
def meet(d: Floats, f: int, at: Ints, m: int) -> None:
    """Give features that are new a weight of 0."""
    order, in_use = WEIGHTS + f, WEIGHTS + 2 * f
    for k in range(m):
        j = at[k]
        if d[in_use + j] == 0.0:
            d[in_use + j] = 1.0
            d[order + int(d[KNOWN])] = j
            d[KNOWN] += 1.0


@lean
def product(
    d: Floats, f: int, x: Floats, inputs: Floats, z: Floats, at: Ints, m: int, running: Floats,
    compensated: float, weights_first: bool,
) -> float:  # fmt: skip
    """`utils.math.dot` of an event's features and the weights, or of the weights and the features,
    which differ where both are as many; `running float64[2]` is scratch."""
    order, in_use = WEIGHTS + f, WEIGHTS + 2 * f
    running[0] = running[1] = 0.0
    known = int(d[KNOWN])
    if m < known or (weights_first and m == known):
        for k in range(m):
            j = at[k]
            if d[in_use + j] != 0.0:
                plus(running, d[WEIGHTS + j] * z[j], compensated)
    else:
        for k in range(known):
            j = int(d[order + k])
            v = x[int(inputs[j])]
            if v == v:
                plus(running, d[WEIGHTS + j] * z[j], compensated)
    return summed(running)
