"""Half-space trees, alone or within a filter: River's own scores.

Tan, Ting and Liu (2011), "Fast anomaly detection for streaming data".
"""

import math
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from river import anomaly

from models.compiled import _filter, _half_space, _scaler
from models.compiled._fleet import NOTHING, UNREAL, Fleet
from models.learner import Estimator
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel
from streamgauge.schedule import LANE, MODEL, STEP
from streamgauge.state import Field, Keys
from streamgauge.words import Step

__all__ = ["MODELS", "build"]

MODELS = (anomaly.HalfSpaceTrees,)
PREDICT = int(Step.PREDICT)
HEIGHT_MOST = 15
LINE = 8
"""Numbers in a line of the processor's cache. Rows are whole lines, or nodes would straddle two."""
# A model's row is how many readings passed each node of each tree, then these columns: readings of
# this window; 1 once there was a whole one; 1 once there are trees; which features the first
# reading had. Then comes what the filter and the scaler remember.
COUNT, WHOLE, BEGUN, FIRST = range(4)
# Columns of the settings, behind those of the scaler; then those of the filter.
HEIGHT, WINDOW, SIZE, LARGEST, OWN, FILTER = range(6)


@kernel
def _score(
    row: Floats, features: Ints, thresholds: Floats, places: Ints, z: Floats, has: Floats,
    o: Floats, way: Ints,
) -> float:  # fmt: skip
    if row[int(o[OWN]) + WHOLE] == 0.0:
        return 0.0
    total = _half_space.score(
        features, thresholds, row, places, z, has, int(o[HEIGHT]), int(o[SIZE]), way[0], way[1],
        0.1 * o[WINDOW],
    )  # fmt: skip
    return float(1.0 - total / o[LARGEST])


@kernel
def _learn(
    row: Floats, features: Ints, thresholds: Floats, places: Ints, z: Floats, has: Floats,
    o: Floats, way: Ints,
) -> None:  # fmt: skip
    own, size, trees = row[int(o[OWN]) :], int(o[SIZE]), len(features)
    if own[BEGUN] == 0.0:
        own[BEGUN] = 1.0
        own[FIRST : FIRST + len(has)] = has
    _half_space.learn(features, thresholds, row, places, z, has, int(o[HEIGHT]), size, way[0])
    own[COUNT] += 1.0
    if own[COUNT] == o[WINDOW]:
        _half_space.pivot(row[: trees * size])
        own[WHOLE], own[COUNT] = 1.0, 0.0


@kernel
def _teach(
    row: Floats, x: Floats, settings: Floats, o: Floats, features: Ints, thresholds: Floats,
    there: bool, places: Ints, z: Floats, has: Floats, at: Ints, way: Ints, score: float,
) -> int:  # fmt: skip
    """Learn a reading, if the filter lets it pass; the reason why River raises, or -1."""
    f, rule = len(has), o[FILTER:]
    inside = rule[_filter.INSIDE] != 0.0
    if inside and math.isnan(score):
        return UNREAL
    if not inside:
        _scaler.scale(row, x, settings, True, z, at)
        if at[f] == 0 and rule[_filter.KIND] != _filter.NONE:
            score = _score(row, features, thresholds, places, z, has, o, way)
    passes = at[f] == 0 and _filter.lets_pass(rule, row, score)
    if passes and inside:
        _scaler.scale(row, x, settings, True, z, at)
    if at[f] != 0:
        return UNREAL
    if passes and not there:
        return NOTHING
    if passes:
        _learn(row, features, thresholds, places, z, has, o, way)
    _filter.remember(rule, row, score)
    return -1


