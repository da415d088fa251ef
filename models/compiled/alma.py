"""ALMA, the approximate large margin classifier, for the Euclidean norm.

Gentile (2001), "A new approximate maximal margin classification algorithm".
"""

import math
from collections.abc import Sequence

import numpy as np
from river import linear_model

from models.compiled import _dicts, _losses, _pipeline, _scaler
from models.compiled._fleet import UNREAL, Fleet
from models.compiled._python import COMPENSATED
from models.learner import Estimator
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel
from streamgauge.schedule import LANE, MODEL, STEP, TARGET
from streamgauge.state import Field, Keys
from streamgauge.words import Step

__all__ = ["MODELS", "build"]

MODELS = (linear_model.ALMAClassifier,)
PREDICT, LEARN = int(Step.PREDICT), int(Step.LEARN)
# Columns of a model's row: mistakes so far, the weights as River's dict, the scaler's part.
MISTAKES, DICT = range(2)
# Columns of the settings, behind those of the scaler.
ALPHA, B, C, SUMS = range(4)


@kernel
def _learn(
    row: Floats, o: Floats, z: Floats, v: Floats, at: Ints, m: int, y: float, p: float
) -> None:
    """Where the margin is too small, turn towards the event and shrink to the unit ball."""
    f, sign, k = len(z), (1.0 if y != 0.0 else -1.0), row[MISTAKES] + 1.0
    if not sign * p < (1.0 - o[ALPHA]) * (o[B] / math.sqrt(k)):
        return
    step = o[C] / math.sqrt(k) * sign
    d, weight = row[DICT:], DICT + _dicts.WEIGHTS
    _dicts.meet(d, f, at, m)
    for i in range(m):
        row[weight + at[i]] += step * z[at[i]]
    known = int(d[_dicts.KNOWN])
    for i in range(known):
        v[i] = row[weight + int(d[_dicts.WEIGHTS + f + i])]
    # As numpy's norm: the order of this sum is that of the linear algebra library.
    norm = math.sqrt(np.dot(v[:known], v[:known])) if known > 0 else 0.0
    norm = norm if norm > 1.0 else 1.0
    for i in range(m):
        row[weight + at[i]] /= norm
    row[MISTAKES] = k


@kernel
def _run(
    codes: Ints, numbers: Floats, x: Floats, answers: Floats, parts: Floats, state: Floats,
    settings: Floats, refusals: Ints, lane: int, n: int,
) -> None:  # fmt: skip
    f = int(settings[_scaler.F])
    inputs, o = settings[_scaler.HEADER :], settings[_scaler.HEADER + f :]
    z, v, running, at = np.empty(f), np.empty(f), np.empty(2), np.empty(f + 1, np.int64)
    for i in range(n):
        step = codes[i, STEP]
        if codes[i, LANE] != lane or (step != PREDICT and step != LEARN):
            continue
        row = state[codes[i, MODEL]]
        m = _scaler.scale(row, x[i], settings, step == LEARN, z, at)
        p = _dicts.product(row[DICT:], f, x[i], inputs, z, at, m, running, o[SUMS], False)
        if at[f] != 0:
            refusals[UNREAL] += 1
            p = math.nan
        if step == PREDICT:
            _losses.tell(answers, parts, i, _losses.sigmoid(p), at[f] != 0)
        elif at[f] == 0:
            _learn(row, o, z, v, at, m, numbers[i, TARGET], p)


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
    if model.w or model.k != 1:
        return "it has a model that has learned already"
    if model.p != 2:
        return f"it has the norm p = {model.p}, not 2"
    f = len(inputs)
    fields = [Field("mistakes"), *_dicts.fields_of(f)]
    settings = [
        *_scaler.settings_of(scaler, clip, inputs, sum(field.size for field in fields)),
        *(model.alpha, model.B, model.C, COMPENSATED),
    ]
    fields += _scaler.fields_of(scaler, f)
    return Fleet(_run, fields, settings, lane, capacity, keys)
