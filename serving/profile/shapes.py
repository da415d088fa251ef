"""Figures of one channel's values: histogram, course, autocorrelation, seasons."""

from collections.abc import Sequence

import numpy as np

from serving.profile.figures import Histogram, Season, Timeline
from streamgauge.arrays import Floats, Ints

__all__ = ["autocorrelation", "histogram", "repeats", "season", "timeline"]

BINS = 40
PARTS = 160
LEAST_PERIODS = 4
ENOUGH = 50
"""Values below which a series says nothing of its autocorrelation."""


def histogram(values: Floats) -> Histogram:
    """Of the middle 99.8 % of the values in equal bins, or of each value where they are few."""
    if not len(values):
        return Histogram(np.zeros(1), np.zeros(0), 0, 0)
    low, high = np.quantile(values, [0.001, 0.999])
    if not high > low:
        low, high = float(values.min()), float(values.max())
    if not high > low:
        return Histogram(np.array([low, low]), np.array([float(len(values))]), 0, 0)
    counts, edges = np.histogram(values, BINS, (low, high))
    below, above = int((values < low).sum()), int((values > high).sum())
    return Histogram(edges, counts.astype(np.float64), below, above)


def timeline(time: Ints, values: Floats, begin: int, end: int) -> Timeline:
    """Of one channel's sample between the two times; by the order of readings where most of the
    time has none."""
    part = ((time - begin) * PARTS // max(1, end - begin + 1)).clip(0, PARTS - 1)
    by_time = len(np.unique(part)) > PARTS / 2
    if not by_time:
        part = np.argsort(np.argsort(time, kind="stable")) * PARTS // max(1, len(time))
    order = np.argsort(part, kind="stable")
    values, part = values[order], part[order]
    borders = np.searchsorted(part, np.arange(PARTS + 1))
    low, middle, high = (np.full(PARTS, np.nan) for _ in range(3))
    for k in range(PARTS):
        inside = values[borders[k] : borders[k + 1]]
        if len(inside):
            low[k], middle[k], high[k] = inside.min(), np.median(inside), inside.max()
    return Timeline(low, middle, high, by_time)


def autocorrelation(series: Sequence[Floats], lags: int) -> Floats:
    """float64[lags + 1] over all series together, each about its own mean; values that are absent
    are left out of every product. Empty where no series has enough values that differ."""
    products, pairs = np.zeros(lags + 1), np.zeros(lags + 1)
    for one in series:
        there = np.isfinite(one)
        if there.sum() < ENOUGH or len(one) <= lags:
            continue
        around = np.where(there, one - one[there].mean(), 0.0)
        products += _lagged(around, lags)
        pairs += _lagged(there.astype(np.float64), lags).round()
    if not pairs[0] or not products[0] > 0.0:
        return np.zeros(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = (products / pairs) / (products[0] / pairs[0])
    return np.where(pairs > 0.0, found.clip(-1.0, 1.0), np.nan)


def _lagged(series: Floats, lags: int) -> Floats:
    """Sums of products of values 0 to `lags` apart, by way of the spectrum."""
    size = 1 << (2 * len(series) - 1).bit_length()
    spectrum = np.fft.rfft(series, size)
    return np.fft.irfft(spectrum * spectrum.conj(), size)[: lags + 1]


def repeats(series: Sequence[Floats]) -> float:
    """Share of present values that equal the one before."""
    same = steps = 0
    for one in series:
        present = one[np.isfinite(one)]
        same += int((np.diff(present) == 0.0).sum())
        steps += max(0, len(present) - 1)
    return same / steps if steps else np.nan


def season(slot: Ints, slots: int, row: Ints, time: Ints, values: Floats, period: int) -> Season:
    """Means by slot of what a value is away from its device's course over days (for hours, or weeks
    for days), and how well those of all other periods tell a period's values.

    Only what is told about a period that was not looked at is no luck: a random walk has "seasons"
    as well. At least four periods are needed.
    """
    if not len(values):
        return Season(_means(slot, slots, values), np.nan)
    number = (time - time.min()) // period
    periods = int(number.max()) + 1
    around = _around(row, number, time, values)
    means = _means(slot, slots, around)
    if periods < LEAST_PERIODS:
        return Season(means, np.nan)
    total = np.bincount(slot, around, minlength=slots)
    count = np.bincount(slot, minlength=slots)
    cell = number * slots + slot
    others = total[slot] - np.bincount(cell, around)[cell]
    counted = count[slot] - np.bincount(cell)[cell]
    told = np.where(counted > 0, others / np.maximum(counted, 1), 0.0)
    spread = float((around**2).sum())
    if not spread > 0.0:
        return Season(means, np.nan)
    return Season(means, max(0.0, 1.0 - float(((around - told) ** 2).sum()) / spread))


def _around(row: Ints, period: Ints, time: Ints, values: Floats) -> Floats:
    """Each value's distance from its device's course: from the line through the means of periods,
    so that what drifts all the time does not look like a season."""
    around = np.empty(len(values))
    begin = int(time.min())
    order = np.argsort(row, kind="stable")
    for own in np.split(order, np.flatnonzero(np.diff(row[order])) + 1):
        _, group = np.unique(period[own], return_inverse=True)
        count = np.bincount(group)
        at = (time[own] - begin).astype(np.float64)
        middles = np.bincount(group, at) / count
        around[own] = values[own] - np.interp(at, middles, np.bincount(group, values[own]) / count)
    return around


def _means(slot: Ints, slots: int, values: Floats) -> Floats:
    count = np.bincount(slot, minlength=slots)
    total = np.bincount(slot, values, minlength=slots)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
