"""Holt-Winters: level, trend and season by exponential smoothing, additive or multiplicative.

Holt (1957), Winters (1960); Hyndman and Athanasopoulos, "Forecasting: Principles and Practice",
https://otexts.com/fpp2/expsmooth.html. Begins as River's does: with the mean of the first season,
the mean of its steps, and its values divided by that mean, whether the model multiplies or adds.
Where that mean is 0, River raises at each value until it no longer is.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from river import time_series

from models import sampling
from models.compiled import _pipeline
from models.compiled._fleet import FAR, ZERO, Fleet
from models.compiled._python import plus, summed
from models.learner import Estimator
from models.sampling import AGAIN, CHANGE, LAST, TOO_FAR, arrive, steps_ahead
from models.series import Ahead
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel
from streamgauge.schedule import BASE, LANE, MADE, MODEL, SEQUENCE, STEP, TARGET
from streamgauge.state import Field, Keys
from streamgauge.words import Step

__all__ = ["MODELS", "build"]

MODELS = (time_series.HoltWinters,)
PREDICT = int(Step.PREDICT)
# Columns of a model's row behind those of its sampling: first values taken, the last of them, the
# sum of their steps and what rounding lost of it; whether there is a level, and a season with it;
# the two; the place of the season's oldest value. Then the season, or the first values.
TAKEN, PREVIOUS, RISE, LOST, BEGUN, READY, LEVEL, TREND, OLDEST, SEASON = range(
    sampling.WIDTH, sampling.WIDTH + 10
)
# Settings behind those of the sampling. BETA is 0 where there is no trend; TIMES is 1 where the
# season multiplies, which is also what stands for a season where there is none.
ALPHA, BETA, GAMMA, PERIOD, FIRST, TIMES = range(sampling.SETTINGS, sampling.SETTINGS + 6)
PART = 0.25
"""Of the first steps, so that their sum, at most twice the largest value, is no infinity."""
SMALL = 2.0**-40
"""Of first values whose sum would be infinite, which their mean is not."""


@kernel
def _mean(values: Floats, running: Floats) -> float:
    """As `statistics.mean`, whose sum is exact."""
    for scale in (1.0, SMALL):
        running[0] = running[1] = 0.0
        for value in values:
            plus(running, value * scale, 1.0)
        if math.isfinite(running[0]):
            break
    return float(summed(running) / len(values) / scale)


@kernel
def _begin(row: Floats, o: Floats, y: float, running: Floats) -> bool:
    """One of the first values; False where River divides by zero."""
    first, period, taken = int(o[FIRST]), int(o[PERIOD]), int(row[TAKEN])
    running[0], running[1] = row[RISE], row[LOST]
    if taken > 0:
        plus(running, (y - row[PREVIOUS]) * PART, 1.0)
    row[RISE], row[LOST], row[PREVIOUS] = running[0], running[1], y
    row[SEASON + taken % first] = y
    row[TAKEN] = taken + 1.0
    if taken + 1 < first:
        return True
    rise = summed(running) / taken / PART
    # Where there are more, the mean of those before was 0, and so was their sum.
    more = taken + 1 > first
    row[LEVEL] = y / (taken + 1) if more else _mean(row[SEASON : SEASON + first], running)
    row[BEGUN] = 1.0
    if o[BETA] != 0.0:
        row[TREND] = rise
    if period > 0 and row[LEVEL] == 0.0:
        return False
    if period == 1:
        row[SEASON] = y
    for k in range(period):
        row[SEASON + k] /= row[LEVEL]
    row[OLDEST] = (taken + 1) % period if period > 0 else 0
    row[READY] = 1.0
    return True


@kernel
def _learn(row: Floats, o: Floats, y: float, running: Floats) -> bool:
    """One more value of the series; False where River divides by zero."""
    if row[READY] == 0.0:
        return _begin(row, o, y, running)
    level, trend, period, times = row[LEVEL], row[TREND], int(o[PERIOD]), o[TIMES] != 0.0
    at = SEASON + int(row[OLDEST])
    season = row[at] if period > 0 else o[TIMES]
    if times and season == 0.0:
        return False
    share = y / season if times else y - season
    row[LEVEL] = o[ALPHA] * share + (1.0 - o[ALPHA]) * (level + trend)
    if o[BETA] != 0.0:
        row[TREND] = o[BETA] * (row[LEVEL] - level) + (1.0 - o[BETA]) * trend
    if period == 0:
        return True
    if times and level + trend == 0.0:
        return False
    new = o[GAMMA] * y / (level + trend) if times else o[GAMMA] * (y - level - trend)
    row[at] = new + (1.0 - o[GAMMA]) * season
    row[OLDEST] = (int(row[OLDEST]) + 1) % period
    return True


@kernel
def _forecast(row: Floats, o: Floats, steps: int) -> float:
    """So many steps ahead; there is a level."""
    told = row[LEVEL] + (steps * row[TREND] if o[BETA] != 0.0 else 0.0)
    if row[READY] == 0.0 or o[PERIOD] == 0.0:
        return float(told)
    period = int(o[PERIOD])
    season = row[SEASON + (int(row[OLDEST]) + (steps - 1) % period) % period]
    return float(told * season if o[TIMES] != 0.0 else told + season)


@kernel
def _take(row: Floats, o: Floats, y: float, steps: int, running: Floats) -> bool:
    """A value that comes so many steps after the last one, and those between; see
    `models.series`."""
    before = row[LAST]
    row[LAST] = y
    for k in range(1, steps):
        missing = _forecast(row, o, 1) if row[BEGUN] != 0.0 else before + (y - before) * (k / steps)
        if not _learn(row, o, missing, running):
            return False
    return _learn(row, o, y, running)


@kernel
def _run(
    codes: Ints, numbers: Floats, x: Floats, answers: Floats, parts: Floats, state: Floats,
    o: Floats, refusals: Ints, lane: int, n: int,
) -> None:  # fmt: skip
    running = np.empty(2)
    place = SEQUENCE if o[sampling.READINGS] != 0.0 else MADE
    for i in range(n):
        if codes[i, LANE] != lane or codes[i, STEP] != PREDICT:
            continue
        row, position, y = state[codes[i, MODEL]], float(codes[i, place]), numbers[i, TARGET]
        answers[i] = math.nan
        steps = arrive(row, position, o) if y == y else 0
        if steps == AGAIN:
            row[sampling.WIDTH :] = 0.0
        if steps != 0 and not _take(row, o, y, abs(steps), running):
            refusals[ZERO] += 1
            continue
        ahead = steps_ahead(row, position, o)
        if ahead == TOO_FAR:
            refusals[FAR] += 1
        elif ahead > 0 and row[BEGUN] != 0.0:
            told = _forecast(row, o, ahead)
            answers[i] = told - numbers[i, BASE] if o[CHANGE] != 0.0 else told


def build(
    estimator: Estimator,
    lane: int,
    inputs: Sequence[int],
    names: Sequence[str],
    capacity: int,
    keys: Keys,
    *,
    ahead: Ahead,
) -> Fleet | str:
    """The compiled fleet of this model, or why there is none; see `models.compile`."""
    *before, model = _pipeline.steps(estimator)
    if before:
        return "it has steps before Holt-Winters, which looks at the target alone"
    reason = _refusal(model)
    if reason:
        return f"it has {reason}"
    first = max(2, model.seasonality)
    columns = ("taken", "previous", "rise", "lost", "begun", "ready", "level", "trend", "oldest")
    fields = [*sampling.fields(), *map(Field, columns), Field("season", (first,))]
    settings = [
        *ahead.settings,
        *(model.alpha, model.beta or 0.0, model.gamma or 0.0),
        *(model.seasonality, first, model.multiplicative),
    ]
    return Fleet(_run, fields, settings, lane, capacity, keys)


def _refusal(model: Any) -> str:
    """The first option that has no compiled equivalent, in words; empty if all have one."""
    if type(model.seasonality) is not int or model.seasonality < 0:
        return f"seasonality {model.seasonality!r}"
    for name in ("alpha", "beta", "gamma"):
        value = getattr(model, name)
        if not isinstance(value, int | float) and (name == "alpha" or value is not None):
            return f"{name} {value!r}"
    if model.seasonality and not model.beta:
        return "a seasonality and no beta, with which River raises at each value"
    learned = model._first_values  # noqa: SLF001 - nothing else tells of the first of them
    return "a model that has learned already" if learned else ""
