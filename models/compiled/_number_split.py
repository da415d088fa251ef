"""When and where a leaf of a tree of numbers splits, and which values it stops looking at.

River 0.26, `HoeffdingTreeRegressor._attempt_to_split` by variance reduction with `EBSTSplitter`.
Ikonomovska, Gama and Džeroski (2011), "Learning model trees from evolving data streams".
"""

import math

import numpy as np

from models.compiled._number_leaf import (
    DELTA,
    KNOWN,
    LEAST,
    LISTED,
    MEAN,
    MODEL,
    PREPRUNE,
    SQUARES,
    TAU,
    TWO,
    N,
    forget,
)
from models.compiled._places import LEFT as BEFORE
from models.compiled._places import MOMENTS, TAKEN, VALUE, give_back, place_of
from models.compiled._places import RIGHT as BEHIND
from models.compiled._python import overflowed
from models.compiled._tree import DEPTH, LEFT, RIGHT, SPLIT_ON, THRESHOLD, TRIED, WHOLE
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel

__all__ = ["NO_ROOM", "OVERFLOWED", "attempt"]

NO_ROOM, OVERFLOWED = -1, -2
# Moments in the scratch: of what lies to the left of the present subtree, below and above a value,
# below and above the best of a feature, and of all.
ASIDE, LOWER, UPPER, BEST_LOWER, BEST_UPPER, CHOSEN_LOWER, CHOSEN_UPPER = range(7)
# What to do next in a walk in order, and how far a node has come in a walk behind its children.
DESCEND, LOOK, ADD, TAKE_AWAY = range(4)
AT_LEFT, AT_RIGHT, AT_LAST = range(3)


@kernel
def _add(a: Floats, b: Floats, two: float) -> bool:
    """a += b, of moments; False where River raises."""
    apart = a[1] - b[1]
    square = apart**two
    if overflowed(apart, square):
        return False
    a[2] = a[2] + b[2] + square * a[0] * b[0] / (a[0] + b[0])
    n = a[0]
    a[0] += b[0]
    a[1] = (n * a[1] + b[0] * b[1]) / a[0]
    return True


@kernel
def _take_away(a: Floats, b: Floats, two: float) -> bool:
    """a -= b, of moments; False where River raises."""
    n = a[0]
    a[0] -= b[0]
    if a[0] > 0.0:
        a[1] = (n * a[1] - b[0] * b[1]) / a[0]
    else:
        a[0] = a[1] = 0.0
    apart = a[1] - b[1]
    square = apart**two
    if overflowed(apart, square):
        return False
    a[2] = a[2] - b[2] - square * a[0] * b[0] / (a[0] + b[0])
    return True


@kernel
def _variance(moments: Floats) -> float:
    return moments[2] / (moments[0] - 1.0) if moments[0] > 1.0 else 0.0


@kernel
def _merit(place: Floats, whole: Floats, o: Floats, work: Floats) -> tuple[float, bool]:
    """By how much the variance falls if labels are parted there; False where River raises."""
    lower, upper = work[LOWER], work[UPPER]
    lower[:], upper[:] = place[MOMENTS : MOMENTS + 3], whole
    if not (_add(lower, work[ASIDE], o[TWO]) and _take_away(upper, lower, o[TWO])):
        return 0.0, False
    if not (lower[0] >= o[LEAST] and upper[0] >= o[LEAST]):
        return 0.0, True
    merit = _variance(whole)
    merit -= lower[0] / whole[0] * _variance(lower)
    merit -= upper[0] / whole[0] * _variance(upper)
    return merit, True


@kernel
def _best(
    places: Floats, device: int, root: int, whole: Floats, o: Floats, work: Floats, stack: Ints
) -> tuple[float, float, bool]:
    """The best place of a feature to part at: merit, value; False where River raises."""
    best, where, fine = -math.inf, 0.0, True
    work[ASIDE] = 0.0
    top = 0
    if root != 0:
        stack[0] = root * 4 + DESCEND
        top = 1
    while top > 0 and fine:
        top -= 1
        k, todo = stack[top] // 4, stack[top] % 4
        place = place_of(places, device, k)
        moments = place[MOMENTS : MOMENTS + 3]
        if todo == DESCEND:
            if place[BEHIND] != 0.0:
                stack[top] = k * 4 + TAKE_AWAY
                stack[top + 1] = int(place[BEHIND]) * 4 + DESCEND
                stack[top + 2] = k * 4 + ADD
                top += 3
            stack[top] = k * 4 + LOOK
            top += 1
            if place[BEFORE] != 0.0:
                stack[top] = int(place[BEFORE]) * 4 + DESCEND
                top += 1
        elif todo == ADD:
            fine = _add(work[ASIDE], moments, o[TWO])
        elif todo == TAKE_AWAY:
            fine = _take_away(work[ASIDE], moments, o[TWO])
        else:
            merit, fine = _merit(place, whole, o, work)
            if fine and merit > best:
                best, where = merit, place[VALUE]
                work[BEST_LOWER], work[BEST_UPPER] = work[LOWER], work[UPPER]
    return best, where, fine


