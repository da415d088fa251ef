"""The scaler before a compiled model: it learns and transforms one event, feature by feature.

Which scaler it is stands in the settings, so that each model is compiled once, not once for each
scaler: a branch per event that always goes the same way costs less than a nanosecond.
"""

import math
from collections.abc import Sequence
from typing import Any

from river import preprocessing

from models.clip import Clip
from models.compiled import _standard
from models.compiled._moments import AVERAGE, COUNT, SQUARES, VALUES, learn_window
from models.compiled._quantile import WIDTH, estimate, learn_value
from models.compiled._roots import root
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import inlined, lean
from streamgauge.sorted_window import SIZE, push, width_of
from streamgauge.state import Field

__all__ = ["HEADER", "LIMIT", "fields_of", "refusal", "scale", "settings_of"]

# Columns of the settings, followed by those of the features in `schedule.x`, then by the model's.
KIND, F, AT, LIMIT, HALF, WINDOW, LOW, HIGH, CENTRED, SCALED, HEADER = range(11)
NONE, MEAN, STANDARD, MEAN_WINDOW, STANDARD_WINDOW, MIN_MAX, MAX_ABS = range(7)
MIN_MAX_WINDOW, MAX_ABS_WINDOW, ROBUST = range(7, 10)


@lean
def _standardized(s: Floats, f: int, j: int, v: float, learn: bool, half: float) -> float:
    """Fields: mean, count, variance, deviation."""
    if learn:
        s[f + j] += 1.0
        n, old = s[f + j], s[j]
        s[j] += (v - old) / n
        q = s[2 * f + j]
        q += ((v - old) * (v - s[j]) - q) / n
        s[2 * f + j] = q
        # River takes `variance ** 0.5` at every transform; it only changes here.
        s[3 * f + j] = root(q, half)
    deviation = s[3 * f + j]
    return (v - s[j]) / deviation if deviation != 0.0 else 0.0


@lean
def _mean(s: Floats, f: int, j: int, v: float, learn: bool) -> float:
    """Fields: mean, count."""
    if learn:
        s[f + j] += 1.0
        s[j] += (v - s[j]) / s[f + j]
    return float(v - s[j])


@lean
def _windowed(w: Floats, window: int, v: float, half: float, standard: bool) -> float:
    if not standard:
        return float(v - w[AVERAGE])
    variance = w[SQUARES] / w[COUNT] if w[COUNT] > 0.0 else 0.0
    # pow of a negative number is NaN here and a complex number in Python: `scale` tells.
    return (v - w[AVERAGE]) / variance**half if variance != 0.0 else 0.0


@lean
def _min_max(s: Floats, f: int, j: int, v: float, learn: bool) -> float:
    """Fields: min, max."""
    if learn:
        s[j] = min(s[j], v)
        s[f + j] = max(s[f + j], v)
    distance = s[f + j] - s[j]
    return (v - s[j]) / distance if distance != 0.0 else 0.0


@lean
def _max_abs(s: Floats, j: int, v: float, learn: bool) -> float:
    """Fields: abs_max."""
    if learn and abs(v) > s[j]:
        s[j] = abs(v)
    return v / s[j] if s[j] != 0.0 else 0.0


@lean
def _ordered(w: Floats, window: int, v: float, learn: bool, signed: bool) -> float:
    """Min-max or max-abs over a window of sorted values; NaN where River raises."""
    if learn:
        push(w, window, v if signed else abs(v))
    n = int(w[SIZE])
    first = SIZE + 1 + window
    if n == 0:
        return math.nan if signed else 0.0
    high = w[first + n - 1]
    if not signed:
        return v / high if high != 0.0 else 0.0
    distance = high - w[first]
    return (v - w[first]) / distance if distance != 0.0 else 0.0


@lean
def _robust(s: Floats, f: int, j: int, v: float, learn: bool, settings: Floats) -> float:
    """Fields: median, lower, upper: the markers of three quantiles of each feature."""
    median = s[j * WIDTH : (j + 1) * WIDTH]
    lower = s[(f + j) * WIDTH : (f + j + 1) * WIDTH]
    upper = s[(2 * f + j) * WIDTH : (2 * f + j + 1) * WIDTH]
    low, high = settings[LOW], settings[HIGH]
    if learn:
        if settings[CENTRED] != 0.0:
            learn_value(median, 0.5, v)
        if settings[SCALED] != 0.0:
            learn_value(lower, low, v)
            learn_value(upper, high, v)
    if settings[CENTRED] != 0.0 and median[0] > 0.0:
        v -= estimate(median, 0.5)
    if settings[SCALED] != 0.0:
        if lower[0] == 0.0:
            return 0.0
        distance = estimate(upper, high) - estimate(lower, low)
        v = v / distance if distance != 0.0 else 0.0
    return v


