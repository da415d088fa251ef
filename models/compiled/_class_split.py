"""When and where a leaf of a Hoeffding tree splits.

River 0.26, `HoeffdingTreeClassifier._attempt_to_split` with `GaussianSplitter`, by information gain
or Gini impurity. Domingos and Hulten (2000), "Mining high-speed data streams".
"""

import math

from models.compiled._class_leaf import (
    CLASSES,
    COMPENSATED,
    CUTS,
    DELTA,
    GINI,
    GREATEST,
    HALF,
    HEADER,
    HIGHEST_SHARE,
    KNOWN,
    LEAST,
    LEAST_SHARE,
    LEFT_CLASSES,
    LEFT_WEIGHTS,
    MEAN,
    MET,
    PREPRUNE,
    RIGHT_CLASSES,
    RIGHT_WEIGHTS,
    SQUARES,
    TAU,
    VOTES,
    N,
    first_of,
    forget,
    total,
)
from models.compiled._python import plus, summed
from models.compiled._tree import DEPTH, LEFT, RIGHT, SPLIT_ON, THRESHOLD, TRIED, WHOLE
from streamgauge.arrays import Floats
from streamgauge.kernels import kernel

__all__ = ["attempt", "divide"]


@kernel
def _sum(values: Floats, n: int, o: Floats, running: Floats) -> float:
    running[0] = running[1] = 0.0
    for k in range(n):
        plus(running, values[k], o[COMPENSATED])
    return summed(running)


@kernel
def _entropy(weights: Floats, n: int) -> float:
    entropy = whole = 0.0
    for k in range(n):
        if weights[k] > 0.0:
            entropy -= weights[k] * math.log2(weights[k])
            whole += weights[k]
    return (entropy + whole * math.log2(whole)) / whole if whole > 0.0 else 0.0


@kernel
def _impurity(weights: Floats, n: int, whole: float) -> float:
    gini = 1.0
    if whole != 0.0:
        for k in range(n):
            share = weights[k] / whole
            gini -= share * share
    return gini


@kernel
def _below(gauss: Floats, cut: float, half: float) -> float:
    """The share of a distribution below the cut."""
    variance = gauss[SQUARES] / (gauss[N] - 1.0) if gauss[N] > 1.0 else 0.0
    sigma = variance**half
    if sigma == 0.0:
        return 0.0
    return 0.5 * (1.0 + math.erf((cut - gauss[MEAN]) / sigma / math.sqrt(2.0)))


@kernel
def _part(known: Floats, classes: int, cut: float, half: float, work: Floats) -> tuple[int, int]:
    """Classes and their weights on both sides of a cut into the scratch; how many on each.

    `known` is what the leaf knows of the feature.
    """
    left = right = 0
    for place in range(int(known[0])):
        c = int(known[1 + place])
        gauss = known[1 + classes + 5 * c : 6 + classes + 5 * c]
        n = gauss[N]
        if not cut < gauss[LEAST]:
            weight = n if cut >= gauss[GREATEST] else _below(gauss, cut, half) * n
            work[LEFT_CLASSES, left], work[LEFT_WEIGHTS, left] = c, weight
            left += 1
            if cut >= gauss[GREATEST]:
                continue
            n -= weight
        work[RIGHT_CLASSES, right], work[RIGHT_WEIGHTS, right] = c, n
        right += 1
    return left, right


@kernel
def _merit(work: Floats, left: int, right: int, before: float, o: Floats, running: Floats) -> float:
    """What is gained by the cut in the scratch; -inf where a side has too small a share."""
    lower = _sum(work[LEFT_WEIGHTS], left, o, running)
    upper = _sum(work[RIGHT_WEIGHTS], right, o, running)
    whole = lower + upper
    if not (whole > 0.0 and lower / whole > o[LEAST_SHARE] and upper / whole > o[LEAST_SHARE]):
        return -math.inf
    if o[GINI] != 0.0:
        gini = 0.0
        gini += (lower / whole) * _impurity(work[LEFT_WEIGHTS], left, lower)
        gini += (upper / whole) * _impurity(work[RIGHT_WEIGHTS], right, upper)
        return 1.0 - gini
    after = lower * _entropy(work[LEFT_WEIGHTS], left)
    after += upper * _entropy(work[RIGHT_WEIGHTS], right)
    return before - after / whole


