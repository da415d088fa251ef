"""Keeps the features whose variance is above a threshold."""

import math
from collections.abc import Sequence

from models.learner import Learner
from models.selection import Features, Selection
from models.selections._cells import (
    COUNT,
    DROPPED,
    LEARN,
    MOST,
    SCORE,
    SQUARES,
    hide,
    is_other,
    learn_variance,
)
from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Now
from streamgauge.kernels import kernel
from streamgauge.schedule import MODEL, STEP

__all__ = ["build"]


@kernel
def _choose(
    codes: Ints, x: Floats, state: Floats, inputs: Ints, lane: int, threshold: float, n: int
) -> None:
    for i in range(n):
        if is_other(codes, i, lane):
            continue
        cells = state[codes[i, MODEL]]
        for j in range(len(inputs)):
            cell, value = cells[j], x[i, inputs[j]]
            if codes[i, STEP] == LEARN and abs(value) <= MOST:
                learn_variance(cell, value)
                if cell[COUNT] > 1.0:
                    cell[SCORE] = cell[SQUARES] / (cell[COUNT] - 1.0)
                    cell[DROPPED] = 0.0 if cell[SCORE] > threshold else 1.0
        hide(cells, x[i], inputs)


def build(
    learner: Learner,
    inputs: Sequence[int],
    names: Sequence[str],
    capacity: int,
    *,
    threshold: float = 0.0,
) -> Selection:
    """River's `VarianceThreshold(threshold)`: learns a reading, then decides.

    Keeps what varies by more than `threshold`, the square of the feature's unit.
    """
    if not 0.0 <= threshold < math.inf:
        raise ValueError(f"threshold = {threshold} is no variance; write one from 0 on")
    features = Features(learner, inputs, names, capacity)

    def why(row: int, j: int) -> str:
        count, score = features.cells[row, j, COUNT], features.cells[row, j, SCORE]
        if count < 2.0:
            return "fewer than 2 values came yet"
        place = "above" if score > threshold else "not above"
        return f"variance {score:g} is {place} {threshold:g}"

    own = (features.cells, features.inputs, features.lane, threshold, Now.STEPS)
    return Selection(features, lambda s: (_choose, (s.codes, s.x, *own)), why)
