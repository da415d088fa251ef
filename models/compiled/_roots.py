"""Square roots as Python takes them: `x ** 0.5`, which is the C library's pow, to the same bits.

pow is right to a little more than half a unit in the last place, a square root to half a unit, so
the two differ only where the true root lies next to the middle between two numbers. How far it lies
from the root that was found is known exactly by one fused multiply-add; where that is not far from
a middle pow is asked, which takes five times as long.
"""

import math
from typing import Any

import numpy as np
from numba.extending import intrinsic
from numba.types import float64

from streamgauge.arrays import Floats
from streamgauge.kernels import lean

__all__ = ["root", "roots"]

LEAST = 1e-280
"""Below it what is left over may round to nothing."""
SURE = 0.9 * 2.0**-52
"""Twice .45 units in the last place: C libraries promise pow to .55 at most."""
EXPONENT = 0x7FF0000000000000


@intrinsic  # type: ignore[untyped-decorator] # numba has no types
def _fused(context: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once."""

    def build(_: Any, builder: Any, __: Any, values: Any) -> Any:
        return builder.fma(*values)

    return float64(a, b, c), build


@lean
def root(x: float, half: float) -> float:
    """x ** half, where half is .5."""
    found = math.sqrt(x)
    left = abs(_fused(found, found, -x))
    unit = np.int64(np.float64(found).view(np.int64) & EXPONENT).view(np.float64)
    if left < SURE * found * unit and x > LEAST:
        return found
    return float(x**half)


@lean
def roots(values: Floats, half: float, found: Floats) -> None:
    """`found float64[n]` = values ** half."""
    n = len(values)
    unsure = 0
    for j in range(n):
        x = values[j]
        s = math.sqrt(x)
        left = abs(_fused(s, s, -x))
        unit = np.int64(np.float64(s).view(np.int64) & EXPONENT).view(np.float64)
        sure = (left < SURE * s * unit) & (x > LEAST)
        # Of what never varied; pow gives 0 for -0 as well.
        found[j] = s if sure else 0.0 if x == 0.0 else -1.0
        unsure += 0 if sure | (x == 0.0) else 1
    if unsure > 0:
        for j in range(n):
            if found[j] < 0.0:
                found[j] = values[j] ** half
