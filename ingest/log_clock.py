"""The clock of a recording, which is its own time: `received` of readings that nobody received.

It is the row's time, except where that is more than five minutes ahead of all rows before and of
the eight that follow; then it is where the clock stood before. One wrong clock moves nobody else's,
and is refused as FUTURE, as it would be live.
"""

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from streamgauge.delivery import Readings

__all__ = ["with_clock"]

AHEAD = 5 * 60 * 10**6
"""Microseconds that a row's clock may be ahead of its neighbours': what `devices.max_ahead` is
unless set."""
LOOK_AHEAD = 8
NEVER = -(2**62)


def with_clock(pieces: Iterator[Readings], clock: int | None = None) -> Iterator[Readings]:
    """Set `received`; a piece waits until the rows that follow it are known. `clock` is where the
    log clock stood before, None where nothing was."""
    waiting: list[Readings] = []
    for piece in pieces:
        if len(piece):
            waiting.append(piece)
        while sum(map(len, waiting[1:])) >= LOOK_AHEAD:
            clock = _set_clock(waiting[0], clock, waiting[1:])
            yield waiting.pop(0)
    while waiting:
        clock = _set_clock(waiting[0], clock, waiting[1:])
        yield waiting.pop(0)


def _set_clock(readings: Readings, clock: int | None, later: list[Readings]) -> int:
    """Set `received` of one piece, which the pieces `later` follow; the log clock behind it."""
    time, n = readings.time, len(readings)
    # Rows behind the last count as in step with it: it has no neighbour to prove it wrong.
    beyond = np.concatenate([time[1:], *(piece.time for piece in later)])[: n + LOOK_AHEAD - 1]
    ending = np.full(n + LOOK_AHEAD - 1 - len(beyond), NEVER)
    following = sliding_window_view(np.concatenate([beyond, ending]), LOOK_AHEAD).max(axis=1)
    following = np.where(following == NEVER, time, following)
    suspect = time - following > AHEAD
    before = np.where(suspect, NEVER, time)
    start = NEVER if clock is None else clock
    before = np.maximum.accumulate(np.concatenate([[start], before]))
    for k in np.flatnonzero(suspect & (before[:-1] < time - AHEAD)).tolist():
        readings.received[k] = following[k] if before[k] == NEVER else before[k]
    return int(before[-1])
