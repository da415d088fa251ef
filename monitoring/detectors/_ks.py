"""The Kolmogorov-Smirnov distance of two samples, exact with ties, and how probable it is.

The probability is Kolmogorov's, with Stephens' correction for small samples (Stephens 1970, "Use of
the Kolmogorov-Smirnov, Cramér-von Mises and related statistics without extensive tables"). It holds
for independent values, and is too large where there are ties: then there are fewer false alarms.
"""

import math

from streamgauge.arrays import Floats
from streamgauge.kernels import kernel

__all__ = ["beyond", "by_chance", "deviations_at", "distance", "probability"]

# Mean and standard deviation of Kolmogorov's distribution.
_MEAN, _SPREAD = 0.868731, 0.260333


@kernel
def distance(a: Floats, b: Floats) -> float:
    """The largest difference of the distributions of two sorted samples; equal values are one
    step."""
    i, j, apart = 0, 0, 0.0
    while i < len(a) and j < len(b):
        value = min(a[i], b[j])
        while i < len(a) and a[i] == value:
            i += 1
        while j < len(b) and b[j] == value:
            j += 1
        apart = max(apart, abs(i / len(a) - j / len(b)))
    return apart


@kernel
def probability(apart: float, n: float, m: float) -> float:
    """How probable so large a distance of n from m values of one distribution is."""
    root = math.sqrt(n * m / (n + m))
    scaled = (root + 0.12 + 0.11 / root) * apart
    total, sign = 0.0, 2.0
    for k in range(1, 101):
        term = sign * math.exp(-2.0 * k * k * scaled * scaled)
        total += term
        if abs(term) < 1e-12 * abs(total):
            return min(total, 1.0)
        sign = -sign
    return 1.0


@kernel
def deviations_at(p: float) -> float:
    """Beyond how many standard deviations a distance is so improbable, of large samples."""
    return (math.sqrt(0.5 * math.log(2.0 / p)) - _MEAN) / _SPREAD


@kernel
def by_chance(n: float, m: float) -> float:
    """How far apart samples of n and m values of one distribution are on the average."""
    return _MEAN / math.sqrt(n * m / (n + m))


@kernel
def beyond(apart: float, n: float, m: float) -> float:
    """By how many standard deviations a distance is larger than by chance; at least 0."""
    return max((apart * math.sqrt(n * m / (n + m)) - _MEAN) / _SPREAD, 0.0)
