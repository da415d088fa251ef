"""Every way of selection keeps to the contract."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgauge.schedule import LANE as LANE_COLUMN
from streamgauge.schedule import STEP, TARGET
from streamgauge.words import Step
from tests.contracts import selections
from tests.contracts.invariance import cuts
from tests.contracts.learner_subjects import INPUTS, LANE
from tests.contracts.schedules import Steps, lessons, make
from tests.contracts.selections import SUBJECTS, Subject

every = pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
calm = settings(deadline=None, max_examples=25, derandomize=True)


def test_every_way_has_a_subject() -> None:
    """No file of the folder slips past this suite."""
    assert [subject.name for subject in SUBJECTS] == selections.found()


@every
@calm
@given(data=st.data())
def test_cut(subject: Subject, data: st.DataObject) -> None:
    """The result does not depend on where a schedule was cut."""
    steps = data.draw(lessons())
    selections.check_cut(subject.build, steps, data.draw(cuts(len(steps))))


@every
@calm
@given(data=st.data())
def test_chain(subject: Subject, data: st.DataObject) -> None:
    """A selection in a chain of kernel calls is the same selection."""
    steps = data.draw(lessons())
    selections.check_chain(subject.build, steps, data.draw(cuts(len(steps))))


@every
@calm
@given(steps=lessons())
def test_only_leaves_out(subject: Subject, steps: Steps) -> None:
    """No value is changed, and nothing that comes leaves a selection blind."""
    selections.check_only_leaves_out(subject.build, steps)


@every
@calm
@given(steps=lessons())
def test_alone(subject: Subject, steps: Steps) -> None:
    """No device has an influence on another."""
    selections.check_alone(subject.build, steps)


@every
@calm
@given(steps=lessons())
def test_learning_alone_changes(subject: Subject, steps: Steps) -> None:
    """What taught nothing leaves no trace."""
    selections.check_learning_alone_changes(subject.build, steps)


@every
@calm
@given(data=st.data())
def test_move(subject: Subject, data: st.DataObject) -> None:
    """Devices move to another instance, and a snapshot goes on where it was taken."""
    steps = data.draw(lessons())
    at = data.draw(st.integers(0, len(steps)))
    selections.check_move(subject.build, steps, at, data.draw(cuts(len(steps))))


@every
@calm
@given(steps=lessons())
def test_reset(subject: Subject, steps: Steps) -> None:
    """A recycled row remembers nothing."""
    selections.check_reset(subject.build, steps)


@every
@calm
@given(data=st.data())
def test_fleet(subject: Subject, data: st.DataObject) -> None:
    """Once for the fleet is as for a single device that sends everything."""
    steps = data.draw(lessons())
    selections.check_fleet(subject.build, steps, data.draw(cuts(len(steps))))


@every
def test_these_streams_make_it_decide(subject: Subject) -> None:
    """On a stream as above it leaves features out and takes some back."""
    steps = make(3, 900, missing=0.1)
    steps.numbers[:, TARGET] = np.where(
        steps.codes[:, STEP] == Step.LEARN, np.nan_to_num(steps.x[:, INPUTS[0]]), np.nan
    )
    x = selections.play(subject.build(), steps)
    own = (steps.codes[:, LANE_COLUMN] == LANE) & (steps.codes[:, STEP] <= int(Step.LEARN))
    came = ~np.isnan(steps.x[own][:, list(INPUTS)])
    out = np.isnan(x[own][:, list(INPUTS)]) & came
    assert 0 < out.sum() < came.sum()
    if subject.name != "variance":
        assert (np.diff(out.any(axis=0).astype(int)) != 0).any() or out.any(axis=0).all()
