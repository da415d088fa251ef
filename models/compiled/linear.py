"""Linear and logistic regression and the perceptron, with every optimiser and loss of one number.

The arithmetic is River 0.26's, operation by operation and in its order, so the answers are River's
own: NaN means that the feature is absent from the reading, which then changes neither its
statistics nor its weight; the scaler learns before the model sees the reading; the gradient is
clipped before it meets the features and before the l2 penalty; the intercept has its own rate and
no penalty.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from river import anomaly, linear_model, optim

from models.compiled import _losses, _optimizers, _pipeline, _scaler
from models.compiled._fleet import OVERFLOW, UNREAL, Fleet
from models.learner import Estimator
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import inlined, lean
from streamgauge.schedule import LANE, MODEL, STEP, TARGET
from streamgauge.state import Field, Keys
from streamgauge.words import Step

__all__ = ["INTERCEPT", "MODELS", "build", "descend", "dot", "model_parts"]

MODELS = (
    linear_model.LinearRegression,
    linear_model.LogisticRegression,
    linear_model.Perceptron,
)
PREDICT, LEARN = int(Step.PREDICT), int(Step.LEARN)
# Columns of a model's row: these numbers, then the weights, with an initializer which of them
# are in use, with l1 the penalty so far; then what the optimiser and the scaler remember.
INTERCEPT, LEARNED, MAX_L1, WEIGHT = range(4)
# Columns of the settings: these, the loss, the optimiser, the scheduler of the intercept, and with
# an initializer the first weights; in front of all of it stand those of the scaler.
CLIP_GRADIENT, L1, L2, INITIAL, MEMORY, ONE_CLASS, LOSS = range(7)
OPTIMIZER = LOSS + _losses.SIZE
INTERCEPT_RATE = OPTIMIZER + _optimizers.SIZE
START = INTERCEPT_RATE + 3


@inlined
def dot(row: Floats, z: Floats, at: Ints, m: int) -> float:
    """The answer before the mean function."""
    answer: float = 0.0
    weights = row[WEIGHT:]
    if m == len(z):
        for j in range(m):
            answer += weights[j] * z[j]
    else:
        for k in range(m):
            answer += weights[at[k]] * z[at[k]]
    answer += row[INTERCEPT]
    return answer


@lean
def _initialize(row: Floats, o: Floats, at: Ints, m: int, f: int) -> None:
    """Give features that were never learned their first weights: the next ones, in order."""
    used = 0
    for j in range(f):
        used += int(row[WEIGHT + f + j])
    for k in range(m):
        j = at[k]
        if row[WEIGHT + f + j] == 0.0:
            row[WEIGHT + f + j] = 1.0
            row[WEIGHT + j] = o[START + used]
            used += 1


@lean
def _penalize(row: Floats, o: Floats, at: Ints, m: int, f: int) -> None:
    """The cumulative l1 penalty, after Tsuruoka et al. (2009)."""
    penalty = WEIGHT + (2 * f if o[INITIAL] != 0.0 else f)
    row[MAX_L1] += o[L1] * _optimizers.rate(o[OPTIMIZER:], row[LEARNED])
    for k in range(m):
        j = at[k]
        old = row[WEIGHT + j]
        new = old
        if old > 0.0:
            new = old - (row[MAX_L1] + row[penalty + j])
            new = new if new > 0.0 else 0.0
        elif old < 0.0:
            new = old + (row[MAX_L1] - row[penalty + j])
            new = new if new < 0.0 else 0.0
        row[WEIGHT + j] = new
        row[penalty + j] += new - old


@inlined
def _answer(row: Floats, o: Floats, z: Floats, at: Ints, m: int, refusals: Ints) -> float:
    """What is answered; NaN where River raises."""
    answer, too_large = _losses.mean(o[LOSS:], dot(row, z, at, m))
    if too_large:
        refusals[OVERFLOW] += 1
    return np.nan if too_large or at[len(z)] != 0 else answer


@inlined
def descend(
    row: Floats, o: Floats, z: Floats, g: Floats, at: Ints, m: int, y: float, refusals: Ints
) -> bool:
    """One step down the gradient, or as much of it as River does before it raises: then False."""
    f = len(g)
    weights = row[WEIGHT : WEIGHT + f]
    memory, optimizer = row[int(o[MEMORY]) :], o[OPTIMIZER:]
    _optimizers.look_ahead(optimizer, memory, weights, at, m)
    if at[f] != 0:
        return False
    if o[INITIAL] != 0.0:
        _initialize(row, o, at, m, f)
    gradient, too_large = _losses.gradient(o[LOSS:], y, dot(row, z, at, m))
    if too_large:
        refusals[OVERFLOW] += 1
        return False
    clip, l2 = o[CLIP_GRADIENT], o[L2]
    gradient = clip if gradient > clip else -clip if gradient < -clip else gradient
    rate = _optimizers.rate(o[INTERCEPT_RATE:], row[LEARNED])
    update = rate * gradient
    if o[ONE_CLASS] != 0.0:
        update += 2.0 * rate * l2
    row[INTERCEPT] -= update
    if m == f and l2 == 0.0:
        for j in range(f):
            g[j] = z[j] * gradient
    else:
        for k in range(m):
            j = at[k]
            g[j] = z[j] * gradient
            if l2 != 0.0:
                g[j] += weights[j] * l2
    if not _optimizers.step(optimizer, memory, weights, g, at, m, row[LEARNED]):
        refusals[OVERFLOW] += 1
        return False
    row[LEARNED] += 1.0
    if o[L1] != 0.0:
        _penalize(row, o, at, m, f)
    return True


@lean
def _run(
    codes: Ints, numbers: Floats, x: Floats, answers: Floats, parts: Floats, state: Floats,
    work: Floats, at: Ints, settings: Floats, refusals: Ints, lane: int, n: int,
) -> None:  # fmt: skip
    f = int(settings[_scaler.F])
    o = settings[_scaler.HEADER + f :]
    classifies = o[LOSS + _losses.KIND] >= _losses.LOG
    z, g = work[0], work[1]
    for i in range(n):
        if codes[i, LANE] != lane:
            continue
        step = codes[i, STEP]
        if step != PREDICT and step != LEARN:
            continue
        row = state[codes[i, MODEL]]
        m = _scaler.scale(row, x[i], settings, step == LEARN, z, at)
        if at[f] != 0:
            refusals[UNREAL] += 1
        if step == PREDICT:
            answers[i] = _answer(row, o, z, at, m, refusals)
            if classifies:
                _losses.tell(answers, parts, i, answers[i], at[f] != 0)
        # Where River's scaler gives what no clip can take, the model does not even look ahead.
        elif at[f] == 0 or settings[_scaler.LIMIT] == np.inf:
            descend(row, o, z, g, at, m, numbers[i, TARGET], refusals)


def build(
    estimator: Estimator,
    lane: int,
    inputs: Sequence[int],
    names: Sequence[str],
    capacity: int,
    keys: Keys,
) -> Fleet | str:
    """The compiled fleet of this pipeline, or why there is none.

    `inputs` are the columns of `schedule.x` that this lane uses, in the order in which River would
    see them; `names` (their names) do not matter to this kind of model. `keys` says who shares one.
    """
    parts = _pipeline.parts(estimator)
    if isinstance(parts, str):
        return parts
    scaler, clip, model = parts
    built = model_parts(model, len(inputs))
    if isinstance(built, str):
        return built
    fields, own = built
    width = sum(field.size for field in fields)
    settings = [*_scaler.settings_of(scaler, clip, inputs, width), *own]
    fields += _scaler.fields_of(scaler, len(inputs))
    work = np.zeros((2, len(inputs))), np.zeros(len(inputs) + 1, np.int64)
    return Fleet(_run, fields, settings, lane, capacity, keys, shared=work)


def model_parts(model: Any, f: int) -> tuple[list[Field], list[float]] | str:
    """The model's part of a row and of the settings, or why it has none."""
    optimizer = _inner(model.optimizer)
    reason = _refusal(model, optimizer)
    if reason:
        return f"it has {reason}"
    fields, memory = _fields(model, optimizer, f)
    first = _first_weights(model.initializer, f)
    return fields, [
        *(model.clip_gradient, model.l1, model.l2, bool(first), memory),
        isinstance(model, anomaly.OneClassSVM),
        *_losses.settings_of(model.loss),
        *_optimizers.settings_of(optimizer),
        *_optimizers.scheduler_settings(model.intercept_lr),
        *first,
    ]


