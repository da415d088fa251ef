"""What the trees of an adaptive random forest share: their nodes, what a leaf watches, and when a
tree is replaced.

River 0.26, `forest.adaptive_random_forest` and `tree.nodes.arf_htc_nodes`: Gomes et al. (2017),
"Adaptive random forests for evolving data stream classification". A leaf draws the features that it
watches when it first learns. Each tree has two ADWIN: one warns, and then a tree is grown in the
background; the other tells a drift, and then that one takes the tree's place.

The nodes of all trees of a device lie in one pool. Those of a tree that is replaced are handed out
again.
"""

import math
from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
from river.drift import ADWIN, NoDrift

from models.compiled import _random
from models.compiled._tree import LEFT, RIGHT, SPLIT_ON, TRIED
from streamgauge import adwin
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel
from streamgauge.state import Block, Field, Keys

__all__ = [
    "ALIVE",
    "BEGUN",
    "COUNT",
    "GENERATOR",
    "LIMIT",
    "NODES",
    "OWN",
    "ROOT",
    "TREES",
    "WEIGHTED",
    "begin",
    "blocks_of",
    "depths_of",
    "draw",
    "fields_of",
    "gather",
    "has_room",
    "place_for_root",
    "refusal",
    "settings_of",
    "take",
    "watch",
    "watched_fields",
]

NODES_EACH = 512
"""Nodes of a device for each tree that answers. Trees share them: a leaf that would split when all
are in use goes on as a leaf."""

# Columns of a model's row: places ever taken, layers of windows in use, from 1 the first place that
# is free, places in use, 1 once there are trees, and how many features a leaf draws. Then comes the
# generator of random numbers, and then the trees: those that answer, and those in the background.
NODES, WINDOWS, FREE, USED, BEGUN, MOST, GENERATOR = range(7)
TREES = GENERATOR + _random.SIZE
# Columns of a tree: its root from 1, or 0; whether there is such a tree; then its own.
ROOT, ALIVE, OWN = range(3)
# Columns of the settings: how many trees answer, what `poisson` counts down to, whether votes are
# weighted, and for both detectors whether there is one, and its settings. Then comes by how many
# features a first reading has how many a leaf draws.
COUNT, LIMIT, WEIGHTED, WARNS, DRIFTS, DRAWS = 0, 1, 2, 3, 8, 13
DETECTOR = DRIFTS - WARNS

update = adwin.update


def fields_of(trees: int, own: int) -> list[Field]:
    """The part of a model's row that these columns describe; `own` numbers of each tree."""
    names = ("nodes", "windows", "free", "used", "begun", "most")
    return [
        *map(Field, names),
        Field("generator", (_random.SIZE,)),
        Field("trees", (2 * trees, OWN + own)),
    ]


def watched_fields(most: int) -> list[Field]:
    """The last columns of a node: how many features the leaf watches, and which."""
    return [Field("drawn"), Field("watched", (most,))]


def blocks_of(model: Any, node: Sequence[Field], rows: int, keys: Keys) -> dict[str, Block]:
    """The pool of nodes, and the detectors' windows."""
    windows = adwin.window(rows, _buckets(model), 2 * model.n_models, keys=keys)
    nodes = Block(node, rows, keys=keys, layers=NODES_EACH * model.n_models)
    return {"nodes": nodes, "windows": windows}


def _detectors(model: Any) -> list[ADWIN | None]:
    """The one that warns and the one that tells a drift; None where there is none."""
    both = (model.warning_detector, model.drift_detector)
    return [None if type(one) is NoDrift else one for one in both]


def _buckets(model: Any) -> int:
    return next((one.max_buckets for one in _detectors(model) if one is not None), 2)


def settings_of(model: Any, draws: Sequence[float]) -> list[float]:
    """The forest's options; `draws` is from :func:`draws_of`."""
    settings = [model.n_models, math.exp(-model.lambda_value), not model.disable_weighted_vote]
    for one in _detectors(model):
        if one is None:
            settings += [0.0] * DETECTOR
        else:
            given = (one.delta, one.clock, one.min_window_length, one.grace_period)
            settings += [1.0, *adwin.settings(*given)]
    return [*settings, *draws]


def draws_of(model: Any, features: int) -> list[float]:
    """How many features a leaf draws, by how many the first reading has; NaN where River raises."""
    drawn = []
    for n in range(features + 1):
        asked = copy(model)
        try:
            asked._set_max_features(n)  # noqa: SLF001 - as River computes it
            drawn.append(float(asked.max_features))
        except (AttributeError, ValueError):
            drawn.append(math.nan)
    return drawn


def refusal(model: Any, features: int) -> str:
    """The first option of a forest that has no compiled equivalent, in words; or empty."""
    detectors = [one for one in _detectors(model) if one is not None]
    checks = (
        (not len(model), "a model that has learned already"),
        (model.seed is not None, "no seed, so that no two models draw alike"),
        (all(type(one) is ADWIN for one in detectors),
         "a detector that is neither ADWIN nor NoDrift"),
        (len({one.max_buckets for one in detectors if type(one) is ADWIN}) < 2,
         "detectors with different max_buckets"),
        (np.isfinite(draws_of(model, features)[-1]), f"max_features {model.max_features!r}"),
    )  # fmt: skip
    return next((found for fits, found in checks if not fits), "")


