"""The features with the best scores: what a selection by a score of each has in common."""

from collections.abc import Sequence

import numpy as np

from models.learner import Learner
from models.selection import Features, Selection
from models.selections._cells import (
    COUNT,
    DROPPED,
    LEARN,
    MOST,
    PLACE,
    SCORE,
    WIDTH,
    hide,
    is_other,
    learn_correlation,
)
from models.selections._information import SIZE, count_pair, information
from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Now
from streamgauge.kernels import kernel
from streamgauge.schedule import MODEL, STEP, TARGET
from streamgauge.state import Field

__all__ = ["best"]


@kernel
def _rank(cells: Floats, keep: int) -> None:
    """Drop all but the best; of equal ones those stay that came first."""
    if cells.shape[1] > WIDTH:
        for j in range(len(cells)):
            cells[j, SCORE] = information(cells[j])
    for j in range(len(cells)):
        better = 0
        for k in range(len(cells)):
            ahead = cells[k, SCORE] > cells[j, SCORE]
            equal = cells[k, SCORE] == cells[j, SCORE] and cells[k, PLACE] < cells[j, PLACE]
            if cells[k, COUNT] > 0.0 and (ahead or equal):
                better += 1
        cells[j, DROPPED] = 1.0 if cells[j, COUNT] == 0.0 or better >= keep else 0.0


@kernel
def _learn(cells: Floats, x: Floats, inputs: Ints, label: float) -> bool:
    """Learn a label with the features that came with it; whether any is known."""
    known = 0.0
    for j in range(len(inputs)):
        known += 1.0 if cells[j, COUNT] > 0.0 else 0.0
    for j in range(len(inputs)):
        value = x[inputs[j]]
        if abs(value) <= MOST:
            if cells[j, COUNT] == 0.0:
                cells[j, PLACE] = known
                known += 1.0
            learn_correlation(cells[j], value, label)
            if len(cells[j]) > WIDTH:
                count_pair(cells[j], value, label)
    return known > 0.0


@kernel
def _choose(
    codes: Ints, numbers: Floats, x: Floats, state: Floats, labels: Floats, inputs: Ints,
    lane: int, keep: int, every: int, n: int,
) -> None:  # fmt: skip
    seen = np.zeros(x.shape[1])
    for i in range(n):
        if is_other(codes, i, lane):
            continue
        cells = state[codes[i, MODEL]]
        learns = codes[i, STEP] == LEARN and abs(numbers[i, TARGET]) <= MOST
        if learns:
            seen[:] = x[i]
        hide(cells, x[i], inputs)
        if learns:
            known = _learn(cells, seen, inputs, numbers[i, TARGET])
            labels[codes[i, MODEL]] += 1.0
            if known and labels[codes[i, MODEL]] % every == 0.0:
                _rank(cells, keep)


def best(
    learner: Learner,
    inputs: Sequence[int],
    names: Sequence[str],
    capacity: int,
    keep: int,
    every: int = 1,
    *,
    information: bool,
) -> Selection:
    """The `keep` best by mutual information, or by absolute correlation, decided anew at every
    `every`-th label. Until the first of those all features are kept."""
    if keep < 1:
        raise ValueError(f"keep = {keep} leaves nothing; write 1 or more")
    if every < 1:
        raise ValueError(f"every = {every} is no number of labels; write 1 or more")
    width = WIDTH + (SIZE if information else 0)
    beside = [Field("labels")]
    features = Features(learner, inputs, names, capacity, width=width, beside=beside)
    labels, what = features.beside("labels"), "mutual information" if information else "correlation"

    def why(row: int, j: int) -> str:
        if labels[row] < every:
            return f"kept until the first {every} labels"
        among = "not among" if features.cells[row, j, DROPPED] else "among"
        return f"{what} {features.cells[row, j, SCORE]:.3g} is {among} the best {keep}"

    own = (features.cells, labels, features.inputs, features.lane, keep, every, Now.STEPS)
    return Selection(features, lambda s: (_choose, (s.codes, s.numbers, s.x, *own)), why)
