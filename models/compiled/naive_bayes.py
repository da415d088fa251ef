"""Gaussian naive Bayes: for each class the share of the labels and a normal density per feature."""

import math
from collections.abc import Sequence

import numpy as np
from river import naive_bayes

from models.compiled import _pipeline, _scaler
from models.compiled._fleet import UNREAL, Fleet
from models.learner import Estimator
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel
from streamgauge.schedule import LANE, MODEL, STEP, TARGET
from streamgauge.state import Field, Keys
from streamgauge.words import Step

__all__ = ["MODELS", "build"]

MODELS = (naive_bayes.GaussianNB,)
PREDICT, LEARN = int(Step.PREDICT), int(Step.LEARN)
# A density is never less than this, also where a feature was not seen with a class.
LEAST = 1e-9
ROOT = math.sqrt(2.0 * math.pi)
# Columns of a model's row: how many classes it has met, then per class when it came (from 1) and
# how often, then per class and feature count, mean and sum of squares.
MET, ORDER = range(2)


@kernel
def _likelihood(gauss: Floats, v: float) -> float:
    """Log of the density of a feature in a class; `gauss` = count, mean, sum of squares."""
    if gauss[0] == 0.0:
        return math.log(LEAST)
    variance = gauss[2] / gauss[0]
    density = 0.0
    if variance > 0.0:
        sigma = math.sqrt(variance)
        away = (v - gauss[1]) / sigma
        density = math.exp(-0.5 * away * away) / ROOT / sigma
    return math.log(LEAST + density)


@kernel
def _joint(row: Floats, c: int, labels: float, z: Floats, at: Ints, m: int, classes: int) -> float:
    f = len(z)
    total: float = 0.0
    for k in range(m):
        first = ORDER + 2 * classes + 3 * (c * f + at[k])
        total += _likelihood(row[first : first + 3], z[at[k]])
    return math.log(row[ORDER + classes + c] / labels) + total


@kernel
def _answer(row: Floats, z: Floats, at: Ints, m: int, joint: Floats, parts: Floats) -> float:
    """The most probable class, of those that are alike the one that came first; probabilities."""
    classes, labels, best = len(joint), 0.0, -1
    parts[:] = math.nan
    for c in range(classes):
        labels += row[ORDER + classes + c]
    if labels == 0.0:
        return math.nan
    highest, all_of_them = -math.inf, 0.0
    for c in range(classes):
        if row[ORDER + c] != 0.0:
            joint[c] = _joint(row, c, labels, z, at, m, classes)
            highest = max(highest, joint[c])
    for c in range(classes):
        if row[ORDER + c] != 0.0:
            all_of_them += math.exp(joint[c] - highest)
    # In the order in which the classes came.
    best_chance = math.nan
    for place in range(1, int(row[MET]) + 1):
        for c in range(classes):
            if row[ORDER + c] == place:
                chance = math.exp(joint[c] - highest - math.log(all_of_them))
                if best < 0 or chance > best_chance:
                    best, best_chance = c, chance
                if c < len(parts):
                    parts[c] = chance
    for c in range(min(classes, len(parts))):
        if row[ORDER + c] == 0.0:
            parts[c] = 0.0
    return float(best)


@kernel
def _learn(row: Floats, z: Floats, at: Ints, m: int, c: int, classes: int) -> None:
    f = len(z)
    if row[ORDER + c] == 0.0:
        row[MET] += 1.0
        row[ORDER + c] = row[MET]
    row[ORDER + classes + c] += 1.0
    for k in range(m):
        v, first = z[at[k]], ORDER + 2 * classes + 3 * (c * f + at[k])
        row[first] += 1.0
        old = row[first + 1]
        row[first + 1] += (1.0 / row[first]) * (v - old)
        row[first + 2] += (v - old) * (v - row[first + 1])


@kernel
def _run(
    codes: Ints, numbers: Floats, x: Floats, answers: Floats, parts: Floats, state: Floats,
    settings: Floats, refusals: Ints, lane: int, n: int,
) -> None:  # fmt: skip
    f = int(settings[_scaler.F])
    classes = int(settings[_scaler.HEADER + f])
    z, joint, at = np.empty(f), np.empty(classes), np.empty(f + 1, np.int64)
    for i in range(n):
        step = codes[i, STEP]
        if codes[i, LANE] != lane or (step != PREDICT and step != LEARN):
            continue
        row = state[codes[i, MODEL]]
        m = _scaler.scale(row, x[i], settings, step == LEARN, z, at)
        if at[f] != 0:
            refusals[UNREAL] += 1
            if step == PREDICT:
                answers[i] = math.nan
                parts[i, :] = math.nan
        elif step == PREDICT:
            answers[i] = _answer(row, z, at, m, joint, parts[i])
        elif 0.0 <= numbers[i, TARGET] < classes:
            _learn(row, z, at, m, int(numbers[i, TARGET]), classes)


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
    if model.class_counts:
        return "it has a model that has learned already"
    f = len(inputs)
    fields = [
        Field("met"),
        *(Field("order", (classes,)), Field("labels", (classes,))),
        Field("gaussians", (classes, f, 3)),
    ]
    settings = [
        *_scaler.settings_of(scaler, clip, inputs, sum(field.size for field in fields)),
        classes,
    ]
    fields += _scaler.fields_of(scaler, f)
    return Fleet(_run, fields, settings, lane, capacity, keys)
