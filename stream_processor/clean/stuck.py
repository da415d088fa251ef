"""Stuck sensors: a value that has not moved for longer than a live sensor's does."""

import math
from typing import Literal

import numpy as np

from stream_processor.clean._one_channel import OneChannel
from stream_processor.operator import Operator
from streamgauge.arrays import Bytes, Floats, Ints, Rows, Words
from streamgauge.durations import microseconds
from streamgauge.kernels import kernel
from streamgauge.schema import Schema
from streamgauge.state import Field
from streamgauge.words import Flag

__all__ = ["EXAMPLE", "build"]

EXAMPLE = {"readings": 30}

ACTIONS = ("flag", "drop")
# Columns of a device's state: readings with this value, the value, and since when.
_COUNT, _VALUE, _SINCE = range(3)
_STUCK = int(Flag.STUCK)


def build(
    schema: Schema,
    capacity: int,
    channel: int,
    *,
    readings: int = 0,
    after: str = "",
    tolerance: float = 0.0,
    action: Literal["flag", "drop"] = "flag",
) -> Operator:
    """Values that stayed within `tolerance` of one value for too long.

    - `readings`: so many readings in a row with one value are stuck
    - `after`: or values that stay for longer than this, such as "10m"; with both, both must hold
    - `tolerance`: how far a value may be from the first of them and still be the same
    - `action`: flag | drop
    """
    if not (readings or after) or readings < 0 or readings == 1:
        raise ValueError(
            f"readings is {readings} and after {after!r}; say after how many readings (2 or more) "
            'or after how long ("10m") an unchanged value is stuck'
        )
    if not 0.0 <= tolerance < math.inf:
        raise ValueError(f"tolerance is {tolerance}; give 0 or more, in the channel's unit")
    span = microseconds(after) if after else 0
    fields = map(Field, ("count", "value", "since"))
    rules = [readings, span, tolerance, ACTIONS.index(action)]
    return OneChannel(_watch, capacity, fields, channel, rules)


@kernel
def _watch(
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
        value = values[i, channel]
        if verdict[i] != 0 or not np.isfinite(value):
            continue
        device = state[row[i]]
        if device[_COUNT] == 0.0 or not abs(value - device[_VALUE]) <= rules[2]:
            device[_COUNT], device[_VALUE], device[_SINCE] = 1.0, value, time[i]
            continue
        device[_COUNT] += 1.0
        if device[_COUNT] >= rules[0] and time[i] - device[_SINCE] >= rules[1]:
            flags[i, channel] |= np.uint16(_STUCK)
            if rules[3] != 0.0:
                values[i, channel] = np.nan
