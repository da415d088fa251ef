"""The last values of a device, in order of arrival and in order of size.

A row is `[head, size, ring[w], sorted[w]]`: place of the oldest value and how many there are, the
values by arrival, and the same values from small to large. A value takes the place of another in
one pass over those: of the oldest, or of an infinite one where the window is not full. Quantiles
are a look-up.
"""

import math

import numpy as np

from streamgauge.arrays import Floats
from streamgauge.kernels import inlined, lean
from streamgauge.sorted_values import replace
from streamgauge.sums import centred, total

__all__ = [
    "HEAD",
    "SIZE",
    "clear",
    "drop_oldest",
    "mean_and_deviation",
    "median_deviation",
    "most_frequent",
    "place",
    "push",
    "push_unordered",
    "quantile",
    "size",
    "width_of",
]

HEAD, SIZE, _RING = range(3)
_ALL = 128
"""Values that are passed over rather than searched."""


def width_of(window: int) -> int:
    """float64 values that the row of a window takes."""
    return _RING + 2 * window


@inlined
def size(row: Floats, window: int) -> int:
    """Values in the window."""
    return int(row[SIZE])


@lean
def clear(row: Floats) -> None:
    """Forget every value."""
    row[:] = 0.0


@inlined
def place(ordered: Floats, n: int, value: float) -> int:
    """How many of the first n values are smaller than this one."""
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def _exchange(row: Floats, begin: int, n: int, old: float, value: float) -> None:
    """Let a value enter n ascending ones, and `old` leave; of many, those between the two."""
    if n > _ALL:
        ordered = row[begin : begin + n]
        low = place(ordered, n, min(old, value))
        last = min(place(ordered, n, max(old, value)), n - 1)
        begin, n = begin + low, last + 1 - low
    replace(row, begin, n, old, value)


@inlined
def drop_oldest(row: Floats, window: int) -> None:
    """Let the oldest value of a window that is not empty leave."""
    n, head = int(row[SIZE]), int(row[HEAD])
    _exchange(row, _RING + window, n, row[_RING + head], np.inf)
    row[SIZE] = n - 1
    row[HEAD] = head + 1 if head + 1 < window else 0


@inlined
def push(row: Floats, window: int, value: float) -> int:
    """Let a finite value enter, and the oldest leave where the window is full; its place by
    arrival."""
    head = row[HEAD]
    slot, n, old = int(head), window, np.inf
    if row[SIZE] >= window:
        old = row[np.uintp(_RING + slot)]
        row[HEAD] = head + 1.0 if head + 1.0 < window else 0.0
    else:
        n = int(row[SIZE])
        slot = slot + n if slot + n < window else slot + n - window
        row[_RING + window + n] = old
        n += 1
        row[SIZE] = n
    row[np.uintp(_RING + slot)] = value
    _exchange(row, _RING + window, n, old, value)
    return slot


@inlined
def push_unordered(row: Floats, window: int, value: float) -> None:
    """:func:`push` of a window that is never asked for quantiles."""
    n, head = int(row[SIZE]), int(row[HEAD])
    if n >= window:
        row[_RING + head] = value
        row[HEAD] = head + 1 if head + 1 < window else 0
    else:
        row[_RING + n] = value
        row[SIZE] = n + 1


@inlined
def quantile(row: Floats, window: int, q: float) -> float:
    """The q-quantile of a window that is not empty, between two values as numpy's `linear`."""
    at = q * (row[SIZE] - 1.0)
    below = int(at)
    share, place = at - below, _RING + window + below
    low = row[np.uintp(place)]
    if share == 0.0:
        return float(low)
    high = row[np.uintp(place + 1)]
    return float(low + (high - low) * share)


@lean
def median_deviation(row: Floats, window: int, middle: float) -> float:
    """The median of the distances from `middle`, without sorting them: on either side of it they
    are sorted already, and a binary search finds how many of the smaller half are to the left."""
    ordered, n = row[_RING + window :], size(row, window)
    right = place(ordered, n, middle)
    half = n // 2 + 1
    low, high = max(0, half - (n - right)), min(half, right)
    while low < high:
        left = (low + high) // 2
        if middle - ordered[right - 1 - left] < ordered[right + half - left - 1] - middle:
            low = left + 1
        else:
            high = left
    # The two furthest of the smaller half, from either side.
    before = last = 0.0
    for k in range(max(0, low - 2), low):
        before, last = last, middle - ordered[right - 1 - k]
    for k in range(max(0, half - low - 2), half - low):
        distance = ordered[right + k] - middle
        before, last = min(max(before, distance), last), max(last, distance)
    return float(last if n % 2 else 0.5 * (before + last))


@lean
def mean_and_deviation(row: Floats, window: int) -> tuple[float, float]:
    """Mean and standard deviation (with n - 1) of a window of two values or more, in two passes:
    nothing is left of values that are gone. Not after `drop_oldest`, which leaves a hole."""
    n = size(row, window)
    mean = total(row, _RING, n) / n
    squares, _, _ = centred(row, _RING, n, mean)
    deviation = math.sqrt(squares / (n - 1))
    # What rounding leaves of values that are all alike is no deviation.
    return mean, (deviation if deviation > 1e-14 * abs(mean) else 0.0)


@lean
def most_frequent(row: Floats, window: int) -> float:
    """The value that a window, not empty, holds most often; the smallest of those."""
    ordered, n = row[_RING + window :], size(row, window)
    best, most, run = ordered[0], 0, 0
    for k in range(n):
        run = run + 1 if k > 0 and ordered[k] == ordered[k - 1] else 1
        if run > most:
            best, most = ordered[k], run
    return float(best)