@kernel
def begin(row: Floats, trees: Floats, o: Floats, present: int, start: Floats) -> bool:
    """The forest of a device at its first event, of which `present` features are there; False where
    River raises. `start` is the generator."""
    if row[BEGUN] != 0.0:
        return True
    drawn = o[DRAWS + present]
    if math.isnan(drawn):
        return False
    row[BEGUN], row[MOST] = 1.0, drawn
    row[GENERATOR : GENERATOR + _random.SIZE] = start
    trees[: len(trees) // 2, ALIVE] = 1.0
    return True


@kernel
def take(row: Floats, nodes: Floats, device: int) -> int:
    """A place for a new node."""
    k = int(row[FREE]) - 1
    if k < 0:
        k = int(row[NODES])
        row[NODES] += 1.0
    else:
        row[FREE] = nodes[k, device, LEFT]
        nodes[k, device, LEFT] = 0.0
    row[USED] += 1.0
    return k


@kernel
def has_room(row: Floats, nodes: Floats, trees: Floats) -> bool:
    """Whether a leaf may split: a place for each root is kept."""
    return bool(row[USED] + 2.0 + len(trees) <= len(nodes))


@kernel
def place_for_root(row: Floats, tree: Floats, nodes: Floats, device: int) -> int:
    """Where the root of a tree is, which may be new."""
    if tree[ROOT] == 0.0:
        tree[ROOT] = take(row, nodes, device) + 1.0
    return int(tree[ROOT]) - 1


@kernel
def _cut_down(row: Floats, tree: Floats, nodes: Floats, device: int) -> None:
    """The nodes of a tree are free, and it has learned nothing."""
    waiting = int(tree[ROOT])
    if waiting != 0:
        nodes[waiting - 1, device, TRIED] = 0.0
    while waiting != 0:
        k = waiting - 1
        node = nodes[k, device]
        # What waits is a list by TRIED, what is free one by LEFT.
        waiting = int(node[TRIED])
        if node[SPLIT_ON] != 0.0:
            for side in (LEFT, RIGHT):
                child = int(node[side])
                nodes[child, device, TRIED] = waiting
                waiting = child + 1
        node[:] = 0.0
        node[LEFT] = row[FREE]
        row[FREE] = k + 1.0
        row[USED] -= 1.0
    tree[:] = 0.0


@kernel
def draw(row: Floats, node: Floats, most: int, has: Floats, by_name: Ints, pool: Ints) -> None:
    """Which features a leaf watches from now on; it may be none, and then it draws again."""
    first = len(node) - most
    n = 0
    for j in by_name:
        if has[j] != 0.0:
            pool[n] = j
            n += 1
    wanted = int(row[MOST])
    if n >= wanted:
        generator = row[GENERATOR : GENERATOR + _random.SIZE]
        _random.sample(generator, pool, n, wanted, node[first:])
        n = wanted
    else:
        for k in range(n):
            node[first + k] = pool[k]
    node[first - 1] = n


@kernel
def gather(node: Floats, z: Floats, has: Floats, own: Floats, own_has: Floats) -> None:
    """An event as a leaf sees it: the features that it watches, in the order of its draws."""
    most = len(own)
    first = len(node) - most
    own_has[:] = 0.0
    for k in range(int(node[first - 1])):
        j = int(node[first + k])
        own[k], own_has[k] = z[j], has[j]


@kernel
def _alarms(
    row: Floats, stack: Floats, depth: Ints, window: int, value: float, limits: Floats
) -> bool:
    changed = update(stack, depth, window, value, limits)
    row[WINDOWS] = max(row[WINDOWS], float(depth[window]))
    return changed


@kernel
def _renew(stack: Floats, depth: Ints, window: int) -> None:
    """A detector that has seen nothing."""
    for layer in range(depth[window]):
        stack[layer, window, :] = 0.0


@kernel
def watch(
    row: Floats, trees: Floats, t: int, nodes: Floats, device: int, stack: Floats, depth: Ints,
    error: float, o: Floats,
) -> None:  # fmt: skip
    """Tree t has made this error: its detectors see it, and may replace it.

    `stack` are windows, `depth` their depths, those of a device's trees side by side: all that
    warn, then all that tell a drift.
    """
    count = len(trees) // 2
    warning = device * 2 * count + t
    drifting = warning + count
    tree, behind = trees[t], trees[count + t]
    if o[WARNS] != 0.0 and _alarms(row, stack, depth, warning, error, o[WARNS + 1 :]):
        _cut_down(row, behind, nodes, device)
        behind[ALIVE] = 1.0
        _renew(stack, depth, warning)
    if o[DRIFTS] != 0.0 and _alarms(row, stack, depth, drifting, error, o[DRIFTS + 1 :]):
        _cut_down(row, tree, nodes, device)
        if behind[ALIVE] != 0.0:
            tree[:] = behind
            behind[:] = 0.0
            _renew(stack, depth, warning)
        tree[ALIVE] = 1.0
        _renew(stack, depth, drifting)


@kernel
def depths_of(stack: Floats) -> Ints:
    """int64[windows]: how many layers of each are in use; a view of the windows."""
    depths: Ints = stack[0].view(np.int64)[:, adwin.DEPTH]
    return depths
