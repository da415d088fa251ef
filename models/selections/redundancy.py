"""Of features that say the same, keeps the one that goes most with the label."""

import math
from collections.abc import Sequence

import numpy as np

from models.learner import Learner
from models.selection import Features, Selection
from models.selections._cells import (
    DROPPED,
    LEARN,
    MOST,
    PLACE,
    SCORE,
    hide,
    is_other,
    learn_correlation,
)
from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Now
from streamgauge.kernels import kernel
from streamgauge.schedule import MODEL, STEP, TARGET
from streamgauge.state import Field, Keys

__all__ = ["build"]

# Columns of a pair: count, and of both values mean, sum of squares, and sum of products.
N, MEAN_A, MEAN_B, SQUARES_A, SQUARES_B, PRODUCTS = range(6)
# Two values always lie on a line.
FEWEST = 10.0
# By how much more a feature that is left out must go with the label to take another's place.
EDGE = 0.01
MOST_OF_DEVICE, MOST_OF_FLEET = 32, 256


@kernel
def _learn_pair(pair: Floats, a: float, b: float) -> None:
    pair[N] += 1.0
    from_a, from_b = a - pair[MEAN_A], b - pair[MEAN_B]
    pair[MEAN_A] += from_a / pair[N]
    pair[MEAN_B] += from_b / pair[N]
    pair[SQUARES_A] += from_a * (a - pair[MEAN_A])
    pair[SQUARES_B] += from_b * (b - pair[MEAN_B])
    pair[PRODUCTS] += from_a * (b - pair[MEAN_B])


@kernel
def _alike(pairs: Floats, a: int, b: int) -> float:
    """The absolute correlation of two features; 0 where too little is known."""
    low, high = min(a, b), max(a, b)
    pair = pairs[high * (high - 1) // 2 + low]
    both = math.sqrt(pair[SQUARES_A]) * math.sqrt(pair[SQUARES_B])
    if pair[N] < FEWEST or not both > 0.0:
        return 0.0
    return float(abs(pair[PRODUCTS]) / both)


@kernel
def _decide(cells: Floats, pairs: Floats, threshold: float) -> None:
    """From the feature that goes most with the label down, keep what none of those says already."""
    k = len(cells)
    rank = np.empty(k)
    for j in range(k):
        rank[j] = cells[j, SCORE] + (EDGE if cells[j, DROPPED] == 0.0 else 0.0)
    decided = np.zeros(k)
    for _ in range(k):
        at = -1
        for j in range(k):
            if decided[j] == 0.0 and (at < 0 or rank[j] > rank[at]):
                at = j
        cells[at, DROPPED] = 0.0
        most = threshold
        for j in range(k):
            if decided[j] == 1.0 and _alike(pairs, at, j) > most:
                most = _alike(pairs, at, j)
                cells[at, DROPPED], cells[at, PLACE] = 1.0, j
        decided[at] = 2.0 if cells[at, DROPPED] != 0.0 else 1.0


@kernel
def _learn(cells: Floats, pairs: Floats, x: Floats, inputs: Ints, label: float) -> None:
    for j in range(len(inputs)):
        value = x[inputs[j]]
        if abs(value) <= MOST:
            learn_correlation(cells[j], value, label)
            for k in range(j):
                other = x[inputs[k]]
                if abs(other) <= MOST:
                    _learn_pair(pairs[j * (j - 1) // 2 + k], other, value)


@kernel
def _choose(
    codes: Ints, numbers: Floats, x: Floats, state: Floats, pairs: Floats, labels: Floats,
    inputs: Ints, lane: int, threshold: float, every: int, n: int,
) -> None:  # fmt: skip
    seen = np.zeros(x.shape[1])
    for i in range(n):
        if is_other(codes, i, lane):
            continue
        row = codes[i, MODEL]
        learns = codes[i, STEP] == LEARN and abs(numbers[i, TARGET]) <= MOST
        if learns:
            seen[:] = x[i]
        hide(state[row], x[i], inputs)
        if learns:
            _learn(state[row], pairs[row], seen, inputs, numbers[i, TARGET])
            labels[row] += 1.0
            if labels[row] % every == 0.0:
                _decide(state[row], pairs[row], threshold)


def build(
    learner: Learner,
    inputs: Sequence[int],
    names: Sequence[str],
    capacity: int,
    *,
    threshold: float = 0.95,
    every: int = 100,
) -> Selection:
    """The correlation filter: leaves out what correlates by more than `threshold` with a feature
    that goes more with the label, for each pair over the labels at which both were there.

    It decides at every `every`-th label, so that the models do not see features come and go, and
    then learns on. The sums of all pairs take 24 k (k - 1) bytes for each model.
    """
    if not 0.0 < threshold < 1.0:
        raise ValueError(f"threshold = {threshold} is no correlation; write one such as 0.95")
    if every < 1:
        raise ValueError(f"every = {every} is no number of labels; write 1 or more")
    fleet = learner.keys is not Keys.DEVICE
    most, k = MOST_OF_FLEET if fleet else MOST_OF_DEVICE, len(inputs)
    if k > most:
        per = "" if fleet else ' for each device, or set scope = "fleet"'
        raise ValueError(
            f"pairs of {k} features, more than {most}, are too many to remember{per}; "
            "name fewer in inputs"
        )
    size = max(1, k * (k - 1) // 2)
    beside = [Field("pairs", (size, 6)), Field("labels")]
    features = Features(learner, inputs, names, capacity, beside=beside)
    pairs = features.beside("pairs")

    def why(row: int, j: int) -> str:
        cell = features.cells[row, j]
        said = f"correlation {cell[SCORE]:.3g} with the label"
        if not cell[DROPPED]:
            return f"{said}; no feature that is kept says the same"
        other = int(cell[PLACE])
        alike = _alike(pairs[row], j, other)
        return f"{said}; {alike:.3g} with {names[other]}, which is kept"

    own = (features.cells, pairs, features.beside("labels"), features.inputs, features.lane)
    last = (threshold, every, Now.STEPS)
    return Selection(features, lambda s: (_choose, (s.codes, s.numbers, s.x, *own, *last)), why)
