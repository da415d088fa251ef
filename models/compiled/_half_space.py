"""Half-space trees: how they are drawn, and the two ways down through them.

Trees follow from the seed and from the features of a model's first reading alone, so devices share
them; only how many readings passed each node is a device's own. Nodes are numbered from the root,
level by level: the children of k are 2k + 1 and 2k + 2.
"""

import random

import numpy as np

from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel

__all__ = ["MOST", "ROOM", "draws_of", "forest_of", "learn", "pivot", "places_of", "score"]

MOST = 2.0**26
"""A node's two counts are one number, last window's times this plus this window's: exact up to
2**53, and half as much memory to wait for as two numbers."""
ROOM = 1_024
"""Sets of first features whose trees are kept; those of more are drawn again when needed."""
PADDING = 0.15
BLOCK = 3
"""Levels whose 7 nodes share a line of the cache of 64 bytes."""


def draws_of(rng: random.Random, trees: int, height: int) -> Floats:
    """float64[trees * (2**height - 1) * 2]: what River would draw for the trees, in its order: for
    each branch, parents and left ones first, which feature and where."""
    return np.array([rng.random() for _ in range(trees * ((1 << height) - 1) * 2)])


def places_of(height: int) -> Ints:
    """int64[2**(height + 1) - 1]: where each node stands, so that few lines of the cache are met on
    the way down. The uppermost levels may be less than a block, so that the lowest are a whole one.
    """
    top = height % BLOCK + 1
    places = []
    for level in range(height + 1):
        within = level if level < top else (level - top) % BLOCK
        root = level - within
        before = [0, *range(top, root, BLOCK)]
        first = sum(1 << b for b in before) if root else 0
        for k in range(1 << level):
            inside = (1 << within) - 1 + k % (1 << within)
            places.append(8 * (first + (k >> within)) + inside)
    return np.array(places)


@kernel
def _last(count: float) -> float:
    """How many readings of the last window."""
    return float(np.floor(count * (1.0 / MOST)))


@kernel
def _branch(
    low: Floats, high: Floats, has: Floats, by_name: Ints, one: float, other: float
) -> tuple[int, float]:
    """Choose a branch's feature, in proportion to their ranges, and where it parts.

    As `random.choices` and `random.uniform` do with the draws `one` and `other`.
    """
    total, last = 0.0, -1
    for j in by_name:
        if has[j] != 0.0:
            total += high[j] - low[j]
            last = j
    wanted, so_far, chosen = one * total, 0.0, last
    for j in by_name:
        if has[j] != 0.0:
            so_far += high[j] - low[j]
            if so_far > wanted:
                chosen = j
                break
    width = high[chosen] - low[chosen]
    begin, end = low[chosen] + PADDING * width, high[chosen] - PADDING * width
    return chosen, begin + (end - begin) * other


@kernel
def _draw(
    features: Ints, thresholds: Floats, has: Floats, by_name: Ints, limits: Floats, draws: Floats,
    height: int,
) -> None:  # fmt: skip
    """`make_padded_tree` for every tree: [trees, branches], what each asks for and where it parts.

    `limits float64[2, f]` are lowest and highest values.
    """
    trees, branches = features.shape
    ranges = np.empty((height + 1, 2, len(by_name)))
    waiting, depths = np.empty(height + 2, np.int64), np.empty(height + 2, np.int64)
    at = 0
    for t in range(trees):
        waiting[0], depths[0], n = 0, 0, 1
        while n > 0:
            n -= 1
            k, depth = waiting[n], depths[n]
            if k == 0:
                ranges[0] = limits
            else:
                parent = (k - 1) // 2
                ranges[depth] = ranges[depth - 1]
                # A left child ends where its parent parts, a right one begins there.
                ranges[depth, k % 2, features[t, parent]] = thresholds[t, parent]
            low, high = ranges[depth]
            one, other = draws[at], draws[at + 1]
            features[t, k], thresholds[t, k] = _branch(low, high, has, by_name, one, other)
            at += 2
            if 2 * k + 1 < branches:
                waiting[n], waiting[n + 1] = 2 * k + 2, 2 * k + 1
                depths[n] = depths[n + 1] = depth + 1
                n += 2


