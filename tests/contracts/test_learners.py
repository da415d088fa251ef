"""Every learner keeps to the contract; and the suite would notice one that does not."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import linear_model

from models import compiled
from models.compiled import linear
from models.learner import Blobs, Learner
from models.river_fleet import RiverFleet
from streamgauge.arrays import Ints
from streamgauge.calls import Call
from streamgauge.schedule import LANE as LANE_COLUMN
from streamgauge.schedule import ROW, STEP, Schedule
from streamgauge.state import Block, Keys
from streamgauge.words import Step
from tests.contracts import learners
from tests.contracts.invariance import cuts
from tests.contracts.learner_subjects import (
    INPUTS,
    LANE,
    NAMES,
    RIVER,
    SUBJECTS,
    Subject,
    found,
    without_subject,
)
from tests.contracts.schedules import ROWS, SCALES, Steps, lessons, make

every = pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.id)
calm = settings(deadline=None, max_examples=20, derandomize=True)


def test_every_learner_has_a_subject() -> None:
    """No file of compiled models slips past this suite."""
    assert without_subject(found(), SUBJECTS) == []


def test_a_new_learner_without_a_subject_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is put into the folder is found, and missed among the subjects."""
    (tmp_path / "unheard.py").write_text("")
    monkeypatch.setattr(compiled, "__path__", [*compiled.__path__, str(tmp_path)])
    assert without_subject(found(), SUBJECTS) == ["models.compiled.unheard"]
    monkeypatch.delitem(sys.modules, "models.compiled.unheard")
    monkeypatch.delattr(compiled, "unheard")


@every
@calm
@given(data=st.data())
def test_cut(subject: Subject, data: st.DataObject) -> None:
    """The result does not depend on where a schedule was cut."""
    steps = subject.told(data.draw(lessons()))
    learners.check_cut(subject.build, steps, data.draw(cuts(len(steps))))


@every
@calm
@given(data=st.data())
def test_chain(subject: Subject, data: st.DataObject) -> None:
    """A learner in a chain of kernel calls is the same learner."""
    steps = subject.told(data.draw(lessons()))
    learners.check_chain(subject.build, steps, data.draw(cuts(len(steps))))


@every
@calm
@given(steps=lessons())
def test_alone(subject: Subject, steps: Steps) -> None:
    """No device has an influence on another, and no lane either."""
    learners.check_alone(subject.build, subject.told(steps))


@every
@calm
@given(steps=lessons())
def test_learning_alone_changes(subject: Subject, steps: Steps) -> None:
    """State follows from the learn steps of the lane, and from nothing else. River's forest alone
    draws its trees when it is first asked."""
    if subject.module == "models.compiled.adaptive_random_forest":
        steps = steps.chosen(steps.are(LANE, subject.lessons))
    learners.check_learning_alone_changes(subject.build, subject.told(steps), subject.lessons)


@every
@calm
@given(data=st.data())
def test_move(subject: Subject, data: st.DataObject) -> None:
    """Devices move to another fleet, and a snapshot goes on where it was taken."""
    steps = subject.told(data.draw(lessons()))
    at = data.draw(st.integers(0, len(steps)))
    learners.check_move(subject.build, steps, at, data.draw(cuts(len(steps))))


@pytest.mark.parametrize(
    "subject", [s for s in SUBJECTS if s.build().blobs is not None], ids=lambda s: s.id
)
@calm
@given(data=st.data())
def test_dirty(subject: Subject, data: st.DataObject) -> None:
    """A checkpoint that looks at dirty rows alone misses nothing."""
    steps = subject.told(data.draw(lessons()))
    learners.check_dirty(subject.build, steps, data.draw(st.integers(0, len(steps))))


@every
@calm
@given(steps=lessons())
def test_evict(subject: Subject, steps: Steps) -> None:
    """A recycled row remembers nothing."""
    learners.check_evict(subject.build, subject.told(steps))


@every
@calm
@given(steps=lessons())
def test_restart(subject: Subject, steps: Steps) -> None:
    """A model that begins anew has learned nothing."""
    learners.check_evict(subject.build, subject.told(steps), "restart")


@every
@calm
@given(data=st.data())
def test_fleet(subject: Subject, data: st.DataObject) -> None:
    """A model that the fleet shares learns from all devices, in the order of the log."""
    steps = subject.told(data.draw(lessons()))
    learners.check_fleet(subject.build, steps, data.draw(cuts(len(steps))))


