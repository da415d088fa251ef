"""How the last values of a device move: slope, autocorrelation, crossings, crest, kurtosis."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from stream_processor.features._one_row import OneRow, checked, columns_of
from stream_processor.features._span import span_of
from stream_processor.operator import FeatureOperator
from streamgauge.arrays import Bytes, Floats, Ints, Rows
from streamgauge.kernels import kernel
from streamgauge.schema import Schema
from streamgauge.state import Field
from streamgauge.sums import centred, total

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
    return OneRow(_look, capacity, fields, column, names, columns, rules)


@kernel
def _at(part: Floats, window: int, k: int) -> float:
    """The k-th value, from the oldest."""
    place = int(part[_HEAD]) + k
    return float(part[_RING + (place if place < window else place - window)])


@kernel
def _runs(part: Floats, window: int) -> tuple[int, int]:
    """Where the older values of the ring end, and the newer ones that begin at its start."""
    end = int(part[_HEAD]) + int(part[_SIZE])
    return min(end, window), max(0, end - window)


@kernel
def _sum(part: Floats, window: int) -> float:
    older, newer = _runs(part, window)
    found = total(part[_RING + int(part[_HEAD]) : _RING + older])
    return found + total(part[_RING : _RING + newer])


@kernel
def _moments(part: Floats, window: int, mean: float) -> tuple[float, float, float]:
    """Mean square, cube and fourth power of the distances from the mean."""
    older, newer = _runs(part, window)
    a2, a3, a4 = centred(part[_RING + int(part[_HEAD]) : _RING + older], mean)
    b2, b3, b4 = centred(part[_RING : _RING + newer], mean)
    n = part[_SIZE]
    return (a2 + b2) / n, (a3 + b3) / n, (a4 + b4) / n


@kernel
def _away(times: Floats, first: float) -> float:
    """Sum of the distances from `first`: whole numbers, so the same in any order."""
    a = b = c = d = 0.0
    n = len(times)
    whole = n - n % 4
    for k in range(0, whole, 4):
        a += times[k] - first
        b += times[k + 1] - first
        c += times[k + 2] - first
        d += times[k + 3] - first
    for k in range(whole, n):
        a += times[k] - first
    return (a + b) + (c + d)


@kernel
def _products(
    values: Floats, times: Floats, mean: float, first: float, middle: float
) -> tuple[float, float]:
    """Sums of time by value and of time squared, in microseconds and each about its mean; that of
    the times is `middle` after `first`."""
    a = b = c = d = aa = bb = cc = dd = 0.0
    n = len(values)
    whole = n - n % 4
    for k in range(0, whole, 4):
        t, u = times[k] - first - middle, times[k + 1] - first - middle
        v, w = times[k + 2] - first - middle, times[k + 3] - first - middle
        a += t * (values[k] - mean)
        b += u * (values[k + 1] - mean)
        c += v * (values[k + 2] - mean)
        d += w * (values[k + 3] - mean)
        aa += t * t
        bb += u * u
        cc += v * v
        dd += w * w
    for k in range(whole, n):
        t = times[k] - first - middle
        a += t * (values[k] - mean)
        aa += t * t
    return (a + b) + (c + d), (aa + bb) + (cc + dd)


@kernel
def _slope(part: Floats, window: int, mean: float) -> float:
    older, newer = _runs(part, window)
    head, begin = int(part[_HEAD]), _RING + window
    first = part[begin + head]
    times, later = part[begin + head : begin + older], part[begin : begin + newer]
    # Added to the oldest time, the mean distance from it would lose its digits.
    middle = (_away(times, first) + _away(later, first)) / part[_SIZE]
    above, below = _products(part[_RING + head : _RING + older], times, mean, first, middle)
    more, wide = _products(part[_RING : _RING + newer], later, mean, first, middle)
    below += wide
    return float((above + more) / below * 1e6) if below > 0.0 else np.nan


@kernel
def _autocorrelation(part: Floats, window: int, mean: float, lag: int) -> float:
    n = int(part[_SIZE])
    above = below = 0.0
    for k in range(n):
        distance = _at(part, window, k) - mean
        below += distance * distance
        if k >= lag:
            above += distance * (_at(part, window, k - lag) - mean)
    return above / below if below > 0.0 and n > lag else np.nan


@kernel
def _crossings(part: Floats, window: int, level: float) -> float:
    crossed, side = 0.0, 0.0
    for k in range(int(part[_SIZE])):
        distance = _at(part, window, k) - level
        now = 1.0 if distance > 0.0 else (-1.0 if distance < 0.0 else side)
        if side != 0.0 and now != side:
            crossed += 1.0
        side = now
    return crossed


@kernel
def _extent(part: Floats, window: int, stat: int) -> float:
    """Range, rms or crest."""
    low, high, squares, n = math.inf, -math.inf, 0.0, int(part[_SIZE])
    for k in range(n):
        value = _at(part, window, k)
        low, high = min(low, value), max(high, value)
        squares += value * value
    if stat == _RANGE:
        return high - low
    rms = math.sqrt(squares / n)
    if stat == _RMS:
        return rms
    return max(abs(low), abs(high)) / rms if rms > 0.0 else np.nan


@kernel
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
    found = _sum(part, window)
    if stat == _SUM:
        return found
    mean = found / n
    if stat == _MEAN:
        return _crossings(part, window, mean)
    if stat == _SLOPE:
        return _slope(part, window, mean)
    if stat == _AUTO:
        return _autocorrelation(part, window, mean, lag)
    variance, cubes, fourths = _moments(part, window, mean)
    # What rounding leaves of values that are all alike says nothing of their shape.
    if not variance > (1e-14 * mean) ** 2:
        return np.nan
    if stat == _SKEW:
        return cubes / (variance * math.sqrt(variance))
    return fourths / (variance * variance) - 3.0


@kernel
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
    width = _RING + 2 * window
    for i in range(n):
        for c in range(len(of)):
            own = x[i, column + c * len(stats) : column + (c + 1) * len(stats)]
            if verdict[i] != 0:
                own[:] = np.nan
                continue
            part = state[row[i], c * width : (c + 1) * width]
            value = values[i, of[c]]
            _keep(part, window, span, time[i], value)
            for k in range(len(stats)):
                found = _statistic(part, window, int(stats[k]), lag)
                own[k] = found if np.isfinite(found) else np.nan


@kernel
def _keep(part: Floats, window: int, span: int, time: int, value: float) -> None:
    """Let what is too old leave, and the value enter where there is one."""
    while span > 0 and part[_SIZE] > 0.0 and part[_RING + window + int(part[_HEAD])] <= time - span:
        part[_HEAD] = part[_HEAD] + 1.0 if part[_HEAD] + 1.0 < window else 0.0
        part[_SIZE] -= 1.0
    if not np.isfinite(value):
        return
    if part[_SIZE] >= window:
        part[_HEAD] = part[_HEAD] + 1.0 if part[_HEAD] + 1.0 < window else 0.0
        part[_SIZE] -= 1.0
    place = int(part[_HEAD]) + int(part[_SIZE])
    place = _RING + (place if place < window else place - window)
    part[place], part[place + window] = value, time
    part[_SIZE] += 1.0
