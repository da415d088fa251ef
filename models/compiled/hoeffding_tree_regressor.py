"""Hoeffding tree regressor: each device its own tree, with River's own splits and leaves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from river import linear_model, tree
from river.tree.splitter import EBSTSplitter, TEBSTSplitter

from models.compiled import _number_leaf, _pipeline, _places, _scaler, descent
from models.compiled._fleet import FULL, OVERFLOW, UNREAL, Fleet
from models.compiled._number_leaf import GRACE, INTERCEPT, MAX_DEPTH, START, answer, forget, learn
from models.compiled._number_split import NO_ROOM, OVERFLOWED, attempt
from models.compiled._tree import DEPTH, INACTIVE, NODES_MOST, TRIED, WHOLE, leaf_of
from models.learner import Estimator
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel
from streamgauge.schedule import LANE, MODEL, STEP, TARGET
from streamgauge.state import Block, Field, Keys
from streamgauge.words import Step

__all__ = ["MODELS", "build"]

MODELS = (tree.HoeffdingTreeRegressor,)
PREDICT, LEARN = int(Step.PREDICT), int(Step.LEARN)
# The first column of a model's row; those of `_places` follow.
NODES = 0
LEAVES = {"mean": 0.0, "model": 1.0, "adaptive": 2.0}


@kernel
def _learn(
    row: Floats, nodes: Floats, places: Floats, device: int, z: Floats, has: Floats, y: float,
    o: Floats, work: Floats, refusals: Ints,
) -> None:  # fmt: skip
    if row[NODES] == 0.0:
        row[NODES] = 1.0
        nodes[0, device, INTERCEPT] = o[START]
    k, known = leaf_of(nodes, device, 0, z, has)
    node = nodes[k, device]
    fine, lost = learn(row, places, device, node, z, has, y, o)
    refusals[FULL] += lost
    if not fine:
        refusals[OVERFLOW] += 1
        return
    # Where a feature was missing on the way, River does not try to split.
    if not known or node[INACTIVE] != 0.0:
        return
    if node[DEPTH] >= o[MAX_DEPTH]:
        node[INACTIVE] = 1.0
        forget(row, places, device, node, len(z))
    elif node[WHOLE] - node[TRIED] >= o[GRACE]:
        seen = node[WHOLE]
        taken = attempt(row, nodes, places, device, k, int(row[NODES]), len(z), o, work)
        if taken == OVERFLOWED:
            refusals[OVERFLOW] += 1
            return
        if taken == NO_ROOM:
            refusals[FULL] += 1
        else:
            row[NODES] = taken
        node[TRIED] = seen


@kernel
def _run(
    codes: Ints, numbers: Floats, x: Floats, answers: Floats, parts: Floats, state: Floats,
    nodes: Floats, places: Floats, settings: Floats, refusals: Ints, lane: int, n: int,
) -> None:  # fmt: skip
    f = int(settings[_scaler.F])
    o = settings[_scaler.HEADER + f :]
    z, has, at, work = np.empty(f), np.empty(f), np.empty(f + 1, np.int64), np.empty((7, 3))
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
        if at[f] != 0:
            refusals[UNREAL] += 1
            if step == PREDICT:
                answers[i] = np.nan
        elif step == LEARN:
            _learn(row, nodes, places, model, z, has, numbers[i, TARGET], o, work, refusals)
        elif row[NODES] == 0.0:
            # What River answers before the first label.
            answers[i] = 0.0
        else:
            k, _ = leaf_of(nodes, model, 0, z, has)
            answers[i] = answer(nodes[k, model], z, has, o)


def build(
    estimator: Estimator,
    lane: int,
    inputs: Sequence[int],
    names: Sequence[str],
    capacity: int,
    keys: Keys,
) -> Fleet | str:
    """The compiled fleet of this pipeline, or why there is none; see `models.compile`."""
    parts = _pipeline.parts(estimator, real=True)
    if isinstance(parts, str):
        return parts
    scaler, clip, model = parts
    reason = _refusal(model)
    if reason:
        return reason
    f = len(inputs)
    fields = [Field(name) for name in ("nodes", "chunks", "taken", "free")]
    settings = [*_scaler.settings_of(scaler, clip, inputs, len(fields)), *_options(model)]
    fields += _scaler.fields_of(scaler, f)
    rows = keys.rows(capacity)
    grown = {
        "nodes": Block(_number_leaf.fields_of(f), rows, keys=keys, layers=NODES_MOST),
        "chunks": Block(_places.fields_of(), rows, keys=keys, layers=_places.LAYERS_MOST),
    }
    return Fleet(_run, fields, settings, lane, capacity, keys, grown)


def _options(model: Any) -> list[float]:
    """The tree's options, in the order of the columns of `_number_leaf`."""
    linear = model.leaf_model
    digits = getattr(model.splitter, "digits", None)
    return [
        model.grace_period,
        model.max_depth,
        model.delta,
        model.tau,
        LEAVES[model.leaf_prediction],
        model.model_selector_decay,
        0.0 if digits is None else 10.0**digits,
        model.min_samples_split,
        model.merit_preprune,
        2.0,
        linear.optimizer.lr.learning_rate,
        linear.intercept_lr.learning_rate,
        linear.clip_gradient,
        linear.l2,
        float(linear.intercept),
    ]


def _refusal(model: Any) -> str:
    """Why this tree has no compiled equivalent; empty if it has one."""
    if model.n_nodes:
        return "it has a model that has learned already"
    if type(model.splitter) not in (EBSTSplitter, TEBSTSplitter):
        return f"it has splitter {type(model.splitter).__name__}"
    if not 0 <= getattr(model.splitter, "digits", 0) <= 15:
        return f"it has a splitter that rounds to {model.splitter.digits} digits"
    if model.nominal_attributes:
        return "it has nominal_attributes"
    if model.remove_poor_attrs:
        return "it has remove_poor_attrs"
    if model.stop_mem_management or model.max_size != 500.0:
        return "it has a limit in bytes of Python objects (max_size, stop_mem_management)"
    if type(model.leaf_model) is not linear_model.LinearRegression:
        return f"it has leaf_model {type(model.leaf_model).__name__}, not LinearRegression"
    reason = descent.refusal(None, model.leaf_model)
    return f"its leaf_model: {reason}" if reason else ""
