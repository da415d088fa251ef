"""Keeps the features that go most with the label, up or down."""

from collections.abc import Sequence

from models.learner import Learner
from models.selection import Selection
from models.selections._best import best

__all__ = ["EXAMPLE", "build"]

EXAMPLE = {"keep": 10}


def build(
    learner: Learner, inputs: Sequence[int], names: Sequence[str], capacity: int, *, keep: int
) -> Selection:
    """River's `SelectKBest(PearsonCorr(), keep, use_abs=True)`: at every label it decides, then
    learns."""
    return best(learner, inputs, names, capacity, keep, information=False)
