"""Sums of an array in four lanes: an addition waits for the one before, four need not wait.

The order of additions depends on the array alone, so that the same values give the same bits.
"""

from streamgauge.arrays import Floats
from streamgauge.kernels import kernel

__all__ = ["centred", "total"]


@kernel
def total(values: Floats) -> float:
    """Sum of the values."""
    a = b = c = d = 0.0
    n = len(values)
    whole = n - n % 4
    for k in range(0, whole, 4):
        a += values[k]
        b += values[k + 1]
        c += values[k + 2]
        d += values[k + 3]
    for k in range(whole, n):
        a += values[k]
    return (a + b) + (c + d)


@kernel
def centred(values: Floats, mean: float) -> tuple[float, float, float]:
    """Sums of squares, cubes and fourth powers of the distances from `mean`."""
    a2 = a3 = a4 = b2 = b3 = b4 = 0.0
    n = len(values)
    whole = n - n % 2
    for k in range(0, whole, 2):
        a, b = values[k] - mean, values[k + 1] - mean
        aa, bb = a * a, b * b
        a2 += aa
        b2 += bb
        a3 += aa * a
        b3 += bb * b
        a4 += aa * aa
        b4 += bb * bb
    if whole < n:
        a = values[n - 1] - mean
        a2 += a * a
        a3 += a * a * a
        a4 += a * a * a * a
    return a2 + b2, a3 + b3, a4 + b4
