"""Hoeffding tree classifier: each device its own tree, with River's own splits."""

import math
from collections.abc import Sequence

import numpy as np
from river import tree

from models.compiled import _class_leaf, _pipeline, _scaler
from models.compiled._class_leaf import CLASSES, VOTES
from models.compiled._class_split import divide
from models.compiled._class_tree import RAISED, best_of, chances_of, options, refusal, teach
from models.compiled._fleet import FULL, OVERFLOW, UNREAL, Fleet
from models.compiled._tree import NODES_MOST, leaf_of
from models.learner import Estimator
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel
from streamgauge.schedule import LANE, MODEL, STEP, TARGET
from streamgauge.state import Block, Field, Keys
from streamgauge.words import Step

__all__ = ["MODELS", "build"]

MODELS = (tree.HoeffdingTreeClassifier,)
PREDICT, LEARN = int(Step.PREDICT), int(Step.LEARN)
# Columns of a model's row: nodes, then which classes have come.
NODES, SEEN = range(2)


@kernel
def _learn(
    row: Floats, nodes: Floats, at: int, z: Floats, has: Floats, c: int, o: Floats, work: Floats,
    running: Floats, refusals: Ints,
) -> None:  # fmt: skip
    row[SEEN + c] = 1.0
    row[NODES] = max(row[NODES], 1.0)
    k, known = leaf_of(nodes, at, 0, z, has)
    j, cut = teach(nodes[k, at], z, has, known, c, 1.0, o, work, running)
    taken = int(row[NODES])
    if j == RAISED:
        refusals[OVERFLOW] += 1
    elif j >= 0 and taken + 2 > len(nodes):
        refusals[FULL] += 1
    elif j >= 0:
        divide(nodes, at, k, taken, taken + 1, j, cut, len(z), o, work, running)
        row[NODES] = taken + 2.0


@kernel
def _run(
    codes: Ints, numbers: Floats, x: Floats, answers: Floats, parts: Floats, state: Floats,
    nodes: Floats, order: Floats, settings: Floats, refusals: Ints, lane: int, n: int,
) -> None:  # fmt: skip
    f = int(settings[_scaler.F])
    o = settings[_scaler.HEADER + f :]
    z, has, at = np.empty(f), np.empty(f), np.empty(f + 1, np.int64)
    classes = int(o[CLASSES])
    work, running = np.empty((5, classes)), np.empty(2)
    for i in range(n):
        step = codes[i, STEP]
        if codes[i, LANE] != lane or (step != PREDICT and step != LEARN):
            continue
        model = codes[i, MODEL]
        row = state[model]
        m = _scaler.scale(row, x[i], settings, step == LEARN, z, at)
        has[:] = 0.0
        for k in range(m):
            has[at[k]] = 1.0
        if step == PREDICT:
            answers[i] = math.nan
            parts[i, :] = math.nan
        if at[f] != 0:
            refusals[UNREAL] += 1
        elif step == PREDICT and row[NODES] != 0.0:
            k, _ = leaf_of(nodes, model, 0, z, has)
            chances, node = work[0, :classes], nodes[k, model]
            if chances_of(node, z, has, o, chances, work[VOTES], running):
                answers[i] = best_of(chances, row[SEEN:], order, classes)
                told = min(classes, parts.shape[1])
                parts[i, :told] = chances[:told]
            else:
                refusals[OVERFLOW] += 1
        elif step == LEARN and 0.0 <= numbers[i, TARGET] < classes:
            c = int(numbers[i, TARGET])
            _learn(row, nodes, model, z, has, c, o, work, running, refusals)


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
    reason = refusal(model)
    if reason:
        return f"it has {reason}"
    f = len(inputs)
    fields = [Field("nodes"), Field("seen", (classes,))]
    width = sum(field.size for field in fields)
    settings = [*_scaler.settings_of(scaler, clip, inputs, width), *options(model, classes)]
    fields += _scaler.fields_of(scaler, f)
    rows = keys.rows(capacity)
    nodes = Block(_class_leaf.fields_of(f, classes), rows, keys=keys, layers=NODES_MOST)
    order = np.arange(float(classes))
    return Fleet(_run, fields, settings, lane, capacity, keys, {"nodes": nodes}, order)
