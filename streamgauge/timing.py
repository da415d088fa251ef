"""Time per stage and sizes of batches, counted while the walk runs.

A lap is the time since the one before it. Stages that are kernels take their laps within their
chain, so that Python is not entered between them: a lap costs one look at the clock.
"""

import ctypes
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate
from typing import Any

import numpy as np
from numba.core import cgutils
from numba.extending import intrinsic
from numba.types import int64

from streamgauge.arrays import Ints
from streamgauge.calls import Call
from streamgauge.kernels import kernel

__all__ = ["MONOTONIC", "Clock", "Counted", "Histogram", "Stage", "Timing"]


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


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock that only goes on, nanoseconds: for kernels and for Python."""

    address: int
    """Of a C function `int (int, int64[2])`, which writes seconds and nanoseconds."""
    read: Callable[[], int]


MONOTONIC = Clock(
    ctypes.cast(ctypes.CDLL(None).clock_gettime, ctypes.c_void_p).value or 0, time.monotonic_ns
)

SECONDS = tuple(float(f"{k}e{e}") for e in range(-6, 1) for k in (1, 2.5, 5)) + (10.0,)
"""Upper bounds of the times: a stage takes a microsecond for one reading, a slow disk seconds."""
SIZES = tuple(float(4**k) for k in range(8))
"""Upper bounds of the sizes of batches; the worker takes at most 4,096 messages at a time."""
BOUNDS = np.array([round(bound * 1e9) for bound in SECONDS], np.int64)

SUM, BEGAN, ENDED, COUNTS = range(4)
"""Fields of a stage: nanoseconds so far, its newest lap, then how many laps by length."""
LAST = len(Stage)
"""The row whose ENDED is when the last lap ended."""


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


@intrinsic  # type: ignore[untyped-decorator] # numba has no types
def _read(context: Any, address: Any) -> Any:
    """The clock at `address`, nanoseconds."""

    def build(_: Any, builder: Any, __: Any, values: Any) -> Any:
        ir = cgutils.ir
        word, long = ir.IntType(32), ir.IntType(64)
        told = cgutils.alloca_once(builder, long, size=2)
        function = ir.FunctionType(word, [word, long.as_pointer()])
        read = builder.inttoptr(values[0], function.as_pointer())
        builder.call(read, [word(time.CLOCK_MONOTONIC), told])
        second = builder.gep(told, [word(1)])
        seconds = builder.mul(builder.load(told), long(10**9))
        return builder.add(seconds, builder.load(second))

    return int64(address), build


@kernel
def _begin(clock: int, laps: Ints) -> None:
    """The next lap begins now."""
    laps[LAST, ENDED] = _read(clock)


@kernel
def _lap(clock: int, laps: Ints, stage: int) -> None:
    """The stage ends now, and the next one begins."""
    began, ended = laps[LAST, ENDED], _read(clock)
    laps[LAST, ENDED] = ended
    spent = ended - began
    length = 0
    while length < len(BOUNDS) and spent > BOUNDS[length]:
        length += 1
    laps[stage, SUM] += spent
    laps[stage, BEGAN] = began
    laps[stage, ENDED] = ended
    laps[stage, COUNTS + length] += 1


class Timing:
    """Histograms of one pipeline; written by the thread that owns it, read by any.

    `told`, where there is one, is called with each lap: stage, and when it began and ended,
    nanoseconds of the clock.
    """

    def __init__(self, clock: Clock = MONOTONIC) -> None:
        self.now = clock.read
        self.told: Callable[[Stage, int, int], None] | None = None
        self.sizes = Histogram(SIZES)
        """Readings that were walked together."""
        self.delays = Histogram(SECONDS)
        """Seconds from the arrival of a delivery's first message until it was walked."""
        self._laps = np.zeros((len(Stage) + 1, COUNTS + len(SECONDS) + 1), np.int64)
        self._own = {stage: Histogram(SECONDS) for stage in Stage}
        self._clock = clock
        self._passed = 0

    def around(self, *stages: tuple[Stage, Sequence[Call]]) -> list[Call]:
        """The calls of these stages in a row, with a lap behind each that has any."""
        return [Call(_begin, (self._clock.address, self._laps)), *self.on(*stages)]

    def on(self, *stages: tuple[Stage, Sequence[Call]]) -> list[Call]:
        """The same behind other stages of the chain, whose last lap ends where these begin."""
        calls: list[Call] = []
        for stage, own in stages:
            if own:
                lap = Call(_lap, (self._clock.address, self._laps, int(stage)))
                calls += [*own, lap]
        return calls

    def spent(self, stage: Stage, began: int) -> None:
        """A stage in Python, which began at that time of our clock, has ended."""
        ended = self.now()
        self._own[stage].add((ended - began) / 1e9)
        if self.told is not None:
            self.told(stage, began, ended)

    def tell(self) -> None:
        """Tell the laps that kernels took since the last call."""
        if self.told is None:
            return
        newest = [(*of[BEGAN : ENDED + 1], stage) for stage, of in enumerate(self._laps.tolist())]
        for began, ended, stage in sorted(newest[:LAST]):
            if ended > self._passed:
                self.told(Stage(stage), began, ended)
        self._passed = newest[LAST][1]

    def stages(self) -> dict[Stage, Counted]:
        """Seconds of each stage that had a lap."""
        found = {}
        for stage, numbers in zip(Stage, self._laps.tolist(), strict=False):
            own = self._own[stage].counted()
            counts = [a + b for a, b in zip(own.counts, numbers[COUNTS:], strict=True)]
            if any(counts):
                found[stage] = Counted(SECONDS, counts, own.total + numbers[SUM] / 1e9)
        return found
