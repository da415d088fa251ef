"""How the last values of a device move: slope, autocorrelation, crossings, crest, kurtosis."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from stream_processor.features._one_row import OneRow, checked, columns_of
from stream_processor.features._span import span_of
from stream_processor.operator import FeatureOperator
from streamgauge.arrays import Bytes, Floats, Ints, Rows
from streamgauge.kernels import inlined
from streamgauge.schema import Schema
from streamgauge.state import Field
from streamgauge.sums import centred, distances, products, total

__all__ = ["EXAMPLE", "STATS", "build"]

EXAMPLE = {"of": ["value"], "window": {"readings": 50}, "stats": ["slope"]}

STATS = (
    "count", "sum", "range", "rms", "crest", "slope", "autocorrelation", "zero_crossings",
    "mean_crossings", "skewness", "kurtosis",
)  # fmt: skip
(
    _COUNT, _SUM, _RANGE, _RMS, _CREST, _SLOPE, _AUTO, _ZERO, _MEAN, _SKEW, _KURTOSIS,
) = range(11)  # fmt: skip
_HEAD, _SIZE, _RING = range(3)


def build(
    schema: Schema,
    capacity: int,
    column: int,
    *,
    of: Sequence[str],
    window: str | Mapping[str, int],
    stats: Sequence[str],
    lag: int = 1,
    readings_max: int = 256,
) -> FeatureOperator:
    """`<channel>_<stat>_<window>` for each of count, sum, range, rms, crest, slope,
    autocorrelation, zero_crossings, mean_crossings, skewness, kurtosis.

    `window` is `{ readings = n }`, the device's last n present values with this one, or a duration:
    present values with event time in (t - window, t], at most `readings_max` of them. `slope` is
    that of the least squares line, per second of event time; `autocorrelation` at `lag` values;
    `crest` the largest magnitude over the rms; crossings count changes of sign, of the value or of
    its distance from the mean; skewness and kurtosis (0 for a normal distribution) as scipy's. NaN
    where the values do not define one.

    Joanes and Gill (1998), "Comparing measures of sample skewness and kurtosis".
    """
    columns = columns_of(schema, of, "shape")
    chosen = checked(stats, STATS, "features.shape stats")
    span, most, ending = span_of(window, readings_max, "features.shape")
    if not 1 <= lag < max(2, most):
        raise ValueError(f"features.shape lag is {lag}; give one from 1 to below the window")
    names = {f"{c}_{stat}_{ending}": frozenset({c}) for c in of for stat in stats}
    fields = [Field("windows", (len(of), _RING + 2 * most))]
    rules = [span, most, lag, *chosen.tolist()]
    return OneRow(_look, capacity, fields, column, names, columns, rules, len(of))


@inlined
def _runs(part: Floats, window: int) -> tuple[int, int, int]:
    """Where the older values begin, how many there are up to the end of the ring, and how many
    newer ones at its start."""
    head, n = int(part[_HEAD]), int(part[_SIZE])
    newer = max(0, head + n - window)
    return _RING + head, n - newer, newer


@inlined
def _in_any_order(part: Floats, window: int) -> tuple[int, int, int]:
    """The same values; as one run where the ring is full."""
    if part[_SIZE] == window:
        return _RING, window, 0
    return _runs(part, window)


@inlined
def _sum(part: Floats, window: int) -> float:
    begin, n, m = _in_any_order(part, window)
    found = total(part, begin, n)
    return found + total(part, _RING, m) if m else found


@inlined
def _squares(part: Floats, window: int, level: float) -> float:
    """Sum of the squared distances from a level."""
    begin, n, m = _in_any_order(part, window)
    found, _, _ = centred(part, begin, n, level)
    return found + centred(part, _RING, m, level)[0] if m else found


@inlined
def _moments(part: Floats, window: int, mean: float) -> tuple[float, float, float]:
    """Mean square, cube and fourth power of the distances from the mean."""
    begin, n, m = _in_any_order(part, window)
    a2, a3, a4 = centred(part, begin, n, mean)
    if m:
        b2, b3, b4 = centred(part, _RING, m, mean)
        a2, a3, a4 = a2 + b2, a3 + b3, a4 + b4
    return a2 / (n + m), a3 / (n + m), a4 / (n + m)


@inlined
def _slope(part: Floats, window: int) -> float:
    begin, n, m = _in_any_order(part, window)
    # Times lie as the values do, a window behind them.
    older, newer, oldest = begin + window, _RING + window, _RING + int(part[_HEAD])
    first, level = part[oldest + window], part[oldest]
    # Added to the oldest time, the mean distance from it would lose its digits.
    centre = (distances(part, older, n, first) + distances(part, newer, m, first)) / (n + m)
    # The distances from that sum to nothing, so that any level will do for the values.
    above, below = products(part, begin, older, n, level, first, centre)
    if m:
        more, wide = products(part, _RING, newer, m, level, first, centre)
        above, below = above + more, below + wide
    return above / below * 1e6 if below > 0.0 else np.nan


@inlined
def _autocorrelation(part: Floats, window: int, mean: float, lag: int) -> float:
    begin, n, m = _runs(part, window)
    below = _squares(part, window, mean)
    if not below > 0.0 or n + m <= lag:
        return np.nan
    above = 0.0
    if n > lag:
        above += products(part, begin + lag, begin, n - lag, mean, mean, 0.0)[0]
    if m > lag:
        above += products(part, _RING + lag, _RING, m - lag, mean, mean, 0.0)[0]
    # Newer values whose partner is among the older ones.
    skip = max(0, lag - n)
    pairs = min(m, lag) - skip
    if pairs > 0:
        left, right = _RING + skip, begin + n + skip - lag
        above += products(part, left, right, pairs, mean, mean, 0.0)[0]
    return above / below


@inlined
def _crossed(values: Floats, level: float, side: float) -> tuple[float, float]:
    """Changes of side, the first of them from `side`, 0 if none is known; the last side."""
    crossed = 0.0
    for k in range(len(values)):
        distance = values[k] - level
        now = 1.0 if distance > 0.0 else (-1.0 if distance < 0.0 else side)
        if side * now < 0.0:
            crossed += 1.0
        side = now
    return crossed, side


@inlined
def _crossings(part: Floats, window: int, level: float) -> float:
    begin, n, m = _runs(part, window)
    older, side = _crossed(part[begin : begin + n], level, 0.0)
    return older + _crossed(part[_RING : _RING + m], level, side)[0]


@inlined
def _extent(part: Floats, window: int, stat: int) -> float:
    """Range, rms or crest."""
    begin, n, m = _in_any_order(part, window)
    rms = math.sqrt(_squares(part, window, 0.0) / (n + m))
    if stat == _RMS:
        return rms
    low, high = math.inf, -math.inf
    for k in range(begin, begin + n):
        low, high = min(low, part[k]), max(high, part[k])
    for k in range(_RING, _RING + m):
        low, high = min(low, part[k]), max(high, part[k])
    if stat == _RANGE:
        return high - low
    return max(abs(low), abs(high)) / rms if rms > 0.0 else np.nan


@inlined
def _statistic(part: Floats, window: int, stat: int, lag: int) -> float:
    n = int(part[_SIZE])
    if stat == _COUNT:
        return float(n)
    if n == 0:
        return np.nan
    if stat in (_RANGE, _RMS, _CREST):
        return _extent(part, window, stat)
    if stat == _ZERO:
        return _crossings(part, window, 0.0)
    if stat == _SLOPE:
        return _slope(part, window)
    found = _sum(part, window)
    if stat == _SUM:
        return found
    mean = found / n
    if stat == _MEAN:
        return _crossings(part, window, mean)
    if stat == _AUTO:
        return _autocorrelation(part, window, mean, lag)
    variance, cubes, fourths = _moments(part, window, mean)
    # What rounding leaves of values that are all alike says nothing of their shape.
    if not variance > (1e-14 * mean) ** 2:
        return np.nan
    if stat == _SKEW:
        return cubes / (variance * math.sqrt(variance))
    return fourths / (variance * variance) - 3.0


@inlined
def _look(
    n: int,
    row: Rows,
    time: Ints,
    verdict: Bytes,
    values: Floats,
    x: Floats,
    column: int,
    of: Ints,
    state: Floats,
    rules: Floats,
) -> None:
    span, window, lag, stats = int(rules[0]), int(rules[1]), int(rules[2]), rules[3:]
    for i in range(n):
        if verdict[i] != 0:
            x[i, column : column + len(of) * len(stats)] = np.nan
            continue
        at = column
        for c in range(len(of)):
            part = state[row[i] * len(of) + c]
            _keep(part, window, span, time[i], values[i, of[c]])
            for k in range(len(stats)):
                found = _statistic(part, window, int(stats[k]), lag)
                x[i, at] = found if np.isfinite(found) else np.nan
                at += 1


@inlined
def _keep(part: Floats, window: int, span: int, time: int, value: float) -> None:
    """Let what is too old leave, and the value enter where there is one."""
    while span > 0 and part[_SIZE] > 0.0 and part[_RING + window + int(part[_HEAD])] <= time - span:
        part[_HEAD] = part[_HEAD] + 1.0 if part[_HEAD] + 1.0 < window else 0.0
        part[_SIZE] -= 1.0
    if not np.isfinite(value):
        return
    place, n = int(part[_HEAD]), int(part[_SIZE])
    if n >= window:
        part[_HEAD] = place + 1 if place + 1 < window else 0
    else:
        place = place + n if place + n < window else place + n - window
        part[_SIZE] = n + 1
    part[_RING + place], part[_RING + place + window] = value, time
