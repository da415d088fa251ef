"""Writing one reading into a batch."""

from collections.abc import Sequence
from typing import Any

from streamgauge.batch import Batch

__all__ = ["NO_SEQUENCE", "sequence_number", "write_row"]

NO_SEQUENCE = -1
_NUMBERS = range(2**63)


def sequence_number(value: object) -> int:
    """The device's own count that a value is, -1 where it is none: a whole number from 0 on."""
    if isinstance(value, str) and len(value) < 20 and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return NO_SEQUENCE
    return value if value in _NUMBERS else NO_SEQUENCE


def write_row(
    batch: Batch,
    row: int,
    time: int,
    received: int,
    sequence: int,
    values: Sequence[Any],
    flags: Sequence[int] | int,
) -> None:
    """Append a reading to the batch: all columns of its next row. None among values is NaN."""
    n = batch.n
    if n == batch.capacity:
        batch.reserve(n + 1)
    batch.row[n] = row
    batch.time[n] = time
    batch.received[n] = received
    batch.sequence[n] = sequence
    batch.values[n] = values
    batch.flags[n] = flags
    batch.verdict[n] = 0
    batch.n = n + 1
