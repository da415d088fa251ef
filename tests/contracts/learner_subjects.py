"""Every learner there is, built for the contract suite: at least one subject per file."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from river import linear_model, optim, preprocessing, tree

from models.clip import Clip
from models.learner import Estimator, Learner, Make
from models.river_fleet import RiverFleet
from streamgauge import plugins
from streamgauge.state import Keys
from tests.contracts.schedules import ROWS

__all__ = ["INPUTS", "LANE", "NAMES", "RIVER", "SUBJECTS", "Subject", "found", "without_subject"]

LANE = 1
"""The lane of the learner under test; the steps of the others are not its own."""
INPUTS = (4, 0, 2)
"""The columns that it may use; what stands in the others must not matter."""
NAMES = tuple(f"f{column}" for column in INPUTS)


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

    @property
    def id(self) -> str:
        return f"{self.module.removeprefix('models.')}: {self.name}"

    def build(self, keys: Keys = Keys.DEVICE) -> Learner:
        """A new fleet of `ROWS` devices; fails where the module does not take the estimator."""
        if self.module == "models.river_fleet":
            return RiverFleet(self.make, LANE, INPUTS, NAMES, keys)
        module = plugins.load("models.compiled", self.module.rpartition(".")[2])
        learner: Learner | str = module.build(self.make(), LANE, INPUTS, NAMES, ROWS, keys)
        assert not isinstance(learner, str), f"{self.id}: {learner}"
        return learner


ALWAYS = frozenset({"predicts", "learns", "does without", "has nothing"})
RIVER, LINEAR = "models.river_fleet", "models.compiled.linear"
_regression = partial(linear_model.LinearRegression, intercept_lr=0.05)


def _passive_aggressive(mode: int) -> Estimator:
    return preprocessing.StandardScaler() | linear_model.PARegressor(mode=mode)


SUBJECTS = (
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
            | tree.HoeffdingTreeRegressor(grace_period=8, max_depth=3)
        ),
        ALWAYS | {"diverges"},
    ),
    Subject(
        RIVER,
        "adaptive tree",
        lambda: tree.HoeffdingAdaptiveTreeRegressor(grace_period=8, seed=1),
        ALWAYS | {"refuses"},
    ),
    Subject(RIVER, "bayes", linear_model.BayesianLinearRegression, ALWAYS | {"refuses"}),
    Subject(RIVER, "newton", lambda: _regression(optim.Newton()), ALWAYS | {"refuses"}),
)


def found() -> list[str]:
    """Modules of all learners: the files of the folder, and the one that runs all of River."""
    return [RIVER, *(module.__name__ for module in plugins.find("models.compiled").values())]


def without_subject(modules: Iterable[str], subjects: Iterable[Subject]) -> list[str]:
    """Modules that the suite would not look at."""
    return sorted(set(modules) - {subject.module for subject in subjects})
