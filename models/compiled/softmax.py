"""Softmax regression: one linear model with an optimiser of its own for each class."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from river import linear_model, optim

from models.compiled import _dicts, _optimizers, _pipeline, _scaler
from models.compiled._fleet import OVERFLOW, UNREAL, Fleet
from models.compiled._python import COMPENSATED, overflowed
from models.learner import Estimator
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel, lean
from streamgauge.schedule import LANE, MODEL, STEP, TARGET
from streamgauge.state import Field, Keys
from streamgauge.words import Step

__all__ = ["MODELS", "build"]

MODELS = (linear_model.SoftmaxRegression,)
PREDICT, LEARN = int(Step.PREDICT), int(Step.LEARN)
# Columns of a model's row: how many classes it has met, when each came (from 1), then for each
# class how often its weights moved, the weights as River's dict, the optimiser's memory.
MET, ORDER = range(2)
STEPS, DICT = range(2)
# Columns of the settings, behind those of the scaler; the weights of the classes and the optimiser
# follow.
CLASSES, WIDTH, MEMORY, L2, SUMS, OPTIMIZER = range(6)


@lean
def _logits(
    row: Floats, o: Floats, x: Floats, inputs: Floats, z: Floats, at: Ints, m: int,
    running: Floats, chances: Floats,
) -> bool:  # fmt: skip
    """Probabilities of the classes that the model has met; False where River raises."""
    classes, f, met = len(chances), len(z), int(row[MET])
    highest, total = math.nan, 0.0
    for c in range(classes):
        if row[ORDER + c] != 0.0:
            d = row[ORDER + classes + c * int(o[WIDTH]) + DICT :]
            chances[c] = _dicts.product(d, f, x, inputs, z, at, m, running, o[SUMS], True)
    for place in range(1, met + 1):
        for c in range(classes):
            if row[ORDER + c] == place and (place == 1 or chances[c] > highest):
                highest = chances[c]
    for place in range(1, met + 1):
        for c in range(classes):
            if row[ORDER + c] == place:
                power = math.exp(chances[c] - highest)
                if overflowed(chances[c] - highest, power):
                    return False
                chances[c] = power
                total += power
    for c in range(classes):
        if row[ORDER + c] != 0.0:
            if total == 0.0:
                return False
            chances[c] /= total
    return True


@lean
def _learn(
    row: Floats, o: Floats, weights: Floats, z: Floats, g: Floats, at: Ints, m: int, y: int,
    chances: Floats,
) -> bool:  # fmt: skip
    """Move the weights of every class; False where River raises for one of them."""
    classes, f, optimizer = len(chances), len(z), o[OPTIMIZER + len(chances) :]
    if row[ORDER + y] == 0.0:
        row[MET] += 1.0
        row[ORDER + y] = row[MET]
        chances[y] = 0.0
    for c in range(classes):
        if row[ORDER + c] == 0.0:
            continue
        own = row[ORDER + classes + c * int(o[WIDTH]) :]
        weight = own[DICT + _dicts.WEIGHTS : DICT + _dicts.WEIGHTS + f]
        chance = chances[c] if chances[c] == chances[c] else math.nan
        chance = 1.0 - 1e-15 if chance > 1.0 - 1e-15 else chance
        chance = 1e-15 if chance < 1e-15 else chance
        loss = weights[c] * (chance - (1.0 if c == y else 0.0))
        for k in range(m):
            j = at[k]
            g[j] = z[j] * loss + o[L2] * weight[j]
        _dicts.meet(own[DICT:], f, at, m)
        memory = own[int(o[MEMORY]) :]
        if not _optimizers.step(optimizer, memory, weight, g, at, m, own[STEPS]):
            return False
        own[STEPS] += 1.0
    return True


@lean
def _answer(row: Floats, chances: Floats, parts: Floats) -> float:
    """The most probable class, of those that are alike the one that came first; probabilities."""
    classes, best = len(chances), -1
    parts[:] = math.nan
    if row[MET] == 0.0:
        return math.nan
    for place in range(1, int(row[MET]) + 1):
        for c in range(classes):
            if row[ORDER + c] == place and (best < 0 or chances[c] > chances[best]):
                best = c
    for c in range(min(classes, len(parts))):
        parts[c] = chances[c] if row[ORDER + c] != 0.0 else 0.0
    return float(best)


@kernel
def _run(
    codes: Ints, numbers: Floats, x: Floats, answers: Floats, parts: Floats, state: Floats,
    settings: Floats, refusals: Ints, lane: int, n: int,
) -> None:  # fmt: skip
    f = int(settings[_scaler.F])
    inputs, o = settings[_scaler.HEADER :], settings[_scaler.HEADER + f :]
    z, g, running, at = np.empty(f), np.empty(f), np.empty(2), np.empty(f + 1, np.int64)
    chances, weights = np.empty(int(o[CLASSES])), o[OPTIMIZER:]
    for i in range(n):
        step = codes[i, STEP]
        if codes[i, LANE] != lane or (step != PREDICT and step != LEARN):
            continue
        row = state[codes[i, MODEL]]
        m = _scaler.scale(row, x[i], settings, step == LEARN, z, at)
        fine = _logits(row, o, x[i], inputs, z, at, m, running, chances)
        if at[f] != 0 or not fine:
            refusals[UNREAL if at[f] != 0 else OVERFLOW] += 1
            if step == PREDICT:
                answers[i] = math.nan
                parts[i, :] = math.nan
        elif step == PREDICT:
            answers[i] = _answer(row, chances, parts[i])
        elif 0.0 <= numbers[i, TARGET] < len(chances):
            y = int(numbers[i, TARGET])
            if not _learn(row, o, weights, z, g, at, m, y, chances):
                refusals[OVERFLOW] += 1


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
    dicts = _dicts.fields_of(f)
    memory = 1 + sum(field.size for field in dicts)
    remembered = _optimizers.fields_of(model.optimizer, f)
    width = memory + sum(field.size for field in remembered)
    fields = [
        *(Field("met"), Field("order", (classes,))),
        Field("classes", (classes, width)),
    ]
    settings = [
        *_scaler.settings_of(scaler, clip, inputs, sum(field.size for field in fields)),
        *(classes, width, memory, model.l2, COMPENSATED),
        *([1.0] * classes),
        *_optimizers.settings_of(model.optimizer, plain=True),
    ]
    fields += _scaler.fields_of(scaler, f)
    return Fleet(_run, fields, settings, lane, capacity, keys)


def _refusal(model: Any) -> str:
    """The first option that has no compiled equivalent, in words; empty if all have one."""
    if model.weights:
        return "a model that has learned already"
    loss = type(model.loss)
    if loss is not optim.losses.CrossEntropy or model.loss.class_weight:
        return f"loss {loss.__name__} with weights of its own"
    # They move weights before the answer, give a feature its weight late or never, and remember
    # what does not begin at zero.
    if type(model.optimizer) in (optim.NesterovMomentum, optim.FTRLProximal, optim.AdaBound):
        return f"optimizer {type(model.optimizer).__name__}"
    return _optimizers.refusal(model.optimizer)
