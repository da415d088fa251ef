"""Every learner there is, built for the contract suite: at least one subject per file."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from river import (
    anomaly,
    cluster,
    drift,
    forest,
    linear_model,
    naive_bayes,
    optim,
    preprocessing,
    stats,
    time_series,
    tree,
)

from models.clip import Clip
from models.learner import Estimator, Learner, Make
from models.river_fleet import RiverFleet
from models.series import Ahead, Series
from models.ways import Question, way_of
from streamgauge import plugins
from streamgauge.schedule import TARGET
from streamgauge.state import Keys
from streamgauge.words import Step
from tests.contracts.schedules import ROWS, Steps

__all__ = ["INPUTS", "LANE", "NAMES", "RIVER", "SUBJECTS", "Subject", "found", "without_subject"]

LANE = 1
"""The lane of the learner under test; the steps of the others are not its own."""
INPUTS = (4, 0, 2)
"""The columns that it may use; what stands in the others must not matter."""
NAMES = tuple(f"f{column}" for column in INPUTS)
VALUES = 3
"""The column whose values are those of a series."""


@dataclass(frozen=True)
class Subject:
    """A learner under test: `make` gives its estimator, `outcomes` are what must happen to it.

    Outcomes: "predicts", "learns", "does without" (answers where a feature is missing), "has
    nothing" (answers where all are), "diverges" (its answer is not finite), "refuses" (a failure).
    """

    module: str
    name: str
    make: Make
    outcomes: frozenset[str]
    classes: int = 0
    """How many classes a classifier tells apart; 0 for a regressor."""
    by_itself: bool = False
    """Whether it learns when it is asked, as detectors do; labels then teach it nothing."""
    watched: str = ""
    """The feature that it scores, where that is a single one."""
    ahead: Ahead | None = None
    """How far it continues the series of the target, whose values come with what is asked."""
    names: tuple[Hashable, ...] = NAMES
    """What River calls the features: numbers, where it walks a set of them, whose order of words is
    another one in each process."""

    @property
    def lessons(self) -> Step:
        """The kind of steps that it learns from."""
        return Step.PREDICT if self.by_itself else Step.LEARN

    def told(self, steps: Steps) -> Steps:
        """The same steps with targets that the learner may get: of a classifier, its classes."""
        if not self.classes and self.ahead is None:
            return steps
        numbers = steps.numbers.copy()
        if self.ahead is not None:
            asked = steps.are(LANE, Step.PREDICT)
            numbers[asked, TARGET] = steps.x[asked, VALUES]
            return replace(steps, numbers=numbers)
        numbers[:, TARGET] = np.floor(np.abs(np.arctan(numbers[:, TARGET])) / 1.6 * self.classes)
        return replace(steps, numbers=numbers)

    def target(self, number: float) -> float | bool | int:
        """A target as River gets it."""
        return number if not self.classes else bool(number) if self.classes == 2 else int(number)

    @property
    def id(self) -> str:
        return f"{self.module.removeprefix('models.')}: {self.name}"

    def build(self, keys: Keys = Keys.DEVICE) -> Learner:
        """A new fleet of `ROWS` devices; fails where the module does not take the estimator."""
        if self.module == "models.river_fleet":
            if self.ahead is None:
                return RiverFleet(self.make, LANE, INPUTS, NAMES, keys)
            way = way_of(Question("forecast", ahead=self.ahead), self.make)
            return RiverFleet(lambda: Series(self.make()), LANE, INPUTS, NAMES, keys, way)
        module = plugins.load("models.compiled", self.module.rpartition(".")[2])
        given = {"classes": self.classes, "watched": self.watched, "ahead": self.ahead}
        more = {name: given[name] for name in plugins.options(module) if name in given}
        learner: Learner | str = module.build(self.make(), LANE, INPUTS, NAMES, ROWS, keys, **more)
        assert not isinstance(learner, str), f"{self.id}: {learner}"
        return learner


ALWAYS = frozenset({"predicts", "learns", "does without", "has nothing"})
SERIES = frozenset({"predicts", "learns", "does without", "diverges"})
RIVER, LINEAR = "models.river_fleet", "models.compiled.linear"
_winters = time_series.HoltWinters
_regression = partial(linear_model.LinearRegression, intercept_lr=0.05)


def _passive_aggressive(mode: int) -> Estimator:
    return preprocessing.StandardScaler() | linear_model.PARegressor(mode=mode)


_DESCENTS: dict[str, Make] = {
    "standardized": lambda: preprocessing.StandardScaler() | _regression(l2=1e-3),
    "centred": lambda: preprocessing.StandardScaler(with_std=False) | _regression(),
    "as it is": _regression,
}
_trees = partial(anomaly.HalfSpaceTrees, n_trees=3, height=4, window_size=5, seed=7)
_FORESTS: dict[str, Make] = {
    "as they are": _trees,
    "in a window, filtered": lambda: (
        preprocessing.MinMaxScaler(5) | anomaly.QuantileFilter(_trees(), q=0.8)
    ),
    "scaled within a filter": lambda: anomaly.ThresholdFilter(
        preprocessing.MinMaxScaler() | _trees(), threshold=0.6
    ),
}
_SCORERS: dict[str, Make] = {
    "Gaussian": partial(anomaly.GaussianScorer, grace_period=3),
    "Gaussian in a window": partial(anomaly.GaussianScorer, window_size=4, grace_period=0),
    "from the mean": anomaly.StandardAbsoluteDeviation,
    "Gaussian, filtered": lambda: anomaly.ThresholdFilter(
        anomaly.GaussianScorer(grace_period=3), threshold=0.9
    ),
    "from the median": lambda: anomaly.StandardAbsoluteDeviation(stats.Quantile()),
}

SUBJECTS = (
    *(
        Subject("models.compiled.descent", name, make, ALWAYS | {"diverges"})
        for name, make in _DESCENTS.items()
    ),
    Subject(
        LINEAR,
        "standardized",
        lambda: preprocessing.StandardScaler() | _regression(l2=1e-3),
        ALWAYS | {"diverges"},
    ),
    Subject(
        LINEAR,
        "standardized, clipped",
        lambda: preprocessing.StandardScaler() | Clip(3.0) | _regression(clip_gradient=10.0),
        ALWAYS | {"diverges"},
    ),
    Subject(
        LINEAR,
        "centred",
        lambda: preprocessing.StandardScaler(with_std=False) | _regression(optim.SGD(0.001)),
        ALWAYS | {"diverges"},
    ),
    Subject(LINEAR, "as it is", lambda: _regression(intercept_init=3.5), ALWAYS | {"diverges"}),
    Subject(LINEAR, "clipped", lambda: Clip(9.0) | _regression(), ALWAYS),
    Subject(
        LINEAR,
        "windowed, adagrad, l1",
        lambda: preprocessing.MinMaxScaler(5) | _regression(optim.AdaGrad(), l1=0.01),
        frozenset({"predicts", "learns", "does without", "has nothing", "refuses"}),
    ),
    Subject(
        LINEAR,
        "robust, adam, drawn",
        lambda: (
            preprocessing.RobustScaler()
            | _regression(optim.Adam(), initializer=optim.initializers.Normal(seed=1))
        ),
        ALWAYS,
    ),
    *(
        Subject(
            "models.compiled.passive_aggressive",
            f"mode {mode}",
            partial(_passive_aggressive, mode),
            ALWAYS | {"diverges"},
        )
        for mode in range(3)
    ),
    Subject(
        "models.compiled.bayesian_linear",
        "standardized",
        lambda: preprocessing.StandardScaler() | linear_model.BayesianLinearRegression(),
        ALWAYS,
    ),
    Subject(
        RIVER,
        "tree",
        lambda: (
            preprocessing.StandardScaler()
            | tree.HoeffdingTreeRegressor(8, max_depth=3, splitter=tree.splitter.QOSplitter())
        ),
        ALWAYS | {"diverges"},
    ),
    Subject(
        RIVER,
        "adaptive tree",
        lambda: tree.HoeffdingAdaptiveTreeRegressor(grace_period=8, seed=1),
        ALWAYS | {"refuses"},
    ),
    Subject(
        LINEAR,
        "logistic",
        lambda: preprocessing.StandardScaler() | linear_model.LogisticRegression(),
        ALWAYS,
        2,
    ),
    Subject(
        "models.compiled.alma",
        "standardized",
        lambda: preprocessing.StandardScaler() | linear_model.ALMAClassifier(),
        ALWAYS,
        2,
    ),
    Subject(
        "models.compiled.passive_aggressive",
        "of two classes",
        lambda: preprocessing.StandardScaler() | linear_model.PAClassifier(),
        ALWAYS,
        2,
    ),
    Subject(
        "models.compiled.softmax",
        "of three classes",
        lambda: preprocessing.StandardScaler() | linear_model.SoftmaxRegression(optim.Momentum()),
        ALWAYS,
        3,
    ),
    Subject(
        "models.compiled.naive_bayes",
        "of three classes",
        lambda: preprocessing.MaxAbsScaler() | naive_bayes.GaussianNB(),
        ALWAYS,
        3,
    ),
    Subject(
        "models.compiled.hoeffding_tree",
        "of three classes",
        lambda: (
            preprocessing.StandardScaler()
            | tree.HoeffdingTreeClassifier(grace_period=4, delta=0.5, tau=0.5)
        ),
        ALWAYS,
        3,
    ),
    Subject(
        "models.compiled.adaptive_random_forest",
        "of three classes",
        lambda: (
            preprocessing.StandardScaler()
            | forest.ARFClassifier(
                3,
                seed=4,
                grace_period=4,
                delta=0.5,
                tau=0.5,
                drift_detector=drift.ADWIN(0.5, clock=2, grace_period=2),
                warning_detector=drift.ADWIN(0.9, clock=1, grace_period=2),
            )
        ),
        ALWAYS,
        3,
    ),
    Subject(
        "models.compiled.hoeffding_tree_regressor",
        "of numbers",
        lambda: (
            preprocessing.StandardScaler()
            | tree.HoeffdingTreeRegressor(grace_period=4, delta=0.5, tau=0.5, min_samples_split=1)
        ),
        ALWAYS | {"diverges"},
    ),
    Subject(
        "models.compiled.k_means",
        "standardized",
        lambda: preprocessing.StandardScaler() | cluster.KMeans(3, halflife=0.4, seed=2),
        ALWAYS | {"refuses"},
        by_itself=True,
        names=(0, 1, 2),
    ),
    *(
        Subject(
            "models.compiled.half_space_trees",
            name,
            make,
            ALWAYS | {"refuses"},
            by_itself=True,
        )
        for name, make in _FORESTS.items()
    ),
    Subject(
        "models.compiled.one_class_svm",
        "standardized",
        lambda: preprocessing.StandardScaler() | anomaly.OneClassSVM(optimizer=optim.Adam()),
        ALWAYS,
        by_itself=True,
    ),
    Subject(
        "models.compiled.one_class_svm",
        "scaled in a window, filtered",
        lambda: (
            preprocessing.MinMaxScaler(5)
            | anomaly.ThresholdFilter(anomaly.OneClassSVM(nu=0.3), threshold=0.01)
        ),
        ALWAYS | {"refuses"},
        by_itself=True,
    ),
    *(
        Subject(
            "models.compiled.deviation",
            name,
            make,
            frozenset({"predicts", "learns", "does without"})
            | ({"refuses"} if name == "from the median" else set()),
            by_itself=True,
            watched=NAMES[1],
        )
        for name, make in _SCORERS.items()
    ),
    Subject(
        RIVER,
        "bayes",
        lambda: linear_model.BayesianLinearRegression(smoothing=0.9),
        ALWAYS,
    ),
    *(
        Subject(
            "models.compiled.holt_winters",
            name,
            make,
            SERIES | ({"has nothing"} if at_once else set()),
            by_itself=True,
            ahead=ahead,
        )
        for name, make, ahead, at_once in (
            ("level", partial(_winters, 0.4), Ahead(2_000_000), False),
            ("season", partial(_winters, 0.4, 0.1, 0.3, 3), Ahead(0, 2), True),
            ("products", partial(_winters, 0.4, 0.1, 0.3, 2, True), Ahead(0, 1), True),
        )
    ),
    Subject(
        RIVER,
        "autoregression with what explains it",
        partial(time_series.SNARIMAX, 2, 1, 1),
        ALWAYS,
        by_itself=True,
        ahead=Ahead(3_000_000, 0, 1_000_000),
    ),
    Subject(RIVER, "newton", lambda: _regression(optim.Newton()), ALWAYS | {"refuses"}),
)


def found() -> list[str]:
    """Modules of all learners: the files of the folder, and the one that runs all of River."""
    return [RIVER, *(module.__name__ for module in plugins.find("models.compiled").values())]


def without_subject(modules: Iterable[str], subjects: Iterable[Subject]) -> list[str]:
    """Modules that the suite would not look at."""
    return sorted(set(modules) - {subject.module for subject in subjects})
