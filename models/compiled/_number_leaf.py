"""A leaf of a Hoeffding tree of numbers: what it knows and answers.

River 0.26, `tree.nodes.htr_nodes`: the mean of its labels, a linear model, or whichever of the two
has erred less of late; for each feature a search tree of the values that came (`_places`).
"""

from models.compiled._places import cut_down, insert, learn_label, rounded
from models.compiled._python import overflowed
from models.compiled._tree import COLUMNS, INACTIVE, WHOLE, fields
from streamgauge.arrays import Floats
from streamgauge.kernels import kernel
from streamgauge.state import Field

__all__ = [
    "DELTA",
    "GRACE",
    "INTERCEPT",
    "KNOWN",
    "LEAF",
    "LEAST",
    "LISTED",
    "MAX_DEPTH",
    "MEAN",
    "MODEL",
    "PREPRUNE",
    "SQUARES",
    "START",
    "TAU",
    "TWO",
    "N",
    "answer",
    "fields_of",
    "forget",
    "learn",
]

# Columns of the settings: the tree's options, then those of the linear model in its leaves.
(
    GRACE,
    MAX_DEPTH,
    DELTA,
    TAU,
    LEAF,
    DECAY,
    POWER,
    LEAST,
    PREPRUNE,
    TWO,
    RATE,
    INTERCEPT_RATE,
    CLIP_GRADIENT,
    L2,
    START,
) = range(15)
MEANS, MODELS = 0.0, 1.0

# Columns of a leaf, behind those of all nodes: number, mean and sum of squares of the labels; the
# faded squared errors of the mean and of the linear model; of how many features values came; the
# linear model's intercept. Then for each feature: which came as the k-th, the root of its values
# from 1, 1 where it came, and its weight.
N, MEAN, SQUARES, ERR_MEAN, ERR_MODEL, KNOWN, INTERCEPT = range(COLUMNS, COLUMNS + 7)
LISTED = COLUMNS + 7
# What a child takes over from its parent begins here, but for the features that came.
MODEL = ERR_MEAN


def fields_of(f: int) -> list[Field]:
    """A node of a tree with f features."""
    own = ("labels", "mean", "squares", "error_of_mean", "error_of_model", "known", "intercept")
    return [
        *fields(),
        *(Field(name) for name in own),
        *(Field(name, (f,)) for name in ("features", "roots", "came", "weight")),
    ]


@kernel
def _linear(node: Floats, z: Floats, has: Floats) -> float:
    weights = LISTED + 3 * len(z)
    predicted: float = 0.0
    for j in range(len(z)):
        if has[j] != 0.0:
            predicted += node[weights + j] * z[j]
    predicted += node[INTERCEPT]
    return predicted


@kernel
def answer(node: Floats, z: Floats, has: Floats, o: Floats) -> float:
    """The leaf's prediction."""
    if o[LEAF] == MEANS or (o[LEAF] != MODELS and node[ERR_MEAN] < node[ERR_MODEL]):
        return float(node[MEAN])
    return _linear(node, z, has)


@kernel
def _descend(node: Floats, z: Floats, has: Floats, y: float, o: Floats) -> None:
    """One step of the linear model down the gradient of the squared loss."""
    clip, weights = o[CLIP_GRADIENT], LISTED + 3 * len(z)
    gradient = 2.0 * (_linear(node, z, has) - y)
    gradient = clip if gradient > clip else -clip if gradient < -clip else gradient
    node[INTERCEPT] -= o[INTERCEPT_RATE] * gradient
    for j in range(len(z)):
        if has[j] != 0.0:
            step = z[j] * gradient
            if o[L2] != 0.0:
                step += node[weights + j] * o[L2]
            node[weights + j] -= o[RATE] * step


@kernel
def _judge(node: Floats, z: Floats, has: Floats, y: float, o: Floats) -> bool:
    """Add the errors of the mean and of the model for a label; False where River raises."""
    by_mean, by_model = y - node[MEAN], y - _linear(node, z, has)
    square = by_mean ** o[TWO]
    if overflowed(by_mean, square):
        return False
    node[ERR_MEAN] = o[DECAY] * node[ERR_MEAN] + square
    square = by_model ** o[TWO]
    if overflowed(by_model, square):
        return False
    node[ERR_MODEL] = o[DECAY] * node[ERR_MODEL] + square
    return True


@kernel
def _observe(
    row: Floats, places: Floats, device: int, node: Floats, f: int, j: int, v: float, y: float
) -> bool:
    """A feature's values take one more; False where there is no place for it."""
    if node[LISTED + 2 * f + j] == 0.0:
        node[LISTED + 2 * f + j] = 1.0
        node[LISTED + int(node[KNOWN])] = j
        node[KNOWN] += 1.0
    root = insert(row, places, device, int(node[LISTED + f + j]), v, y)
    node[LISTED + f + j] = abs(root)
    return root > 0


@kernel
def learn(
    row: Floats, places: Floats, device: int, node: Floats, z: Floats, has: Floats, y: float,
    o: Floats,
) -> tuple[bool, int]:  # fmt: skip
    """A leaf learns a label; False where River raises. And how many values found no place."""
    f, lost = len(z), 0
    if o[LEAF] != MEANS and o[LEAF] != MODELS and not _judge(node, z, has, y, o):
        return False, 0
    learn_label(node[N : N + 3], y)
    node[WHOLE] = node[N]
    if node[INACTIVE] == 0.0:
        for j in range(f):
            if has[j] != 0.0:
                v = rounded(z[j], o[POWER])
                lost += not _observe(row, places, device, node, f, j, v, y)
    if o[LEAF] != MEANS:
        _descend(node, z, has, y, o)
    return True, lost


@kernel
def forget(row: Floats, places: Floats, device: int, node: Floats, f: int) -> None:
    """A leaf gives back all places of its features' values."""
    for k in range(int(node[KNOWN])):
        j = int(node[LISTED + k])
        cut_down(row, places, device, int(node[LISTED + f + j]))
    node[KNOWN] = 0.0
    node[LISTED : LISTED + 3 * f] = 0.0
