"""A new device's model beside one that learns from all devices, until its own is better.

Both learn from each of the device's labels. What is served is the mean of their answers, weighted
by what each has lost of late, as by exponential weights with losses that fade (Cesa-Bianchi and
Lugosi 2006, "Prediction, Learning, and Games", section 2.2): so a device moves to its own model as
far and as fast as that deserves it, and back where it fails. Or all of it is the fleet's until the
own model has learned so many labels.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy

import numpy as np

from models.learner import Blobs, Learner
from models.mixing import brier
from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Call, Now, over_part, run_part
from streamgauge.kernels import kernel
from streamgauge.schedule import LANE, MODEL, ROW, SLOT, STEP, TARGET, Schedule
from streamgauge.state import Block, Field, Keys, reset_rows
from streamgauge.words import Step

__all__ = ["ColdStart"]

PREDICT, LEARN = int(Step.PREDICT), int(Step.LEARN)
FADES = 0.97
"""Of a loss, from one label to the next: some thirty labels count."""
SHARP = 0.5
"""How much weight follows from a loss: a usual error less over the last labels makes 1.6 to 1."""
HEAD_START = 5.0
"""What a new model counts as having lost: it begins with a share of 8 %. It fades like losses."""
MOST = 5.0
"""Usual errors that one label may cost at most."""
LABELS, WILD, SETTLED = 100.0, 6.0, 10.0
"""The usual error is that of so many labels; beyond so many of them an error counts as that many,
once there were so many labels."""
# Columns of what is known of a device.
TAUGHT, SCALE, LOST_FLEET, LOST_OWN, SLOTS = range(5)
# Columns of what waits with a prediction; then the probabilities by the fleet's and by its own.
SAID_FLEET, SAID_OWN, SERVED, CHANCES = range(4)
# Columns of the settings.
MIXES, READY_AFTER, CLASSES, BY_ITSELF = range(4)


@kernel
def _share(own: Floats, settings: Floats) -> float:
    """How much of the answer is the device's own model's, 0 to 1."""
    if settings[MIXES] == 0.0:
        return 1.0 if own[TAUGHT] >= settings[READY_AFTER] else 0.0
    behind = own[LOST_OWN] - own[LOST_FLEET] + HEAD_START * FADES ** own[TAUGHT]
    return 1.0 / (1.0 + math.exp(SHARP * behind))


@kernel
def _lose(own: Floats, fleet: float, mine: float) -> None:
    own[LOST_FLEET] = FADES * own[LOST_FLEET] + fleet
    own[LOST_OWN] = FADES * own[LOST_OWN] + mine


@kernel
def _missed(said: float, label: float, scale: float) -> float:
    """A loss: the error in usual ones."""
    miss = abs(label - said) / scale
    return miss if miss < MOST else MOST


@kernel
def _judge_number(own: Floats, held: Floats, label: float) -> None:
    error = abs(label - held[SERVED])
    if np.isfinite(error):
        usual = WILD * own[SCALE]
        error = usual if own[TAUGHT] > SETTLED and error > usual else error
        own[SCALE] += (error - own[SCALE]) / min(own[TAUGHT], LABELS)
    if own[SCALE] > 0.0:
        fleet = _missed(held[SAID_FLEET], label, own[SCALE])
        _lose(own, fleet, _missed(held[SAID_OWN], label, own[SCALE]))


@kernel
def _score(said: float, chances: Floats, truth: float) -> float:
    """The Brier score of probabilities, or of the class that was told where there are none."""
    lost = brier(chances, truth)
    return lost if lost == lost else 0.0 if said == truth else 2.0


@kernel
def _judge_class(own: Floats, held: Floats, truth: float, classes: int) -> None:
    fleet = held[CHANCES : CHANCES + classes]
    mine = held[CHANCES + classes : CHANCES + 2 * classes]
    _lose(own, _score(held[SAID_FLEET], fleet, truth), _score(held[SAID_OWN], mine, truth))


@kernel
def _serve_number(mine: float, theirs: float, share: float) -> float:
    """The mean of two answers; the finite one where one is not."""
    if not np.isfinite(theirs):
        return mine
    if not np.isfinite(mine) or share <= 0.0:
        return theirs
    return mine if share >= 1.0 else (1.0 - share) * theirs + share * mine


@kernel
def _serve_class(mine: float, theirs: float, share: float, parts: Floats, others: Floats) -> float:
    """The most probable class by the mean of both probabilities, which are written into `parts`;
    where one has none, the answer of the one with the larger share."""
    known = mine == mine and theirs == theirs and 0.0 < share < 1.0
    for c in range(len(parts)):
        known = known and parts[c] == parts[c] and others[c] == others[c]
    if known and len(parts) > 0:
        for c in range(len(parts)):
            parts[c] = (1.0 - share) * others[c] + share * parts[c]
        return float(np.argmax(parts))
    if theirs != theirs or (mine == mine and share >= 0.5):
        return mine
    parts[:] = others
    return theirs


@kernel
def _mix(
    codes: Ints, numbers: Floats, answers: Floats, parts: Floats, causes: Floats, theirs: Floats,
    other_parts: Floats, other_causes: Floats, start: Floats, waiting: Floats, settings: Floats,
    lane: int, n: int,
) -> None:  # fmt: skip
    """Make one answer of two for each predict step, and judge both at each label."""
    classes, mixes = int(settings[CLASSES]), settings[MIXES] != 0.0
    for i in range(n):
        step = codes[i, STEP]
        if codes[i, LANE] != lane or (step != PREDICT and step != LEARN):
            continue
        d, slot = codes[i, ROW], codes[i, SLOT]
        own = start[d]
        if step == LEARN:
            own[TAUGHT] += 1.0
            if mixes and classes > 0:
                _judge_class(own, waiting[slot, d], numbers[i, TARGET], classes)
            elif mixes:
                _judge_number(own, waiting[slot, d], numbers[i, TARGET])
            continue
        share, mine, other = _share(own, settings), answers[i], theirs[i]
        if mixes:
            held = waiting[slot, d]
            own[SLOTS] = max(own[SLOTS], slot + 1.0)
            held[SAID_FLEET], held[SAID_OWN] = other, mine
            for c in range(classes):
                held[CHANCES + c], held[CHANCES + classes + c] = other_parts[i, c], parts[i, c]
        if classes > 0:
            answers[i] = _serve_class(
                mine, other, share, parts[i, :classes], other_parts[i, :classes]
            )
        else:
            answers[i] = _serve_number(mine, other, share)
            if answers[i] == other:
                causes[i] = other_causes[i]
        if mixes:
            waiting[slot, d, SERVED] = answers[i]
        if settings[BY_ITSELF] != 0.0:
            own[TAUGHT] += 1.0


@kernel
def _run(
    codes: Ints, numbers: Floats, answers: Floats, parts: Floats, causes: Floats,
    other_codes: Ints, theirs: Floats, other_parts: Floats, other_causes: Floats,
    start: Floats, waiting: Floats, settings: Floats,
    own_entry: int, own_table: Ints, own_parts: Ints,
    fleet_entry: int, fleet_table: Ints, fleet_parts: Ints, now: Ints, lane: int, n: int,
) -> None:  # fmt: skip
    other_codes[:n] = codes[:n]
    other_codes[:n, MODEL] = 0
    run_part(fleet_entry, fleet_table, fleet_parts, now, 0, n)
    run_part(own_entry, own_table, own_parts, now, 0, n)
    _mix(
        codes, numbers, answers, parts, causes, theirs, other_parts, other_causes, start, waiting,
        settings, lane, n,
    )  # fmt: skip


class ColdStart:
    """Each device's own models of one lane, and one beside them that all devices teach; see
    `models.learner.Learner`."""

    def __init__(
        self,
        own: Learner,
        fleet: Learner,
        capacity: int,
        *,
        pending: int,
        classes: int = 0,
        by_itself: bool = False,
        ready_after: int | None = None,
    ) -> None:
        """`own` has a model for each of `capacity` device rows, `fleet` the same for all.

        Answers are numbers, or one of `classes`; `pending` predictions of a device may wait. With
        `ready_after` the fleet's model is served until the own one has learned so many labels, or
        readings where it learns `by_itself`; else their mean by recent errors.
        """
        self.own, self.fleet = own, fleet
        self.lane, self.keys = own.lane, Keys.DEVICE
        self.blobs: Blobs | None = own.blobs
        known = ("taught", "scale", "lost_fleet", "lost_own", "slots")
        start = Block(map(Field, known), capacity)
        said = [Field("said", (CHANCES,)), Field("chances", (2 * classes,))]
        waiting = Block(said, capacity, layers=max(2, pending))
        waiting.depth = start.view("slots")
        self._mine = {"start": start, "waiting": waiting}
        self.blocks: Mapping[str, Block] = {
            **own.blocks,
            **{f"fleet_{name}": block for name, block in fleet.blocks.items()},
            **self._mine,
        }
        mixes = ready_after is None
        self._settings = np.array([mixes, ready_after or 0, classes, by_itself], np.float64)
        self._beside: tuple[Schedule, Schedule] | None = None
        self._held: list[object] = []
        # Compiles now, or loads from the cache, instead of at the first reading.
        self.run(Schedule(1, 1, max(1, classes)))

    def _other(self, schedule: Schedule) -> Schedule:
        """The schedule of the fleet's model: the same steps, answered beside."""
        if self._beside is None or self._beside[0] is not schedule:
            other = copy(schedule)
            other.codes, other.causes = schedule.codes.copy(), schedule.causes.copy()
            other.answers, other.parts = schedule.answers.copy(), schedule.parts.copy()
            self._beside = schedule, other
        return self._beside[1]

    def run(self, schedule: Schedule) -> None:
        """Predict and learn, step by step; see `models.learner.Learner`."""
        other, n = self._other(schedule), schedule.n
        other.n = n
        other.codes[:n] = schedule.codes[:n]
        other.codes[:n, MODEL] = 0
        self.fleet.run(other)
        self.own.run(schedule)
        _mix(*self._steps(schedule), *self._answers(other), *self._state(), self.lane, n)

    def call(self, schedule: Schedule) -> Call | None:
        """:meth:`run` as one kernel call over STEPS; None where Python has to do it."""
        other = self._other(schedule)
        calls = self.own.call(schedule), self.fleet.call(other)
        if calls[0] is None or calls[1] is None:
            return None
        own = over_part(calls[0], (schedule.codes,))
        fleet = over_part(calls[1], (other.codes,))
        self._held.append((calls, other))
        now = np.zeros(len(Now), np.int64)
        steps, answers = self._steps(schedule), self._answers(other)
        given = (*steps, other.codes, *answers, *self._state(), *own, *fleet, now)
        return Call(_run, (*given, self.lane, Now.STEPS))

    @staticmethod
    def _steps(schedule: Schedule) -> tuple[Ints, Floats, Floats, Floats, Floats]:
        s = schedule
        return s.codes, s.numbers, s.answers, s.parts, s.causes

    @staticmethod
    def _answers(other: Schedule) -> tuple[Floats, Floats, Floats]:
        return other.answers, other.parts, other.causes

    def _state(self) -> tuple[Floats, Floats, Floats]:
        return self._mine["start"].array, self._mine["waiting"].stack, self._settings

    def evict(self, rows: Ints) -> None:
        """Forget these devices; what they taught the fleet's model stays."""
        self.own.evict(rows)
        self.fleet.evict(rows)
        reset_rows(self._mine, rows)

    def restart(self, rows: Ints) -> None:
        """Begin these devices' own models anew, beside what the fleet's has learned."""
        self.own.restart(rows)
        self._mine["start"].array[rows, :SLOTS] = 0.0

    @property
    def failures(self) -> Mapping[str, int]:
        """Refusals of both, by what they said."""
        return Counter(self.own.failures) + Counter(self.fleet.failures)

    def shares(self, rows: Sequence[int]) -> dict[str, float]:
        """How much of the answers of these device rows is their own models' and how much the
        fleet's, in the mean; together 1. Empty where there is no row."""
        start = self._mine["start"].array
        found = [_share(start[row], self._settings) for row in rows]
        own = sum(found) / len(found) if found else math.nan
        return {"fleet": 1.0 - own, "own": own} if found else {}
