"""Ways of selection and River on the same labels: microseconds per event and feature, one core.

1,000 devices in turn, a prediction and its label of each, 20 features, in schedules of 1,000
events. River runs bare, a dict per event; it has neither mutual information nor a filter of
correlated features, so its SelectKBest gets bins in Python, and its covariance matrix stands for
the filter; both at every label. Elimination is measured with its model, as River's model is.
"""

import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from river import covariance, feature_selection, linear_model, preprocessing, stats

from benchmarks.models import DEVICES, steps
from models.compile import compile as compile_model
from streamgauge.calls import Chain, Now
from streamgauge.plugins import load
from streamgauge.schedule import ROW, TARGET, Schedule

FEATURES, ROUNDS = 20, 4
NAMES = [f"f{j}" for j in range(FEATURES)]
Step = Callable[[dict[str, float], float], Any]


class Information:
    """Mutual information of bins, each event in Python: counts, and the sums of n log n."""

    def __init__(self) -> None:
        self.x, self.y = stats.Var(0), stats.Var(0)
        self.counts: Counter[tuple[int, int]] = Counter()
        self.sums = [0.0, 0.0, 0.0]
        self.n = 0

    def clone(self) -> "Information":
        return Information()

    def update(self, x: float, y: float) -> None:
        a, b = _bin(self.x, x), _bin(self.y, y)
        self.n += 1
        for k, key in enumerate(((a, b), (a, -1), (-1, b))):
            n = self.counts[key]
            self.sums[k] += (n + 1) * math.log(n + 1) - (n * math.log(n) if n else 0.0)
            self.counts[key] = n + 1

    def get(self) -> float:
        if not self.n:
            return 0.0
        return (self.sums[0] - self.sums[1] - self.sums[2]) / self.n + math.log(self.n)


def _bin(var: Any, value: float) -> int:
    var.update(value)
    deviation = var.get() ** 0.5
    z = (value - var.mean.get()) / deviation if deviation else 0.0
    return sum(z >= edge for edge in (-1.15, -0.674, -0.319, 0.0, 0.319, 0.674, 1.15))


def _selector(made: Callable[[], Any], *, labelled: bool) -> Callable[[], Step]:
    def one() -> Step:
        selector = made()

        def look(x: dict[str, float], y: float) -> None:
            if labelled:
                selector.learn_one(x, y)
            else:
                selector.learn_one(x)
            selector.transform_one(x)
            selector.transform_one(x)

        return look

    return one


def _matrix() -> Step:
    matrix = covariance.EmpiricalCovariance()
    return lambda x, y: matrix.update({**x, "y": y})


def _pipeline() -> Any:
    return preprocessing.StandardScaler() | linear_model.LinearRegression()


def _model() -> Step:
    model = _pipeline()

    def look(x: dict[str, float], y: float) -> None:
        model.predict_one(x)
        model.learn_one(x, y)

    return look


CASES: tuple[tuple[str, dict[str, Any], Callable[[], Step], str], ...] = (
    ("variance", {}, _selector(feature_selection.VarianceThreshold, labelled=False),
     "VarianceThreshold"),
    ("correlation", {"keep": 10},
     _selector(lambda: feature_selection.SelectKBest(stats.PearsonCorr(), 10), labelled=True),
     "SelectKBest, PearsonCorr"),
    ("mutual_information", {"keep": 10},
     _selector(lambda: feature_selection.SelectKBest(Information(), 10), labelled=True),
     "SelectKBest, bins in Python"),
    ("redundancy", {}, _matrix, "EmpiricalCovariance"),
    ("importance", {}, _model, "the model alone"),
)  # fmt: skip


def run() -> list[dict[str, Any]]:
    """A row for each way."""
    rows = []
    for by, options, made, what in CASES:
        ours, theirs = _ours(by, options), _by_river(made)
        rows.append(
            {
                "by": by,
                "us per event": ours,
                "us per feature": ours / FEATURES,
                "beside, River's": what,
                "its us": theirs,
                "times": theirs / ours,
            }
        )
    return rows


def _ours(by: str, options: dict[str, Any]) -> float:
    """Microseconds per event; the best of some rounds over 200 labels of each device."""
    given = steps(FEATURES, DEVICES)
    own = Schedule(given.n, FEATURES)
    own.n = given.n
    own.codes[:], own.numbers[:] = given.codes, given.numbers
    inputs = list(range(FEATURES))
    learner = compile_model(_pipeline, 0, inputs, NAMES, DEVICES).learner
    selection = load("models.selections", by).build(learner, inputs, NAMES, DEVICES, **options)
    now = np.zeros(len(Now), np.int64)
    now[Now.STEPS] = own.n
    chain, best = Chain([selection.call(own)], now), math.inf
    random = np.random.default_rng(2)
    for _ in range(ROUNDS):
        took = 0.0
        for _ in range(50):
            own.x[:] = given.x + np.repeat(random.normal(size=(DEVICES, FEATURES)), 2, axis=0)
            began = time.perf_counter()
            chain.run()
            took += time.perf_counter() - began
        best = min(best, took / 50)
    return best / DEVICES * 1e6


def _by_river(made: Callable[[], Step]) -> float:
    """Microseconds per event of one object per device."""
    given = steps(FEATURES, DEVICES)
    rows, values = given.codes[::2, ROW].tolist(), given.x[::2].tolist()
    targets = given.numbers[::2, TARGET].tolist()
    looks = [made() for _ in range(DEVICES)]
    best = math.inf
    for _ in range(3):
        began = time.perf_counter()
        for row, value, y in zip(rows, values, targets, strict=True):
            looks[row](dict(zip(NAMES, value, strict=True)), y)
        best = min(best, time.perf_counter() - began)
    return best / DEVICES * 1e6
