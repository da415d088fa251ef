"""Every detector keeps to the contract; and the suite would notice one that does not."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monitoring import detectors as folder
from monitoring.detectors import adwin
from streamgauge.calls import Call, Now
from streamgauge.events import AFTER, ORDER, EventKind, Events
from streamgauge.events import ROW as EVENT_ROW
from streamgauge.schedule import RESIDUAL, ROW, STEP, Schedule
from streamgauge.state import Block
from streamgauge.words import Step
from tests.contracts import detectors
from tests.contracts.detectors import SUBJECTS, Subject, found, without_subject
from tests.contracts.invariance import cuts
from tests.contracts.schedules import ROWS, Steps, residuals, watch

every = pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.id)
calm = settings(deadline=None, max_examples=30, derandomize=True)


def test_every_detector_has_a_subject() -> None:
    """No file of the folder slips past this suite."""
    assert without_subject(found(), SUBJECTS) == []


def test_a_new_detector_without_a_subject_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is put into the folder is found, and missed among the subjects."""
    (tmp_path / "unheard.py").write_text("")
    monkeypatch.setattr(folder, "__path__", [*folder.__path__, str(tmp_path)])
    assert without_subject(found(), SUBJECTS) == ["unheard"]
    monkeypatch.delitem(sys.modules, "monitoring.detectors.unheard")
    monkeypatch.delattr(folder, "unheard")


@every
@calm
@given(data=st.data())
def test_cut(subject: Subject, data: st.DataObject) -> None:
    """The result does not depend on where a schedule was cut."""
    steps = data.draw(residuals())
    detectors.check_cut(subject.build, steps, data.draw(cuts(len(steps))))


@every
@calm
@given(data=st.data())
def test_chain(subject: Subject, data: st.DataObject) -> None:
    """A detector in a chain of kernel calls is the same detector."""
    steps = data.draw(residuals())
    detectors.check_chain(subject.build, steps, data.draw(cuts(len(steps))))


@every
@calm
@given(steps=residuals())
def test_ignored(subject: Subject, steps: Steps) -> None:
    """What is no residual of the lane leaves no trace."""
    detectors.check_ignored(subject.build, steps)


@every
@calm
@given(steps=residuals())
def test_alone(subject: Subject, steps: Steps) -> None:
    """No device has an influence on another, and no lane either."""
    detectors.check_alone(subject.build, steps)


@every
@calm
@given(data=st.data())
def test_move(subject: Subject, data: st.DataObject) -> None:
    """Devices move to another instance, and a snapshot goes on where it was taken."""
    steps = data.draw(residuals())
    at = data.draw(st.integers(0, len(steps)))
    detectors.check_move(subject.build, steps, at, data.draw(cuts(len(steps))))


@every
@calm
@given(steps=residuals())
def test_reset(subject: Subject, steps: Steps) -> None:
    """A recycled row remembers nothing."""
    detectors.check_reset(subject.build, steps)


@every
@calm
@given(steps=residuals())
@example(steps=watch(6, 800, odd=0.0, extreme=0.3))
def test_told(subject: Subject, steps: Steps) -> None:
    """Every event is true."""
    detectors.check_told(subject.build, steps)


@every
@calm
@given(steps=residuals())
def test_recovers(subject: Subject, steps: Steps) -> None:
    """No model that diverged leaves a detector deaf."""
    detectors.check_recovers(subject.build, steps)


def generated() -> list[Steps]:
    """Steps such as the tests above draw."""
    drawn: list[Steps] = []

    @settings(deadline=None, max_examples=60, derandomize=True, database=None)
    @given(steps=residuals())
    def draw(steps: Steps) -> None:
        drawn.append(steps)

    draw()
    return drawn


@every
def test_streams_bring_about_every_event(subject: Subject) -> None:
    """What a detector can say is said here: no direction stays untried."""
    assert detectors.unseen(subject, generated()) == set()


def test_an_event_that_never_happens_is_noticed() -> None:
    """An event that no stream brings about is named."""
    subject = Subject("adwin", "n", outcomes=frozenset({EventKind.EVICTED}))
    assert detectors.unseen(subject, generated()[:5]) == {EventKind.EVICTED}


Fault = Callable[["Broken", Schedule, Events, int], None]


