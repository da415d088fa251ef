"""Copy on write: what is copied while the walk goes on is the state at one moment, bit for bit."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_processor import copying
from stream_processor.checkpoint import Checkpoint, Part
from stream_processor.pipeline import Pipeline
from stream_processor.snapshot import begin, restore
from tests.streams import COMPILED, RIVER, pipeline, stream
from tests.test_walk import run, state

N = 900
SLOW = patch.multiple(copying, FIRST=1, LEAST=1, MOST=2)
"""Slices of one or two rows, so that a copy of a few devices lasts."""


def small(model: str) -> Pipeline:
    """A pipeline whose fleet grows, is evicted and comes back."""
    return pipeline(model, limit=30, evict_after="1m")


def blobs(made: Pipeline) -> list[list[bytes]]:
    """The pickles of every River model."""
    rows = np.arange(len(made.walk.stages.devices))
    held = [learner.blobs for learner in made.walk.stages.learners]
    return [each.dump(rows) for each in held if each is not None]


def everything(made: Pipeline) -> tuple[object, ...]:
    """All that a checkpoint must hold, as bits."""
    return state(made), made.walk.stages.devices.snapshot(), made.walk.clock


class Copied:
    """A copy that is under way: the facts, and the parts so far."""

    def __init__(self, made: Pipeline) -> None:
        self.parts: list[Part | None] = []
        with SLOW:
            self.facts = begin(made.walk, {}, {}, self.parts.append)

    @property
    def whole(self) -> list[Part]:
        """The parts of a copy that is done."""
        assert self.parts[-1] is None
        return [part for part in self.parts if part is not None]


@pytest.mark.parametrize("model", [COMPILED, RIVER])
@given(
    seed=st.integers(0, 50),
    moment=st.integers(1, N // 2),
    pieces=st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=5, max_size=30),
)
@settings(max_examples=6, deadline=None)
def test_a_copy_taken_in_slices_is_the_state_at_its_beginning(
    model: str, seed: int, moment: int, pieces: list[tuple[int, bool]]
) -> None:
    """Whatever is walked, grown and evicted meanwhile, and wherever the slices fall."""
    made, readings = small(model), stream(N, seed, devices=40)
    run(made, readings.part(0, moment), [])
    expected, pickles = everything(made), blobs(made)
    copied = Copied(made)
    at = moment
    with SLOW:
        for length, then_slice in pieces:
            run(made, readings.part(at, at + length), [])
            at += length
            if then_slice and made.walk.copying is not None:
                made.walk.copying.slice()
    assert everything(made) != expected
    made.walk.copied()
    rows = [row for part in copied.whole if part.rows is not None for row in part.rows.tolist()]
    assert sorted(rows) == list(range(len(copied.facts["devices"]["ids"])))

    again = small(model)
    restore(again.walk, Checkpoint(copied.facts, copied.whole))
    assert everything(again) == expected
    assert [len(each) for each in blobs(again)] == [len(each) for each in pickles]
    for lane, learner in enumerate(k for k in made.walk.stages.learners if k.blobs is not None):
        name = made.walk.stages.lanes[learner.lane].name
        held = dict(
            pair
            for part in copied.whole
            if part.rows is not None
            for pair in zip(part.rows.tolist(), part.blobs[name], strict=True)
        )
        assert [held[row] for row in sorted(held)] == pickles[lane]


def test_rows_are_copied_before_they_change_and_only_once() -> None:
    """A batch takes its own rows ahead of their turn; a tick takes all that are left."""
    made, readings = small(COMPILED), stream(N, 3, devices=20)
    run(made, readings.part(0, 300), [])
    copied = Copied(made)
    rows = np.array([5, 3, 5], np.int32)
    made.walk.touch(rows)
    made.walk.touch(rows)
    ahead = [part.rows.tolist() for part in copied.parts if part and part.rows is not None]
    assert ahead == [[3, 5]]
    made.walk.tick(made.walk.clock)
    assert made.walk.copying is None
    assert sum(len(part.rows) for part in copied.whole if part.rows is not None) == len(
        copied.facts["devices"]["ids"]
    )


def test_an_empty_fleet_is_copied_too() -> None:
    """Before the first device there is a checkpoint already."""
    made = small(COMPILED)
    copied = Copied(made)
    made.walk.copied()
    assert [part.rows for part in copied.whole] == [None]
