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
from streamgauge.kernels import lean
from streamgauge.schedule import LANE, MODEL, STEP, TARGET
from streamgauge.state import Field, Keys
from streamgauge.words import Step

__all__ = ["MODELS", "build"]

MODELS = (linear_model.BayesianLinearRegression,)
PREDICT, LEARN = int(Step.PREDICT), int(Step.LEARN)
# Columns of the settings, behind those of the scaler.
BETA, DIAGONAL = range(2)
# Rows of the room to work in: features, two vectors, the covariance's own diagonal, features by
# beta. Of the places, those of the features that are there, and all.
Z, U, V, KEPT, SCALED, WORK = range(6)


@lean
def _answer(row: Floats, z: Floats, at: Ints, m: int) -> float:
    answer: float = 0.0
    for k in range(m):
        # A feature that was never learned may not be a number yet.
        if row[2 * len(z) + at[k]] != 0.0:
            answer += row[at[k]] * z[at[k]]
    return answer


@lean
def _along(covariance: Floats, by: Floats, at: Ints, m: int, sums: Floats) -> None:
    """Add to `sums float64[f]` each row times `by`: four sums grow side by side, each in order."""
    f = len(sums)
    for i in range(0, f - 3, 4):
        a, b, c, d = i * f, (i + 1) * f, (i + 2) * f, (i + 3) * f
        one, two, three, four = sums[i], sums[i + 1], sums[i + 2], sums[i + 3]
        for k in range(m):
            j, value = at[k], by[k]
            one += covariance[a + j] * value
            two += covariance[b + j] * value
            three += covariance[c + j] * value
            four += covariance[d + j] * value
        sums[i], sums[i + 1], sums[i + 2], sums[i + 3] = one, two, three, four
    for i in range(f - f % 4, f):
        for k in range(m):
            sums[i] += covariance[i * f + at[k]] * by[k]


@lean
def _settle(
    row: Floats, covariance: Floats, prior: float, alpha: float, work: Floats, every: Ints
) -> None:
    """The covariance of the posterior, and the weights that follow from it."""
    f, u, v = work.shape[1], work[U], work[V]
    mean = row[f : 2 * f]
    for i in range(f):
        row[i] = prior * mean[i]
        along = alpha * u[i]
        for j in range(f):
            covariance[i * f + j] += along * v[j]
    _along(covariance, mean, every, f, row[:f])


@lean
def _learn(row: Floats, o: Floats, work: Floats, places: Ints, m: int, y: float) -> None:
    """Covariance, natural mean, and the weights that follow from them.

    A row is [weight f, natural mean f, in use f, covariance f x f less the prior's diagonal].
    """
    f, z, u, v, at = work.shape[1], work[Z], work[U], work[V], places[0]
    covariance, prior, beta = row[3 * f : 3 * f + f * f], o[DIAGONAL], o[BETA]
    # The prior's diagonal is added only while it is needed, so that what is kept loses no digits.
    diagonal, scaled = work[KEPT], work[SCALED]
    for i in range(f):
        diagonal[i] = covariance[i * f + i]
        covariance[i * f + i] += prior
        u[i] = v[i] = 0.0
    for k in range(m):
        j = at[k]
        scaled[k] = beta * z[j]
        value = z[j]
        for i in range(f):
            v[i] += covariance[j * f + i] * value
    _along(covariance, scaled, at, m, u)
    for i in range(f):
        covariance[i * f + i] = diagonal[i]
    inside: float = 0.0
    for k in range(m):
        inside += z[at[k]] * u[at[k]]
        row[f + at[k]] += beta * z[at[k]] * y
        row[2 * f + at[k]] = 1.0
    _settle(row, covariance, prior, -1.0 / (1.0 + inside), work, places[1])


@lean
def _run(
    codes: Ints, numbers: Floats, x: Floats, answers: Floats, parts: Floats, state: Floats,
    work: Floats, places: Ints, settings: Floats, refusals: Ints, lane: int, n: int,
) -> None:  # fmt: skip
    f = int(settings[_scaler.F])
    o = settings[_scaler.HEADER + f :]
    z, at = work[Z], places[0]
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
            _learn(row, o, work, places, m, numbers[i, TARGET])


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
    room = np.zeros((WORK, f)), np.tile(np.arange(f + 1), (2, 1))
    return Fleet(_run, fields, settings, lane, capacity, keys, shared=room)
