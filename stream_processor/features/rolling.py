"""Statistics over a sliding window of a device's readings, by count or by time."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stream_processor.features._columns import column_of
from stream_processor.features._windows import (
    CHANNELS,
    COLUMN,
    HEADER,
    MEAN,
    OVERFLOWED,
    PRESENT,
    QUEUE,
    SPREAD,
    SUMS,
    drop_expired,
    enter,
    extreme,
)
from stream_processor.operator import FeatureOperator
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
from streamgauge.durations import microseconds, text
from streamgauge.kernels import inlined
from streamgauge.schema import Schema
from streamgauge.state import Block, Field

__all__ = ["EXAMPLE", "STATS", "build"]

EXAMPLE = {"of": ["value"], "window": {"readings": 10}, "stats": ["mean", "std"]}

STATS = ("mean", "var", "std", "min", "max")
_MEAN, _VAR, _STD, _MIN, _MAX = range(5)

# Few enough that a quiet device stays small, enough that a busy one has few layers.
_SLOTS = 8
# Rings of at most this many readings are not worth growing.
_FIXED = 64


def build(
    schema: Schema,
    capacity: int,
    column: int,
    *,
    of: Sequence[str],
    window: str | Mapping[str, int],
    stats: Sequence[str],
    readings_max: int = 256,
) -> FeatureOperator:
    """`<channel>_<stat>_<window>` for each channel in `of` and each of mean, var, std, min, max.

    `window` is `{readings = n}`, the device's last n admitted readings with this one, or a duration
    such as "10m": readings with event time in (t - window, t]. Statistics cover the values that
    are present in it: NaN where there is none; var and std divide by n - 1 and are 0 for one value,
    as River's. A time window holds at most `readings_max` readings per device: beyond, the oldest
    is dropped and counted (`overflowed`).

    Welford (1962), "Note on a method for calculating corrected sums of squares and products".
    """
    _check(of, stats, readings_max)
    span, limit, ending = _window(window, readings_max)
    return _Rolling(schema, capacity, column, tuple(of), tuple(stats), span, limit, ending)


def _check(of: Sequence[str], stats: Sequence[str], readings_max: int) -> None:
    unknown = [stat for stat in stats if stat not in STATS]
    if unknown or not stats or len(set(stats)) < len(stats):
        raise ValueError(
            f"features.rolling stats is {list(stats)!r}; "
            f"name each of {', '.join(STATS)} at most once"
        )
    if not of or len(set(of)) < len(of):
        raise ValueError(f"features.rolling of is {list(of)!r}; name each channel once")
    if type(readings_max) is not int or readings_max < 2:
        raise ValueError(
            f"features.rolling readings_max is {readings_max!r}; give a whole number from 2 up"
        )


def _window(window: str | Mapping[str, int], readings_max: int) -> tuple[int, int, str]:
    """Microseconds (0 = counts readings), most readings, and how the names of features end."""
    if isinstance(window, str):
        span = microseconds(window)
        if span < 1:
            raise ValueError(f"features.rolling window is {window!r}; give a duration above 0")
        return span, readings_max, text(span)
    readings = window.get("readings")
    if list(window) != ["readings"] or type(readings) is not int or readings < 1:
        raise ValueError(
            f'features.rolling window is {dict(window)!r}; write a duration such as "10m" or '
            "{ readings = 10 }"
        )
    return 0, readings, str(readings)


@inlined
def _statistic(
    stat: int,
    c: int,
    device: NDArray[np.float64],
    ring: NDArray[np.float64],
    plan: NDArray[np.int64],
) -> float:
    at = QUEUE + c * SUMS
    n = device[at + PRESENT]
    if n == 0.0:
        return np.nan
    if stat == _MEAN:
        return float(device[at + MEAN])
    if stat == _MIN or stat == _MAX:
        return extreme(device, ring, plan, c, stat == _MAX)
    # Rounding may leave a constant window with a spread just below 0.
    variance = max(device[at + SPREAD], 0.0) / (n - 1.0) if n > 1.0 else 0.0
    return math.sqrt(variance) if stat == _STD else variance


@inlined
def _write(
    x: NDArray[np.float64],
    device: NDArray[np.float64],
    ring: NDArray[np.float64],
    plan: NDArray[np.int64],
) -> None:
    channels = plan[CHANNELS]
    stats = plan[HEADER + channels :]
    for c in range(channels):
        for k in range(len(stats)):
            value = _statistic(stats[k], c, device, ring, plan)
            x[c * len(stats) + k] = value if np.isfinite(value) else np.nan


@inlined
def _roll(
    n: int,
    row: NDArray[np.int32],
    time: NDArray[np.int64],
    verdict: NDArray[np.uint8],
    values: NDArray[np.float64],
    x: NDArray[np.float64],
    state: NDArray[np.float64],
    stack: NDArray[np.float64],
    depths: NDArray[np.int64],
    plan: NDArray[np.int64],
) -> None:
    channels = plan[CHANNELS]
    width = channels * (len(plan) - HEADER - channels)
    for i in range(n):
        own = x[i, plan[COLUMN] : plan[COLUMN] + width]
        if verdict[i] != 0:
            own[:] = np.nan
            continue
        d = row[i]
        device, ring = state[d], stack[:, d]
        depth = depths[d] if len(depths) else 1
        drop_expired(time[i], device, ring, depth, plan)
        depth = enter(time[i], values[i], device, ring, depth, plan)
        if len(depths):
            depths[d] = depth
        _write(own, device, ring, plan)


class _Rolling:
    def __init__(
        self,
        schema: Schema,
        capacity: int,
        column: int,
        of: tuple[str, ...],
        stats: tuple[str, ...],
        span: int,
        limit: int,
        ending: str,
    ) -> None:
        self.names = tuple(f"{channel}_{stat}_{ending}" for channel in of for stat in stats)
        self.channels = tuple(frozenset({channel}) for channel in of for _ in stats)
        parts = 3 if {"min", "max"} & set(stats) else 1
        slots, layers = _layers(span, limit)
        sums = Block([Field("queue", (QUEUE,)), Field("sums", (len(of), SUMS))], capacity)
        ring = Block([Field("slots", (slots, 1 + parts * len(of)))], capacity, layers=layers)
        self.blocks: Mapping[str, Block] = {"sums": sums, "ring": ring}
        columns = [column_of(schema, channel, "features.rolling") for channel in of]
        chosen = [STATS.index(stat) for stat in stats]
        header = [span, limit, slots, parts, column, len(of)]
        plan = np.array([*header, *columns, *chosen], np.int64)
        self._bound = (sums.array, ring.stack, ring.depth, plan)

    @property
    def overflowed(self) -> int:
        """Readings dropped from full time windows, over all devices known now."""
        return int(self.blocks["sums"].view("queue")[:, OVERFLOWED].sum())

    def call(self, batch: Batch, features: Features) -> Call:
        columns = (batch.row, batch.time, batch.verdict, batch.values, features.x)
        return Call(_roll, (Now.N, *columns, *self._bound))


def _layers(span: int, limit: int) -> tuple[int, int]:
    """Slots per layer, and layers: a power of two, so that doubling ends exactly there."""
    if span == 0 and limit <= _FIXED:
        return limit, 1
    layers = 1
    while layers * _SLOTS < limit:
        layers *= 2
    return _SLOTS, layers