@kernel
def forest_of(
    features: Ints, thresholds: Floats, known: Floats, has: Floats, by_name: Ints, limits: Floats,
    draws: Floats, height: int,
) -> int:  # fmt: skip
    """Which of the forests kept, [room, trees, branches], begins with these features.

    `known float64[room, 1 + f]` says which are there, and of which features; room is a power of 2.
    """
    room, f, start = len(known), len(by_name), 0
    for j in range(f):
        start = (start * 2 + int(has[j])) & (room - 1)
    for step in range(room):
        at = (start + step) & (room - 1)
        if known[at, 0] == 0.0:
            start = at
            break
        same = True
        for j in range(f):
            if known[at, 1 + j] != has[j]:
                same = False
                break
        if same:
            return at
    known[start, 0] = 1.0
    known[start, 1:] = has
    _draw(features[start], thresholds[start], has, by_name, limits, draws, height)
    return start


@kernel
def _heavier(masses: Floats, start: int, places: Ints, k: int) -> int:
    """The child that more readings of this window passed."""
    left, right = masses[start + places[2 * k + 1]], masses[start + places[2 * k + 2]]
    left -= _last(left) * MOST
    right -= _last(right) * MOST
    return 2 * k + 2 if left < right else 2 * k + 1


@kernel
def learn(
    features: Ints, thresholds: Floats, masses: Floats, places: Ints, z: Floats, has: Floats,
    height: int, size: int, way: Ints,
) -> None:  # fmt: skip
    """One more reading has passed the nodes on its way through each tree.

    The trees of one forest, [trees, branches], are walked level by level together: what the next
    node of one of them waits for, the others need not. `way int64[trees]` is scratch.
    """
    trees = len(way)
    way[:] = 0
    for _ in range(height):
        for t in range(trees):
            k = way[t]
            masses[t * size + places[k]] += 1.0
            j = features[t, k]
            if has[j] != 0.0:
                # No branch: which way it goes cannot be foreseen, and a wrong guess costs more.
                way[t] = 2 * k + 2 - int(z[j] < thresholds[t, k])
            else:
                way[t] = _heavier(masses, t * size, places, k)
    for t in range(trees):
        masses[t * size + places[way[t]]] += 1.0


@kernel
def score(
    features: Ints, thresholds: Floats, masses: Floats, places: Ints, z: Floats, has: Floats,
    height: int, size: int, way: Ints, going_on: Ints, least: float,
) -> float:  # fmt: skip
    """What passed the nodes in the last window, each level weighing twice the one above; in a tree
    not further than to a node that `least` did not pass. `going_on int64[trees]` is scratch."""
    left = len(way)
    total, weight = 0.0, 1.0
    way[:] = 0
    for t in range(left):
        going_on[t] = t
    for _ in range(height):
        going = 0
        for which in range(left):
            t = going_on[which]
            k = way[t]
            passed = _last(masses[t * size + places[k]])
            total += passed * weight
            j = features[t, k]
            if has[j] != 0.0:
                way[t] = 2 * k + 2 - int(z[j] < thresholds[t, k])
            else:
                way[t] = _heavier(masses, t * size, places, k)
            going_on[going] = t
            going += int(passed >= least)
        left = going
        weight *= 2.0
    for which in range(left):
        t = going_on[which]
        total += _last(masses[t * size + places[way[t]]]) * weight
    return total


@kernel
def pivot(masses: Floats) -> None:
    """This window becomes the last one."""
    for k in range(len(masses)):
        masses[k] = (masses[k] - _last(masses[k]) * MOST) * MOST
