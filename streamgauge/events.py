"""What no single row can say: a drift began, a device fell silent or was evicted."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from streamgauge.signal import RATES, Kind, Signal

__all__ = ["ACTIONS", "DRIFTS", "Event", "EventKind", "Events"]

# Columns of `codes`.
KIND, ROW, PART, TIME, SOURCE, ORDER, SINCE, WRITER = range(8)
# Columns of `numbers`.
BEFORE, AFTER, SIZE, MAGNITUDE = range(4)


class EventKind(IntEnum):
    """What happened."""

    DRIFT_UP = 1
    """A detector says that the mean of its signal rose."""
    DRIFT_DOWN = 2
    """A detector says that the mean of its signal fell (an error that fell is good news)."""
    EVICTED = 3
    """A device was idle for longer than `devices.evict_after`; its state left the memory."""
    SILENT = 4
    """Nothing was heard of a device or a channel for longer than its `silent_after`."""
    RETURNED = 5
    """A device or channel that had fallen silent is heard of again."""
    DRIFT = 6
    """A detector says that its signal is distributed in another way than before."""
    RECOVERED = 7
    """A value that had been refused passed its corrected rule when it was sent again, too late to
    teach: `after` is the value."""
    NEW_CLUSTER = 8
    """A device came into a cluster where it had not been before: `before` is where it was, `after`
    the new one, `size` how many it now knows."""
    ANOMALY = 9
    """An anomaly score is beyond the threshold that the budget of alarms gives: `before` is the
    threshold, `after` the score, `size` how many alarms the device has had of the task."""
    RESTARTED = 10
    """A drift made a device's model begin anew. Of this and the next two, all but kind and lane is
    what the drift's event says."""
    LEARNS_FASTER = 11
    """A drift made a device's model learn faster for a while."""
    RELEARNS = 12
    """A drift made another model of a device learn beside the one that answers."""
    REPLACED = 13
    """That model has become the better one, and answers from now on: `before` is the mean error of
    the one that it replaced, `after` its own, over `size` labels."""
    KEPT = 14
    """That model did not become the better one in time, and is gone: numbers as of `REPLACED`."""
    EFFECT = 15
    """What an action brought: the mean error `before` it, and `after` it over `size` labels;
    `since` is when it was taken."""


ACTIONS = (
    EventKind.RESTARTED,
    EventKind.LEARNS_FASTER,
    EventKind.RELEARNS,
    EventKind.REPLACED,
    EventKind.KEPT,
    EventKind.EFFECT,
)
"""What is done about drift, and what that brought; `signal` and `detector` say because of what."""
DRIFTS = (EventKind.DRIFT_UP, EventKind.DRIFT_DOWN, EventKind.DRIFT)
"""What detectors say."""
_GOOD = (
    EventKind.RETURNED,
    EventKind.EVICTED,
    EventKind.RECOVERED,
    EventKind.NEW_CLUSTER,
    *ACTIONS,
)


@dataclass(frozen=True, slots=True)
class Event:
    """One event, as sinks and users see it. `row` is the device's row, -1 for the fleet."""

    kind: EventKind
    row: int
    lane: int
    """Whose error drifted; -1 where it is about no task."""
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
    """Which channel or feature drifted, fell silent, returned, has a value back or is the
    strangest, or whose answers or labels drifted, as "task@horizon"; "" for the device as a whole
    or the error of a task."""
    signal: str = ""
    """What drifted: the name of a `Kind`; "" where nothing did."""
    since: int = 0
    """Event time from which on it was so, as far as the detector can tell; 0 where it cannot."""
    magnitude: float = 0.0
    """Size of the change in standard deviations of the signal."""
    detector: str = ""
    version: int = 0
    """Of the detector: raised whenever it would say something else of the same values."""

    @property
    def severity(self) -> str:
        """Either "alarm", or "note" where nothing became worse: an error fell, one returned."""
        good = self.kind is EventKind.DRIFT_DOWN and self.signal in ("", *RATES)
        note = good or self.kind in _GOOD
        return "note" if note else "alarm"


class Events:
    """A bounded log that kernels append to.

    `codes int64[capacity, 8]`, `numbers float64[capacity, 4]`; `count[0]` events are in it. Whoever
    writes has its number from `enrol` in `WRITER`, and in `PART` a place among its signal's parts.
    """

    __slots__ = ("_counting", "_writers", "codes", "count", "numbers")

    def __init__(self, capacity: int) -> None:
        self.codes = np.zeros((capacity, 8), np.int64)
        self.numbers = np.zeros((capacity, 4))
        self.count = np.zeros(1, np.int64)
        self._writers: list[tuple[Signal, str, int]] = []
        # Of each the first that counts the same values.
        self._counting: list[int] = []

    def __len__(self) -> int:
        return int(self.count[0])

    def enrol(self, signal: Signal, detector: str, version: int) -> int:
        """The number of a new writer. Of one reading, those that enrolled first are told first."""
        same = (k for k, (one, *_) in enumerate(self._writers) if one.count is signal.count)
        first = next(same, len(self._writers))
        self._writers.append((signal, detector, version))
        self._counting.append(first)
        return len(self._writers) - 1

    def take(self, until: int) -> list[Event]:
        """Take out what readings up to number `until` of the batch brought, in their order."""
        n = len(self)
        if not n:
            return []
        codes, numbers = self.codes[:n], self.numbers[:n]
        due = codes[:, SOURCE] <= until
        found = np.flatnonzero(due)
        # Signals of the same values count them alike, others do not.
        signals = np.array(self._counting)[codes[found, WRITER]]
        keys = (codes[found, WRITER], codes[found, ORDER], signals, codes[found, SOURCE])
        found = found[np.lexsort(keys)]
        rows = zip(codes[found].tolist(), numbers[found].tolist(), strict=True)
        taken = [self._event(code, number) for code, number in rows]
        left = np.flatnonzero(~due)
        codes[: len(left)], numbers[: len(left)] = codes[left], numbers[left]
        self.count[0] = len(left)
        return taken

    def __iter__(self) -> Iterator[Event]:
        """What is in the log, in the order in which it was written."""
        n = len(self)
        rows = zip(self.codes[:n].tolist(), self.numbers[:n].tolist(), strict=True)
        return iter([self._event(code, number) for code, number in rows])

    def _event(self, code: list[int], number: list[float]) -> Event:
        signal, detector, version = self._writers[code[WRITER]]
        of_lane = signal.kind is Kind.ERROR
        return Event(
            EventKind(code[KIND]),
            code[ROW],
            code[PART] if of_lane else -1,
            code[TIME],
            code[SOURCE],
            number[BEFORE],
            number[AFTER],
            number[SIZE],
            "" if of_lane else signal.parts[code[PART]],
            str(signal.kind),
            code[SINCE],
            number[MAGNITUDE],
            detector,
            version,
        )

    def clear(self) -> None:
        self.count[0] = 0
