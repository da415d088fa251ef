"""Differences from earlier values of the same device, plain or per second."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from stream_processor.features._one_row import OneRow, columns_of
from stream_processor.operator import FeatureOperator
from streamgauge.arrays import Bytes, Floats, Ints, Rows
from streamgauge.kernels import kernel
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
    return OneRow(_subtract, capacity, [ring], column, names, columns, rules)


@kernel
def _difference(ring: Floats, time: int, value: float, lag: int, deepest: int, rate: bool) -> float:
    """From the value `lag` values back; `ring` is [count, values[deepest], times[deepest]]."""
    count = int(ring[_COUNT])
    if lag > count:
        return np.nan
    place = _RINGS + (count - lag) % deepest
    step = value - ring[place]
    if rate:
        passed = (time - ring[place + deepest]) * 1e-6
        step = step / passed if passed > 0.0 else np.nan
    return float(step) if np.isfinite(step) else np.nan


@kernel
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
    deepest, lags = int(rules[0]), rules[2:]
    width = _RINGS + 2 * deepest
    for i in range(n):
        for c in range(len(of)):
            value = values[i, of[c]] if verdict[i] == 0 else np.nan
            own = x[i, column + c * len(lags) : column + (c + 1) * len(lags)]
            if not np.isfinite(value):
                own[:] = np.nan
                continue
            ring = state[row[i], c * width : (c + 1) * width]
            for k in range(len(lags)):
                own[k] = _difference(ring, time[i], value, int(lags[k]), deepest, rules[1] != 0.0)
            count = int(ring[_COUNT])
            ring[_RINGS + count % deepest] = value
            ring[_RINGS + count % deepest + deepest] = time[i]
            ring[_COUNT] = count + 1
