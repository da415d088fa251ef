"""A model beside the one that answers: after a drift it learns from nothing, and takes over when it
is better.

Both are judged by what they said of the same predictions, when they said it. The new one is better
once the mean difference of their errors, over the last hundred labels or so, is beyond twice its
standard error. Pairs: Diebold and Mariano (1995), "Comparing Predictive Accuracy".
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from models.learner import Blobs, Learner
from models.several_blobs import SeveralBlobs
from streamgauge.arrays import Floats, Ints
from streamgauge.events import (
    AFTER,
    BEFORE,
    KIND,
    ORDER,
    PART,
    SIZE,
    TIME,
    WRITER,
    EventKind,
    Events,
)
from streamgauge.events import ROW as EVENT_ROW
from streamgauge.events import SOURCE as EVENT_SOURCE
from streamgauge.kernels import kernel
from streamgauge.schedule import DUE, LANE, ROW, SEQUENCE, SLOT, SOURCE, STEP, TARGET, Schedule
from streamgauge.signal import Kind, Signal
from streamgauge.state import Block, Field, Keys, put_rows, reset_rows, take_rows
from streamgauge.words import Step

__all__ = ["Relearning"]

LABELS = 100
"""That errors are compared over, and the fewest for a decision."""
SURE = 2.0
"""Standard errors by which a new model must be better."""
# Columns of a device's rival: 0 none, 1 learns, 2 decided; from which reading on; until when;
# labels so far, both mean errors, mean difference and its variance; slots in use.
LEARNS, SINCE, UNTIL, COUNTED, OLD, NEW, APART, SPREAD, SLOTS = range(9)

_PREDICT, _LEARN = int(Step.PREDICT), int(Step.LEARN)
_REPLACED, _KEPT = int(EventKind.REPLACED), int(EventKind.KEPT)


@kernel
def _fork(
    codes: Ints, numbers: Floats, x: Floats, rivals: Floats, own_codes: Ints, own_numbers: Floats,
    own_x: Floats, came: Ints, lane: int, n: int,
) -> int:  # fmt: skip
    """Copy the steps of models that have a rival, but for labels of predictions before its time;
    `came` is where they came from. How many there are."""
    m = 0
    for i in range(n):
        step = codes[i, STEP]
        if codes[i, LANE] != lane or (step != _PREDICT and step != _LEARN):
            continue
        rival = rivals[codes[i, ROW]]
        if rival[LEARNS] == 0.0 or codes[i, SEQUENCE] < rival[SINCE]:
            continue
        own_codes[m], own_numbers[m], own_x[m], came[m] = codes[i], numbers[i], x[i], i
        m += 1
    return m


@kernel
def _compare(rival: Floats, old: float, new: float) -> None:
    """Take in what both missed a label by."""
    rival[COUNTED] += 1.0
    n = min(rival[COUNTED], LABELS)
    rival[OLD] += (old - rival[OLD]) / n
    rival[NEW] += (new - rival[NEW]) / n
    apart = old - new - rival[APART]
    rival[APART] += apart / n
    rival[SPREAD] += (apart * (old - new - rival[APART]) - rival[SPREAD]) / n


@kernel
def _decide(
    codes: Ints, numbers: Floats, fresh: Floats, answers: Floats, came: Ints, rivals: Floats,
    waiting: Floats, log: Ints, log_numbers: Floats, count: Ints, classes: bool, fewest: int,
    m: int,
) -> None:  # fmt: skip
    """Hold what both said with its prediction, judge it by the label, and say who is to answer."""
    for k in range(m):
        d, slot = codes[k, ROW], codes[k, SLOT]
        rival, said = rivals[d], waiting[slot, d]
        if codes[k, STEP] == _PREDICT:
            said[0], said[1] = answers[came[k]], fresh[k]
            rival[SLOTS] = max(rival[SLOTS], slot + 1.0)
            continue
        target = numbers[k, TARGET]
        old, new = abs(target - said[0]), abs(target - said[1])
        if classes:
            old, new = 1.0 * (old != 0.0), 1.0 * (new != 0.0)
        if not np.isfinite(old * old) or not np.isfinite(new * new):
            continue
        _compare(rival, old, new)
        error = math.sqrt(max(rival[SPREAD], 0.0) / LABELS)
        better = rival[COUNTED] >= fewest and rival[APART] > SURE * error
        if rival[LEARNS] != 1.0 or not (better or codes[k, DUE] > rival[UNTIL]):
            continue
        rival[LEARNS] = 2.0
        e = count[0]
        log[e, KIND], log[e, ORDER], log[e, WRITER] = _REPLACED if better else _KEPT, k, 0
        log[e, EVENT_ROW], log[e, PART] = d, codes[k, LANE]
        log[e, TIME], log[e, EVENT_SOURCE] = codes[k, DUE], codes[k, SOURCE]
        log_numbers[e, BEFORE], log_numbers[e, AFTER] = rival[OLD], rival[NEW]
        log_numbers[e, SIZE] = rival[COUNTED]
        count[0] = e + 1


class Relearning:
    """Models of devices, each of which may have a rival for a while; see `models.learner.Learner`.

    What is decided is told as events (`log`), which whoever acts on them follows by
    :meth:`replace` or :meth:`give_up`. `running` are the models that answer.
    """

    def __init__(
        self, running: Learner, fresh: Learner, names: Sequence[str], capacity: int, *,
        pending: int, classes: bool, ready_after: int, room: int,
    ) -> None:  # fmt: skip
        """`fresh` gives the rivals, alike but for beginning empty; `names` are those of all lanes.
        `pending` predictions of a device may wait; `classes`: answers are places of classes;
        `room` is the most steps of a schedule."""
        self.lane, self.keys = running.lane, Keys.DEVICE
        self.running, self._fresh = running, fresh
        state = Block([Field("rival", (SLOTS,)), Field("slots")], capacity)
        waiting = Block([Field("said", (2,))], capacity, layers=max(2, pending))
        waiting.depth = state.view("slots")
        self._state, self._waiting = state, waiting
        own = {"rival": state, "waiting": waiting}
        beside = {f"fresh.{name}": block for name, block in fresh.blocks.items()}
        rivals = {f"fresh.rivals.{name}": block for name, block in own.items()}
        self.blocks: Mapping[str, Block] = {**running.blocks, **beside, **rivals}
        self.blobs: Blobs | None = None
        if running.blobs is not None and fresh.blobs is not None:
            self.blobs = SeveralBlobs([running.blobs, fresh.blobs])
        self._by_device = {
            name: block for name, block in running.blocks.items() if block.keys is Keys.DEVICE
        }
        self._own = own
        self._settings = (classes, max(LABELS, ready_after))
        self.log = Events(room)
        self.log.enrol(Signal(Kind.ERROR, "lanes", names, 0), "", 0)
        self._forks: tuple[Schedule, Schedule, Ints] | None = None
        # Compiles now, or loads from the cache, instead of at the first reading.
        self.run(Schedule(1, 1, 1))
        self._forks = None

    def call(self, schedule: Schedule) -> None:
        """None: the two run one after the other."""

    def run(self, schedule: Schedule) -> None:
        """Predict and learn, step by step; see `models.learner.Learner`."""
        self.running.run(schedule)
        _, own, came = self._fork(schedule)
        rivals = self._state.array
        own.n = _fork(
            schedule.codes, schedule.numbers, schedule.x, rivals, own.codes, own.numbers, own.x,
            came, self.lane, schedule.n,
        )  # fmt: skip
        self._fresh.run(own)
        log = (self.log.codes, self.log.numbers, self.log.count)
        _decide(
            own.codes, own.numbers, own.answers, schedule.answers, came, rivals,
            self._waiting.stack, *log, *self._settings, own.n,
        )  # fmt: skip

    def _fork(self, schedule: Schedule) -> tuple[Schedule, Schedule, Ints]:
        if self._forks is None or self._forks[0] is not schedule:
            of = (schedule.capacity, schedule.x.shape[1], schedule.parts.shape[1])
            self._forks = schedule, Schedule(*of), np.zeros(schedule.capacity, np.int64)
        return self._forks

    def begin(self, row: int, first: int, until: int) -> None:
        """Let another model of this device learn from reading number `first` on; it is given up
        where it is not better by event time `until`."""
        self._copy(self.running, self._fresh, row)
        self._fresh.restart(np.array([row]))
        reset_rows(self._own, np.array([row]))
        self._state.array[row, [LEARNS, SINCE, UNTIL]] = 1.0, first, until

    def replace(self, row: int) -> None:
        """The other model of this device answers from now on."""
        self._copy(self._fresh, self.running, row)
        self.give_up(row)

    def give_up(self, row: int) -> None:
        """Forget the other model of this device."""
        self._fresh.evict(np.array([row]))
        reset_rows(self._own, np.array([row]))

    def _copy(self, of: Learner, to: Learner, row: int) -> None:
        rows = np.array([row])
        put_rows(
            {name: to.blocks[name] for name in self._by_device}, rows,
            take_rows({name: of.blocks[name] for name in self._by_device}, rows),
        )  # fmt: skip
        if of.blobs is not None and to.blobs is not None:
            to.blobs.load(rows, of.blobs.dump(rows))

    def evict(self, rows: Ints) -> None:
        """Forget these device rows."""
        self.running.evict(rows)
        self._fresh.evict(rows)
        reset_rows(self._own, rows)

    def restart(self, rows: Ints) -> None:
        """Begin these models anew; their rivals are given up."""
        self.running.restart(rows)
        self._fresh.evict(rows)
        reset_rows(self._own, rows)

    @property
    def failures(self) -> Mapping[str, int]:
        """Of the models that answer, and of their rivals."""
        return Counter(self.running.failures) + Counter(self._fresh.failures)
