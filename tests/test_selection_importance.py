"""models.selections.importance"""

from typing import Any

import numpy as np
import pytest
from river import linear_model, optim, preprocessing

from models.compile import compile as compile_model
from models.selection import Selection
from models.selections import importance
from streamgauge.schedule import LANE, MODEL, STEP, TARGET, Schedule
from streamgauge.state import Keys, put_rows, take_rows
from streamgauge.words import Step

NAMES = ["a", "b", "c", "d", "e"]
INPUTS = [1, 2, 3, 5, 6]
OPTIONS = {"threshold": 0.08, "every": 8, "retry": 4, "keep": 2}
N = 1500


def scaled() -> Any:
    """Weights of standardised features."""
    return preprocessing.StandardScaler() | linear_model.LinearRegression(optim.SGD(0.05))


def plain() -> Any:
    """Weights of the features as they come, by the other compiled file."""
    return linear_model.LinearRegression(optim.Adam(0.01))


MODELS = {"scaled": scaled, "plain": plain}


def steps(seed: int) -> Schedule:
    """Two lanes and three models; two features say nothing until one of them begins to."""
    random = np.random.default_rng(seed)
    schedule = Schedule(N, 7)
    schedule.n = N
    schedule.codes[:, STEP] = random.choice([Step.PREDICT, Step.LEARN], N)
    schedule.codes[:, LANE] = random.choice([0, 1], N, p=[0.2, 0.8])
    schedule.codes[:, MODEL] = random.integers(0, 3, N)
    x = random.normal(0.0, 1.0, (N, 7)) * [1, 1, 2, 1, 1, 0.5, 1]
    late = np.arange(N) > N // 2
    told = 2 * x[:, 1] - x[:, 2] + 4 * x[:, 5] + np.where(late, 3.0, 0.0) * x[:, 3]
    schedule.numbers[:, TARGET] = told + random.normal(0, 0.3, N)
    x[random.random(x.shape) < 0.1] = np.nan
    schedule.x[:] = x
    return schedule


def made(name: str) -> tuple[Selection, Any]:
    """The selection in front of a fleet of three, and the fleet."""
    columns = ["z", *NAMES[:3], "y", *NAMES[3:]]
    found = compile_model(MODELS[name], 1, INPUTS, columns, 3)
    assert found.compiled
    return importance.build(found.learner, INPUTS, NAMES, 3, **OPTIONS), found.learner  # type: ignore[arg-type] # numbers of two kinds


def played(selection: Selection, schedule: Schedule, parts: int) -> tuple[Any, Any]:
    """What the models see and answer, the steps handed over in so many parts."""
    answers = np.full(schedule.n, np.nan)
    for places in np.array_split(np.arange(schedule.n), parts):
        part = Schedule(len(places), 7)
        part.n = len(places)
        part.codes[:], part.numbers[:] = schedule.codes[places], schedule.numbers[places]
        part.x[:] = schedule.x[places]
        selection.call(part).run(steps=part.n)
        schedule.x[places] = part.x
        answers[places] = part.answers
    return schedule.x, answers


