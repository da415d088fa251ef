"""Which of a task's features its models see, and why: what stands in `select`."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from models.learner import Learner
from models.selections._cells import COUNT, DROPPED, SCORE, WIDTH
from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Argument, Call
from streamgauge.schedule import Schedule
from streamgauge.state import Block, Field

__all__ = ["Choice", "Features", "Selection", "Share"]


class Choice(NamedTuple):
    """What was decided on one feature of one model, and by which number."""

    feature: str
    kept: bool
    score: float
    """What the selection is by; NaN where nothing was learned yet."""
    reason: str


class Share(NamedTuple):
    """What was decided on one feature by several models."""

    feature: str
    kept: float
    """The share of the models that keep it; NaN of none."""
    score: float
    """The median over the models that know one; NaN where none does."""


class Features:
    """The features of one lane that a selection is among, and what it remembers of each.

    `inputs int64[k]` are the columns of `schedule.x`, `names[j]` is input j's name. Block "state"
    has a cell of `width` numbers for each; `beside` are further fields, a block for each. All are
    kept by the learner's keys: for each device, for each group, or once.
    """

    def __init__(
        self,
        learner: Learner,
        inputs: Sequence[int],
        names: Sequence[str],
        capacity: int,
        *,
        width: int = WIDTH,
        beside: Sequence[Field] = (),
    ) -> None:
        self.learner, self.lane = learner, learner.lane
        self.names = tuple(names)
        self.inputs: Ints = np.array(inputs, np.int64)
        rows = learner.keys.rows(capacity)
        fields = {"state": Field("selection", (len(inputs), width))}
        fields |= {field.name: field for field in beside}
        self.blocks = {n: Block([f], rows, keys=learner.keys) for n, f in fields.items()}
        self.cells = self.blocks["state"].view("selection")

    def beside(self, name: str) -> Floats:
        """float64[rows, ...]: the field of that name."""
        return self.blocks[name].view(name)


class Selection:
    """Leaves out features of one lane's steps, between the label join and the models.

    A feature that is left out becomes NaN in `schedule.x`, which is absent to every model. What is
    known of a feature is learned at the learn steps alone, for each model of the lane.
    """

    def __init__(
        self,
        features: Features,
        call: Callable[[Schedule], tuple[Callable[..., None], tuple[Argument, ...]]],
        why: Callable[[int, int], str],
        *,
        unknown: str = "no value came with a label yet",
        includes: Learner | None = None,
    ) -> None:
        """`call(schedule)` gives the kernel and its arguments; `why(row, j)` the reason for what
        was decided on feature j, of which something is known."""
        self.lane = features.lane
        self.blocks: Mapping[str, Block] = features.blocks
        self.includes = includes
        """The learner that walks its steps within this selection's call."""
        self._names, self._cells = features.names, features.cells
        self._made, self._why, self._unknown = call, why, unknown

    def call(self, schedule: Schedule) -> Call:
        """Choose, as one kernel call over STEPS."""
        return Call(*self._made(schedule))

    def report(self, row: int) -> list[Choice]:
        """Each feature of the model in this row: kept or not, its score, and why."""
        return [self._choice(row, j) for j in range(len(self._names))]

    def kept(self, rows: Sequence[int]) -> list[Share]:
        """Each feature, and how the models of these rows decided on it."""
        places = np.asarray(rows, np.int64)
        counts, scores = (self._cells[places, :, column] for column in (COUNT, SCORE))
        inside = self._cells[places, :, DROPPED] == 0.0
        shares = []
        for j, name in enumerate(self._names):
            known = scores[counts[:, j] > 0.0, j]
            kept = float(inside[:, j].mean()) if len(places) else math.nan
            shares.append(Share(name, kept, float(np.median(known)) if len(known) else math.nan))
        return shares

    def _choice(self, row: int, j: int) -> Choice:
        cell, name = self._cells[row, j], self._names[j]
        kept = not cell[DROPPED]
        if cell[COUNT] == 0.0:
            reason = "kept until labels come" if kept else self._unknown
            return Choice(name, kept, math.nan, reason)
        return Choice(name, kept, float(cell[SCORE]), self._why(row, j))
