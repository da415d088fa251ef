"""Which of a task's features its models see: those that vary, or those that go with the label."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Call, Now
from streamgauge.kernels import kernel
from streamgauge.schedule import LANE, MODEL, STEP, TARGET, Schedule
from streamgauge.state import Block, Field, Keys
from streamgauge.words import Step

__all__ = ["Choice", "Selection"]

LEARN = int(Step.LEARN)
_COUNT, _MEAN, _SQUARES, _LABEL_MEAN, _LABEL_SQUARES, _COVARIANCE, _SCORE, _PLACE, _DROPPED = range(
    9
)
_WIDTH = 9
# Squares of it are still finite. A larger value teaches nothing.
_MOST = 1e120


class Choice(NamedTuple):
    """What was decided on one feature of one model, and by which number."""

    feature: str
    kept: bool
    score: float
    """Variance, or absolute correlation with the label; NaN where nothing was learned yet."""
    reason: str


class Selection:
    """Leaves out features of one lane's steps, between the label join and the models.

    A feature that is left out becomes NaN in `schedule.x`, which is absent to every model. What is
    known of a feature is learned at the learn steps alone, for each model of the lane.

    `by = "variance"` is River's `VarianceThreshold(threshold)`: it learns a reading and then
    decides. `by = "correlation"` is River's `SelectKBest(PearsonCorr(), keep, use_abs=True)`: it
    decides and then learns; until the first label all features are kept.
    """

    def __init__(
        self,
        lane: int,
        inputs: Sequence[int],
        names: Sequence[str],
        capacity: int,
        keys: Keys,
        *,
        by: Literal["variance", "correlation"],
        keep: int,
        threshold: float,
    ) -> None:
        """`inputs` are the columns of `schedule.x` for this lane; `names[j]` is input j's name."""
        self.lane = lane
        self._names, self._by, self._keep, self._threshold = tuple(names), by, keep, threshold
        fields = [Field("selection", (len(inputs), _WIDTH))]
        block = Block(fields, capacity if keys is Keys.DEVICE else 1, keys=keys)
        self.blocks: Mapping[str, Block] = {"state": block}
        self._state = block.view("selection")
        self._inputs = np.array(inputs, np.int64)

    def call(self, schedule: Schedule) -> Call:
        """Choose, as one kernel call over STEPS."""
        bound = (schedule.codes, schedule.numbers, schedule.x, self._state, self._inputs, self.lane)
        if self._by == "variance":
            return Call(_by_variance, (*bound, self._threshold, Now.STEPS))
        return Call(_by_correlation, (*bound, self._keep, Now.STEPS))

    def report(self, row: int) -> list[Choice]:
        """Each feature of the model in this row: kept or not, its score, and why."""
        return [
            self._choice(name, cell)
            for name, cell in zip(self._names, self._state[row], strict=True)
        ]

    def kept(self, rows: Sequence[int]) -> list[tuple[str, float, float]]:
        """Each feature, the share of these models that keep it, and the median of its scores."""
        reports = zip(*map(self.report, rows), strict=True)
        return [
            (
                of[0].feature,
                sum(choice.kept for choice in of) / len(of),
                float(np.median([choice.score for choice in of])),
            )
            for of in reports
        ]

    def _choice(self, name: str, cell: Floats) -> Choice:
        kept, score = not cell[_DROPPED], float(cell[_SCORE])
        if cell[_COUNT] == 0.0:
            reason = "kept until labels come" if kept else "no value came with a label yet"
            return Choice(name, kept, math.nan, reason)
        if self._by == "variance":
            place = f"variance {score:g} is {'above' if score > self._threshold else 'not above'}"
            few = "fewer than 2 values came yet"
            return Choice(
                name, kept, score, few if cell[_COUNT] < 2.0 else f"{place} {self._threshold:g}"
            )
        among = "among" if kept else "not among"
        return Choice(
            name, kept, score, f"correlation {score:.3g} is {among} the best {self._keep}"
        )


