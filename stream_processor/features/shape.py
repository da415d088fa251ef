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

__all__ = ["STATS", "build"]

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
    return float(part[_RING + (int(part[_HEAD]) + k) % window])


@kernel
def _moment(part: Floats, window: int, mean: float, power: int) -> float:
    """Mean power of the distances from the mean."""
    total, n = 0.0, int(part[_SIZE])
    for k in range(n):
        distance = _at(part, window, k) - mean
        term = distance
        for _ in range(power - 1):
            term *= distance
        total += term
    return total / n


@kernel
def _slope(part: Floats, window: int, mean: float) -> float:
    n, head = int(part[_SIZE]), int(part[_HEAD])
    first = part[_RING + window + head]
    middle = 0.0
    for k in range(n):
        middle += (part[_RING + window + (head + k) % window] - first) * 1e-6 / n
    above = below = 0.0
    for k in range(n):
        t = (part[_RING + window + (head + k) % window] - first) * 1e-6 - middle
        above += t * (_at(part, window, k) - mean)
        below += t * t
    return above / below if below > 0.0 else np.nan


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
    total = 0.0
    for k in range(n):
        total += _at(part, window, k)
    mean = total / n
    if stat == _SUM:
        return total
    if stat == _MEAN:
        return _crossings(part, window, mean)
    if stat == _SLOPE:
        return _slope(part, window, mean)
    if stat == _AUTO:
        return _autocorrelation(part, window, mean, lag)
    variance = _moment(part, window, mean, 2)
    # What rounding leaves of values that are all alike says nothing of their shape.
    if not variance > (1e-14 * mean) ** 2:
        return np.nan
    if stat == _SKEW:
        return _moment(part, window, mean, 3) / (variance * math.sqrt(variance))
    return _moment(part, window, mean, 4) / (variance * variance) - 3.0


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
        part[_HEAD] = (int(part[_HEAD]) + 1) % window
        part[_SIZE] -= 1.0
    if not np.isfinite(value):
        return
    if part[_SIZE] >= window:
        part[_HEAD] = (int(part[_HEAD]) + 1) % window
        part[_SIZE] -= 1.0
    place = _RING + (int(part[_HEAD]) + int(part[_SIZE])) % window
    part[place], part[place + window] = value, time
    part[_SIZE] += 1.0