@kernel
def _best_cut(
    known: Floats, before: float, o: Floats, work: Floats, running: Floats
) -> tuple[float, float]:
    """The best of equally distant cuts of one feature: merit, where; -inf where there is none."""
    classes, cuts = int(o[CLASSES]), int(o[CUTS])
    low, high = math.inf, -math.inf
    for place in range(int(known[0])):
        gauss = 1 + classes + 5 * int(known[1 + place])
        low = min(low, known[gauss + LEAST])
        high = max(high, known[gauss + GREATEST])
    width = (high - low) / (cuts + 1.0)
    best, where = -math.inf, 0.0
    for k in range(cuts):
        cut = low + width * (k + 1)
        if low < cut < high:
            left, right = _part(known, classes, cut, o[HALF], work)
            merit = _merit(work, left, right, before, o, running)
            if merit > best:
                best, where = merit, cut
    return best, where


@kernel
def _choose(
    node: Floats, f: int, o: Floats, work: Floats, running: Floats
) -> tuple[bool, int, float]:
    """Whether to split, on which feature (-1: on none), where."""
    classes, met, whole = int(o[CLASSES]), int(node[MET]), node[WHOLE]
    most = 0.0
    for place in range(met):
        work[VOTES, place] = node[HEADER + classes + int(node[HEADER + place])]
        most = max(most, work[VOTES, place])
    if most != 0.0 and most / whole > o[HIGHEST_SHARE]:
        return True, -1, 0.0
    before = _entropy(work[VOTES], met)
    preprune = o[PREPRUNE] != 0.0
    best, second, feature, where = -math.inf, -math.inf, -1, 0.0
    for k in range(int(node[KNOWN])):
        j = int(node[HEADER + 2 * classes + k])
        merit, cut = _best_cut(node[first_of(j, f, classes) :], before, o, work, running)
        # Of those that are alike the last counts.
        if merit >= best:
            second, best, where = best, merit, cut
            feature = j if merit > -math.inf else -1
        elif merit > second:
            second = merit
    offered = int(node[KNOWN]) + int(preprune)
    if offered < 2:
        return offered > 0, feature, where
    reach = 1.0 if o[GINI] != 0.0 else math.log2(float(max(met, 2)))
    bound = math.sqrt((reach * reach * math.log(1.0 / o[DELTA])) / (2.0 * whole))
    return best - second > bound or bound < o[TAU], feature, where


@kernel
def _grow(
    child: Floats, classes: Floats, weights: Floats, n: int, depth: float, o: Floats,
    running: Floats,
) -> None:  # fmt: skip
    """A new leaf, with the share of its parent's labels that fell on its side."""
    child[DEPTH] = depth
    child[MET] = n
    for k in range(n):
        child[HEADER + k] = classes[k]
        child[HEADER + int(o[CLASSES]) + int(classes[k])] = weights[k]
    child[WHOLE] = child[TRIED] = total(child, o, running)


@kernel
def attempt(node: Floats, f: int, o: Floats, work: Floats, running: Floats) -> tuple[int, float]:
    """Which feature a leaf should split on, and where; -1 where it should not."""
    classes = int(o[CLASSES])
    weighing = 0
    for place in range(int(node[MET])):
        weighing += node[HEADER + classes + int(node[HEADER + place])] != 0.0
    if weighing < 2:
        return -1, 0.0
    wanted, j, cut = _choose(node, f, o, work, running)
    if wanted and j < 0:
        # River puts the leaf to sleep, and its limit of the tree's size wakes it at once.
        forget(node, f, classes)
    return j if wanted else -1, cut


@kernel
def divide(
    nodes: Floats, row: int, k: int, low: int, high: int, j: int, cut: float, f: int, o: Floats,
    work: Floats, running: Floats,
) -> None:  # fmt: skip
    """Leaf k becomes a branch on feature j, with leaves at the places `low` and `high`."""
    node, classes = nodes[k, row], int(o[CLASSES])
    left, right = _part(node[first_of(j, f, classes) :], classes, cut, o[HALF], work)
    below, above = nodes[low, row], nodes[high, row]
    depth = node[DEPTH] + 1.0
    _grow(below, work[LEFT_CLASSES], work[LEFT_WEIGHTS], left, depth, o, running)
    _grow(above, work[RIGHT_CLASSES], work[RIGHT_WEIGHTS], right, depth, o, running)
    node[SPLIT_ON], node[THRESHOLD] = j + 1.0, cut
    node[LEFT], node[RIGHT] = low, high
