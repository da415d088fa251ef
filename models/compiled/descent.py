"""Linear regression by plain gradient descent on the squared loss: the most used, and the quickest.

What `linear` computes for every optimiser and loss, in kernels of its own for three kinds of
scaling: twice as fast. The arithmetic is the same, River 0.26's in its order.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from river import linear_model, optim, preprocessing

from models.compiled import _pipeline
from models.compiled._fleet import Fleet, Run
from models.learner import Estimator
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel, lean
from streamgauge.schedule import LANE, MODEL, STEP, TARGET
from streamgauge.state import Field, Keys
from streamgauge.words import Step

__all__ = ["MODELS", "build", "refusal"]

MODELS = (linear_model.LinearRegression,)
PREDICT, LEARN = int(Step.PREDICT), int(Step.LEARN)
# Columns of a model's row: two numbers, then blocks of one number per feature: the weights and,
# with a scaler, means, counts, and where it divides by the deviation, variances and deviations.
INTERCEPT, LEARNED, WEIGHT = range(3)
# Columns of the settings; those of the features in `schedule.x` follow.
RATE, INTERCEPT_RATE, CLIP_GRADIENT, L2, LIMIT, HALF, INPUTS = range(7)


@lean
def _standardized(row: Floats, x: Floats, settings: Floats, z: Floats) -> float:
    """z = (x - mean) / deviation, 0 where the feature never varied; the answer."""
    f = len(z)
    mean, deviation, limit = WEIGHT + f, WEIGHT + 4 * f, settings[LIMIT]
    answer: float = 0.0
    for j in range(f):
        v = x[int(settings[INPUTS + j])]
        if v == v:
            s = row[deviation + j]
            v = (v - row[mean + j]) / s if s != 0.0 else 0.0
            z[j] = limit if v > limit else -limit if v < -limit else v
            answer += row[WEIGHT + j] * z[j]
    answer += row[INTERCEPT]
    return answer


@lean
def _centred(row: Floats, x: Floats, settings: Floats, z: Floats) -> float:
    """z = x - mean; the answer."""
    f = len(z)
    mean, limit = WEIGHT + f, settings[LIMIT]
    answer: float = 0.0
    for j in range(f):
        v = x[int(settings[INPUTS + j])]
        if v == v:
            v -= row[mean + j]
            z[j] = limit if v > limit else -limit if v < -limit else v
            answer += row[WEIGHT + j] * z[j]
    answer += row[INTERCEPT]
    return answer


@lean
def _unscaled(row: Floats, x: Floats, settings: Floats, z: Floats) -> float:
    """z = x; the answer."""
    limit = settings[LIMIT]
    answer: float = 0.0
    for j in range(len(z)):
        v = x[int(settings[INPUTS + j])]
        if v == v:
            z[j] = limit if v > limit else -limit if v < -limit else v
            answer += row[WEIGHT + j] * z[j]
    answer += row[INTERCEPT]
    return answer


@lean
def _learn_means(row: Floats, x: Floats, settings: Floats, f: int) -> None:
    mean, count = WEIGHT + f, WEIGHT + 2 * f
    for j in range(f):
        v = x[int(settings[INPUTS + j])]
        if v == v:
            row[count + j] += 1.0
            row[mean + j] += (v - row[mean + j]) / row[count + j]


@lean
def _learn_moments(row: Floats, x: Floats, settings: Floats, f: int) -> None:
    mean, count = WEIGHT + f, WEIGHT + 2 * f
    variance, deviation, half = WEIGHT + 3 * f, WEIGHT + 4 * f, settings[HALF]
    for j in range(f):
        v = x[int(settings[INPUTS + j])]
        if v == v:
            row[count + j] += 1.0
            n, old = row[count + j], row[mean + j]
            row[mean + j] += (v - old) / n
            q = row[variance + j]
            q += ((v - old) * (v - row[mean + j]) - q) / n
            row[variance + j] = q
            # River takes `variance ** 0.5` at every transform; it only changes here.
            row[deviation + j] = q**half


@lean
def _descend(row: Floats, x: Floats, settings: Floats, z: Floats, error: float) -> None:
    """One step of SGD on the squared loss; `error` = answer - target."""
    clip = settings[CLIP_GRADIENT]
    gradient = 2.0 * error
    gradient = clip if gradient > clip else -clip if gradient < -clip else gradient
    row[INTERCEPT] -= settings[INTERCEPT_RATE] * gradient
    row[LEARNED] += 1.0
    rate, l2 = settings[RATE], settings[L2]
    for j in range(len(z)):
        v = x[int(settings[INPUTS + j])]
        if v == v:
            g = z[j] * gradient
            if l2 != 0.0:
                g += row[WEIGHT + j] * l2
            row[WEIGHT + j] -= rate * g


@kernel
def _run_standardized(
    codes: Ints, numbers: Floats, x: Floats, answers: Floats, parts: Floats, state: Floats,
    settings: Floats, refusals: Ints, lane: int, n: int,
) -> None:  # fmt: skip
    f = len(settings) - INPUTS
    z = np.empty(f)
    for i in range(n):
        if codes[i, LANE] != lane:
            continue
        row = state[codes[i, MODEL]]
        if codes[i, STEP] == PREDICT:
            answers[i] = _standardized(row, x[i], settings, z)
        elif codes[i, STEP] == LEARN:
            _learn_moments(row, x[i], settings, f)
            error = _standardized(row, x[i], settings, z) - numbers[i, TARGET]
            _descend(row, x[i], settings, z, error)


@kernel
def _run_centred(
    codes: Ints, numbers: Floats, x: Floats, answers: Floats, parts: Floats, state: Floats,
    settings: Floats, refusals: Ints, lane: int, n: int,
) -> None:  # fmt: skip
    f = len(settings) - INPUTS
    z = np.empty(f)
    for i in range(n):
        if codes[i, LANE] != lane:
            continue
        row = state[codes[i, MODEL]]
        if codes[i, STEP] == PREDICT:
            answers[i] = _centred(row, x[i], settings, z)
        elif codes[i, STEP] == LEARN:
            _learn_means(row, x[i], settings, f)
            error = _centred(row, x[i], settings, z) - numbers[i, TARGET]
            _descend(row, x[i], settings, z, error)


@kernel
def _run_unscaled(
    codes: Ints, numbers: Floats, x: Floats, answers: Floats, parts: Floats, state: Floats,
    settings: Floats, refusals: Ints, lane: int, n: int,
) -> None:  # fmt: skip
    z = np.empty(len(settings) - INPUTS)
    for i in range(n):
        if codes[i, LANE] != lane:
            continue
        row = state[codes[i, MODEL]]
        if codes[i, STEP] == PREDICT:
            answers[i] = _unscaled(row, x[i], settings, z)
        elif codes[i, STEP] == LEARN:
            error = _unscaled(row, x[i], settings, z) - numbers[i, TARGET]
            _descend(row, x[i], settings, z, error)


def build(
    estimator: Estimator,
    lane: int,
    inputs: Sequence[int],
    names: Sequence[str],
    capacity: int,
    keys: Keys,
) -> Fleet | str:
    """The compiled fleet of this pipeline, or why there is none; see `models.compile`."""
    parts = _pipeline.parts(estimator)
    if isinstance(parts, str):
        return parts
    scaler, clip, model = parts
    reason = refusal(scaler, model)
    if reason:
        return reason
    limit = clip.limit if clip else math.inf
    settings = [
        model.optimizer.lr.learning_rate,
        model.intercept_lr.learning_rate,
        model.clip_gradient,
        model.l2,
        limit,
        # `** 0.5` written out would compile to a square root, which rounds differently than pow.
        0.5,
        *inputs,
    ]
    run, fields = _variant(scaler, len(inputs), model.intercept)
    return Fleet(run, fields, settings, lane, capacity, keys)


def _variant(scaler: Any, f: int, intercept: float) -> tuple[Run, list[Field]]:
    fields = [Field("intercept", (), float(intercept)), Field("learned"), Field("weight", (f,))]
    if scaler is None:
        return _run_unscaled, fields
    fields += [Field("mean", (f,)), Field("count", (f,))]
    if not scaler.with_std:
        return _run_centred, fields
    return _run_standardized, [*fields, Field("variance", (f,)), Field("deviation", (f,))]


def refusal(scaler: Any, model: Any) -> str:
    """The first option that has no compiled equivalent, in words; empty if all have one."""
    optimizer, constant = model.optimizer, optim.schedulers.Constant
    loss, start = type(model.loss), type(model.initializer)
    learned = model.weights or getattr(scaler, "counts", None)
    checks = (
        (
            scaler is None or type(scaler) is preprocessing.StandardScaler,
            f"scaler {type(scaler).__name__}, not StandardScaler",
        ),
        (type(optimizer) is optim.SGD, f"optimizer {type(optimizer).__name__}, not SGD"),
        (type(getattr(optimizer, "lr", None)) is constant, "a learning rate that is not constant"),
        (type(model.intercept_lr) is constant, "an intercept_lr that is not constant"),
        (loss is optim.losses.Squared, f"loss {loss.__name__}, not Squared"),
        (model.l1 == 0, "an l1 penalty"),
        (start is optim.initializers.Zeros, f"initializer {start.__name__}, not Zeros"),
        (not getattr(scaler, "window_size", None), "a scaler with a window"),
        (not learned, "a model that has learned already"),
    )
    return next((f"it has {found}" for fits, found in checks if not fits), "")
