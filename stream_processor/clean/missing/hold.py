"""Missing values: the last one of the device, for as long as it is not too old."""

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

# Columns of a device's state.
_KNOWN, _LAST, _TIME = range(3)


def build(
    schema: Schema,
    capacity: int,
    channel: int,
    *,
    at_most: str = "10m",
) -> Operator:
    """The device's last value, while that is at most `at_most` old (event time)."""
    span = microseconds(at_most)
    if span < 1:
        raise ValueError(f'at_most is {at_most!r}; give a duration above 0, such as "10m"')
    return OneChannel(_fill, capacity, map(Field, ("known", "last", "time")), channel, [span])


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
            device[_KNOWN], device[_LAST], device[_TIME] = 1.0, value, time[i]
        elif device[_KNOWN] != 0.0 and time[i] - device[_TIME] <= rules[0]:
            fill(values[i], flags[i], channel, device[_LAST])
