"""Messages about some channels of a device become rows about all of them.

An item is float64[2 k]: the values of one message, NaN where a channel is absent, then its flags.
"""

from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel

__all__ = ["NOT", "WAITING", "WITH_LAST", "close_row", "overdue", "pass_on", "put"]

NOT, WITH_LAST, WAITING = 0, 1, 2
"""How messages are assembled."""

# Columns of a device's unfinished row: time of its first message + 1 (0: there is none), time of
# its newest message and when that came; the item follows.
_FIRST, _TIME, _RECEIVED, _ITEM = 0, 1, 2, 3


@kernel
def put(
    m: int,
    d: int,
    time: int,
    received: int,
    sequence: int,
    verdict: int,
    item: Floats,
    codes: Ints,
    numbers: Floats,
) -> int:
    """Write a row; the next free place."""
    codes[m, 0], codes[m, 1], codes[m, 2] = d, time, received
    codes[m, 3], codes[m, 4] = sequence, verdict
    numbers[m] = item
    return m + 1


@kernel
def _has(item: Floats, c: int) -> bool:
    """Whether the channel was in the message, be it with a bad value."""
    return bool(item[c] == item[c] or item[len(item) // 2 + c] != 0.0)


@kernel
def _fill(time: int, span: int, known: Floats, item: Floats) -> None:
    """Learn the item's values, and give it those of absent channels that are known and not older
    than the span. `known` is k values, then the times of their messages + 1 (0: never)."""
    count = len(item) // 2
    for c in range(count):
        if item[c] == item[c]:
            known[c], known[count + c] = item[c], time + 1
        elif not _has(item, c) and known[count + c] != 0.0 and time + 1 - known[count + c] <= span:
            item[c] = known[c]


@kernel
def close_row(m: int, d: int, part: Floats, codes: Ints, numbers: Floats) -> int:
    """Write the unfinished row as it stands; there is none afterwards."""
    part[_FIRST] = 0.0
    time, received = int(part[_TIME]), int(part[_RECEIVED])
    return put(m, d, time, received, -1, 0, part[_ITEM:], codes, numbers)


@kernel
def overdue(time: int, span: int, part: Floats) -> bool:
    """Whether the unfinished row has been waited for longer than the span."""
    return bool(part[_FIRST] != 0.0 and time + 1 - part[_FIRST] > span)


@kernel
def _collect(
    m: int,
    d: int,
    time: int,
    received: int,
    span: int,
    item: Floats,
    part: Floats,
    codes: Ints,
    numbers: Floats,
) -> int:
    row, complete = part[_ITEM:], True
    clash = overdue(time, span, part)
    for c in range(len(item) // 2):
        clash = clash or (part[_FIRST] != 0.0 and _has(item, c) and _has(row, c))
    if clash:
        m = close_row(m, d, part, codes, numbers)
    if part[_FIRST] == 0.0:
        part[_FIRST] = time + 1
        row[: len(item) // 2] = float("nan")
        row[len(item) // 2 :] = 0.0
    part[_TIME], part[_RECEIVED] = time, received
    for c in range(len(item) // 2):
        if _has(item, c):
            row[c], row[len(item) // 2 + c] = item[c], item[len(item) // 2 + c]
        complete = complete and _has(row, c)
    return close_row(m, d, part, codes, numbers) if complete else m


@kernel
def pass_on(
    m: int,
    d: int,
    time: int,
    received: int,
    how: int,
    span: int,
    item: Floats,
    known: Floats,
    part: Floats,
    codes: Ints,
    numbers: Floats,
) -> int:
    """One message in order of time: at most two rows; the next free place."""
    if how == WAITING:
        return _collect(m, d, time, received, span, item, part, codes, numbers)
    if how == WITH_LAST:
        _fill(time, span, known, item)
    return put(m, d, time, received, -1, 0, item, codes, numbers)
