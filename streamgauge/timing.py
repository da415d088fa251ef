"""Time per stage and sizes of batches, counted while the walk runs.

Stages that are kernels take their laps within their chain, so that Python is not entered between
them: a stage costs one look at the clock.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate
from typing import Protocol

import numpy as np

from streamgauge.arrays import Ints
from streamgauge.calls import Call
from streamgauge.delivery import Delivery
from streamgauge.laps import BEGAN, COUNTS, ENDED, MONOTONIC, SECONDS, SUM, Clock, begin, lap

__all__ = ["Counted", "Histogram", "Listener", "Stage", "Timing"]


class Stage(IntEnum):
    """What the time is spent on, in the order of the work."""

    JOURNAL = 0
    """Writing a round's deliveries down."""
    ACKNOWLEDGE = 1
    DECODE = 2
    ADMIT = 3
    CLEAN = 4
    FEATURES = 5
    CHANNEL_DRIFT = 6
    LABEL_JOIN = 7
    MODELS = 8
    SCORES = 9
    ERROR_DRIFT = 10
    TICK = 11
    """Looking once a second after devices that send nothing."""
    SINKS = 12
    """Handing results to the sinks, which never wait."""
    CHECKPOINT = 13
    """Copying a slice of the state; it is written by a thread of its own."""


SIZES = tuple(float(4**k) for k in range(8))
"""Upper bounds of the sizes of batches; the worker takes at most 4,096 messages at a time."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A histogram as it stands."""

    bounds: Sequence[float]
    counts: Sequence[int]
    """Of values up to each bound and above the one before; the last one is of those beyond."""
    total: float
    """Sum of all values."""

    def up_to(self) -> list[int]:
        """Values up to each bound, and all of them."""
        return list(accumulate(self.counts))


class Histogram:
    """Counts values by size; written by one thread, read by any."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def counted(self) -> Counted:
        """What was counted so far."""
        return Counted(self._bounds, tuple(self._counts), self._total)


class Listener(Protocol):
    """Who wants to know each lap, in the thread of the worker."""

    def lap(self, stage: Stage, began: int, ended: int) -> None:
        """A stage began and ended then, nanoseconds of the timing's clock."""
        ...

    def worked_off(self, delivery: Delivery, place: int) -> None:
        """A delivery was, which ends at `place` in the journal: the newest laps were for it."""
        ...


class Timing:
    """Histograms of one pipeline; written by the thread that owns it, read by any."""

    def __init__(self, clock: Clock = MONOTONIC) -> None:
        self.now = clock.read
        self.listener: Listener | None = None
        self.sizes = Histogram(SIZES)
        """Readings that were walked together."""
        self.delays = Histogram(SECONDS)
        """Seconds from the arrival of a delivery's first message until it was walked."""
        self._laps = _laps(len(Stage))
        self._lanes, self._lanes_in_python = _laps(0), [0]
        self._own = {stage: Histogram(SECONDS) for stage in Stage}
        self._clock = clock
        self._passed = 0

    def around(self, *stages: tuple[Stage, Sequence[Call]]) -> list[Call]:
        """The calls of these stages in a row, with a lap behind each that has any."""
        return [Call(begin, (self._clock.address, self._laps)), *self.on(*stages)]

    def on(self, *stages: tuple[Stage, Sequence[Call]]) -> list[Call]:
        """The same behind other stages of the chain, whose last lap ends where these begin."""
        calls: list[Call] = []
        for stage, own in stages:
            if own:
                given = (self._clock.address, self._laps, int(stage))
                calls += [*own, Call(lap, given)]
        return calls

    def by_lane(self, calls: Sequence[Sequence[Call]]) -> list[Call]:
        """The calls of each lane's models in a row, and how long they take, by lane."""
        self._lanes, self._lanes_in_python = _laps(len(calls)), [0] * len(calls)
        given = (self._clock.address, self._lanes)
        found = [Call(begin, given)] if any(calls) else []
        for lane, own in enumerate(calls):
            if own:
                found += [*own, Call(lap, (*given, lane))]
        return found

    def spent_on(self, lane: int, began: int) -> None:
        """The models of a lane that run in Python have ended, which began then."""
        self._lanes_in_python[lane] += self.now() - began

    def lanes(self) -> list[float]:
        """Seconds so far for the models of each lane."""
        compiled = self._lanes[:-1, SUM].tolist()
        return [(a + b) / 1e9 for a, b in zip(compiled, self._lanes_in_python, strict=False)]

    def spent(self, stage: Stage, began: int) -> None:
        """A stage in Python, which began at that time of our clock, has ended."""
        ended = self.now()
        self._own[stage].add((ended - began) / 1e9)
        if self.listener is not None:
            self.listener.lap(stage, began, ended)

    def tell(self) -> None:
        """Tell the laps that kernels took since the last call."""
        if self.listener is None:
            return
        newest = [(*of[BEGAN : ENDED + 1], stage) for stage, of in enumerate(self._laps.tolist())]
        for began, ended, stage in sorted(newest[:-1]):
            if ended > self._passed:
                self.listener.lap(Stage(stage), began, ended)
        self._passed = newest[-1][1]

    def stages(self) -> dict[Stage, Counted]:
        """Seconds of each stage that had a lap."""
        found = {}
        for stage, numbers in zip(Stage, self._laps.tolist(), strict=False):
            own = self._own[stage].counted()
            counts = [a + b for a, b in zip(own.counts, numbers[COUNTS:], strict=True)]
            if any(counts):
                found[stage] = Counted(SECONDS, counts, own.total + numbers[SUM] / 1e9)
        return found


def _laps(rows: int) -> Ints:
    """What `streamgauge.laps` counts in."""
    return np.zeros((rows + 1, COUNTS + len(SECONDS) + 1), np.int64)
