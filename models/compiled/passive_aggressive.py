"""Passive-aggressive regression and classification, all three modes.

Crammer, Dekel, Keshet, Shalev-Shwartz and Singer (2006), "Online passive-aggressive algorithms".
"""

import math
from collections.abc import Sequence

import numpy as np
from river import linear_model

from models.compiled import _dicts, _losses, _pipeline, _scaler
from models.compiled._fleet import OVERFLOW, UNREAL, Fleet
from models.compiled._python import COMPENSATED, overflowed
from models.learner import Estimator
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel, lean
from streamgauge.schedule import LANE, MODEL, STEP, TARGET
from streamgauge.state import Field, Keys
from streamgauge.words import Step

__all__ = ["MODELS", "build"]

MODELS = (linear_model.PARegressor, linear_model.PAClassifier)
PREDICT, LEARN = int(Step.PREDICT), int(Step.LEARN)
# Columns of a model's row: the intercept, the weights as River's dict, the scaler's part.
INTERCEPT, DICT = range(2)
# Columns of the settings, behind those of the scaler.
C, MODE, EPS, LEARNS, CLASSIFIES, TWO, SUMS = range(7)


@lean
def _loss(o: Floats, y: float, p: float) -> float:
    sign = y * 2.0 - 1.0
    loss = 1.0 - sign * p if o[CLASSIFIES] != 0.0 else abs(p - sign) - o[EPS]
    return 0.0 if loss < 0.0 else loss


@lean
def _tau(o: Floats, norm: float, loss: float) -> float:
    """How far to go; `norm` is that of the features, squared."""
    if o[MODE] == 2.0:
        return float(loss / (norm + 0.5 / o[C]))
    if not norm > 0.0:
        return 0.0
    tau = loss / norm
    return float(tau if o[MODE] == 0.0 or tau < o[C] else o[C])


@kernel
def _learn(
    row: Floats, o: Floats, z: Floats, v: Floats, at: Ints, m: int, y: float, p: float
) -> bool:
    """Go as far as it takes; False where River raises OverflowError."""
    f = len(z)
    for k in range(m):
        v[k] = z[at[k]]
    # As numpy's norm: the order of this sum is that of the linear algebra library.
    length = math.sqrt(np.dot(v[:m], v[:m])) if m > 0 else 0.0
    norm = length ** o[TWO]
    if overflowed(length, norm):
        return False
    tau = _tau(o, norm, _loss(o, y, p))
    if o[CLASSIFIES] != 0.0:
        way = 1.0 if y != 0.0 else -1.0
    else:
        way = 1.0 if y > p else -1.0 if y < p else y - p
    step = tau * way
    weight = DICT + _dicts.WEIGHTS
    _dicts.meet(row[DICT:], f, at, m)
    for k in range(m):
        row[weight + at[k]] += step * z[at[k]]
    if o[LEARNS] != 0.0:
        row[INTERCEPT] += step
    return True


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
        p += row[INTERCEPT]
        if at[f] != 0:
            refusals[UNREAL] += 1
            p = math.nan
        if step == PREDICT:
            answers[i] = p
            if o[CLASSIFIES] != 0.0:
                _losses.tell(answers, parts, i, _losses.sigmoid(p), at[f] != 0)
        elif at[f] == 0 and not _learn(row, o, z, v, at, m, numbers[i, TARGET], p):
            refusals[OVERFLOW] += 1


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
    if model.weights or model.intercept:
        return "it has a model that has learned already"
    if not model.C > 0:
        return "it has a C that is not above 0"
    f = len(inputs)
    fields = [Field("intercept"), *_dicts.fields_of(f)]
    classifies = isinstance(model, linear_model.PAClassifier)
    settings = [
        *_scaler.settings_of(scaler, clip, inputs, sum(field.size for field in fields)),
        *(model.C, model.mode, getattr(model, "eps", 0.0), model.learn_intercept, classifies, 2.0),
        # A regression's weights are numpy's numbers, which `sum` just adds.
        COMPENSATED if classifies else 0.0,
    ]
    fields += _scaler.fields_of(scaler, f)
    return Fleet(_run, fields, settings, lane, capacity, keys)
