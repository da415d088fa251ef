"""Spikes: one value far from its neighbours, compared with how far neighbours usually are."""

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

__all__ = ["build"]

ACTIONS = ("flag", "drop", "replace")
_DROP, _REPLACE = 1, 2
# Columns of a device's state: usual steps seen, their mean size, last usual value, the spike before
# this value and whether there was one.
_COUNT, _STEP, _LAST, _SPIKE, _OPEN = range(5)
_FADE = 0.05
"""Weight of the newest step in the mean size: about the last twenty count."""
_FLAGGED, _REPLACED = int(Flag.SPIKE), int(Flag.SPIKE | Flag.CAPPED)


def build(
    schema: Schema,
    capacity: int,
    channel: int,
    *,
    limit: float = 10.0,
    action: Literal["flag", "drop", "replace"] = "drop",
    ready_after: int = 20,
) -> Operator:
    """A value that is further from the last usual one than `limit` usual steps, and alone.

    A second value near the first shows that there was no spike but a new level: it is usual.

    - `limit`: mean absolute differences between neighbours
    - `action`: flag | drop | replace (by the last usual value)
    - `ready_after`: differences before the first judgement
    """
    if not 0.0 < limit < math.inf or ready_after < 2:
        raise ValueError(
            f"limit is {limit} and ready_after {ready_after}; give a limit above 0 and 2 or more"
        )
    fields = map(Field, ("count", "step", "last", "spike", "open"))
    rules = [limit, ACTIONS.index(action), ready_after]
    return OneChannel(_watch, capacity, fields, channel, rules)


@kernel
def _is_spike(device: Floats, value: float, limit: float, ready_after: float) -> bool:
    """Whether the value is far from the last usual one, and from a spike before it."""
    reach = limit * device[_STEP]
    if device[_COUNT] <= ready_after or reach == 0.0 or abs(value - device[_LAST]) <= reach:
        return False
    return bool(device[_OPEN] == 0.0 or abs(value - device[_SPIKE]) > reach)


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
        if _is_spike(device, value, rules[0], rules[2]):
            device[_SPIKE], device[_OPEN] = value, 1.0
            flags[i, channel] |= np.uint16(_REPLACED if action == _REPLACE else _FLAGGED)
            if action == _DROP:
                values[i, channel] = np.nan
            elif action == _REPLACE:
                values[i, channel] = device[_LAST]
            continue
        if device[_COUNT] > 0.0 and device[_OPEN] == 0.0:
            size = abs(value - device[_LAST])
            share = max(_FADE, 1.0 / device[_COUNT])
            device[_STEP] += share * (size - device[_STEP])
        device[_COUNT] += 1.0
        device[_LAST], device[_OPEN] = value, 0.0
