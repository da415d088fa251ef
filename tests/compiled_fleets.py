"""Hostile streams, River's answers to them, and compiled fleets: what the tests of those share."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from river import base, preprocessing

from models.clip import Clip
from models.compile import NUMBER
from models.compile import compile as compile_model
from models.compiled import _pipeline
from models.compiled._fleet import Fleet
from models.ways import Question
from streamgauge.schedule import MODEL, ROW, STEP, TARGET, Schedule
from streamgauge.words import Step

__all__ = [
    "EVENTS",
    "FEATURES",
    "SCALERS",
    "SEEDS",
    "Make",
    "assert_rivers",
    "by_river",
    "chances",
    "classes",
    "compiled",
    "hostile",
    "probability",
    "scaled",
]

Make = Callable[[], Any]
FEATURES = 6
EVENTS = 400
ROWS = 6
SEEDS = [
    pytest.param(range(6), id="few"),
    pytest.param(range(6, 66), id="more", marks=pytest.mark.slow),
]
"""Streams that every run tries, and those that only a thorough one does."""

SCALERS: dict[str, Make] = {
    "standard": preprocessing.StandardScaler,
    "centred": lambda: preprocessing.StandardScaler(with_std=False),
    "standard, window": lambda: preprocessing.StandardScaler(window_size=7),
    "centred, window": lambda: preprocessing.StandardScaler(with_std=False, window_size=3),
    "min-max": preprocessing.MinMaxScaler,
    "min-max, window": lambda: preprocessing.MinMaxScaler(9),
    "max-abs": preprocessing.MaxAbsScaler,
    "max-abs, window": lambda: preprocessing.MaxAbsScaler(5),
    "robust": preprocessing.RobustScaler,
    "robust, scaled": lambda: preprocessing.RobustScaler(with_centering=False, q_inf=0.1),
    "robust, centred": lambda: preprocessing.RobustScaler(with_scaling=False),
}


def hostile(seed: int, events: int = EVENTS, features: int = FEATURES, parts: int = 3) -> Schedule:
    """Steps of two devices: gaps, constants, wild scales, outliers, ties, empty readings."""
    r = np.random.default_rng(seed)
    n = events
    schedule = Schedule(n, features, parts)
    schedule.n = n
    offset = r.normal(size=features) * 10.0 ** r.integers(-3, 7, features)
    x = r.normal(size=(n, features)) * 10.0 ** r.integers(-6, 7, features) + offset
    constant = r.random(features) < 0.3
    x[:, constant] = offset[constant]
    if seed % 3 == 0:
        x[r.random((n, features)) < 0.3] = np.nan
    if seed % 4 == 0:
        x[r.random(n) < 0.05] = np.nan
    if seed % 5 == 0:
        x[r.random((n, features)) < 0.02] = 10.0 ** r.integers(6, 13)
    if seed % 7 == 0:
        x = np.round(x, 2)
    y = r.normal(size=n) * 10.0 ** r.integers(-3, 6) + r.normal() * 100
    if seed % 11 == 0:
        y[r.random(n) < 0.01] = 1e12
    if seed % 13 == 0:
        x[r.random((n, features)) < 0.01] = 1e200
    schedule.x[:] = x
    schedule.numbers[:, TARGET] = y
    schedule.codes[:, STEP] = r.choice([0, 1, 1, 0, 2, 3], n)
    schedule.codes[:, ROW] = schedule.codes[:, MODEL] = 1 + 2 * (r.random(n) < 0.1)
    return schedule


def classes(schedule: Schedule, seed: int, count: int = 2) -> Schedule:
    """The same steps, whose targets are classes that the features tell something about."""
    r = np.random.default_rng(seed)
    told = np.nan_to_num(schedule.x[:, 0]) > np.nanmedian(schedule.x[:, 0])
    schedule.numbers[:, TARGET] = (told + r.integers(0, count, schedule.n)) % count
    return schedule


def scaled(model: Any, seed: int) -> Any:
    """The model alone, or behind one of the scalers; River's complex numbers need a clip."""
    makes = [make() for name, make in SCALERS.items() if name != "standard, window"]
    chosen = [None, preprocessing.StandardScaler(window_size=7) | Clip(3.0), *makes][seed % 12]
    return model if chosen is None else chosen | model


def probability(model: Any, x: dict[str, float]) -> float:
    """What a classifier of two classes answers here."""
    return float(model.predict_proba_one(x)[True])


def chances(count: int) -> Callable[[Any, dict[str, float]], list[float]]:
    """What a classifier of `count` classes answers here; NaN where it has no answer."""

    def answer(model: Any, x: dict[str, float]) -> list[float]:
        given = model.predict_proba_one(x)
        return [float(given.get(k, 0.0)) if given else np.nan for k in range(count)]

    return answer


def by_river(
    make: Make,
    schedule: Schedule,
    inputs: Sequence[int] = range(FEATURES),
    target: Callable[[float], Any] = float,
    answer: Callable[[Any, dict[str, float]], Any] = lambda model, x: model.predict_one(x),
    shape: tuple[int, ...] = (),
    *,
    by_itself: bool = False,
) -> NDArray[np.float64]:
    """float64[n, *shape]: River's own answers, one estimator per device row; NaN where nothing was
    asked or River raises. To what learns `by_itself`, labels teach nothing."""
    models: dict[int, Any] = {}
    answers = np.full((schedule.n, *shape), np.nan)
    with np.errstate(all="ignore"):
        for i in range(schedule.n):
            step, row = schedule.codes[i, STEP], int(schedule.codes[i, ROW])
            model = models.setdefault(row, models.get(row) or make())
            values = schedule.x[i].tolist()
            x = {f"f{j}": values[j] for j in inputs if values[j] == values[j]}
            try:
                if step == Step.PREDICT:
                    answers[i] = answer(model, x)
                elif step == Step.LEARN and not by_itself:
                    model.learn_one(x, target(float(schedule.numbers[i, TARGET])))
            except (ArithmeticError, LookupError, TypeError, ValueError):
                pass
    return answers


def compiled(
    make: Make,
    inputs: Sequence[int] = range(FEATURES),
    lane: int = 0,
    question: Question = NUMBER,
) -> Fleet:
    """The fleet for six devices that is chosen by itself; fails the test when there is none."""
    names = [f"f{j}" for j in range(max(inputs) + 1)]
    chosen = compile_model(make, lane, inputs, names, ROWS, question=question)
    assert isinstance(chosen.learner, Fleet), chosen.why
    chosen.learner.block.open_device(np.arange(ROWS))
    return chosen.learner


def assert_rivers(
    make: Make, schedule: Schedule, expected: NDArray[np.float64], tolerance: float = 1e-9
) -> int:
    """The compiled fleet gives River's answers to a stream; how many of them are numbers."""
    compiled(make).run(schedule)
    classifies = isinstance(_pipeline.last(make()), base.Classifier)
    answers = schedule.parts[:, 1] if classifies else schedule.answers
    finite = np.isfinite(expected)
    assert not np.isfinite(answers[~finite]).any(), "an answer where River has none"
    np.testing.assert_allclose(answers[finite], expected[finite], tolerance, 1e-300)
    if classifies:
        told = finite & (expected == expected)
        more = (expected > 1.0 - expected).astype(float)
        np.testing.assert_array_equal(schedule.answers[told], more[told])
        np.testing.assert_array_equal(schedule.parts[told, 0], 1.0 - answers[told])
    return int(finite.sum())
