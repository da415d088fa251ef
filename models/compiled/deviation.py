"""Scorers of one channel by its distance from the mean: Gaussian, and standard absolute deviation.

What is watched is a feature by name; the others are not looked at.
"""

import math
from collections.abc import Sequence
from typing import Any

from river import anomaly, stats

from models.compiled import _filter, _moments
from models.compiled._fleet import UNREAL, Fleet
from models.compiled._moments import AVERAGE, COUNT, SQUARES
from models.compiled._quantile import WIDTH, estimate, learn_value
from models.learner import Estimator
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import lean
from streamgauge.schedule import LANE, MODEL, STEP
from streamgauge.state import Field, Keys
from streamgauge.words import Step

__all__ = ["MODELS", "build"]

MODELS = (anomaly.GaussianScorer, anomaly.StandardAbsoluteDeviation)
PREDICT = int(Step.PREDICT)
# Columns of the settings: which feature, which of the three, values in the window or 0, values
# before there is a score, the level of the quantile, where its markers begin, the exponent of a
# root; then the filter.
INPUT, KIND, WINDOW, GRACE, LEVEL, MARKERS, HALF, FILTER = range(8)
GAUSSIAN, FROM_MEAN, FROM_QUANTILE = range(3)
ROOT_OF_TWO = math.sqrt(2.0)


@lean
def _score(row: Floats, o: Floats, y: float) -> tuple[float, bool]:
    """The score, and whether there is one: River raises where there is none."""
    n, kind = row[COUNT], int(o[KIND])
    if kind == GAUSSIAN and n < o[GRACE]:
        return 0.0, True
    variance = row[SQUARES] / (n - 1.0) if n > 1.0 else 0.0
    if variance < 0.0:
        return math.nan, False
    deviation = variance ** o[HALF]
    if kind == GAUSSIAN:
        if deviation == 0.0:
            return 1.0, True
        z = (y - row[AVERAGE]) / deviation
        below = 0.5 * (1.0 + math.erf(z / ROOT_OF_TWO))
        return 2.0 * abs(below - 0.5), True
    centre = row[AVERAGE]
    if kind == FROM_QUANTILE:
        markers = row[int(o[MARKERS]) :]
        if markers[0] == 0.0:
            return math.nan, False
        centre = estimate(markers, o[LEVEL])
    return abs((y - centre) / (deviation + 1e-10)), True


@lean
def _learn(row: Floats, o: Floats, y: float) -> None:
    if o[WINDOW] != 0.0:
        _moments.learn_window(row, int(o[WINDOW]), y)
    else:
        _moments.learn(row, y)
    if o[KIND] == FROM_QUANTILE:
        learn_value(row[int(o[MARKERS]) :], o[LEVEL], y)


@lean
def _run(
    codes: Ints, numbers: Floats, x: Floats, answers: Floats, parts: Floats, state: Floats,
    settings: Floats, refusals: Ints, lane: int, n: int,
) -> None:  # fmt: skip
    rule = settings[FILTER:]
    filtered = rule[_filter.KIND] != _filter.NONE
    for i in range(n):
        if codes[i, LANE] != lane or codes[i, STEP] != PREDICT:
            continue
        y = x[i, int(settings[INPUT])]
        answers[i] = math.nan
        if math.isnan(y):
            continue
        row = state[codes[i, MODEL]]
        score, real = _score(row, settings, y)
        if real:
            answers[i] = score
        else:
            refusals[UNREAL] += 1
        if not filtered or (real and _filter.lets_pass(rule, row, score)):
            _learn(row, settings, y)
        if real:
            _filter.remember(rule, row, score)


def build(
    estimator: Estimator,
    lane: int,
    inputs: Sequence[int],
    names: Sequence[str],
    capacity: int,
    keys: Keys,
    *,
    watched: str = "",
) -> Fleet | str:
    """The compiled fleet of this scorer, or why there is none; see `models.compile`.

    `watched` is the name of the feature that it scores.
    """
    found = _filter.parts(estimator)
    if isinstance(found, str):
        return found
    rule, _, scaler, clip, model = found
    if scaler is not None or clip is not None:
        return "it has steps before a scorer, which looks at the watched feature alone"
    if watched not in names:
        return f"the watched feature {watched!r} is not among its inputs"
    reason = _refusal(model)
    if reason:
        return f"it has {reason}"
    gaussian = isinstance(model, anomaly.GaussianScorer)
    window = (model.window_size or 0) if gaussian else 0
    quantile = not gaussian and type(model.sub_stat) is stats.Quantile
    fields = [Field("moments", (_moments.VALUES + window,))]
    fields += [Field("centre", (WIDTH,))] if quantile else []
    settings = [
        inputs[names.index(watched)],
        GAUSSIAN if gaussian else FROM_QUANTILE if quantile else FROM_MEAN,
        window,
        model.grace_period if gaussian else 0.0,
        model.sub_stat.q if quantile else 0.0,
        _moments.VALUES + window,
        0.5,
        *_filter.settings_of(rule, sum(field.size for field in fields)),
    ]
    fields += _filter.fields_of(rule)
    return Fleet(_run, fields, settings, lane, capacity, keys)


def _refusal(model: Any) -> str:
    """The first option that has no compiled equivalent, in words; empty if all have one."""
    if isinstance(model, anomaly.GaussianScorer):
        window = model.window_size or 1
        if type(window) is not int or window < 1:
            return f"window_size {model.window_size!r}"
        return "a model that has learned already" if model.gaussian.n_samples else ""
    if type(model.sub_stat) not in (stats.Mean, stats.Quantile):
        return f"sub_stat {type(model.sub_stat).__name__}"
    return "a model that has learned already" if model.variance.n else ""
