"""Differences from earlier values of the same device, plain or per second."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from stream_processor.features._one_row import OneRow, columns_of
from stream_processor.operator import FeatureOperator
from streamgauge.arrays import Bytes, Floats, Ints, Rows
from streamgauge.kernels import inlined
from streamgauge.schema import Schema
from streamgauge.state import Field

__all__ = ["EXAMPLE", "build"]

EXAMPLE = {"of": ["value"]}

_COUNT, _RINGS = 0, 1


def build(
    schema: Schema,
    capacity: int,
    column: int,
    *,
    of: Sequence[str],
    lags: Sequence[int] = (1,),
    per: Literal["reading", "second"] = "reading",
) -> FeatureOperator:
    """`<channel>_diff<k>`: the value minus that of the device's k-th present value before it.

    - `lags`: how many present values back, each 1 or more
    - `per`: "second" divides by the event time between the two (`<channel>_rate<k>`): the slope of
      irregular samples

    NaN where the channel is absent, or had no such value yet.
    """
    columns = columns_of(schema, of, "differences")
    if not lags or len(set(lags)) < len(lags) or not all(1 <= lag <= 1_000 for lag in lags):
        raise ValueError(
            f"features.differences lags is {list(lags)!r}; list whole numbers from 1 to 1000, each "
            "once"
        )
    what = "rate" if per == "second" else "diff"
    names = {f"{channel}_{what}{lag}": frozenset({channel}) for channel in of for lag in lags}
    deepest = max(lags)
    ring = Field("rings", (len(of), 1 + 2 * deepest))
    rules = [deepest, per == "second", *lags]
    return OneRow(_subtract, capacity, [ring], column, names, columns, rules, len(of))


@inlined
def _difference(
    ring: Floats, place: int, time: int, value: float, lag: int, deepest: int, rate: bool
) -> float:
    """From the value `lag` values back; `ring` is [count, values[deepest], times[deepest]], and
    `place` where the value goes."""
    if lag > ring[_COUNT]:
        return np.nan
    earlier = place - lag if place - lag >= _RINGS else place - lag + deepest
    step = value - ring[earlier]
    if rate:
        passed = (time - ring[earlier + deepest]) * 1e-6
        step = step / passed if passed > 0.0 else np.nan
    return float(step) if np.isfinite(step) else np.nan


@inlined
def _subtract(
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
    deepest, rate, lags = int(rules[0]), rules[1] != 0.0, rules[2:]
    for i in range(n):
        at = column
        for c in range(len(of)):
            value = values[i, of[c]] if verdict[i] == 0 else np.nan
            if not np.isfinite(value):
                x[i, at : at + len(lags)] = np.nan
                at += len(lags)
                continue
            ring = state[row[i] * len(of) + c]
            place = _RINGS + (int(ring[_COUNT]) % deepest if deepest > 1 else 0)
            for k in range(len(lags)):
                x[i, at] = _difference(ring, place, time[i], value, int(lags[k]), deepest, rate)
                at += 1
            ring[place], ring[place + deepest] = value, time[i]
            ring[_COUNT] += 1.0