@every
@calm
@given(steps=lessons())
def test_river(subject: Subject, steps: Steps) -> None:
    """The answers are those of River's estimators, and nothing is raised on the way."""
    learners.check_river(subject.build, subject, subject.told(steps))


@every
@pytest.mark.parametrize("first", [Step.PREDICT, Step.LEARN], ids=lambda step: step.name)
@pytest.mark.parametrize("scale", SCALES)
def test_first_step(subject: Subject, first: Step, scale: str) -> None:
    """The very first step of a fleet, and of each device, may be any, of any size."""
    for seed in range(8):
        steps = make(seed, 30, devices=ROWS, scale=scale, first=first)
        own = steps.are(LANE, Step.PREDICT, Step.LEARN)
        steps = steps.chosen(own | (np.arange(len(steps)) == 0))
        steps.codes[0, [STEP, LANE_COLUMN]] = first, LANE
        learners.check_river(subject.build, subject, subject.told(steps))


def generated() -> list[Steps]:
    """Steps such as the tests above draw."""
    drawn: list[Steps] = []

    @settings(deadline=None, max_examples=60, derandomize=True, database=None)
    @given(steps=lessons())
    def draw(steps: Steps) -> None:
        drawn.append(steps)

    draw()
    return drawn


@every
def test_streams_bring_about_every_outcome(subject: Subject) -> None:
    """What a learner can do is done by it here: no divergence and no refusal stays untried."""
    assert learners.unseen(subject, map(subject.told, generated())) == set()


def test_an_outcome_that_never_happens_is_noticed() -> None:
    """An outcome that no stream brings about is named."""
    subject = Subject(RIVER, "n", linear_model.LinearRegression, frozenset({"refuses"}))
    assert learners.unseen(subject, generated()[:5]) == {"refuses"}


class Broken:
    """A learner with a fault planted after each schedule."""

    def __init__(
        self,
        fault: Callable[["Broken", Schedule], None] | None,
        *,
        river: bool = False,
        keys: Keys = Keys.DEVICE,
    ) -> None:
        make_one = linear_model.LinearRegression
        fleet = linear.build(make_one(), LANE, INPUTS, NAMES, ROWS, keys)
        assert not isinstance(fleet, str)
        self.right: Learner = RiverFleet(make_one, LANE, INPUTS, NAMES, keys) if river else fleet
        self.lane = LANE
        self.keys = keys
        self.blocks: Mapping[str, Block] = self.right.blocks
        self.blobs: Blobs | None = self.right.blobs
        self.failures: Mapping[str, int] = {}
        self.fault = fault
        self.hidden = np.zeros(ROWS)

    def run(self, schedule: Schedule) -> None:
        self.right.run(schedule)
        if self.fault is not None:
            self.fault(self, schedule)

    def call(self, schedule: Schedule) -> Call | None:
        return self.right.call(schedule)

    def evict(self, rows: Ints) -> None:
        self.right.evict(rows)

    def restart(self, rows: Ints) -> None:
        self.right.restart(rows)

    def asked(self, schedule: Schedule) -> list[int]:
        """Indices of its own predict steps."""
        codes = schedule.codes[: schedule.n]
        own = (codes[:, STEP] == Step.PREDICT) & (codes[:, LANE_COLUMN] == LANE)
        return np.flatnonzero(own).tolist()

    @property
    def weights(self) -> Any:
        """The state of its devices."""
        return self.blocks["model"].array


def forgets_each_batch(self: Broken, schedule: Schedule) -> None:
    """State is lost at the end of a schedule."""
    self.weights[:] = 0.0


def decays_each_batch(self: Broken, schedule: Schedule) -> None:
    """State changes once per schedule, where something was learned."""
    self.weights[schedule.codes[0, ROW], 2:] *= 0.999


def learns_by_predicting(self: Broken, schedule: Schedule) -> None:
    """A question changes the model."""
    for i in self.asked(schedule):
        self.weights[schedule.codes[i, ROW], 1] += 1.0


def learns_too_late(self: Broken, schedule: Schedule) -> None:
    """A label that was to be scored only teaches."""
    codes = schedule.codes[: schedule.n]
    for row in codes[codes[:, STEP] == Step.SCORE, ROW].tolist():
        self.weights[row, 1] += 1.0


