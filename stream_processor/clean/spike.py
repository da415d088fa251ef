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
# Columns of a device's state: usual values seen, mean size of the steps between them, last usual
# value, the last spike and how many spikes in a row came directly before this value.
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
    accept_after: int = 3,
    ready_after: int = 20,
) -> Operator:
    """A value that is further from the last usual one than `limit` usual steps, and alone.

    A second value near the first shows that there was no spike but a new level: it is usual.

    - `limit`: mean absolute differences between neighbours
    - `action`: flag | drop | replace (by the last usual value)
    - `accept_after`: so many in a row, however far from each other, show that the steps have grown;
      the next value is usual
    - `ready_after`: differences before the first judgement
    """
    if not 0.0 < limit < math.inf or ready_after < 2 or accept_after < 1:
        raise ValueError(
            f"limit is {limit}, ready_after {ready_after} and accept_after {accept_after}; give a "
            "limit above 0, ready_after of 2 or more and accept_after of 1 or more"
        )
    fields = map(Field, ("count", "step", "last", "spike", "open"))
    rules = [limit, ACTIONS.index(action), ready_after, accept_after]
    return OneChannel(_watch, capacity, fields, channel, rules)


@kernel
def _is_spike(device: Floats, value: float, rules: Floats) -> bool:
    """Whether the value is far from the last usual one, and from a spike before it."""
    reach = rules[0] * device[_STEP]
    if device[_COUNT] <= rules[2] or reach == 0.0 or abs(value - device[_LAST]) <= reach:
        return False
    if device[_OPEN] == 0.0:
        return True
    return bool(device[_OPEN] < rules[3] and abs(value - device[_SPIKE]) > reach)


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
        if _is_spike(device, value, rules):
            device[_SPIKE], device[_OPEN] = value, device[_OPEN] + 1.0
            flags[i, channel] |= np.uint16(_REPLACED if action == _REPLACE else _FLAGGED)
            if action == _DROP:
                values[i, channel] = np.nan
            elif action == _REPLACE:
                values[i, channel] = device[_LAST]
            continue
        if device[_COUNT] > 0.0:
            size = abs(value - device[_LAST])
            if device[_OPEN] > 0.0:
                size = min(size, abs(value - device[_SPIKE]))
            share = max(_FADE, 1.0 / device[_COUNT])
            device[_STEP] += share * (size - device[_STEP])
        device[_COUNT] += 1.0
        device[_LAST], device[_OPEN] = value, 0.0