@lean
def _one(kind: int, s: Floats, j: int, v: float, learn: bool, settings: Floats) -> float:
    """One feature, transformed; those that are common come before this is called."""
    f, window = int(settings[F]), int(settings[WINDOW])
    if kind == MEAN:
        return _mean(s, f, j, v, learn)
    if kind == MIN_MAX:
        return _min_max(s, f, j, v, learn)
    if kind == MAX_ABS:
        return _max_abs(s, j, v, learn)
    if kind == ROBUST:
        return _robust(s, f, j, v, learn, settings)
    if kind in (MEAN_WINDOW, STANDARD_WINDOW):
        w = s[j * (VALUES + window) : (j + 1) * (VALUES + window)]
        if learn:
            learn_window(w, window, v)
        return _windowed(w, window, v, settings[HALF], kind == STANDARD_WINDOW)
    width = SIZE + 1 + 2 * window
    return _ordered(s[j * width : (j + 1) * width], window, v, learn, kind == MIN_MAX_WINDOW)


@lean
def _refused(kind: int, s: Floats, j: int, window: int) -> bool:
    """True where River cannot go on: a variance that rounding left negative has a complex root,
    and a window that is empty has no smallest value."""
    if kind == STANDARD_WINDOW:
        w = s[j * (VALUES + window) :]
        return bool(w[COUNT] > 0.0 and w[SQUARES] / w[COUNT] < 0.0)
    return kind == MIN_MAX_WINDOW and s[j * (SIZE + 1 + 2 * window) + SIZE] == 0.0


@inlined
def scale(row: Floats, x: Floats, settings: Floats, learn: bool, z: Floats, at: Ints) -> int:
    """Let the scaler learn the event if `learn`, then transform it; how many features it has.

    `at[k]` is the k-th of them, z[at[k]] what the model gets. `z` and `at` have one place more than
    there are features: at[f] becomes 1 where River raises.
    """
    f, kind = int(settings[F]), int(settings[KIND])
    s, limit, half = row[int(settings[AT]) :], settings[LIMIT], settings[HALF]
    m = 0
    at[f] = 0
    if kind == STANDARD and _standard.gather(x, settings[HEADER:], z[:f]):
        if learn:
            _standard.learn(s, z[:f], half)
        _standard.transform(s, z[:f], limit)
        for j in range(f):
            at[j] = j
        return f
    for j in range(f):
        v = x[int(settings[HEADER + j])]
        if v == v:
            if kind == STANDARD:
                v = _standardized(s, f, j, v, learn, half)
            elif kind != NONE:
                v = _one(kind, s, j, v, learn, settings)
                if kind >= STANDARD_WINDOW and _refused(kind, s, j, int(settings[WINDOW])):
                    at[f] = 1
            z[j] = limit if v > limit else -limit if v < -limit else v
            at[m] = j
            m += 1
    return m


def refusal(scaler: Any) -> str:
    """Why this scaler has no compiled equivalent; empty if it has one."""
    window = getattr(scaler, "window_size", None)
    if window is not None and not (type(window) is int and window > 0):
        return f"a scaler with window_size {window!r}"
    names = ("counts", "means", "min", "max", "abs_max", "median", "iqr")
    return "a scaler that has learned already" if any(map(_filled(scaler), names)) else ""


def _filled(scaler: Any) -> Any:
    return lambda name: bool(getattr(scaler, name, None))


def _kind(scaler: Any) -> int:
    windowed = getattr(scaler, "window_size", None) is not None
    if scaler is None:
        return NONE
    if type(scaler) is preprocessing.StandardScaler:
        if windowed:
            return STANDARD_WINDOW if scaler.with_std else MEAN_WINDOW
        return STANDARD if scaler.with_std else MEAN
    if type(scaler) is preprocessing.MinMaxScaler:
        return MIN_MAX_WINDOW if windowed else MIN_MAX
    if type(scaler) is preprocessing.MaxAbsScaler:
        return MAX_ABS_WINDOW if windowed else MAX_ABS
    return ROBUST


def fields_of(scaler: Any, f: int) -> list[Field]:
    """The scaler's part of a model's row."""
    kind, window = _kind(scaler), getattr(scaler, "window_size", None) or 0
    one = [Field("mean", (f,)), Field("count", (f,))]
    both = [*one, Field("variance", (f,)), Field("deviation", (f,))]
    quantiles = [Field(name, (f, WIDTH)) for name in ("median", "lower", "upper")]
    moments = [Field("window", (f, VALUES + window))]
    ordered = [Field("window", (f, width_of(window)))]
    return {
        NONE: [],
        MEAN: one,
        STANDARD: both,
        MEAN_WINDOW: moments,
        STANDARD_WINDOW: moments,
        MIN_MAX: [Field("min", (f,), math.inf), Field("max", (f,), -math.inf)],
        MAX_ABS: [Field("abs_max", (f,))],
        MIN_MAX_WINDOW: ordered,
        MAX_ABS_WINDOW: ordered,
        ROBUST: quantiles,
    }[kind]


def settings_of(scaler: Any, clip: Clip | None, inputs: Sequence[int], at: int) -> list[float]:
    """Settings of the scaler whose part of the row begins at column `at`, and the inputs."""
    return [
        _kind(scaler),
        len(inputs),
        at,
        clip.limit if clip else math.inf,
        0.5,
        getattr(scaler, "window_size", None) or 0,
        getattr(scaler, "q_inf", 0.0),
        getattr(scaler, "q_sup", 0.0),
        bool(getattr(scaler, "with_centering", False)),
        bool(getattr(scaler, "with_scaling", False)),
        *inputs,
    ]
