"""Compiled models and River on the same events: microseconds of each, one core.

1,000 devices in turn, a prediction and then its label of each, behind a StandardScaler, with 6 and
20 features, in schedules of 1,000 events and of one. River runs bare: a dict per event, no fleet.
Detectors score and then learn; their first window, in which trees have no scores, is not measured.
Time series models learn a value and forecast the next, after two seasons.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from river import (
    anomaly,
    cluster,
    forest,
    linear_model,
    optim,
    preprocessing,
    time_series,
    tree,
)

from models.compile import NUMBER
from models.compile import compile as compile_model
from models.series import Ahead
from models.ways import Question
from streamgauge.calls import Chain, Now
from streamgauge.schedule import MODEL, ROW, SEQUENCE, STEP, TARGET, Schedule

DEVICES = 1_000
EVENTS = 20_000
MODELS: dict[str, Callable[[], Any]] = {
    "linear, SGD": linear_model.LinearRegression,
    "linear, Adam": lambda: linear_model.LinearRegression(optim.Adam()),
    "logistic": linear_model.LogisticRegression,
    "passive-aggressive": linear_model.PARegressor,
    "Bayesian linear": linear_model.BayesianLinearRegression,
    "Hoeffding tree, classes": tree.HoeffdingTreeClassifier,
    "Hoeffding tree, numbers": tree.HoeffdingTreeRegressor,
    "adaptive random forest, classes": partial(forest.ARFClassifier, seed=1),
}


DETECTORS: dict[str, Callable[[], Any]] = {
    "half-space trees": lambda: (
        preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(window_size=WINDOW, seed=1)
    ),
    "one-class SVM": lambda: preprocessing.StandardScaler() | anomaly.OneClassSVM(),
}
CLUSTERERS: dict[str, Callable[[], Any]] = {
    "k-means": lambda: preprocessing.StandardScaler() | cluster.KMeans(seed=1),
}
SERIES: dict[str, Callable[[], Any]] = {
    "Holt-Winters": partial(time_series.HoltWinters, 0.3, 0.1, 0.2, 24),
}
NEXT = Question("forecast", ahead=Ahead(0, 1))
WINDOW = 250
"""Readings of a device in a window of its half-space trees, as River has it."""


def scaled(make: Callable[[], Any]) -> Any:
    """The model behind a scaler."""
    return preprocessing.StandardScaler() | make()


def predict(model: Any, x: dict[str, float], y: float) -> None:
    """Ask, then teach."""
    model.predict_one(x)
    model.learn_one(x, y)


def group(model: Any, x: dict[str, float], y: float) -> None:
    """Ask for a cluster, which is no label."""
    model.predict_one(x)
    model.learn_one(x)


def score(model: Any, x: dict[str, float], y: float) -> None:
    """Ask what learns by itself."""
    model.score_one(x)
    model.learn_one(x)


def follow(model: Any, x: dict[str, float], y: float) -> None:
    """Teach a value of a series, and ask for the next."""
    model.learn_one(y)
    if model.level:
        model.forecast(1)


def steps(features: int, events: int) -> Schedule:
    """A prediction and its label of every device in turn."""
    r = np.random.default_rng(1)
    made = Schedule(2 * events, features)
    made.n = 2 * events
    made.x[:] = np.repeat(r.normal(size=(events, features)), 2, axis=0)
    made.numbers[:, TARGET] = np.repeat(r.integers(0, 2, events), 2)
    made.codes[:, STEP] = np.arange(2 * events) % 2
    made.codes[:, SEQUENCE] = np.arange(2 * events) // 2 // DEVICES
    made.codes[:, ROW] = made.codes[:, MODEL] = np.arange(2 * events) // 2 % DEVICES
    return made


def by_river(
    make: Callable[[], Any],
    given: Schedule,
    features: int,
    ask: Callable[[Any, dict[str, float], float], None],
    before: int,
) -> float:
    """Microseconds per event of one estimator per device; the best of three rounds, with so many
    before."""
    models = [make() for _ in range(DEVICES)]
    names = [f"f{j}" for j in range(features)]
    rows, values = given.codes[::2, ROW].tolist(), given.x[::2].tolist()
    targets = given.numbers[::2, TARGET].tolist()
    best = np.inf
    for k in range(before + 3):
        began = time.perf_counter()
        for row, value, y in zip(rows, values, targets, strict=True):
            x = dict(zip(names, value, strict=True))
            ask(models[row], x, y)
        best = min(best, time.perf_counter() - began) if k >= before else np.inf
    return best / len(rows) * 1e6


def compiled(
    make: Callable[[], Any],
    given: Schedule,
    features: int,
    batch: int,
    before: int,
    question: Question = NUMBER,
) -> float:
    """Microseconds per event of the fleet; the best of 15 rounds, with so many before."""
    names = [f"f{j}" for j in range(features)]
    chosen = compile_model(make, 0, range(features), names, DEVICES, question=question)
    assert chosen.compiled, chosen.why
    part, now = Schedule(2 * batch, features), np.zeros(len(Now), np.int64)
    call = chosen.learner.call(part)
    assert call is not None
    chain = Chain([call], now)
    now[Now.STEPS] = 2 * batch
    best = np.inf
    for k in range(before + 15):
        took = 0.0
        for start in range(0, given.n, 2 * batch):
            end = start + 2 * batch
            part.codes[:], part.numbers[:] = given.codes[start:end], given.numbers[start:end]
            part.x[:] = given.x[start:end]
            part.codes[:, SEQUENCE] += k * EVENTS // DEVICES
            began = time.perf_counter()
            chain.run()
            took += time.perf_counter() - began
        best = min(best, took) if k >= before else np.inf
    return best / (given.n / 2) * 1e6


def run() -> list[dict[str, Any]]:
    """One row per model and number of features."""
    rows = []
    learners = {name: (partial(scaled, make), predict) for name, make in MODELS.items()}
    detectors = {name: (make, score) for name, make in DETECTORS.items()}
    clusterers = {name: (make, group) for name, make in CLUSTERERS.items()}
    series = {name: (make, follow) for name, make in SERIES.items()}
    for name, (make, ask) in (learners | detectors | clusterers | series).items():
        for features in (6, 20):
            given = steps(features, EVENTS)
            before = WINDOW * DEVICES // EVENTS + 1 if ask is score else 2 * (ask is follow)
            question = NEXT if ask is follow else NUMBER
            river = by_river(make, given, features, ask, before)
            many, one = (compiled(make, given, features, n, before, question) for n in (1_000, 1))
            rows.append(
                {
                    "model": name,
                    "features": features,
                    "River, us per event": river,
                    "compiled, batches of 1,000": many,
                    "times": river / many,
                    "compiled, batches of 1": one,
                    "times at 1": river / one,
                }
            )
    return rows
