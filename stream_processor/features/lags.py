"""Values of earlier readings of the same device."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stream_processor.features._columns import column_of
from stream_processor.operator import FeatureOperator
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
from streamgauge.kernels import inlined
from streamgauge.schema import Schema
from streamgauge.state import Block, Field

__all__ = ["EXAMPLE", "build"]

EXAMPLE = {"lags": {"value": [1, 2]}}

# Columns of the plan. Lag 0 stores the current value; a channel's lags stand before it.
_CHANNEL, _OFFSET, _LENGTH, _LAG = range(4)


def build(
    schema: Schema, capacity: int, column: int, *, lags: Mapping[str, Sequence[int]]
) -> FeatureOperator:
    """`<channel>_lag<k>`: the channel's value k admitted readings of the device before this one.

    `lags` gives the numbers of readings, 1 or more, for each channel. NaN where there was no such
    reading, or it had no value there: what `Series.shift(k)` gives for each device.
    """
    for channel, steps in lags.items():
        if not steps or any(type(step) is not int or step < 1 for step in steps):
            raise ValueError(f"features.lags.{channel} is {steps!r}; list whole numbers from 1 up")
        if len(set(steps)) < len(steps):
            raise ValueError(f"features.lags.{channel} is {steps!r}; name each lag once")
    return _Lags(schema, capacity, column, lags)


@inlined
def _reading(
    i: int,
    values: NDArray[np.float64],
    device: NDArray[np.float64],
    x: NDArray[np.float64],
    column: int,
    plan: NDArray[np.int64],
) -> None:
    """Write the i-th reading's lags and store its values; `device` is [count, rings...]."""
    count = int(device[0])
    begin = place = 0
    for p in range(len(plan)):
        length, lag = plan[p, _LENGTH], plan[p, _LAG]
        if plan[p, _OFFSET] != begin:
            begin = plan[p, _OFFSET]
            place = begin + (count % length if length > 1 else 0)
        if lag == 0:
            value = values[i, plan[p, _CHANNEL]]
            device[place] = value if np.isfinite(value) else np.nan
        else:
            earlier = place - lag if place - lag >= begin else place - lag + length
            x[i, column] = device[earlier] if lag <= count else np.nan
            column += 1
    device[0] = count + 1


@inlined
def _lag(
    n: int,
    row: NDArray[np.int32],
    verdict: NDArray[np.uint8],
    values: NDArray[np.float64],
    x: NDArray[np.float64],
    start: int,
    stop: int,
    state: NDArray[np.float64],
    plan: NDArray[np.int64],
) -> None:
    for i in range(n):
        if verdict[i] == 0:
            _reading(i, values, state[row[i]], x, start, plan)
        else:
            x[i, start:stop] = np.nan


class _Lags:
    def __init__(
        self, schema: Schema, capacity: int, column: int, lags: Mapping[str, Sequence[int]]
    ) -> None:
        self.names = tuple(f"{c}_lag{step}" for c, steps in lags.items() for step in steps)
        self.channels = tuple(frozenset({c}) for c, steps in lags.items() for _ in steps)
        rings = [Field(channel, (max(steps),)) for channel, steps in lags.items()]
        block = Block([Field("count"), *rings], capacity)
        self.blocks: Mapping[str, Block] = {"lags": block}
        plan = [
            (column_of(schema, channel, "features.lags"), block.offset(channel), max(steps), step)
            for channel, steps in lags.items()
            for step in (*steps, 0)
        ]
        self._bound = (
            column,
            column + len(self.names),
            block.array,
            np.array(plan, np.int64).reshape(-1, 4),
        )

    def call(self, batch: Batch, features: Features) -> Call:
        columns = (batch.row, batch.verdict, batch.values, features.x)
        return Call(_lag, (Now.N, *columns, *self._bound))
