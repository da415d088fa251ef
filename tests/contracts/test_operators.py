"""Every operator keeps to the contract; and the suite would notice one that does not."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_processor.features import lags
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
from streamgauge.state import Block, Keys
from tests.contracts import operators
from tests.contracts.invariance import cuts
from tests.contracts.streams import CAPACITY, SCHEMA, Stream, make, streams
from tests.contracts.subjects import SUBJECTS, Subject, found, without_subject

every = pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.id)
alone = pytest.mark.parametrize(
    "subject", [one for one in SUBJECTS if one.keys is Keys.DEVICE], ids=lambda one: one.id
)
together = pytest.mark.parametrize(
    "subject", [one for one in SUBJECTS if one.keys is not Keys.DEVICE], ids=lambda one: one.id
)
calm = settings(deadline=None, max_examples=30, derandomize=True)


def test_every_operator_has_a_subject() -> None:
    """A new file in the operators' folders cannot slip past this suite."""
    assert without_subject(found(), SUBJECTS) == []
    assert without_subject([*found(), "stream_processor.features.new"], SUBJECTS) == [
        "stream_processor.features.new"
    ]


@every
@calm
@given(data=st.data())
def test_cut(subject: Subject, data: st.DataObject) -> None:
    """The result does not depend on where a batch was cut."""
    stream = data.draw(streams(admitted=subject.admitted))
    operators.check_cut(subject.build, stream, data.draw(cuts(len(stream))))


@every
@calm
@given(data=st.data())
def test_finite(subject: Subject, data: st.DataObject) -> None:
    """No infinity leaves an operator."""
    operators.check_finite(subject.build, data.draw(streams(admitted=subject.admitted)))


@alone
@calm
@given(data=st.data())
def test_alone(subject: Subject, data: st.DataObject) -> None:
    """No device has an influence on another."""
    operators.check_alone(subject.build, data.draw(streams(admitted=subject.admitted)))


@alone
@calm
@given(data=st.data())
def test_move(subject: Subject, data: st.DataObject) -> None:
    """Devices move to another instance, and a snapshot goes on where it was taken."""
    stream = data.draw(streams(admitted=subject.admitted))
    at = data.draw(st.integers(0, len(stream)))
    operators.check_move(subject.build, stream, at, data.draw(cuts(len(stream))))


@together
@calm
@given(data=st.data())
def test_restart(subject: Subject, data: st.DataObject) -> None:
    """A snapshot of the whole fleet goes on where it was taken."""
    stream = data.draw(streams(admitted=subject.admitted))
    at = data.draw(st.integers(0, len(stream)))
    operators.check_restart(subject.build, stream, at, data.draw(cuts(len(stream))))


@pytest.mark.parametrize(
    "subject",
    [one for one in SUBJECTS if one.keys is not Keys.DEVICE and not one.learned],
    ids=lambda one: one.id,
)
@calm
@given(data=st.data())
def test_left(subject: Subject, data: st.DataObject) -> None:
    """Evicted devices leave no trace among the others."""
    operators.check_left(subject.build, data.draw(streams(admitted=subject.admitted)))


@alone
@calm
@given(data=st.data())
def test_reset(subject: Subject, data: st.DataObject) -> None:
    """A recycled row remembers nothing."""
    operators.check_reset(subject.build, data.draw(streams(admitted=subject.admitted)))


def generated(admitted: bool) -> list[Stream]:
    """Streams such as the tests above draw. Which those are depends on the modules that were
    imported, whose constants hypothesis tries; the first ones do not."""
    drawn = [make(seed, 120, admitted=admitted, devices=seed % 8 + 1) for seed in range(24)]

    @settings(deadline=None, max_examples=120, derandomize=True, database=None)
    @given(stream=streams(admitted=admitted))
    def draw(stream: Stream) -> None:
        drawn.append(stream)

    draw()
    return drawn


@every
def test_streams_bring_about_every_outcome(subject: Subject) -> None:
    """What an operator can do is done to it here: no verdict, flag or overflow stays untried."""
    assert operators.unseen(subject, generated(subject.admitted)) == set()


