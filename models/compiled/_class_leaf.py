"""A leaf of a Hoeffding tree of classes: what it knows and answers.

As River 0.26 has them in `tree.nodes`, `tree.splitter.GaussianSplitter` and `tree.utils`, operation
by operation. A leaf keeps the weight of each class and, for each feature and class, a normal
distribution with the least and the greatest value. Both are in the order in which they came, which
decides ties and the order of sums.
"""

import math

from models.compiled._python import overflowed, plus, summed
from models.compiled._tree import COLUMNS, INACTIVE, WHOLE, fields
from streamgauge.arrays import Floats
from streamgauge.kernels import kernel
from streamgauge.state import Field

__all__ = [
    "BAYES",
    "CLASSES",
    "COMPENSATED",
    "CUTS",
    "DELTA",
    "GINI",
    "GRACE",
    "GREATEST",
    "HALF",
    "HEADER",
    "HIGHEST_SHARE",
    "KNOWN",
    "LEAF",
    "LEAST",
    "LEAST_SHARE",
    "LEFT_CLASSES",
    "LEFT_WEIGHTS",
    "MAJORITY",
    "MAX_DEPTH",
    "MEAN",
    "MET",
    "NB_FROM",
    "PREPRUNE",
    "RIGHT_CLASSES",
    "RIGHT_WEIGHTS",
    "SQUARES",
    "TAU",
    "VOTES",
    "N",
    "bayes",
    "fields_of",
    "first_of",
    "forget",
    "learn",
    "majority",
    "total",
]

# Columns of the settings: the tree's options.
(
    CLASSES,
    GRACE,
    MAX_DEPTH,
    DELTA,
    TAU,
    LEAF,
    NB_FROM,
    CUTS,
    LEAST_SHARE,
    HIGHEST_SHARE,
    PREPRUNE,
    GINI,
    COMPENSATED,
    HALF,
) = range(14)

# Columns of a leaf, behind those of all nodes: the weight of labels that the most frequent class,
# and naive Bayes, have answered rightly; how many classes have come, and of how many features.
MAJORITY, BAYES, MET, KNOWN = range(COLUMNS, COLUMNS + 4)
HEADER = COLUMNS + 4
# Then the classes as they came and their weights, the features as they came, and for each feature
# how many classes came with it, these, and for each class five numbers.
N, MEAN, SQUARES, LEAST, GREATEST = range(5)
# Rows of the scratch: classes and weights on both sides of a cut, and votes.
LEFT_CLASSES, LEFT_WEIGHTS, RIGHT_CLASSES, RIGHT_WEIGHTS, VOTES = range(5)


def fields_of(f: int, classes: int) -> list[Field]:
    """A node of a tree with f features."""
    return [
        *fields(),
        *(Field(name) for name in ("majority", "bayes", "met", "known")),
        *(Field("order", (classes,)), Field("weight", (classes,))),
        *(Field("features", (f,)), Field("gaussians", (f, 1 + 6 * classes))),
    ]


@kernel
def first_of(j: int, f: int, classes: int) -> int:
    """Column at which what is known of feature j begins."""
    return HEADER + 2 * classes + f + j * (1 + 6 * classes)


@kernel
def total(node: Floats, o: Floats, running: Floats) -> float:
    """The weight of all labels of a leaf."""
    running[0] = running[1] = 0.0
    weights = HEADER + int(o[CLASSES])
    for place in range(int(node[MET])):
        plus(running, node[weights + int(node[HEADER + place])], o[COMPENSATED])
    return summed(running)


@kernel
def majority(node: Floats, o: Floats, votes: Floats) -> int:
    """Votes by the classes' shares, in the order in which the classes came; how many."""
    met, weights = int(node[MET]), HEADER + int(o[CLASSES])
    factor = 1.0 / node[WHOLE] if node[WHOLE] != 0.0 else 1.0
    for place in range(met):
        votes[place] = node[weights + int(node[HEADER + place])] * factor
    return met


@kernel
def _log_density(gauss: Floats, v: float) -> float:
    """Log of the normal density, -inf where there is none; inf where River raises."""
    if gauss[N] > 1.0:
        variance = gauss[SQUARES] / (gauss[N] - 1.0)
        if variance > 0.0:
            away = v - gauss[MEAN]
            square = away * away
            if overflowed(away, square):
                return math.inf
            density: float = square / (-2.0 * variance)
            return density - 0.5 * math.log(math.tau) - 0.5 * math.log(variance)
    return -math.inf


