"""Exponentially weighted mean and deviation at several half-lives, by readings or by time."""

import math
from collections.abc import Sequence

import numpy as np

from stream_processor.features._one_row import OneRow, checked, columns_of
from stream_processor.operator import FeatureOperator
from streamgauge.arrays import Bytes, Floats, Ints, Rows
from streamgauge.durations import microseconds
from streamgauge.kernels import inlined
from streamgauge.schema import Schema
from streamgauge.state import Field

__all__ = ["EXAMPLE", "STATS", "build"]

EXAMPLE = {"of": ["value"], "half_lives": [20]}

STATS = ("mean", "var", "std")
_MEAN, _VAR, _STD = range(3)
# State of a channel at one half-life: whether it has a value, time of the last, mean, variance.
_KNOWN, _TIME, _AVERAGE, _VARIANCE, _WIDTH = range(5)


def build(
    schema: Schema,
    capacity: int,
    column: int,
    *,
    of: Sequence[str],
    half_lives: Sequence[str | int],
    stats: Sequence[str] = ("mean",),
) -> FeatureOperator:
    """`<channel>_ew<stat>_<half-life>` for each channel, half-life and each of mean, var, std.

    A half-life of `20` counts present values, one of "10m" event time, whatever the sampling. The
    current value is part of it; where it is absent the statistic stays. Means are those of pandas'
    `ewm(halflife=h, adjust=False)`, variances its `var(bias=True)`; by time, the weight of a value
    halves in each half-life that passes.
    """
    columns = columns_of(schema, of, "weighted")
    chosen = checked(stats, STATS, "features.weighted stats")
    names = {
        f"{channel}_ew{stat}_{life}": frozenset({channel})
        for channel in of
        for life in half_lives
        for stat in stats
    }
    if len(names) < len(of) * len(half_lives) * len(stats) or not half_lives:
        raise ValueError(f"features.weighted half_lives is {list(half_lives)!r}; name each once")
    lives = [_life(life) for life in half_lives]
    fields = [Field("weighted", (len(of), len(lives), _WIDTH))]
    rules = [len(lives), *(number for life in lives for number in life), *chosen.tolist()]
    parts = len(of) * len(lives)
    return OneRow(_weigh, capacity, fields, column, names, columns, rules, parts)


def _life(life: str | int) -> tuple[float, float]:
    """What a value keeps of those before, where it counts them, and the half-life in microseconds;
    one of them is 0."""
    span = microseconds(life) if isinstance(life, str) else 0
    values = 0 if isinstance(life, str) else life
    if span <= 0 and values <= 0:
        raise ValueError(
            f"features.weighted half_lives holds {life!r}; give numbers of values above 0, or "
            'durations such as "10m"'
        )
    return math.pow(0.5, 1.0 / values) if values else 0.0, float(span)


@inlined
def _enter(part: Floats, time: int, value: float, keep: float, span: float) -> None:
    """Let a value enter the moments of one half-life."""
    if part[_KNOWN] == 0.0:
        part[_KNOWN], part[_AVERAGE], part[_VARIANCE] = 1.0, value, 0.0
    else:
        if span > 0.0:
            keep = math.pow(0.5, (time - part[_TIME]) / span)
        step = value - part[_AVERAGE]
        part[_AVERAGE] += (1.0 - keep) * step
        part[_VARIANCE] = keep * (part[_VARIANCE] + (1.0 - keep) * step * step)
    part[_TIME] = time


@inlined
def _statistic(part: Floats, stat: float) -> float:
    if part[_KNOWN] == 0.0:
        return np.nan
    found = part[_AVERAGE] if stat == _MEAN else part[_VARIANCE]
    if stat == _STD:
        found = math.sqrt(found)
    return found if np.isfinite(found) else np.nan


@inlined
def _weigh(
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
    lives = int(rules[0])
    stats = rules[1 + 2 * lives :]
    for i in range(n):
        at = column
        if verdict[i] != 0:
            x[i, at : at + len(of) * lives * len(stats)] = np.nan
            continue
        for c in range(len(of)):
            value = values[i, np.uintp(of[c])]
            present = np.isfinite(value)
            for life in range(lives):
                part = state[np.uintp((row[i] * len(of) + c) * lives + life)]
                if present:
                    _enter(
                        part,
                        time[i],
                        value,
                        rules[np.uintp(1 + 2 * life)],
                        rules[np.uintp(2 + 2 * life)],
                    )
                for k in range(len(stats)):
                    x[i, np.uintp(at)] = _statistic(part, stats[k])
                    at += 1
