"""Hoeffding tree classifier: each device its own tree, with River's own splits."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from river import tree
from river.tree.splitter import GaussianSplitter

from models.compiled import _class_leaf, _pipeline, _scaler
from models.compiled._class_leaf import (
    BAYES,
    CLASSES,
    GRACE,
    HEADER,
    LEAF,
    MAJORITY,
    MAX_DEPTH,
    NB_FROM,
    VOTES,
    bayes,
    forget,
    learn,
    majority,
)
from models.compiled._class_split import attempt
from models.compiled._fleet import FULL, OVERFLOW, UNREAL, Fleet
from models.compiled._python import COMPENSATED as SUMS
from models.compiled._tree import DEPTH, INACTIVE, NODES_MOST, TRIED, WHOLE, leaf_of
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
LEAVES = {"mc": 0.0, "nb": 1.0, "nba": 2.0}


@kernel
def _answer(
    row: Floats, node: Floats, z: Floats, has: Floats, o: Floats, parts: Floats, work: Floats,
    running: Floats, order: Floats,
) -> float:  # fmt: skip
    """The most probable class, of those that are alike the first by name; probabilities. NaN where
    River raises."""
    classes, votes = int(o[CLASSES]), work[VOTES]
    by_bayes = node[INACTIVE] == 0.0 and (
        (o[LEAF] == 2.0 and node[BAYES] >= node[MAJORITY])
        or (o[LEAF] == 1.0 and node[WHOLE] >= o[NB_FROM])
    )
    n = bayes(node, z, has, o, votes, running) if by_bayes else majority(node, o, votes)
    if n < 0:
        return math.nan
    chances = work[0]
    chances[:] = 0.0
    for place in range(n):
        chances[int(node[HEADER + place])] = votes[place]
    best = -1
    for c in range(classes):
        if row[SEEN + c] != 0.0:
            alike = best >= 0 and chances[c] == chances[best] and order[c] < order[best]
            if best < 0 or chances[c] > chances[best] or alike:
                best = c
        if c < len(parts):
            parts[c] = chances[c]
    return float(best)


@kernel
def _learn(
    row: Floats, nodes: Floats, at: int, z: Floats, has: Floats, c: int, o: Floats, work: Floats,
    running: Floats, refusals: Ints,
) -> None:  # fmt: skip
    row[SEEN + c] = 1.0
    row[NODES] = max(row[NODES], 1.0)
    weights = np.empty(int(row[NODES]))
    k, known = leaf_of(nodes, at, z, has, weights)
    node = nodes[k, at]
    if not learn(node, z, has, c, o, work[VOTES], running):
        refusals[OVERFLOW] += 1
        return
    # Where a feature was missing on the way, River does not try to split.
    if not known or node[INACTIVE] != 0.0:
        return
    if node[DEPTH] >= o[MAX_DEPTH]:
        node[INACTIVE] = 1.0
        forget(node, len(z), int(o[CLASSES]))
        return
    seen = node[WHOLE]
    if seen - node[TRIED] >= o[GRACE]:
        taken = attempt(nodes, at, k, int(row[NODES]), len(z), o, work, running)
        if taken < 0:
            refusals[FULL] += 1
        else:
            row[NODES] = taken
        node[TRIED] = seen


@kernel
def _run(
    codes: Ints, numbers: Floats, x: Floats, answers: Floats, parts: Floats, state: Floats,
    nodes: Floats, order: Floats, settings: Floats, refusals: Ints, lane: int, n: int,
) -> None:  # fmt: skip
    f = int(settings[_scaler.F])
    o = settings[_scaler.HEADER + f :]
    z, has, at = np.empty(f), np.empty(f), np.empty(f + 1, np.int64)
    work, running = np.empty((5, int(o[CLASSES]))), np.empty(2)
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
            weights = np.empty(int(row[NODES]))
            k, _ = leaf_of(nodes, model, z, has, weights)
            node = nodes[k, model]
            answers[i] = _answer(row, node, z, has, o, parts[i], work, running, order)
            refusals[OVERFLOW] += math.isnan(answers[i])
        elif step == LEARN and 0.0 <= numbers[i, TARGET] < o[CLASSES]:
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
    reason = _refusal(model)
    if reason:
        return f"it has {reason}"
    f = len(inputs)
    fields = [Field("nodes"), Field("seen", (classes,))]
    width = sum(field.size for field in fields)
    settings = [*_scaler.settings_of(scaler, clip, inputs, width), classes, *_options(model)]
    fields += _scaler.fields_of(scaler, f)
    rows = keys.rows(capacity)
    nodes = Block(_class_leaf.fields_of(f, classes), rows, keys=keys, layers=NODES_MOST)
    order = np.arange(float(classes))
    return Fleet(_run, fields, settings, lane, capacity, keys, {"nodes": nodes}, order)


def _options(model: Any) -> list[float]:
    """The tree's options, in the order of the columns of `_class_leaf`."""
    return [
        model.grace_period,
        model.max_depth,
        model.delta,
        model.tau,
        LEAVES[model.leaf_prediction],
        model.nb_threshold,
        model.splitter.n_splits,
        model.min_branch_fraction,
        model.max_share_to_split,
        model.merit_preprune,
        model.split_criterion == "gini",
        SUMS,
        0.5,
    ]


def _refusal(model: Any) -> str:
    """The first option that has no compiled equivalent, in words; empty if all have one."""
    if model.classes:
        return "a model that has learned already"
    if model.split_criterion == "hellinger":
        return "split_criterion hellinger, which asks for classes named 0 and 1"
    if type(model.splitter) is not GaussianSplitter:
        return f"splitter {type(model.splitter).__name__}"
    if model.nominal_attributes:
        return "nominal_attributes"
    if model.remove_poor_attrs:
        return "remove_poor_attrs"
    if model.stop_mem_management or model.max_size != 100.0:
        return "a limit in bytes of Python objects (max_size, stop_mem_management)"
    return ""
