"""What no single row can say: a drift began, a device was evicted."""

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
    """Number of values that the newer statistic rests on."""


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

    def append(self, kind: EventKind, *, row: int, time: int) -> None:
        """Add an event that concerns a device as a whole."""
        i = len(self)
        if i == len(self.codes):
            self.codes = np.concatenate([self.codes, np.zeros_like(self.codes)])
            self.numbers = np.concatenate([self.numbers, np.zeros_like(self.numbers)])
        self.codes[i] = (kind, row, -1, time, -1, -1)
        self.numbers[i] = np.nan
        self.count[0] = i + 1

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
