"""Missing values: what the device usually has at this hour, or at this part of another period."""

import numpy as np

from stream_processor.clean._one_channel import OneChannel
from stream_processor.clean.missing._fill import fill
from stream_processor.operator import Operator
from streamgauge.arrays import Bytes, Floats, Ints, Rows, Words
from streamgauge.durations import microseconds
from streamgauge.kernels import kernel
from streamgauge.schema import Schema
from streamgauge.state import Field

__all__ = ["build"]


def build(
    schema: Schema,
    capacity: int,
    channel: int,
    *,
    period: str = "24h",
    slots: int = 24,
    weight: float = 0.2,
) -> Operator:
    """The mean of the device's values in the same part of the period.

    - `period`: counted from 1970 in UTC, such as "24h" or "7d"
    - `slots`: parts that the period is cut into, each with a mean of its own
    - `weight`: of the newest value in the mean of its part, once there were 1 / weight of them
    """
    span = microseconds(period)
    if span < slots or not 2 <= slots <= 1_000 or not 0.0 < weight <= 1.0:
        raise ValueError(
            f"period is {period!r}, slots {slots}, weight {weight}; give a period such as "
            '"24h", 2 to 1000 slots and a weight above 0, at most 1'
        )
    fields = [Field("count", (slots,)), Field("mean", (slots,))]
    return OneChannel(_fill, capacity, fields, channel, [span, slots, weight])


@kernel
def _fill(
    n: int,
    row: Rows,
    time: Ints,
    verdict: Bytes,
    values: Floats,
    flags: Words,
    channel: int,
    state: Floats,
    rules: Floats,
) -> None:
    period, slots = int(rules[0]), int(rules[1])
    for i in range(n):
        if verdict[i] != 0:
            continue
        device, value = state[row[i]], values[i, channel]
        slot = time[i] % period * slots // period
        if np.isfinite(value):
            device[slot] += 1.0
            share = max(rules[2], 1.0 / device[slot])
            device[slots + slot] += share * (value - device[slots + slot])
        elif device[slot] > 0.0:
            fill(values[i], flags[i], channel, device[slots + slot])
