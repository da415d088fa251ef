"""Exponentially weighted mean and deviation at several half-lives, by readings or by time."""

import math
from collections.abc import Sequence

import numpy as np

from stream_processor.features._one_row import OneRow, checked, columns_of
from stream_processor.operator import FeatureOperator
from streamgauge.arrays import Bytes, Floats, Ints, Rows
from streamgauge.durations import microseconds
from streamgauge.kernels import kernel
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
    return OneRow(_weigh, capacity, fields, column, names, columns, rules)


def _life(life: str | int) -> tuple[float, float]:
    """A half-life in values and in microseconds; one of them is 0."""
    span = microseconds(life) if isinstance(life, str) else 0
    values = 0 if isinstance(life, str) else life
    if span <= 0 and values <= 0:
        raise ValueError(
            f"features.weighted half_lives holds {life!r}; give numbers of values above 0, or "
            'durations such as "10m"'
        )
    return float(values), float(span)


@kernel
def _enter(part: Floats, time: int, value: float, values: float, span: float) -> None:
    """Let a value enter the moments of one half-life."""
    if part[_KNOWN] == 0.0:
        part[_KNOWN], part[_AVERAGE], part[_VARIANCE] = 1.0, value, 0.0
    else:
        passed = 1.0 / values if values > 0.0 else (time - part[_TIME]) / span
        keep = math.pow(0.5, passed)
        step = value - part[_AVERAGE]
        part[_AVERAGE] += (1.0 - keep) * step
        part[_VARIANCE] = keep * (part[_VARIANCE] + (1.0 - keep) * step * step)
    part[_TIME] = time


@kernel
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
        for k in range(len(of) * lives):
            part = state[row[i], k * _WIDTH : (k + 1) * _WIDTH]
            life = k % lives
            if verdict[i] == 0:
                value = values[i, of[k // lives]]
                if np.isfinite(value):
                    _enter(part, time[i], value, rules[1 + 2 * life], rules[2 + 2 * life])
            for stat in stats:
                if verdict[i] != 0 or part[_KNOWN] == 0.0:
                    x[i, at] = np.nan
                elif stat == _MEAN:
                    x[i, at] = part[_AVERAGE]
                else:
                    x[i, at] = part[_VARIANCE] if stat == _VAR else math.sqrt(part[_VARIANCE])
                if not np.isfinite(x[i, at]):
                    x[i, at] = np.nan
                at += 1
