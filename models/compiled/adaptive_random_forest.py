"""Adaptive random forest of classes: each device its own, with River's own draws and splits."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from river import forest, metrics

from models.compiled import _class_leaf, _class_tree, _forest, _pipeline, _random, _scaler
from models.compiled._class_leaf import CLASSES, COMPENSATED, VOTES
from models.compiled._class_split import divide
from models.compiled._class_tree import RAISED, best_of, chances_of, teach
from models.compiled._fleet import FULL, NOTHING, OVERFLOW, UNREAL, Fleet
from models.compiled._forest import (
    ALIVE,
    COUNT,
    GENERATOR,
    LIMIT,
    OWN,
    ROOT,
    TREES,
    WEIGHTED,
    begin,
    depths_of,
    draw,
    gather,
    has_room,
    place_for_root,
    take,
    watch,
)
from models.compiled._python import plus, summed
from models.compiled._random import poisson
from models.compiled._tree import INACTIVE, SPLIT_ON, leaf_of
from models.learner import Estimator
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel
from streamgauge.schedule import LANE, MODEL, STEP, TARGET
from streamgauge.state import Keys
from streamgauge.words import Step

__all__ = ["MODELS", "build"]

MODELS = (forest.ARFClassifier,)
PREDICT, LEARN = int(Step.PREDICT), int(Step.LEARN)
# Columns of a tree, of its own: labels that it told rightly, labels, and which classes have come.
RIGHT, TOLD, SEEN = range(OWN, OWN + 3)
# The forest's settings stand behind those of its trees, which are as many.
FOREST = _class_leaf.HALF + 1
# Rows of the scratch of an answer: a tree's probabilities, the sums of all, the classes as they
# came.
ONE, ALL, CAME = range(3)


@kernel
def _tell(
    tree: Floats, nodes: Floats, device: int, z: Floats, has: Floats, own: Floats, own_has: Floats,
    o: Floats, chances: Floats, work: Floats, running: Floats,
) -> bool:  # fmt: skip
    """What a tree says; False where River raises."""
    chances[:] = 0.0
    if tree[ROOT] == 0.0:
        return True
    k, _ = leaf_of(nodes, device, int(tree[ROOT]) - 1, z, has)
    node = nodes[k, device]
    gather(node, z, has, own, own_has)
    return chances_of(node, own, own_has, o, chances, work[VOTES], running)


@kernel
def _answer(
    trees: Floats, nodes: Floats, device: int, z: Floats, has: Floats, own: Floats,
    own_has: Floats, o: Floats, told: Floats, work: Floats, running: Floats, ranked: Ints,
) -> int:  # fmt: skip
    """The most probable class, -1 where there is none, and probabilities into ALL of `told`; RAISED
    where River raises. Classes are summed, and of those that are alike chosen, as they came."""
    classes, count = len(ranked), int(o[FOREST + COUNT])
    chances, sums, came = told[ONE], told[ALL], told[CAME]
    met = 0
    sums[:] = -1.0
    for t in range(count):
        tree = trees[t]
        if not _tell(tree, nodes, device, z, has, own, own_has, o, chances, work, running):
            return RAISED
        share = tree[RIGHT] / tree[TOLD] if tree[TOLD] != 0.0 else 0.0
        weighted = o[FOREST + WEIGHTED] != 0.0 and share > 0.0
        for c in ranked:
            if tree[SEEN + c] != 0.0:
                vote = chances[c] * share if weighted else chances[c]
                if sums[c] < 0.0:
                    sums[c], came[met] = 0.0, c
                    met += 1
                sums[c] = vote + sums[c]
    running[:] = 0.0
    best = -1
    for k in range(met):
        c = int(came[k])
        plus(running, sums[c], o[COMPENSATED])
        if best < 0 or sums[c] > sums[best]:
            best = c
    whole = summed(running)
    for c in range(classes):
        sums[c] = 0.0 if sums[c] < 0.0 else sums[c] / whole if whole > 0.0 else sums[c]
    return best


@kernel
def _teach(
    row: Floats, trees: Floats, t: int, nodes: Floats, device: int, z: Floats, has: Floats,
    own: Floats, own_has: Floats, by_name: Ints, pool: Ints, c: int, w: float, o: Floats,
    work: Floats, running: Floats,
) -> int:  # fmt: skip
    """A tree learns a label of weight w; the reason why River raises or the tree does not grow, or
    -1."""
    tree = trees[t]
    tree[SEEN + c] = 1.0
    root = place_for_root(row, tree, nodes, device)
    k, known = leaf_of(nodes, device, root, z, has)
    node, most = nodes[k, device], len(own)
    watched = len(node) - most
    if node[INACTIVE] == 0.0 and node[watched - 1] == 0.0:
        draw(row, node, most, has, by_name, pool)
    gather(node, z, has, own, own_has)
    j, cut = teach(node, own, own_has, known, c, w, o, work, running)
    if j == RAISED:
        return OVERFLOW
    if j >= 0:
        if not has_room(row, nodes, trees):
            return FULL
        low = take(row, nodes, device)
        high = take(row, nodes, device)
        divide(nodes, device, k, low, high, j, cut, most, o, work, running)
        node[SPLIT_ON] = node[watched + j] + 1.0
    return -1


@kernel
def _learn(
    row: Floats, trees: Floats, nodes: Floats, device: int, stack: Floats, depth: Ints, z: Floats,
    has: Floats, own: Floats, own_has: Floats, by_name: Ints, pool: Ints, c: int, o: Floats,
    told: Floats, work: Floats, running: Floats, order: Floats, refusals: Ints,
) -> None:  # fmt: skip
    count, generator = len(trees) // 2, row[GENERATOR : GENERATOR + _random.SIZE]
    for t in range(count):
        tree, chances = trees[t], told[ONE]
        if not _tell(tree, nodes, device, z, has, own, own_has, o, chances, work, running):
            refusals[OVERFLOW] += 1
            return
        wrong = 0.0 if best_of(chances, tree[SEEN:], order, len(chances)) == c else 1.0
        tree[TOLD] += 1.0
        tree[RIGHT] += 1.0 - wrong
        w = poisson(generator, o[FOREST + LIMIT])
        if w == 0:
            continue
        for which in (count + t, t):
            if trees[which, ALIVE] != 0.0:
                reason = _teach(
                    row, trees, which, nodes, device, z, has, own, own_has, by_name, pool, c,
                    float(w), o, work, running,
                )  # fmt: skip
                if reason >= 0:
                    refusals[reason] += 1
                if reason == OVERFLOW:
                    return
        watch(row, trees, t, nodes, device, stack, depth, wrong, o[FOREST:])


@kernel
def _run(
    codes: Ints, numbers: Floats, x: Floats, answers: Floats, parts: Floats, state: Floats,
    nodes: Floats, windows: Floats, order: Floats, start: Floats, by_name: Ints, settings: Floats,
    refusals: Ints, lane: int, n: int,
) -> None:  # fmt: skip
    f = int(settings[_scaler.F])
    o = settings[_scaler.HEADER + f :]
    classes, count = int(o[CLASSES]), int(o[FOREST + COUNT])
    width = OWN + 2 + classes
    stack = windows.reshape(len(windows), -1, windows.shape[2] // (2 * count))
    depth = depths_of(stack)
    z, has, at = np.empty(f), np.empty(f), np.empty(f + 1, np.int64)
    most = int(settings[-1])
    own, own_has, pool = np.empty(most), np.empty(most), np.empty(f, np.int64)
    work, told, running = np.empty((5, classes)), np.empty((3, classes)), np.empty(2)
    ranked = np.argsort(order)
    for i in range(n):
        step = codes[i, STEP]
        if codes[i, LANE] != lane or (step != PREDICT and step != LEARN):
            continue
        model = codes[i, MODEL]
        row = state[model]
        trees = row[TREES : TREES + 2 * count * width].reshape(2 * count, width)
        m = _scaler.scale(row, x[i], settings, step == LEARN, z, at)
        has[:] = 0.0
        for k in range(m):
            has[at[k]] = 1.0
        if step == PREDICT:
            answers[i] = math.nan
            parts[i, :] = math.nan
        elif not 0.0 <= numbers[i, TARGET] < classes:
            continue
        if at[f] != 0:
            refusals[UNREAL] += 1
        elif not begin(row, trees, o[FOREST:], m, start):
            refusals[NOTHING] += 1
        elif step == PREDICT:
            best = _answer(
                trees, nodes, model, z, has, own, own_has, o, told, work, running, ranked
            )
            if best >= 0:
                answers[i] = best
                there = min(classes, parts.shape[1])
                parts[i, :there] = told[ALL, :there]
            refusals[OVERFLOW] += best == RAISED
        else:
            c = int(numbers[i, TARGET])
            _learn(
                row, trees, nodes, model, stack, depth, z, has, own, own_has, by_name, pool, c, o,
                told, work, running, order, refusals,
            )  # fmt: skip


def build(
    estimator: Estimator,
    lane: int,
    inputs: Sequence[int],
    names: Sequence[str],
    capacity: int,
    keys: Keys,
    *,
    classes: int = 2,
) -> Fleet | str:
    """The compiled fleet of this pipeline, or why there is none; see `models.compile`.

    `classes` is how many classes there can be: targets are their places, from 0; what is no
    place teaches nothing.
    """
    parts = _pipeline.parts(estimator, real=True)
    if isinstance(parts, str):
        return parts
    scaler, clip, model = parts
    f = len(inputs)
    reason = _refusal(model, f)
    if reason:
        return f"it has {reason}"
    draws = _forest.draws_of(model, f)
    fields = _forest.fields_of(model.n_models, 2 + classes)
    width = sum(field.size for field in fields)
    settings = [
        *_scaler.settings_of(scaler, clip, inputs, width),
        *_class_tree.options(model._new_base_model(), classes),  # noqa: SLF001 - as River makes it
        *_forest.settings_of(model, draws),
    ]
    fields += _scaler.fields_of(scaler, f)
    most = int(draws[-1])
    node = [*_class_leaf.fields_of(most, classes), *_forest.watched_fields(most)]
    rows = keys.rows(capacity)
    grown = _forest.blocks_of(model, node, rows, keys)
    by_name = np.array(sorted(range(f), key=names.__getitem__), np.int64)
    shared = (_random.state_of(model._rng), by_name)  # noqa: SLF001 - River's own draws
    order = np.arange(float(classes))
    return Fleet(_run, fields, settings, lane, capacity, keys, grown, order, shared)


def _refusal(model: Any, features: int) -> str:
    """The first option that has no compiled equivalent, in words; empty if all have one."""
    if type(model.metric) is not metrics.Accuracy:
        return f"metric {type(model.metric).__name__}, not Accuracy"
    reason = _forest.refusal(model, features)
    return reason or _class_tree.refusal(model._new_base_model())  # noqa: SLF001 - as River makes it