@kernel
def _prune(
    row: Floats, places: Floats, device: int, node: Floats, at: int, worst: float, best: float,
    o: Floats, work: Floats, frames: Ints,
) -> bool:  # fmt: skip
    """Take out places below which all are bad and that are bad themselves: whose merit, as a share
    of the `best`, is less than `worst`. False where River raises.

    `frames int64[places, 4]`: a place, its parent, how far it has come, if it stands aside.
    """
    whole = node[N : N + 3]
    work[ASIDE] = 0.0
    frames[0, 0], frames[0, 1], frames[0, 2], frames[0, 3] = int(node[at]), 0, AT_LEFT, 0
    top, bad = 1, False
    while top > 0:
        k, parent, phase = frames[top - 1, 0], frames[top - 1, 1], frames[top - 1, 2]
        place = place_of(places, device, k)
        if phase == AT_LAST:
            top -= 1
            moments = place[MOMENTS : MOMENTS + 3]
            if frames[top, 3] == 1 and not _take_away(work[ASIDE], moments, o[TWO]):
                return False
            if not bad:
                continue
            merit, fine = _merit(place, whole, o, work)
            if not fine:
                return False
            bad = merit / best < worst
            if bad:
                _take_out(row, places, device, node, at, parent, k)
            continue
        child = int(place[BEHIND if phase == AT_RIGHT else BEFORE])
        if phase == AT_RIGHT and not bad:
            top -= 1
            continue
        frames[top - 1, 2] = phase + 1
        if child == 0:
            bad = True
            continue
        if phase == AT_RIGHT:
            if not _add(work[ASIDE], place[MOMENTS : MOMENTS + 3], o[TWO]):
                return False
            frames[top - 1, 3] = 1
        frames[top, 0], frames[top, 1], frames[top, 2], frames[top, 3] = child, k, AT_LEFT, 0
        top += 1
    return True


@kernel
def _take_out(
    row: Floats, places: Floats, device: int, node: Floats, at: int, parent: int, k: int
) -> None:
    if parent == 0:
        node[at] = 0.0
    else:
        above = place_of(places, device, parent)
        above[BEFORE if above[BEFORE] == k else BEHIND] = 0.0
    give_back(row, places, device, k)


@kernel
def _choose(
    places: Floats, device: int, node: Floats, f: int, o: Floats, work: Floats, stack: Ints
) -> tuple[int, float, float, float, bool]:
    """The feature to split on (-1: none), where, its merit, the second best; False where River
    raises. Of those that are alike the last counts."""
    best, second, feature, where = -math.inf, -math.inf, -1, 0.0
    for k in range(int(node[KNOWN])):
        j = int(node[LISTED + k])
        root = int(node[LISTED + f + j])
        merit, value, fine = _best(places, device, root, node[N : N + 3], o, work, stack)
        if not fine:
            return -1, 0.0, 0.0, 0.0, False
        if merit >= best:
            second, best, where = best, merit, value
            feature = j if merit > -math.inf else -1
            work[CHOSEN_LOWER], work[CHOSEN_UPPER] = work[BEST_LOWER], work[BEST_UPPER]
        elif merit > second:
            second = merit
    return feature, where, best, second, True


@kernel
def _grow(child: Floats, node: Floats, moments: Floats, f: int) -> None:
    """A new leaf, with its side's share of the labels and its parent's model."""
    child[MODEL:] = node[MODEL:]
    child[KNOWN] = 0.0
    child[LISTED : LISTED + 3 * f] = 0.0
    child[N], child[MEAN], child[SQUARES] = moments[0], moments[1], moments[2]
    child[WHOLE] = child[TRIED] = moments[0]
    child[DEPTH] = node[DEPTH] + 1.0


@kernel
def attempt(
    row: Floats, nodes: Floats, places: Floats, device: int, k: int, taken: int, f: int,
    o: Floats, work: Floats,
) -> int:  # fmt: skip
    """Split leaf k of a tree where that is worth it, else prune its values. How many nodes the tree
    has then; NO_ROOM for two more than the `taken`, or OVERFLOWED where River raises."""
    node = nodes[k, device]
    stack = np.empty(4 * int(row[TAKEN]) + 8, np.int64)
    feature, where, best, second, fine = _choose(places, device, node, f, o, work, stack)
    if not fine:
        return OVERFLOWED
    offered = int(node[KNOWN]) + int(o[PREPRUNE])
    bound = math.sqrt(math.log(1.0 / o[DELTA]) / (2.0 * node[N]))
    wanted = offered == 1
    if offered > 1:
        wanted = best > 0.0 and (second / best < 1.0 - bound or bound < o[TAU])
    if not wanted:
        if offered > 1 and best > 0.0 and second > 0.0:
            worst, frames = second / best - 2.0 * bound, stack.reshape(-1, 4)
            for place in range(int(node[KNOWN])):
                at = LISTED + f + int(node[LISTED + place])
                if node[at] != 0.0:
                    fine &= _prune(row, places, device, node, at, worst, best, o, work, frames)
                if not fine:
                    return OVERFLOWED
        return taken
    if feature >= 0 and taken + 2 > len(nodes):
        return NO_ROOM
    forget(row, places, device, node, f)
    # Where no feature is worth it, River puts the leaf to sleep, and its limit of the tree's size
    # wakes it at once.
    if feature < 0:
        return taken
    _grow(nodes[taken, device], node, work[CHOSEN_LOWER], f)
    _grow(nodes[taken + 1, device], node, work[CHOSEN_UPPER], f)
    node[SPLIT_ON], node[THRESHOLD] = feature + 1.0, where
    node[LEFT], node[RIGHT] = taken, taken + 1.0
    return taken + 2
