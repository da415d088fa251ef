"""The one-class support vector machine by gradient descent, alone or within a filter."""

import math
from collections.abc import Sequence

import numpy as np
from river import anomaly

from models.compiled import _filter, _scaler, linear
from models.compiled._fleet import UNREAL, Fleet
from models.learner import Estimator
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel, lean
from streamgauge.schedule import LANE, MODEL, STEP
from streamgauge.state import Keys
from streamgauge.words import Step

__all__ = ["MODELS", "build"]

MODELS = (anomaly.OneClassSVM,)
PREDICT = int(Step.PREDICT)
INTERCEPT = linear.INTERCEPT


@lean
def _score(row: Floats, z: Floats, at: Ints, m: int) -> float:
    # River adds the intercept and takes it away again, which rounds.
    return float(linear.dot(row, z, at, m) - row[INTERCEPT])


@lean
def _teach(
    row: Floats, x: Floats, settings: Floats, z: Floats, g: Floats, at: Ints, score: float,
    refusals: Ints,
) -> bool:  # fmt: skip
    """Learn a reading, if the filter lets it pass; False where River raises."""
    f = len(g)
    rule = settings[_scaler.HEADER + f :]
    inside, m = rule[_filter.INSIDE] != 0.0, 0
    if not inside:
        m = _scaler.scale(row, x, settings, True, z, at)
        if rule[_filter.KIND] != _filter.NONE:
            score = _score(row, z, at, m)
    if at[f] == 0 and _filter.lets_pass(rule, row, score):
        if inside:
            m = _scaler.scale(row, x, settings, True, z, at)
        if at[f] == 0:
            own = rule[_filter.SIZE :]
            if not linear.descend(row, own, z, g, at, m, 1.0, refusals):
                return False
    if at[f] != 0:
        return False
    _filter.remember(rule, row, score)
    return True


@kernel
def _run(
    codes: Ints, numbers: Floats, x: Floats, answers: Floats, parts: Floats, state: Floats,
    settings: Floats, refusals: Ints, lane: int, n: int,
) -> None:  # fmt: skip
    f = int(settings[_scaler.F])
    z, g, at = np.empty(f), np.empty(f), np.empty(f + 1, np.int64)
    for i in range(n):
        if codes[i, LANE] != lane or codes[i, STEP] != PREDICT:
            continue
        row = state[codes[i, MODEL]]
        m = _scaler.scale(row, x[i], settings, False, z, at)
        unreal = at[f] != 0
        score = _score(row, z, at, m)
        learned = _teach(row, x[i], settings, z, g, at, score, refusals)
        if unreal or at[f] != 0:
            refusals[UNREAL] += 1
        answers[i] = score if learned and not unreal else math.nan


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
    built = linear.model_parts(model, len(inputs))
    if isinstance(built, str):
        return built
    fields, own = built
    markers = sum(field.size for field in fields)
    fields += _filter.fields_of(rule)
    width = sum(field.size for field in fields)
    settings = [
        *_scaler.settings_of(scaler, clip, inputs, width),
        *_filter.settings_of(rule, markers, inside=inside),
        *own,
    ]
    fields += _scaler.fields_of(scaler, len(inputs))
    return Fleet(_run, fields, settings, lane, capacity, keys)