@kernel
def _run(
    codes: Ints, numbers: Floats, x: Floats, answers: Floats, parts: Floats, state: Floats,
    places: Ints, by_name: Ints, limits: Floats, draws: Floats, features: Ints, thresholds: Floats,
    known: Floats, settings: Floats, refusals: Ints, lane: int, n: int,
) -> None:  # fmt: skip
    f = int(settings[_scaler.F])
    o = settings[_scaler.HEADER + f :]
    height = int(o[HEIGHT])
    z, has, at = np.empty(f), np.empty(f), np.empty(f + 1, np.int64)
    way = np.empty((2, features.shape[1]), np.int64)
    for i in range(n):
        if codes[i, LANE] != lane or codes[i, STEP] != PREDICT:
            continue
        row = state[codes[i, MODEL]]
        own = row[int(o[OWN]) :]
        m = _scaler.scale(row, x[i], settings, False, z, at)
        has[:] = 0.0
        for k in range(m):
            has[at[k]] = 1.0
        first = has if own[BEGUN] == 0.0 else own[FIRST : FIRST + f]
        # Before there are trees, those of any other device are not looked at either.
        which, there = 0, m > 0 or own[BEGUN] != 0.0
        if there:
            which = _half_space.forest_of(
                features, thresholds, known, first, by_name, limits, draws, height
            )
        asks, parts_at = features[which], thresholds[which]
        score = math.nan
        if at[f] == 0:
            score = _score(row, asks, parts_at, places, z, has, o, way)
        reason = _teach(
            row, x[i], settings, o, asks, parts_at, there, places, z, has, at, way, score
        )
        reason = UNREAL if math.isnan(score) else reason
        answers[i] = score if reason < 0 else math.nan
        if reason >= 0:
            refusals[reason] += 1


def build(
    estimator: Estimator,
    lane: int,
    inputs: Sequence[int],
    names: Sequence[str],
    capacity: int,
    keys: Keys,
) -> Fleet | str:
    """The compiled fleet of this pipeline, or why there is none; see `models.compile`."""
    found = _filter.parts(estimator)
    if isinstance(found, str):
        return found
    rule, inside, scaler, clip, model = found
    pairs = [model.limits.get(name, (0.0, 1.0)) for name in names]
    reason = _refusal(model, pairs)
    if reason:
        return f"it has {reason}"
    f, trees, height = len(inputs), model.n_trees, model.height
    places = _half_space.places_of(height)
    size = -(-int(places[-1] + 1) // LINE) * LINE
    fields = [
        Field("masses", (trees, size)),
        *(Field(name) for name in ("count", "whole", "begun")),
        Field("first", (f,)),
    ]
    markers = sum(field.size for field in fields)
    fields += _filter.fields_of(rule)
    width = sum(field.size for field in fields)
    settings = [
        *_scaler.settings_of(scaler, clip, inputs, width),
        *(height, model.window_size, size, model._max_score, trees * size),  # noqa: SLF001 - as River computes it
        *_filter.settings_of(rule, markers, inside=inside),
    ]
    fields += _scaler.fields_of(scaler, f)
    fields.append(Field("unused", (-sum(field.size for field in fields) % LINE,)))
    room = min(1 << min(f, 30), _half_space.ROOM)
    shared = (
        places,
        np.array(sorted(range(f), key=names.__getitem__), np.int64),
        np.array(pairs, np.float64).T.copy(),
        _half_space.draws_of(deepcopy(model.rng), trees, height),
        np.zeros((room, trees, (1 << height) - 1), np.int64),
        np.zeros((room, trees, (1 << height) - 1)),
        np.zeros((room, 1 + f)),
    )
    return Fleet(_run, fields, settings, lane, capacity, keys, shared=shared)


def _refusal(model: Any, limits: Sequence[Any]) -> str:
    """The first option that has no compiled equivalent, in words; empty if all have one."""
    sizes = (model.n_trees, model.height, model.window_size)
    checks = (
        (not model.trees, "a model that has learned already"),
        (model.seed is not None, "no seed, so that no two models have the same trees"),
        (all(type(size) is int and size > 0 for size in sizes),
         "n_trees, height or window_size that are no whole numbers above 0"),
        (model.height <= HEIGHT_MOST, f"a height above {HEIGHT_MOST}"),
        (model.window_size < _half_space.MOST, f"a window_size above {_half_space.MOST:,.0f}"),
        (all(map(_apart, limits)), "limits that are not two numbers, well apart"),
    )  # fmt: skip
    return next((found for fits, found in checks if not fits), "")


def _apart(limits: Any) -> bool:
    """Whether the thinnest part that trees may cut off is still wider than rounding."""
    if len(limits) != 2:
        return False
    low, high = map(float, limits)
    thinnest = (high - low) * _half_space.PADDING**HEIGHT_MOST
    return math.isfinite(thinnest) and thinnest > math.ulp(max(abs(low), abs(high)))
