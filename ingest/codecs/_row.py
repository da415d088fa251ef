"""Writing one reading into a batch."""

from collections.abc import Sequence
from typing import Any

from streamgauge.batch import Batch

__all__ = ["write_row"]


def write_row(
    batch: Batch,
    row: int,
    time: int,
    received: int,
    values: Sequence[Any],
    flags: Sequence[int] | int,
) -> None:
    """Append a reading to the batch: all six columns of its next row. None among values is NaN."""
    n = batch.n
    if n == batch.capacity:
        batch.reserve(n + 1)
    batch.row[n] = row
    batch.time[n] = time
    batch.received[n] = received
    batch.values[n] = values
    batch.flags[n] = flags
    batch.verdict[n] = 0
    batch.n = n + 1