def test_an_outcome_that_never_happens_is_noticed() -> None:
    """An outcome that no stream brings about is named."""
    subject = Subject("m", "n", _lags, outcomes={"never": lambda operator: False})
    assert operators.unseen(subject, [make(0, 20, admitted=True)]) == {"never"}


def _lags(column: int) -> Any:
    return lags.build(SCHEMA, CAPACITY, column, lags={"temperature": [1, 2]})


class Broken:
    """Lags with a fault planted after each batch."""

    def __init__(self, column: int, fault: Callable[["Broken", Batch, Features], None]) -> None:
        self.right = _lags(column)
        self.names: tuple[str, ...] = self.right.names
        self.blocks: Mapping[str, Block] = self.right.blocks
        self.column = column
        self.fault = fault
        self.hidden = np.zeros(CAPACITY)

    def call(self, batch: Batch, features: Features) -> Call:
        def kernel(n: int) -> None:
            self.right.call(batch, features).run(n=n)
            self.fault(self, batch, features)

        return Call(kernel, (Now.N,))


def forgets_each_batch(self: Broken, batch: Batch, features: Features) -> None:
    """State is lost at the end of a batch."""
    self.blocks["lags"].array[:] = 0.0


def fires_each_batch(self: Broken, batch: Batch, features: Features) -> None:
    """State changes once per batch."""
    self.blocks["lags"].array[batch.row[0], 1] += 1.0


def counts_outside_its_blocks(self: Broken, batch: Batch, features: Features) -> None:
    """State per device that no snapshot has."""
    for i in range(batch.n):
        self.hidden[batch.row[i]] += 1.0
        features.x[i, self.column] = self.hidden[batch.row[i]]


def looks_at_its_neighbour(self: Broken, batch: Batch, features: Features) -> None:
    """State that all devices share."""
    for i in range(batch.n):
        self.hidden[0] += 1.0
        features.x[i, self.column] = self.hidden[0]


def gives_infinity(self: Broken, batch: Batch, features: Features) -> None:
    """An infinite feature."""
    features.x[: batch.n, self.column] = np.inf


def writes_next_door(self: Broken, batch: Batch, features: Features) -> None:
    """A column of another operator."""
    features.x[: batch.n, self.column + len(self.names)] = 0.0


def writes_behind_the_end(self: Broken, batch: Batch, features: Features) -> None:
    """Features of a reading that does not count."""
    features.x[batch.n, self.column] = 0.0


def reads_behind_the_end(self: Broken, batch: Batch, features: Features) -> None:
    """A verdict on a reading that does not count."""
    batch.verdict[batch.n :] = 1


STREAM = make(3, 60, admitted=True, missing=0.0, odd=0.0)
CHECKS: dict[str, Callable[[Callable[[int], Any]], None]] = {
    "cut": lambda build: operators.check_cut(build, STREAM, (20, 40)),
    "finite": lambda build: operators.check_finite(build, STREAM),
    "alone": lambda build: operators.check_alone(build, STREAM),
    "move": lambda build: operators.check_move(build, STREAM, 30),
    "reset": lambda build: operators.check_reset(build, STREAM),
}
PLANTED = [
    (forgets_each_batch, "cut"),
    (fires_each_batch, "cut"),
    (counts_outside_its_blocks, "move"),
    (counts_outside_its_blocks, "reset"),
    (looks_at_its_neighbour, "alone"),
    (gives_infinity, "finite"),
    (writes_next_door, "finite"),
    (writes_behind_the_end, "finite"),
    (reads_behind_the_end, "finite"),
]


@pytest.mark.parametrize("check", CHECKS)
def test_the_checks_pass_without_a_fault(check: str) -> None:
    """The planted faults below are what the checks notice, not the frame around them."""
    CHECKS[check](lambda column: Broken(column, lambda *_: None))


@pytest.mark.parametrize(("fault", "check"), PLANTED, ids=lambda p: getattr(p, "__name__", p))
def test_a_planted_fault_is_noticed(fault: Callable[..., None], check: str) -> None:
    """An operator with a fault of each kind fails the check that is meant for it."""
    with pytest.raises(AssertionError):
        CHECKS[check](lambda column: Broken(column, fault))
