"""Every detector keeps to the contract; and the suite would notice one that does not."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring import detectors as folder
from monitoring.detectors import adwin
from streamgauge.arrays import Bools
from streamgauge.calls import Call
from streamgauge.events import AFTER, ORDER, SOURCE, EventKind, Events
from streamgauge.events import ROW as EVENT_ROW
from streamgauge.signal import VALUE, Kind, Signal
from streamgauge.state import Block
from tests.contracts import detectors
from tests.contracts.detectors import SUBJECTS, Subject, found, without_subject
from tests.contracts.invariance import cuts
from tests.contracts.signals import ROWS, Values, values, watch

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
    """The result does not depend on where a batch was cut."""
    drawn = data.draw(values(subject.kind))
    detectors.check_cut(subject.build, drawn, data.draw(cuts(len(drawn))))


@every
@calm
@given(data=st.data())
def test_chain(subject: Subject, data: st.DataObject) -> None:
    """A detector in a chain of kernel calls is the same detector."""
    drawn = data.draw(values(subject.kind))
    detectors.check_chain(subject.build, drawn, data.draw(cuts(len(drawn))))


@every
@calm
@given(data=st.data())
def test_parts(subject: Subject, data: st.DataObject) -> None:
    """No lane or channel has an influence on another."""
    detectors.check_parts(subject.build, data.draw(values(subject.kind)))


@every
@calm
@given(data=st.data())
def test_alone(subject: Subject, data: st.DataObject) -> None:
    """No device has an influence on another."""
    detectors.check_alone(subject.build, data.draw(values(subject.kind)))


@every
@calm
@given(data=st.data())
def test_move(subject: Subject, data: st.DataObject) -> None:
    """Devices move to another instance, and a snapshot goes on where it was taken."""
    drawn = data.draw(values(subject.kind))
    at = data.draw(st.integers(0, len(drawn)))
    detectors.check_move(subject.build, drawn, at, data.draw(cuts(len(drawn))))


@every
@calm
@given(data=st.data())
def test_reset(subject: Subject, data: st.DataObject) -> None:
    """A recycled row remembers nothing."""
    detectors.check_reset(subject.build, data.draw(values(subject.kind)))


@every
@calm
@given(data=st.data())
def test_told(subject: Subject, data: st.DataObject) -> None:
    """Every event is true."""
    detectors.check_told(subject.build, data.draw(values(subject.kind)))


@every
def test_ready(subject: Subject) -> None:
    """What calibrates gives no events, and what gave one had said that it was ready."""
    detectors.check_ready(subject.build, watch(subject.kind, 4, 800))


@every
def test_told_of_extremes(subject: Subject) -> None:
    """Every event is true, where values are as large as they may be."""
    detectors.check_told(subject.build, watch(subject.kind, 6, 800, extreme=0.3))


@every
@calm
@given(data=st.data())
def test_recovers(subject: Subject, data: st.DataObject) -> None:
    """No stretch that does not vary leaves a detector deaf."""
    detectors.check_recovers(subject.build, data.draw(values(subject.kind)))


def generated(kind: Kind) -> list[Values]:
    """Values such as the tests above draw."""
    drawn: list[Values] = []

    @settings(deadline=None, max_examples=60, derandomize=True, database=None)
    @given(values(kind))
    def draw(one: Values) -> None:
        drawn.append(one)

    draw()
    return drawn


@every
def test_streams_bring_about_every_event(subject: Subject) -> None:
    """What a detector can say is said here: no direction stays untried."""
    assert detectors.unseen(subject, generated(subject.kind)) == set()


def test_an_event_that_never_happens_is_noticed() -> None:
    """An event that no stream brings about is named."""
    subject = Subject("adwin", "n", Kind.ERROR, outcomes=frozenset({EventKind.EVICTED}))
    assert detectors.unseen(subject, generated(Kind.ERROR)[:5]) == {EventKind.EVICTED}


Fault = Callable[["Broken", Signal, Events, int], None]


class Broken:
    """A detector with a fault planted after each batch."""

    def __init__(self, signal: Signal, fault: Fault | None) -> None:
        self.right = adwin.build(signal, ROWS, delta=0.3, clock=1, grace_period=0)
        self.blocks: Mapping[str, Block] = self.right.blocks
        self.fault = fault
        self.hidden = np.zeros(ROWS)

    def ready(self, rows: slice) -> Bools:
        found = self.right.ready(rows)
        return np.zeros_like(found) if self.fault is says_that_it_calibrates else found

    def call(self, signal: Signal, events: Events) -> Call:
        right = self.right.call(signal, events)

        def kernel() -> None:
            before = len(events)
            right.run()
            if self.fault is not None:
                self.fault(self, signal, events, before)

        return Call(kernel, ())


def forgets_each_batch(self: Broken, signal: Signal, events: Events, before: int) -> None:
    """State is lost at the end of a batch."""
    self.blocks["windows"].reset(np.arange(ROWS))


def says_one_thing_per_batch(self: Broken, signal: Signal, events: Events, before: int) -> None:
    """Only the first alarm of a batch is told."""
    events.count[0] = min(before + 1, len(events))


def loses_the_order(self: Broken, signal: Signal, events: Events, before: int) -> None:
    """Events of a batch come in another order than their values."""
    n = len(events)
    events.codes[before:n] = events.codes[before:n][::-1].copy()
    events.codes[before:n, [ORDER, SOURCE]] = 0


def counts_outside_its_blocks(self: Broken, signal: Signal, events: Events, before: int) -> None:
    """State per device that no snapshot has."""
    for k in range(before, len(events)):
        row = events.codes[k, EVENT_ROW]
        self.hidden[row] += 1.0
        events.numbers[k, AFTER] += self.hidden[row]


def looks_at_its_neighbour(self: Broken, signal: Signal, events: Events, before: int) -> None:
    """State that all devices share."""
    for k in range(before, len(events)):
        self.hidden[0] += 1.0
        events.numbers[k, AFTER] += self.hidden[0]


def mixes_its_parts(self: Broken, signal: Signal, events: Events, before: int) -> None:
    """State of a device that its parts share."""
    counts_outside_its_blocks(self, signal, events, before)


def writes_into_the_signal(self: Broken, signal: Signal, events: Events, before: int) -> None:
    """The next detector would see other values."""
    signal.numbers[0, VALUE] += 1.0


def dies_of_zero(self: Broken, signal: Signal, events: Events, before: int) -> None:
    """One value of zero, and nothing is ever told again."""
    if (signal.numbers[: len(signal), VALUE] == 0.0).any():
        self.hidden[:] = 1.0
    if self.hidden.any():
        events.count[0] = before


def gives_nan(self: Broken, signal: Signal, events: Events, before: int) -> None:
    """An event that says nothing."""
    events.numbers[before : len(events), AFTER] = np.nan


def says_that_it_calibrates(self: Broken, signal: Signal, events: Events, before: int) -> None:
    """Whatever it tells, it says that it has not seen enough."""


VALUES = watch(Kind.ERROR, 4, 800)
CHECKS: dict[str, Callable[[Callable[[Signal], Any]], None]] = {
    "cut": lambda build: detectors.check_cut(build, VALUES, (300, 500)),
    "parts": lambda build: detectors.check_parts(build, VALUES),
    "alone": lambda build: detectors.check_alone(build, VALUES),
    "move": lambda build: detectors.check_move(build, VALUES, 400),
    "reset": lambda build: detectors.check_reset(build, VALUES),
    "told": lambda build: detectors.check_told(build, VALUES),
    "ready": lambda build: detectors.check_ready(build, VALUES),
    "recovers": lambda build: detectors.check_recovers(build, VALUES),
}
PLANTED: list[tuple[Fault, str]] = [
    (forgets_each_batch, "cut"),
    (says_one_thing_per_batch, "cut"),
    (loses_the_order, "cut"),
    (writes_into_the_signal, "cut"),
    (counts_outside_its_blocks, "move"),
    (counts_outside_its_blocks, "reset"),
    (looks_at_its_neighbour, "alone"),
    (mixes_its_parts, "parts"),
    (dies_of_zero, "recovers"),
    (gives_nan, "told"),
    (says_that_it_calibrates, "ready"),
]


@pytest.mark.parametrize("check", CHECKS)
def test_the_checks_pass_without_a_fault(check: str) -> None:
    """The planted faults below are what the checks notice, not the frame around them."""
    CHECKS[check](lambda signal: Broken(signal, None))


@pytest.mark.parametrize(("fault", "check"), PLANTED, ids=lambda p: getattr(p, "__name__", p))
def test_a_planted_fault_is_noticed(fault: Fault, check: str) -> None:
    """A detector with a fault of each kind fails the check that is meant for it."""
    with pytest.raises(AssertionError):
        CHECKS[check](lambda signal: Broken(signal, fault))