@kernel
def _learn_variance(cell: Floats, value: float) -> None:
    cell[_COUNT] += 1.0
    old = cell[_MEAN]
    cell[_MEAN] += (1.0 / cell[_COUNT]) * (value - old)
    cell[_SQUARES] += (value - old) * (value - cell[_MEAN])


@kernel
def _learn_correlation(cell: Floats, value: float, label: float) -> None:
    away, old = value - cell[_MEAN], cell[_LABEL_MEAN]
    _learn_variance(cell, value)
    n = cell[_COUNT]
    cell[_LABEL_MEAN] += (1.0 / n) * (label - old)
    cell[_LABEL_SQUARES] += (label - old) * (label - cell[_LABEL_MEAN])
    step = away * (label - cell[_LABEL_MEAN]) - cell[_COVARIANCE]
    cell[_COVARIANCE] += step / max(n - 1.0, 1.0)
    cell[_SCORE] = 0.0
    if n > 1.0:
        product = cell[_SQUARES] / (n - 1.0) * (cell[_LABEL_SQUARES] / (n - 1.0))
        if product > 0.0:
            cell[_SCORE] = abs(cell[_COVARIANCE]) / math.sqrt(product)


@kernel
def _rank(row: Floats, keep: int) -> None:
    """Drop all but the best; of equal ones those stay that came first."""
    for j in range(len(row)):
        better = 0
        for k in range(len(row)):
            ahead = row[k, _SCORE] > row[j, _SCORE]
            equal = row[k, _SCORE] == row[j, _SCORE] and row[k, _PLACE] < row[j, _PLACE]
            if row[k, _COUNT] > 0.0 and (ahead or equal):
                better += 1
        row[j, _DROPPED] = 1.0 if row[j, _COUNT] == 0.0 or better >= keep else 0.0


@kernel
def _by_variance(
    codes: Ints, numbers: Floats, x: Floats, state: Floats, inputs: Ints, lane: int,
    threshold: float, n: int,
) -> None:  # fmt: skip
    for i in range(n):
        if codes[i, LANE] != lane or codes[i, STEP] > LEARN:
            continue
        for j in range(len(inputs)):
            cell, value = state[codes[i, MODEL], j], x[i, inputs[j]]
            if codes[i, STEP] == LEARN and abs(value) <= _MOST:
                _learn_variance(cell, value)
                if cell[_COUNT] > 1.0:
                    cell[_SCORE] = cell[_SQUARES] / (cell[_COUNT] - 1.0)
                    cell[_DROPPED] = 0.0 if cell[_SCORE] > threshold else 1.0
            if cell[_DROPPED] != 0.0:
                x[i, inputs[j]] = np.nan


@kernel
def _by_correlation(
    codes: Ints, numbers: Floats, x: Floats, state: Floats, inputs: Ints, lane: int,
    keep: int, n: int,
) -> None:  # fmt: skip
    dropped = np.zeros(len(inputs))
    for i in range(n):
        if codes[i, LANE] != lane or codes[i, STEP] > LEARN:
            continue
        row = state[codes[i, MODEL]]
        dropped[:] = row[:, _DROPPED]
        if codes[i, STEP] == LEARN and abs(numbers[i, TARGET]) <= _MOST:
            known = 0.0
            for j in range(len(inputs)):
                known += 1.0 if row[j, _COUNT] > 0.0 else 0.0
            for j in range(len(inputs)):
                value = x[i, inputs[j]]
                if abs(value) <= _MOST:
                    if row[j, _COUNT] == 0.0:
                        row[j, _PLACE] = known
                        known += 1.0
                    _learn_correlation(row[j], value, numbers[i, TARGET])
            if known > 0.0:
                _rank(row, keep)
        for j in range(len(inputs)):
            if dropped[j] != 0.0:
                x[i, inputs[j]] = np.nan
