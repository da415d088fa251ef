"""What actions bring: the mean error of a task before one, and after it.

Errors are absolute residuals of the model's own answers. Before an action they are a running mean
of the last `LABELS` or so, where the drift was one of the error what its detector says; after it
the mean of the first `LABELS` labels of predictions that were made since.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from monitoring.errors import HIGHEST
from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Call, Now
from streamgauge.events import (
    AFTER,
    BEFORE,
    KIND,
    MAGNITUDE,
    ORDER,
    PART,
    SINCE,
    SIZE,
    TIME,
    WRITER,
    Event,
    EventKind,
    Events,
)
from streamgauge.events import ROW as EVENT_ROW
from streamgauge.events import SOURCE as EVENT_SOURCE
from streamgauge.kernels import kernel
from streamgauge.schedule import DUE, LANE, RESIDUAL, ROW, SEQUENCE, SOURCE, STEP, Lane, Schedule
from streamgauge.signal import Kind, Signal
from streamgauge.state import Block, Field
from streamgauge.words import Step

__all__ = ["LABELS", "Effects"]

LABELS = 100
"""That a mean error is of."""
FIELDS = ("error", "seen", "acted", "reason", "since", "first", "before", "sum", "counted")
ERROR, SEEN, ACTED, REASON, SINCE_WHEN, FIRST, BEFORE_IT, SUM, COUNTED = range(len(FIELDS))
KINDS = tuple(Kind)

_LEARN, _SCORE = int(Step.LEARN), int(Step.SCORE)
_EFFECT = int(EventKind.EFFECT)


@kernel
def measure(
    codes: Ints, numbers: Floats, device: Floats, lanes: int, log: Ints, log_numbers: Floats,
    count: Ints, n: int,
) -> None:  # fmt: skip
    """Look at the errors of steps 0 to n, which the scorer has judged."""
    for i in range(n):
        step, lane = codes[i, STEP], codes[i, LANE]
        if step != _LEARN and step != _SCORE:
            continue
        value = abs(numbers[i, RESIDUAL])
        if not value <= HIGHEST:
            continue
        own = device[codes[i, ROW]]
        seen = own[SEEN * lanes + lane] = min(own[SEEN * lanes + lane] + 1.0, LABELS)
        own[ERROR * lanes + lane] += (value - own[ERROR * lanes + lane]) / seen
        if own[ACTED * lanes + lane] == 0.0 or codes[i, SEQUENCE] < own[FIRST * lanes + lane]:
            continue
        own[SUM * lanes + lane] += value
        counted = own[COUNTED * lanes + lane] = own[COUNTED * lanes + lane] + 1.0
        if counted < LABELS:
            continue
        k = count[0]
        log[k, KIND], log[k, ORDER], log[k, WRITER] = _EFFECT, i, 0
        log[k, EVENT_ROW], log[k, PART] = codes[i, ROW], lane
        log[k, TIME], log[k, EVENT_SOURCE] = codes[i, DUE], codes[i, SOURCE]
        log[k, SINCE] = int(own[SINCE_WHEN * lanes + lane])
        log_numbers[k, BEFORE] = own[BEFORE_IT * lanes + lane]
        log_numbers[k, AFTER] = own[SUM * lanes + lane] / counted
        log_numbers[k, SIZE], log_numbers[k, MAGNITUDE] = counted, own[REASON * lanes + lane]
        count[0] = k + 1
        own[ACTED * lanes + lane] = 0.0


class Effects:
    """Of each device and lane the last action, and what it has brought so far."""

    def __init__(
        self, lanes: Sequence[Lane], capacity: int, *, detectors: Mapping[str, tuple[str, int]],
        room: int,
    ) -> None:  # fmt: skip
        """`detectors` are name and version by signal; `room` is the most steps of a schedule."""
        self._lanes = len(lanes)
        fields = [Field(name, (self._lanes,), along="lanes") for name in FIELDS]
        self._state = Block(fields, capacity)
        self.blocks: Mapping[str, Block] = {"effects": self._state}
        self._cells = self._state.array.reshape(capacity, len(FIELDS), self._lanes)
        self._detectors = detectors
        self._log = Events(room)
        self._log.enrol(Signal(Kind.ERROR, "lanes", [lane.name for lane in lanes], 0), "", 0)

    def call(self, schedule: Schedule) -> Call:
        """Look at the schedule's STEPS, once they are judged."""
        given = (schedule.codes, schedule.numbers, self._state.array, self._lanes)
        log = (self._log.codes, self._log.numbers, self._log.count)
        return Call(measure, (*given, *log, Now.STEPS))

    def began(self, event: Event, first: int) -> None:
        """An action was taken, which is this event; `first` is the number of the device's first
        reading whose prediction is made after it."""
        own = self._cells[event.row, :, event.lane]
        before = event.after if event.signal == Kind.ERROR else float(own[ERROR])
        if event.kind is EventKind.REPLACED:
            before = event.before
        # Where another model learns beside the one that answers, nothing is different yet.
        own[ACTED] = 0.0 if event.kind is EventKind.RELEARNS else event.kind
        own[REASON] = KINDS.index(Kind(event.signal))
        own[SINCE_WHEN], own[FIRST], own[BEFORE_IT] = event.time, first, before
        own[SUM], own[COUNTED] = 0.0, 0.0

    def rests(self, row: int, lane: int, reading: int) -> bool:
        """Whether the last action was less than `LABELS` readings of the device ago."""
        own = self._cells[row, :, lane]
        return bool(own[SINCE_WHEN] > 0.0 and reading - own[FIRST] < LABELS)

    def told(self, until: int) -> list[Event]:
        """Take out what readings up to number `until` of the batch brought, in their order."""
        taken = self._log.take(until)
        return [self._because(replace(one, magnitude=0.0), one.magnitude) for one in taken]

    def reasoned(self, event: Event) -> Event:
        """The event of a device and lane with the reason of what was done there last."""
        return self._because(event, float(self._cells[event.row, REASON, event.lane]))

    def _because(self, event: Event, reason: float) -> Event:
        signal = KINDS[int(reason)].value
        detector, version = self._detectors.get(signal, ("", 0))
        return replace(event, signal=signal, detector=detector, version=version)