@kernel
def bayes(node: Floats, z: Floats, has: Floats, o: Floats, votes: Floats, running: Floats) -> int:
    """Votes by naive Bayes, in the order of the classes; how many, -1 where River raises."""
    classes, f, met = int(o[CLASSES]), len(z), int(node[MET])
    whole = node[WHOLE]
    if met == 0 or whole == 0.0:
        return 0
    highest = -math.inf
    for place in range(met):
        c = int(node[HEADER + place])
        vote = 0.0
        if node[HEADER + classes + c] > 0.0:
            vote = math.log(node[HEADER + classes + c] / whole)
            for k in range(int(node[KNOWN])):
                j = int(node[HEADER + 2 * classes + k])
                if has[j] != 0.0:
                    first = first_of(j, f, classes) + 1 + classes + 5 * c
                    density = _log_density(node[first : first + 5], z[j])
                    if density == math.inf:
                        return -1
                    if density > -math.inf:
                        vote += density
        votes[place] = vote
        highest = max(highest, vote)
    running[0] = running[1] = 0.0
    for place in range(met):
        plus(running, math.exp(votes[place] - highest), o[COMPENSATED])
    whole = highest + math.log(summed(running))
    for place in range(met):
        votes[place] = math.exp(votes[place] - whole)
    return met


@kernel
def _is_best(node: Floats, votes: Floats, n: int, c: int) -> bool:
    """Whether class c has most votes; of those that are alike, the first counts."""
    best = 0
    for place in range(1, n):
        if votes[place] > votes[best]:
            best = place
    return n > 0 and int(node[HEADER + best]) == c


@kernel
def _observe(node: Floats, f: int, classes: int, j: int, v: float, c: int, w: float) -> None:
    """A feature's distribution for a class takes one more value, of weight w."""
    first = first_of(j, f, classes)
    if node[first] == 0.0:
        node[HEADER + 2 * classes + int(node[KNOWN])] = j
        node[KNOWN] += 1.0
    at = first + 1 + classes + 5 * c
    if node[at + N] == 0.0:
        node[first + 1 + int(node[first])] = c
        node[first] += 1.0
        node[at + LEAST] = node[at + GREATEST] = v
    elif v < node[at + LEAST]:
        node[at + LEAST] = v
    if v > node[at + GREATEST]:  # noqa: PLR1730 - of NaN, `max` says something else
        node[at + GREATEST] = v
    node[at + N] += w
    old = node[at + MEAN]
    node[at + MEAN] += (w / node[at + N]) * (v - old)
    node[at + SQUARES] += w * (v - old) * (v - node[at + MEAN])


@kernel
def learn(
    node: Floats, z: Floats, has: Floats, c: int, w: float, o: Floats, votes: Floats,
    running: Floats,
) -> bool:  # fmt: skip
    """A leaf learns a label of weight w; False where River raises."""
    classes, f = int(o[CLASSES]), len(z)
    if node[INACTIVE] == 0.0 and o[LEAF] == 2.0:
        n = majority(node, o, votes)
        if n == 0 or _is_best(node, votes, n, c):
            node[MAJORITY] += w
        n = bayes(node, z, has, o, votes, running)
        if n < 0:
            return False
        if _is_best(node, votes, n, c):
            node[BAYES] += w
    there = False
    for place in range(int(node[MET])):
        there |= int(node[HEADER + place]) == c
    if not there:
        node[HEADER + int(node[MET])] = c
        node[MET] += 1.0
    node[HEADER + classes + c] += w
    node[WHOLE] = total(node, o, running)
    if node[INACTIVE] == 0.0:
        for j in range(f):
            if has[j] != 0.0:
                _observe(node, f, classes, j, z[j], c, w)
    return True


@kernel
def forget(node: Floats, f: int, classes: int) -> None:
    """A leaf forgets what it knows of features."""
    node[KNOWN] = 0.0
    first = HEADER + 2 * classes
    node[first : first + f * (2 + 6 * classes)] = 0.0
