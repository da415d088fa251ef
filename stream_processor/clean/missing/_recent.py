"""Missing values told from the sorted window of a device's recent ones."""

import numpy as np

from stream_processor.clean._one_channel import OneChannel
from stream_processor.clean.missing._fill import fill
from stream_processor.operator import Operator
from streamgauge.arrays import Bytes, Floats, Ints, Rows, Words
from streamgauge.kernels import kernel
from streamgauge.sorted_window import most_frequent, push, quantile, size, width_of
from streamgauge.state import Field

__all__ = ["MEDIAN", "MODE", "fill_from_recent"]

MEDIAN, MODE = range(2)


def fill_from_recent(
    capacity: int, channel: int, statistic: int, *, window: int, ready_after: int
) -> Operator:
    """The operator for one channel and statistic; ValueError on options that mean nothing."""
    if not 1 <= ready_after <= window <= 1_000:
        raise ValueError(
            f"window is {window} and ready_after {ready_after}; give a window of 1 to 1000 values "
            "and ready_after from 1 to the window"
        )
    fields = [Field("recent", (width_of(window),))]
    return OneChannel(_fill, capacity, fields, channel, [window, ready_after, statistic])


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
    window, mode = int(rules[0]), rules[2] == MODE
    for i in range(n):
        if verdict[i] != 0:
            continue
        device, value = state[row[i]], values[i, channel]
        if np.isfinite(value):
            push(device, window, value)
        elif size(device, window) >= rules[1]:
            told = most_frequent(device, window) if mode else quantile(device, window, 0.5)
            fill(values[i], flags[i], channel, told)
