"""Time between readings that follow each other, by device and channel, in bounded memory."""

import numpy as np

from serving.profile.figures import Pace
from streamgauge.arrays import Floats, Ints

__all__ = ["Steps"]

PER_OCTAVE = 4
OCTAVES = 46
"""From a microsecond to two years."""
GAP = 3.0
"""A step of more than so many intervals is a gap."""
_NEVER = np.iinfo(np.int64).min // 2


class Steps:
    """Counts steps of `rows` times `columns` series in logarithmic bins, with the sum of each bin:
    the median of a regular series is exact."""

    def __init__(self, rows: int, columns: int) -> None:
        self._columns = columns
        size = rows * columns
        self._counts = np.zeros((size, PER_OCTAVE * OCTAVES), np.int32)
        self._sums = np.zeros((size, PER_OCTAVE * OCTAVES))
        self._last = np.full(size, _NEVER, np.int64)
        self._longest = np.zeros(size)

    def add(self, row: Ints, column: int, time: Ints) -> None:
        """Readings in order: the series `row[i], column` has one at `time[i]`."""
        series = row * self._columns + column
        order = np.argsort(series, kind="stable")
        series, time = series[order], time[order]
        first = np.ones(len(series), np.bool_)
        first[1:] = series[1:] != series[:-1]
        before = np.empty(len(series), np.int64)
        before[1:] = time[:-1]
        before[first] = self._last[series[first]]
        step = (time - before).astype(np.float64)
        known = (before > _NEVER) & (step > 0)
        last = np.roll(first, -1)
        self._last[series[last]] = time[last]
        series, step = series[known], step[known]
        bins = (np.log2(step) * PER_OCTAVE).astype(np.int64)
        bins = np.minimum(bins, self._counts.shape[1] - 1)
        np.add.at(self._counts, (series, bins), 1)
        np.add.at(self._sums, (series, bins), step)
        np.maximum.at(self._longest, series, step)

    def pace(self, row: int, column: int) -> Pace:
        """That of one series."""
        at = row * self._columns + column
        return _pace(self._counts[at], self._sums[at], float(self._longest[at]))

    def overall(self, column: int) -> Pace:
        """Of all rows: the interval is the middle one of theirs, gaps are what theirs add up to."""
        each = [self.pace(row, column) for row in range(len(self._last) // self._columns)]
        known = [pace.interval for pace in each if pace.interval == pace.interval]
        return Pace(
            float(np.median(known)) if known else np.nan,
            sum(pace.gaps for pace in each),
            max((pace.longest for pace in each), default=0.0),
        )


def _pace(counts: Ints, sums: Floats, longest: float) -> Pace:
    total = int(counts.sum())
    if not total:
        return Pace(np.nan, 0, 0.0)
    middle = int(np.searchsorted(np.cumsum(counts), (total + 1) // 2))
    interval = float(sums[middle] / counts[middle])
    used = np.flatnonzero(counts)
    means = sums[used] / counts[used]
    return Pace(interval, int(counts[used][means > GAP * interval].sum()), longest)
