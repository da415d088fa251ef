"""Bayesian linear regression without smoothing: the posterior by one rank-1 update per label.

Bishop (2006), "Pattern recognition and machine learning", section 3.3. River leaves its sums to a
linear algebra library, in an order of the library's own; here they follow the order of the
features. Answers are therefore equal only as far as the data determine them: where features are
nearly dependent, or of sizes many orders of magnitude apart, rounding decides about the last
digits of River's answers as well.
"""

from collections.abc import Sequence

import numpy as np
from river import linear_model

from models.compiled import _pipeline, _scaler
from models.compiled._fleet import UNREAL, Fleet
from models.learner import Estimator
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel, lean
from streamgauge.schedule import LANE, MODEL, STEP, TARGET
from streamgauge.state import Field, Keys
from streamgauge.words import Step

__all__ = ["MODELS", "build"]

MODELS = (linear_model.BayesianLinearRegression,)
PREDICT, LEARN = int(Step.PREDICT), int(Step.LEARN)
# Columns of the settings, behind those of the scaler.
BETA, DIAGONAL = range(2)


@lean
def _answer(row: Floats, z: Floats, at: Ints, m: int) -> float:
    answer: float = 0.0
    for k in range(m):
        # A feature that was never learned may not be a number yet.
        if row[2 * len(z) + at[k]] != 0.0:
            answer += row[at[k]] * z[at[k]]
    return answer


@lean
def _learn(
    row: Floats, o: Floats, z: Floats, u: Floats, v: Floats, at: Ints, m: int, y: float
) -> None:
    """Covariance, natural mean, and the weights that follow from them.

    A row is [weight f, natural mean f, in use f, covariance f x f less the prior's diagonal].
    """
    f = len(z)
    covariance, prior, beta = row[3 * f :], o[DIAGONAL], o[BETA]
    inside: float = 0.0
    for i in range(f):
        column: float = 0.0
        line: float = 0.0
        for k in range(m):
            j = at[k]
            diagonal = prior if i == j else 0.0
            line += (covariance[i * f + j] + diagonal) * (beta * z[j])
            column += (covariance[j * f + i] + diagonal) * z[j]
        u[i], v[i] = line, column
    for k in range(m):
        inside += z[at[k]] * u[at[k]]
        row[f + at[k]] += beta * z[at[k]] * y
        row[2 * f + at[k]] = 1.0
    alpha = -1.0 / (1.0 + inside)
    for i in range(f):
        weight = prior * row[f + i]
        for j in range(f):
            covariance[i * f + j] += alpha * u[i] * v[j]
            weight += covariance[i * f + j] * row[f + j]
        row[i] = weight


@kernel
def _run(
    codes: Ints, numbers: Floats, x: Floats, answers: Floats, parts: Floats, state: Floats,
    settings: Floats, refusals: Ints, lane: int, n: int,
) -> None:  # fmt: skip
    f = int(settings[_scaler.F])
    o = settings[_scaler.HEADER + f :]
    z, u, v, at = np.empty(f), np.empty(f), np.empty(f), np.empty(f + 1, np.int64)
    for i in range(n):
        step = codes[i, STEP]
        if codes[i, LANE] != lane or (step != PREDICT and step != LEARN):
            continue
        row = state[codes[i, MODEL]]
        m = _scaler.scale(row, x[i], settings, step == LEARN, z, at)
        if at[f] != 0:
            refusals[UNREAL] += 1
            if step == PREDICT:
                answers[i] = np.nan
        elif step == PREDICT:
            answers[i] = _answer(row, z, at, m)
        else:
            _learn(row, o, z, u, v, at, m, numbers[i, TARGET])


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
    if model.smoothing is not None:
        return "it has smoothing, which inverts a matrix at every label"
    if model._idx:  # noqa: SLF001 - River shows nowhere else whether it has learned
        return "it has a model that has learned already"
    if not (model.alpha > 0 and model.beta > 0):
        return "it has alpha or beta that are not above 0"
    f = len(inputs)
    vectors = [Field(name, (f,)) for name in ("weight", "natural_mean", "in_use")]
    fields = [*vectors, Field("covariance", (f, f))]
    settings = [
        *_scaler.settings_of(scaler, clip, inputs, sum(field.size for field in fields)),
        *(model.beta, 1.0 / model.alpha),
    ]
    fields += _scaler.fields_of(scaler, f)
    return Fleet(_run, fields, settings, lane, capacity, keys)
