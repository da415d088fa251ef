"""Missing values between two that came: a row waits for the next value of its channel.

An entry of the queue is float64[2 + 2 k]: event time, when it came, then the item (values, flags).
"""

from stream_processor.arrange.assemble import put
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel
from streamgauge.words import Flag

__all__ = ["ITEM", "SPARE", "enter", "let_go"]

SPARE = 2
"""Rows that may enter the queue at a time, beside those that it has room for."""

_TIME, _CAME, ITEM = range(3)
# Columns of a device's state: rows that wait, time of the newest that entered; then the last value
# of each channel, and after those the time of each + 1 (0: there was none).
_SIZE, _NEWEST, _KNOWN = range(3)
_FILLED = int(Flag.FILLED)


@kernel
def _fill(
    c: int, time: int, value: float, d: int, since: int, before: float, queue: Floats, size: int
) -> None:
    """Draw the line from the value `before` at `since` to that of now through the rows between."""
    count = (queue.shape[2] - ITEM) // 2
    for s in range(size):
        row = queue[s, d]
        if row[ITEM + c] != row[ITEM + c] and row[_TIME] >= since:
            share = (row[_TIME] - since) / (time - since) if time > since else 1.0
            row[ITEM + c] = before * (1.0 - share) + value * share
            row[ITEM + count + c] = int(row[ITEM + count + c]) | _FILLED


@kernel
def enter(
    d: int, time: int, received: int, item: Floats, spans: Ints, state: Floats, queue: Floats
) -> None:
    """A row enters the queue of its device; its values fill what waits for them."""
    device, count = state[d], len(spans)
    size = int(device[_SIZE])
    for c in range(count):
        if spans[c] == 0 or item[c] != item[c]:
            continue
        since = int(device[_KNOWN + count + c]) - 1
        if since >= 0 and time - since <= spans[c]:
            _fill(c, time, item[c], d, since, device[_KNOWN + c], queue, size)
        device[_KNOWN + c], device[_KNOWN + count + c] = item[c], time + 1
    row = queue[size, d]
    row[_TIME], row[_CAME] = time, received
    row[ITEM:] = item
    device[_NEWEST] = time
    device[_SIZE] += 1.0


@kernel
def _waits(now: int, row: Floats, spans: Ints, device: Floats) -> bool:
    """Whether one of the row's missing values may still be filled at the device's time `now`."""
    count = len(spans)
    for c in range(count):
        last = int(device[_KNOWN + count + c])
        open_since = last != 0 and row[_TIME] >= last - 1
        if row[ITEM + c] != row[ITEM + c] and open_since and now - (last - 1) <= spans[c]:
            return True
    return False


@kernel
def let_go(
    m: int, d: int, now: int, room: int, spans: Ints, state: Floats, queue: Floats,
    codes: Ints, numbers: Floats,
) -> int:  # fmt: skip
    """Write the rows that wait for nothing more, or that there is no room for; the next free place.

    `now` is the device's time where it has moved on without a row.
    """
    device = state[d]
    size, gone = int(device[_SIZE]), 0
    now = max(now, int(device[_NEWEST]))
    while gone < size and (size - gone > room or not _waits(now, queue[gone, d], spans, device)):
        row = queue[gone, d]
        m = put(m, d, int(row[_TIME]), int(row[_CAME]), -1, 0, row[ITEM:], codes, numbers)
        gone += 1
    if gone:
        for s in range(gone, size):
            queue[s - gone, d] = queue[s, d]
        device[_SIZE] = size - gone
    return m