def _inner(optimizer: Any) -> Any:
    """What an Averager averages: a linear model goes on with the weights themselves."""
    fresh = type(optimizer) is optim.Averager and not optimizer.n_iterations
    return optimizer.optimizer if fresh else optimizer


def _first_weights(initializer: Any, f: int) -> list[float]:
    """The first weights of up to f features, in the order in which they are learned; none for 0."""
    if type(initializer) is optim.initializers.Zeros:
        return []
    drawn = deepcopy(initializer)
    return [float(drawn()) for _ in range(f)]


def _fields(model: Any, optimizer: Any, f: int) -> tuple[list[Field], int]:
    """The model's part of a row, and the column of the optimiser's memory."""
    own = [
        Field("intercept", (), float(model.intercept)),
        Field("learned"),
        Field("max_cum_l1"),
        Field("weight", (f,)),
    ]
    if type(model.initializer) is not optim.initializers.Zeros:
        own.append(Field("in_use", (f,)))
    if model.l1:
        own.append(Field("cum_l1", (f,)))
    memory = sum(field.size for field in own)
    return [*own, *_optimizers.fields_of(optimizer, f)], memory


def _refusal(model: Any, optimizer: Any) -> str:
    """The first option that has no compiled equivalent, in words; empty if all have one."""
    reason = _optimizers.refusal(optimizer)
    reason = reason or _optimizers.scheduler_refusal(model.intercept_lr)
    classifier = isinstance(model, linear_model.LogisticRegression | anomaly.OneClassSVM)
    loss, start = type(model.loss), type(model.initializer)
    drawn = start is optim.initializers.Normal and model.initializer.seed is not None
    known = (optim.initializers.Zeros, optim.initializers.Constant)
    rated = hasattr(model.optimizer, "lr")
    checks = (
        (loss in (_losses.BINARY if classifier else _losses.REGRESSION), f"loss {loss.__name__}"),
        (start in known or drawn, f"initializer {start.__name__} without a seed"),
        (model.l1 == 0 or rated, "an l1 penalty with an optimizer that has no learning rate"),
        (not model.weights, "a model that has learned already"),
    )
    return reason or next((found for fits, found in checks if not fits), "")
