"""How a device's channels lie to each other: the Mahalanobis distance of what each does beyond what
was expected of it.

Two channels may each do what they always did, and no longer together: a valve that opens without
flow. The covariance of the residuals is learned, weighing the newer more, and each reading is
compared with it before it joins (compare Lowry et al. 1992, "A multivariate exponentially weighted
moving average control chart"). The cube root of a chi-squared is nearly normal: Wilson and Hilferty
(1931), "The distribution of chi-square".
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Call
from streamgauge.kernels import kernel
from streamgauge.signal import PART, ROW, SEEN, SOURCE, UNIT, USUAL, VALUE, Kind, Signal
from streamgauge.state import Block, Field

__all__ = ["Relation"]

# Readings that the covariance looks back on, and how many there must be for each channel at first.
_MEMORY, _ENOUGH = 5_000.0, 200.0
# A part of the variance that no other channel explains, or what always moves together would have a
# distance without bounds.
_RIDGE = 0.01
_CLIP = 4.0
_SHOWN = 3


@kernel
def _distance(covariance: Floats, v: Floats, factor: Floats) -> float:
    """v' S^-1 v by Cholesky; `factor` is scratch, float64[k, k + 1]."""
    k, total = len(v), 0.0
    for i in range(k):
        for j in range(i + 1):
            rest = covariance[i, j] + (_RIDGE if i == j else 0.0)
            for m in range(j):
                rest -= factor[i, m] * factor[j, m]
            factor[i, j] = math.sqrt(max(rest, 1e-12)) if i == j else rest / factor[j, j]
        left = v[i]
        for m in range(i):
            left -= factor[i, m] * factor[m, k]
        factor[i, k] = left / factor[i, i]
        total += factor[i, k] * factor[i, k]
    return total


@kernel
def _tell(numbers: Floats, n: int, square: float, k: int) -> None:
    """Fill in place `n` of the signal with a distance's square of k channels."""
    spread = math.sqrt(2.0 / (9.0 * k))
    value = ((square / k) ** (1.0 / 3.0) - 1.0 + 2.0 / (9.0 * k)) / spread
    numbers[n, VALUE] = min(max(value, -_CLIP), _CLIP)
    numbers[n, SEEN], numbers[n, USUAL] = math.sqrt(square / k), 1.0
    # At the usual distance; it is a power of the value.
    numbers[n, UNIT] = 1.5 * spread


@kernel
def _learn(covariance: Floats, v: Floats, gain: float) -> None:
    k = len(v)
    for i in range(k):
        for j in range(k):
            covariance[i, j] += (v[i] * v[j] - covariance[i, j]) * gain


@kernel
def _collect(
    given: Ints, residuals: Floats, many: Ints, place: Ints, state: Floats,
    codes: Ints, numbers: Floats, count: Ints,
) -> None:  # fmt: skip
    k = state.shape[2]
    v, factor, found, n = np.zeros(k), np.zeros((k, k + 1)), 0, 0
    for i in range(many[0]):
        if i == 0 or given[i, SOURCE] != given[i - 1, SOURCE]:
            found = 0
        v[place[given[i, PART]]] = residuals[i, VALUE]
        found += 1
        if found < k:
            continue
        own = state[given[i, ROW]]
        if own[k, 0] >= _ENOUGH * k:
            codes[n] = given[i]
            codes[n, PART] = 0
            _tell(numbers, n, _distance(own, v, factor), k)
            n += 1
        own[k, 0] += 1.0
        _learn(own, v, max(1.0 / own[k, 0], 1.0 / _MEMORY))
    count[0] = n


class Relation:
    """The signal of one part: of each reading that has a residual of all watched channels, how far
    it lies from where these usually do together. As users see it that is the distance over the
    root of the number of channels, usually 1.

    A relation that is lost raises it at once; one that appears where there was none lowers it a
    little, until it is learned. Block "covariance", per device and k channels: 8 k (k + 1) bytes.
    """

    def __init__(self, level: Signal, columns: Sequence[int], capacity: int, *, part: int) -> None:
        """`level` are the residuals, `columns` the places of the channels that have them, `part`
        is the most readings of a batch. ValueError where there are fewer than two."""
        k = len(columns)
        if k < 2:
            raise ValueError(f"a relation is of two channels of numbers or more; there are {k}")
        names = [level.parts[column] for column in columns]
        more = f" and {k - _SHOWN} more" if k > _SHOWN else ""
        self.signal = Signal(Kind.RELATION, "", [", ".join(names[:_SHOWN]) + more], part)
        # In the last row stands how many readings there were.
        known = Block([Field("covariance", (k + 1, k))], capacity)
        self.blocks: Mapping[str, Block] = {"covariance": known}
        place = np.full(len(level.parts), -1, np.int64)
        place[list(columns)] = np.arange(k)
        self._given = (level.codes, level.numbers, level.count, place)
        self._state = known.view("covariance")

    def call(self) -> Call:
        """Compare the residuals that the other signal holds, in place of what this one held."""
        into = (self.signal.codes, self.signal.numbers, self.signal.count)
        return Call(_collect, (*self._given, self._state, *into))
