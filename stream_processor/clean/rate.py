"""Rate of change: a value that moved faster than the quantity can."""

import math
from typing import Literal

import numpy as np

from stream_processor.clean._one_channel import OneChannel
from stream_processor.operator import Operator
from streamgauge.arrays import Bytes, Floats, Ints, Rows, Words
from streamgauge.kernels import kernel
from streamgauge.schema import Schema
from streamgauge.state import Field
from streamgauge.words import Flag

__all__ = ["EXAMPLE", "build"]

EXAMPLE = {"per_second": 1.0}

ACTIONS = ("flag", "drop", "clip")
_DROP, _CLIP = 1, 2
# Columns of a device's state; a device without a last value has `known` 0.
_KNOWN, _LAST, _TIME, _RUN = range(4)
_RATE, _CAPPED = int(Flag.RATE), int(Flag.RATE | Flag.CAPPED)


def build(
    schema: Schema,
    capacity: int,
    channel: int,
    *,
    per_second: float,
    action: Literal["flag", "drop", "clip"] = "drop",
    accept_after: int = 3,
) -> Operator:
    """Values that differ from the device's last usual one by more than `per_second` allows.

    - `per_second`: largest change in a second of event time, in the channel's unit
    - `action`: flag | drop | clip (to the value that the rate allows)
    - `accept_after`: so many values in a row beyond the rate are a new level; 1 never refuses twice
    """
    if not 0.0 < per_second < math.inf or accept_after < 1:
        raise ValueError(
            f"per_second is {per_second} and accept_after {accept_after}; give a change above 0 "
            "and 1 or more readings"
        )
    fields = map(Field, ("known", "last", "time", "run"))
    rules = [per_second / 1e6, ACTIONS.index(action), accept_after]
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
    action = int(rules[1])
    for i in range(n):
        value = values[i, channel]
        if verdict[i] != 0 or not np.isfinite(value):
            continue
        device = state[row[i]]
        reach = rules[0] * (time[i] - device[_TIME])
        step = value - device[_LAST]
        if device[_KNOWN] != 0.0 and abs(step) > reach and device[_RUN] < rules[2]:
            device[_RUN] += 1.0
            if action == _CLIP:
                values[i, channel] = device[_LAST] + (reach if step > 0.0 else -reach)
                flags[i, channel] |= np.uint16(_CAPPED)
            else:
                flags[i, channel] |= np.uint16(_RATE)
                if action == _DROP:
                    values[i, channel] = np.nan
            continue
        device[_KNOWN], device[_LAST], device[_TIME], device[_RUN] = 1.0, value, time[i], 0.0
