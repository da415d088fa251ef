"""Kafka's record format 2 taken apart by compiled code: a batch becomes columns of places."""

import numpy as np

from streamgauge.arrays import Bytes, Ints
from streamgauge.kernels import kernel

__all__ = ["COLUMNS", "OFFSET", "TIME", "places"]

COLUMNS = 8
OFFSET, TIME = 0, 1
"""Deltas to the batch's first offset and first time. Behind them: start and end of the key and of
the value, start and number of the headers; an end of -1 stands for null."""


@kernel
def _varint(data: Bytes, at: int) -> tuple[int, int]:
    """A zigzag number and the place behind it; place -1 where the data end first."""
    found, shift = np.uint64(0), np.uint64(0)
    while at < len(data) and shift < np.uint64(64):
        byte = np.uint64(data[at])
        at += 1
        found |= (byte & np.uint64(127)) << shift
        if byte < np.uint64(128):
            return int(np.int64(found >> np.uint64(1)) ^ -np.int64(found & np.uint64(1))), at
        shift += np.uint64(7)
    return 0, -1


@kernel
def _field(data: Bytes, at: int) -> tuple[int, int, int]:
    """Start and end of a field that its length stands before, and the place behind it."""
    length, at = _varint(data, at)
    if at < 0 or at + length > len(data):
        return 0, 0, -1
    if length < 0:
        return at, -1, at
    return at, at + length, at + length


@kernel
def places(data: Bytes, at: int, out: Ints) -> int:
    """Fill `out int64[n, 8]` from the n records that stand from `at` on.

    The place behind them; -1 where the data are not n whole records.
    """
    for i in range(out.shape[0]):
        length, at = _varint(data, at)
        end = at + length
        if at < 0 or length < 1 or end > len(data):
            return -1
        at += 1
        out[i, 1], at = _varint(data, at)
        if at < 0:
            return -1
        out[i, 0], at = _varint(data, at)
        if at < 0:
            return -1
        out[i, 2], out[i, 3], at = _field(data, at)
        if at < 0:
            return -1
        out[i, 4], out[i, 5], at = _field(data, at)
        if at < 0:
            return -1
        out[i, 7], at = _varint(data, at)
        if at < 0 or at > end or out[i, 7] < 0:
            return -1
        out[i, 6] = at
        at = end
    return at
