"""What no single row can say: a drift began, a device fell silent or was evicted."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

__all__ = ["Event", "EventKind", "Events"]

# Columns of `codes`.
KIND, ROW, LANE, TIME, SOURCE, ORDER = range(6)
# Columns of `numbers`.
BEFORE, AFTER, SIZE = range(3)


class EventKind(IntEnum):
    """What happened."""

    DRIFT_UP = 1
    """A detector says that the mean of its signal rose."""
    DRIFT_DOWN = 2
    """A detector says that the mean of its signal fell (an error that fell is good news)."""
    EVICTED = 3
    """A device was idle for longer than `devices.evict_after`; its state was dropped."""
    SILENT = 4
    """Nothing was heard of a device or a channel for longer than its `silent_after`."""
    RETURNED = 5
    """A device or channel that had fallen silent is heard of again."""
    NEW_CLUSTER = 6
    """A device came into a cluster where it had not been before: `before` is where it was, `after`
    the new one, `size` how many it now knows."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event, as sinks and users see it. `row` is the device's row, -1 for the fleet."""

    kind: EventKind
    row: int
    lane: int
    time: int
    """Event time, microseconds UTC."""
    source: int
    """Index of the reading within its batch, -1 where there is none."""
    before: float
    after: float
    size: float
    """Number of values that the newer statistic rests on; of a silence, how many seconds nothing
    was heard."""
    channel: str = ""
    """Which channel fell silent or returned, "" for the device as a whole."""


class Events:
    """A bounded log that kernels append to.

    `codes int64[capacity, 6]`, `numbers float64[capacity, 3]`; `count[0]` events are
    in it. A kernel that finds it full stops and says where, so that the caller can empty it and
    resume.
    """

    __slots__ = ("codes", "count", "numbers")

    def __init__(self, capacity: int) -> None:
        self.codes = np.zeros((capacity, 6), np.int64)
        self.numbers = np.zeros((capacity, 3))
        self.count = np.zeros(1, np.int64)

    def __len__(self) -> int:
        return int(self.count[0])

    def __iter__(self) -> Iterator[Event]:
        n = len(self)
        for code, number in zip(self.codes[:n].tolist(), self.numbers[:n].tolist(), strict=True):
            yield Event(EventKind(code[0]), *code[1:ORDER], *number)

    def order(self, since: int) -> None:
        """Put the events from number `since` on, those of one schedule, in the order of its steps:
        detectors look at the schedule one after the other."""
        new = slice(since, len(self))
        places = np.argsort(self.codes[new, ORDER], kind="stable")
        self.codes[new] = self.codes[new][places]
        self.numbers[new] = self.numbers[new][places]

    def clear(self) -> None:
        self.count[0] = 0
