"""What detectors share: so many numbers of state per device and part, one kernel, one log."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from streamgauge.arrays import Bools, Floats, Ints
from streamgauge.calls import Call
from streamgauge.events import (
    AFTER,
    BEFORE,
    KIND,
    MAGNITUDE,
    ORDER,
    SINCE,
    SIZE,
    WRITER,
    Events,
)
from streamgauge.events import PART as EVENT_PART
from streamgauge.events import ROW as EVENT_ROW
from streamgauge.events import SOURCE as EVENT_SOURCE
from streamgauge.events import TIME as EVENT_TIME
from streamgauge.kernels import kernel
from streamgauge.signal import PART, ROW, SOURCE, TIME, Signal
from streamgauge.state import Block, Field

__all__ = ["PerPart", "deviations", "moments", "tell"]

# A change by so many deviations is that of values which did not vary at all.
_COUNTLESS = 1e9


@kernel
def moments(values: Floats) -> tuple[float, float]:
    """Mean and standard deviation of values, of which there is one at least."""
    mean, square = 0.0, 0.0
    for value in values:
        mean += value / len(values)
    for value in values:
        square += (value - mean) * (value - mean) / len(values)
    return mean, math.sqrt(square)


@kernel
def deviations(before: float, after: float, spread: float) -> float:
    """How many standard deviations lie between two means; 0 where nothing varied."""
    step = abs(after - before)
    return step / spread if step < _COUNTLESS * spread else 0.0


@kernel
def tell(
    log: Ints, log_numbers: Floats, count: Ints, codes: Ints, i: int, writer: float,
    kind: int, since: float, before: float, after: float, size: float, magnitude: float,
) -> None:  # fmt: skip
    """Append an event that value `i` of a signal brought."""
    k = count[0]
    log[k, KIND], log[k, ORDER], log[k, WRITER] = kind, i, int(writer)
    log[k, EVENT_ROW], log[k, EVENT_PART] = codes[i, ROW], codes[i, PART]
    log[k, EVENT_TIME], log[k, EVENT_SOURCE] = codes[i, TIME], codes[i, SOURCE]
    log[k, SINCE] = int(since)
    log_numbers[k, BEFORE], log_numbers[k, AFTER] = before, after
    log_numbers[k, SIZE], log_numbers[k, MAGNITUDE] = size, magnitude
    count[0] = k + 1


class PerPart:
    """A detector with `fields` numbers of state per device and part, all 0 at first: block "state".

    `watch` is its kernel. It takes codes, numbers and count of the signal, codes, numbers and count
    of the log, the state `float64[capacity, parts, fields]`, and the settings `limits` with the
    writer's number behind them.
    """

    def __init__(
        self,
        detector: tuple[str, int],
        watch: Callable[..., None],
        signal: Signal,
        capacity: int,
        fields: int,
        limits: Floats,
        ready: Callable[[Floats], Any] | None = None,
    ) -> None:
        """`detector` is its name and version; `ready` says of state `float64[..., fields]` whether
        there were enough values, by default whether there were any."""
        shape = (len(signal.parts), fields)
        state = Block([Field("state", shape, along=signal.along)], capacity)
        self.blocks: Mapping[str, Block] = {"state": state}
        self._state = state.view("state")
        self._detector, self._watch, self._limits = detector, watch, limits
        self._ready: Callable[[Floats], Any] = ready or (lambda state: state.any(axis=-1))

    def call(self, signal: Signal, events: Events) -> Call:
        """Feed all values; see `monitoring.detector.Detector`."""
        writer = events.enrol(signal, *self._detector)
        given = (signal.codes, signal.numbers, signal.count)
        log = (events.codes, events.numbers, events.count)
        limits = np.append(self._limits, float(writer))
        return Call(self._watch, (*given, *log, self._state, limits))

    def ready(self, rows: slice) -> Bools:
        """Which have had enough values; see `monitoring.detector.Detector`."""
        found: Bools = np.asarray(self._ready(self._state[rows]), np.bool)
        return found