class Broken:
    """A detector with a fault planted after each schedule."""

    def __init__(self, lane: int, fault: Fault | None) -> None:
        self.right = adwin.build(lane, ROWS, delta=0.3, clock=1, grace_period=0)
        self.lane = lane
        self.blocks: Mapping[str, Block] = self.right.blocks
        self.fault = fault
        self.hidden = np.zeros(ROWS)

    def call(self, schedule: Schedule, events: Events) -> Call:
        def kernel(steps: int) -> None:
            before = len(events)
            self.right.call(schedule, events).run(steps=steps)
            if self.fault is not None:
                self.fault(self, schedule, events, before)

        return Call(kernel, (Now.STEPS,))


def forgets_each_batch(self: Broken, schedule: Schedule, events: Events, before: int) -> None:
    """State is lost at the end of a schedule."""
    self.blocks["adwin"].reset(np.arange(ROWS))


def says_one_thing_per_batch(self: Broken, schedule: Schedule, events: Events, before: int) -> None:
    """Only the first alarm of a schedule is told."""
    events.count[0] = min(before + 1, len(events))


def loses_the_order(self: Broken, schedule: Schedule, events: Events, before: int) -> None:
    """Events of two lanes cannot be put in the order of their steps."""
    events.codes[before : len(events), ORDER] = 0


def counts_outside_its_blocks(
    self: Broken, schedule: Schedule, events: Events, before: int
) -> None:
    """State per device that no snapshot has."""
    for k in range(before, len(events)):
        row = events.codes[k, EVENT_ROW]
        self.hidden[row] += 1.0
        events.numbers[k, AFTER] += self.hidden[row]


def looks_at_its_neighbour(self: Broken, schedule: Schedule, events: Events, before: int) -> None:
    """State that all devices share."""
    for k in range(before, len(events)):
        self.hidden[0] += 1.0
        events.numbers[k, AFTER] += self.hidden[0]


def counts_predictions(self: Broken, schedule: Schedule, events: Events, before: int) -> None:
    """A step without a label changes state."""
    codes = schedule.codes[: schedule.n]
    for row in codes[codes[:, STEP] == Step.PREDICT, ROW].tolist():
        self.blocks["adwin"].stack[0, row, 0] += 1.0


def dies_of_nan(self: Broken, schedule: Schedule, events: Events, before: int) -> None:
    """One residual that is no number, and the device is never heard of again."""
    lost = ~np.isfinite(schedule.numbers[: schedule.n, RESIDUAL])
    self.hidden[schedule.codes[: schedule.n][lost, ROW]] = 1.0
    if self.hidden.any():
        events.count[0] = before


def gives_nan(self: Broken, schedule: Schedule, events: Events, before: int) -> None:
    """An event that says nothing."""
    events.numbers[before : len(events), AFTER] = np.nan


STEPS = watch(4, 800, extreme=0.0)
CHECKS: dict[str, Callable[[Callable[[int], Any]], None]] = {
    "cut": lambda build: detectors.check_cut(build, STEPS, (300, 500)),
    "ignored": lambda build: detectors.check_ignored(build, STEPS),
    "alone": lambda build: detectors.check_alone(build, STEPS),
    "move": lambda build: detectors.check_move(build, STEPS, 400),
    "reset": lambda build: detectors.check_reset(build, STEPS),
    "told": lambda build: detectors.check_told(build, STEPS),
    "recovers": lambda build: detectors.check_recovers(build, STEPS),
}
PLANTED: list[tuple[Fault, str]] = [
    (forgets_each_batch, "cut"),
    (says_one_thing_per_batch, "cut"),
    (loses_the_order, "cut"),
    (counts_outside_its_blocks, "move"),
    (counts_outside_its_blocks, "reset"),
    (looks_at_its_neighbour, "alone"),
    (counts_predictions, "ignored"),
    (dies_of_nan, "ignored"),
    (dies_of_nan, "recovers"),
    (gives_nan, "told"),
]


@pytest.mark.parametrize("check", CHECKS)
def test_the_checks_pass_without_a_fault(check: str) -> None:
    """The planted faults below are what the checks notice, not the frame around them."""
    CHECKS[check](lambda lane: Broken(lane, None))


@pytest.mark.parametrize(("fault", "check"), PLANTED, ids=lambda p: getattr(p, "__name__", p))
def test_a_planted_fault_is_noticed(fault: Fault, check: str) -> None:
    """A detector with a fault of each kind fails the check that is meant for it."""
    with pytest.raises(AssertionError):
        CHECKS[check](lambda lane: Broken(lane, fault))
