"""Missing values: the mean of the recent ones of the device."""

import numpy as np

from stream_processor.clean._one_channel import OneChannel
from stream_processor.clean.missing._fill import fill
from stream_processor.operator import Operator
from streamgauge.arrays import Bytes, Floats, Ints, Rows, Words
from streamgauge.kernels import kernel
from streamgauge.schema import Schema
from streamgauge.state import Field

__all__ = ["build"]

# Columns of a device's state.
_COUNT, _MEAN = range(2)


def build(
    schema: Schema,
    capacity: int,
    channel: int,
    *,
    window: int = 100,
    ready_after: int = 1,
) -> Operator:
    """The mean of all values while there are at most `window`, then one that forgets: the newest
    value has the weight 1 / `window`.

    - `ready_after`: values that must have come before one is filled in
    """
    if window < 1 or ready_after < 1:
        raise ValueError(f"window is {window}, ready_after {ready_after}; give 1 or more values")
    fields = map(Field, ("count", "mean"))
    return OneChannel(_fill, capacity, fields, channel, [window, ready_after])


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
    for i in range(n):
        if verdict[i] != 0:
            continue
        device, value = state[row[i]], values[i, channel]
        if np.isfinite(value):
            if device[_COUNT] < rules[0]:
                device[_COUNT] += 1.0
            device[_MEAN] += (value - device[_MEAN]) / device[_COUNT]
        elif device[_COUNT] >= min(rules[0], rules[1]):
            fill(values[i], flags[i], channel, device[_MEAN])