class Eliminated:
    """River's model, and the same elimination in words: one object for each device."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.labels = 0
        self.out: dict[int, int] = {}
        self.low = dict.fromkeys(INPUTS, 0)
        self.seen: dict[int, list[float]] = {j: [] for j in INPUTS}

    def predict(self, x: dict[int, float]) -> float:
        return float(self.model.predict_one(self.left(x)))

    def left(self, x: dict[int, float]) -> dict[int, float]:
        return {j: value for j, value in x.items() if j not in self.out}

    def learn(self, x: dict[int, float], y: float) -> None:
        self.model.learn_one(self.left(x), y)
        self.labels += 1
        for j, value in x.items():
            self.seen[j].append(value)
        if self.labels % OPTIONS["every"] == 0:
            self.decide()

    def decide(self) -> None:
        whole = hasattr(self.model, "steps")
        weights = (self.model["LinearRegression"] if whole else self.model).weights
        inside = [j for j in INPUTS if j not in self.out]
        size = {
            j: abs(weights.get(j, 0.0)) * (1.0 if whole else np.std(self.seen[j])) for j in inside
        }
        share = {j: value / sum(size.values()) for j, value in size.items()}
        for j in list(self.out):
            self.out[j] += 1
            if self.out[j] == OPTIONS["retry"]:
                del self.out[j]
                self.low[j] = 0
        for j in inside:
            self.low[j] = self.low[j] + 1 if share[j] < OPTIONS["threshold"] else 0
        weak = [j for j in inside if self.low[j] >= 2]
        if weak and len(inside) > OPTIONS["keep"]:
            self.out[min(weak, key=lambda j: share[j])] = 0


def by_river(schedule: Schedule, name: str) -> tuple[Any, Any]:
    """The same, step by step."""
    seen, answers = schedule.x.copy(), np.full(schedule.n, np.nan)
    models: dict[int, Eliminated] = {}
    for i in range(schedule.n):
        if schedule.codes[i, LANE] != 1:
            continue
        model = models.setdefault(int(schedule.codes[i, MODEL]), Eliminated(MODELS[name]()))
        x = {j: float(seen[i, j]) for j in INPUTS if not np.isnan(seen[i, j])}
        seen[i, list(model.out)] = np.nan
        if schedule.codes[i, STEP] == Step.LEARN:
            model.learn(x, float(schedule.numbers[i, TARGET]))
        else:
            answers[i] = model.predict(x)
    return seen, answers


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seed", range(2))
def test_equals_rivers_model_with_the_same_elimination(name: str, seed: int) -> None:
    """What the models see, and what they answer, however the steps are cut."""
    wanted, answered = by_river(steps(seed), name)
    for parts in (1, 9, N):
        found, answers = played(made(name)[0], steps(seed), parts)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
        np.testing.assert_allclose(answers, answered, rtol=1e-9, atol=1e-9)
    left_out = np.isnan(wanted) & ~np.isnan(steps(seed).x)
    assert (left_out[:, INPUTS].sum(axis=0) > 20).sum() >= 2


def test_does_not_flap_and_finds_what_begins_to_matter() -> None:
    """Who comes back stays for two rounds; a feature that the label begins to follow comes back for
    good."""
    selection, _ = made("scaled")
    found, _ = played(selection, steps(5), 1)
    codes = steps(5).codes
    there = ~np.isnan(steps(5).x)
    for row in range(3):
        own = (codes[:, LANE] == 1) & (codes[:, MODEL] == row)
        learned = np.cumsum(own & (codes[:, STEP] == Step.LEARN))
        for j in INPUTS:
            known = own & there[:, j]
            out = np.isnan(found[known, j]).astype(int)
            turns = learned[known][1:][np.diff(out) != 0]
            assert (np.diff(turns) >= OPTIONS["every"]).all()
        assert selection.report(row)[2].kept
        assert "not below 8.00%" in selection.report(row)[2].reason
        out_now = [choice for choice in selection.report(row) if not choice.kept]
        assert all("tried again in" in choice.reason for choice in out_now)


def test_goes_on_from_a_snapshot() -> None:
    """A selection and a fleet that were given the state of others go on as those do."""
    (here, fleet), (there, other) = made("scaled"), made("scaled")
    played(here, steps(1), 1)
    rows = np.arange(3)
    put_rows(there.blocks, rows, take_rows(here.blocks, rows))
    put_rows(other.blocks, rows, take_rows(fleet.blocks, rows))
    later = [played(one, steps(2), 1) for one in (here, there)]
    for ours, theirs in zip(*later, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "model",
    [
        linear_model.LogisticRegression,
        linear_model.PARegressor,
        linear_model.ALMAClassifier,
        linear_model.BayesianLinearRegression,
    ],
)
def test_shares_are_those_of_the_weights(model: Any) -> None:
    """Whatever compiled model has a weight of each feature, its share is that of the weight."""
    make = lambda: preprocessing.StandardScaler() | model()  # noqa: E731 - as compile takes it
    columns = ["z", *NAMES[:3], "y", *NAMES[3:]]
    learner = compile_model(make, 1, INPUTS, columns, 3).learner
    selection = importance.build(learner, INPUTS, NAMES, 3, every=1, threshold=1e-9)
    schedule = steps(7)
    schedule.numbers[:, TARGET] = schedule.numbers[:, TARGET] > 0.0
    played(selection, schedule, 1)
    for row in range(3):
        size = np.abs(learner.blocks["model"].view("weight")[row])
        shares = [choice.score for choice in selection.report(row)]
        np.testing.assert_allclose(shares, size / size.sum())


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda: linear_model.LinearRegression(optim.Newton(0.01)), "does not run compiled"),
        (linear_model.SoftmaxRegression, "no weight of each feature"),
        (
            lambda: preprocessing.MinMaxScaler() | linear_model.LinearRegression(),
            "put preprocessing.StandardScaler",
        ),
    ],
)
def test_a_model_without_comparable_weights_is_refused(model: Any, said: str) -> None:
    """The message says which model or scaler would do."""
    learner = compile_model(model, 0, [0], ["a"], 1, Keys.DEVICE).learner
    with pytest.raises(ValueError, match=said):
        importance.build(learner, [0], ["a"], 1)
