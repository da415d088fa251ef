"""Missing values: the most frequent of the recent ones of the device, for states and steps."""

import numpy as np

from stream_processor.clean._one_channel import OneChannel
from stream_processor.clean.missing._fill import fill
from stream_processor.operator import Operator
from streamgauge.arrays import Bytes, Floats, Ints, Rows, Words
from streamgauge.kernels import kernel
from streamgauge.schema import Schema
from streamgauge.sorted_window import most_frequent, push, size, width_of
from streamgauge.state import Field

__all__ = ["build"]


def build(
    schema: Schema,
    capacity: int,
    channel: int,
    *,
    window: int = 25,
    ready_after: int = 3,
) -> Operator:
    """The most frequent of the device's last `window` values, the smallest of those.

    - `ready_after`: values that must have come before one is filled in
    """
    if not 1 <= ready_after <= window <= 1_000:
        raise ValueError(
            f"window is {window} and ready_after {ready_after}; give a window of 1 to 1000 values "
            "and ready_after from 1 to the window"
        )
    fields = [Field("recent", (width_of(window),))]
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
    window = int(rules[0])
    for i in range(n):
        if verdict[i] != 0:
            continue
        device, value = state[row[i]], values[i, channel]
        if np.isfinite(value):
            push(device, window, value)
        elif size(device, window) >= rules[1]:
            fill(values[i], flags[i], channel, most_frequent(device, window))