def takes_all_lanes(self: Broken, schedule: Schedule) -> None:
    """It answers for others."""
    codes = schedule.codes[: schedule.n]
    schedule.answers[: schedule.n][codes[:, STEP] == Step.PREDICT] = 0.0


def counts_outside_its_blocks(self: Broken, schedule: Schedule) -> None:
    """State per device that no snapshot has."""
    for i in self.asked(schedule):
        row = schedule.codes[i, ROW]
        self.hidden[row] += 1.0
        schedule.answers[i] += self.hidden[row]


def looks_at_its_neighbour(self: Broken, schedule: Schedule) -> None:
    """State that all devices share."""
    for i in self.asked(schedule):
        self.hidden[0] += 1.0
        schedule.answers[i] += self.hidden[0]


def answers_nearly(self: Broken, schedule: Schedule) -> None:
    """An answer that is off by a millionth."""
    schedule.answers[self.asked(schedule)] *= 1.000001


def spoils_features(self: Broken, schedule: Schedule) -> None:
    """Features that the next learner still needs."""
    schedule.x[: schedule.n] = np.nan_to_num(schedule.x[: schedule.n])


def writes_behind_the_end(self: Broken, schedule: Schedule) -> None:
    """An answer to a step that does not count."""
    schedule.answers[schedule.n] = 0.0


def sees_devices(self: Broken, schedule: Schedule) -> None:
    """A shared model that answers each device differently."""
    for i in self.asked(schedule):
        schedule.answers[i] += schedule.codes[i, ROW]


def marks_nothing(self: Broken, schedule: Schedule) -> None:
    """Models that changed are not dirty."""
    assert self.blobs is not None
    self.blobs.dirty.clear()


STEPS = make(3, 120, missing=0.1)
PLAIN = Subject(RIVER, "plain", linear_model.LinearRegression, frozenset())
CHECKS: dict[str, Callable[[Callable[..., Any]], None]] = {
    "cut": lambda build: learners.check_cut(build, STEPS, (30, 70)),
    "chain": lambda build: learners.check_chain(build, STEPS, (30, 70)),
    "alone": lambda build: learners.check_alone(build, STEPS),
    "learning": lambda build: learners.check_learning_alone_changes(build, STEPS),
    "move": lambda build: learners.check_move(build, STEPS, 60),
    "dirty": lambda build: learners.check_dirty(build, STEPS, 60),
    "evict": lambda build: learners.check_evict(build, STEPS),
    "restart": lambda build: learners.check_evict(build, STEPS, "restart"),
    "river": lambda build: learners.check_river(build, PLAIN, STEPS),
    "fleet": lambda build: learners.check_fleet(build, STEPS, (30, 70)),
}
PLANTED = [
    (forgets_each_batch, "cut"),
    (decays_each_batch, "cut"),
    (decays_each_batch, "chain"),
    (learns_by_predicting, "learning"),
    (learns_too_late, "learning"),
    (takes_all_lanes, "cut"),
    (counts_outside_its_blocks, "move"),
    (counts_outside_its_blocks, "evict"),
    (counts_outside_its_blocks, "restart"),
    (looks_at_its_neighbour, "alone"),
    (answers_nearly, "river"),
    (sees_devices, "fleet"),
    (spoils_features, "cut"),
    (writes_behind_the_end, "cut"),
    (marks_nothing, "dirty"),
]


@pytest.mark.parametrize("river", [False, True])
@pytest.mark.parametrize("check", CHECKS)
def test_the_checks_pass_without_a_fault(check: str, river: bool) -> None:
    """The planted faults below are what the checks notice, not the frame around them."""
    CHECKS[check](lambda *keys: Broken(None, river=river, keys=Keys(*keys or ("device",))))


@pytest.mark.parametrize(("fault", "check"), PLANTED, ids=lambda p: getattr(p, "__name__", p))
def test_a_planted_fault_is_noticed(fault: Callable[..., None], check: str) -> None:
    """A learner with a fault of each kind fails the check that is meant for it."""
    with pytest.raises(AssertionError):
        CHECKS[check](
            lambda *keys: Broken(fault, river=check == "dirty", keys=Keys(*keys or ("device",)))
        )
