from typing import Any

import numpy as np
from river import linear_model, preprocessing, tree

from models.compile import compile as compile_model
from models.compiled import descent
from models.compiled._fleet import Fleet
from models.river_fleet import RiverFleet
from models.spec import build
from streamgauge.schedule import MODEL, ROW, STEP, TARGET, Schedule
from streamgauge.state import Keys

NAMES = ("a", "b", "c")


def linear() -> Any:
    """A pipeline that has a compiled equivalent."""
    return preprocessing.StandardScaler() | linear_model.LinearRegression()


def schedule() -> Schedule:
    """200 steps of two devices."""
    r = np.random.default_rng(1)
    steps = Schedule(200, 3)
    steps.n = 200
    steps.codes[:, STEP] = r.integers(0, 2, 200)
    steps.codes[:, ROW] = steps.codes[:, MODEL] = r.integers(0, 2, 200)
    steps.x[:] = r.normal(size=(200, 3))
    steps.numbers[:, TARGET] = r.normal(size=200)
    return steps


def test_what_can_be_compiled_is() -> None:
    """A pipeline from the configuration runs compiled without the user asking for it."""
    make = build(["preprocessing.StandardScaler", "linear_model.LinearRegression"])
    chosen = compile_model(make, 0, (0, 2), NAMES, 10)
    assert chosen.compiled
    assert isinstance(chosen.learner, Fleet)
    assert chosen.why == "all of it runs compiled: StandardScaler | LinearRegression"


def test_plain_descent_has_kernels_of_its_own() -> None:
    """The quicker fleet is asked first, and leaves all that it does not know to the other."""
    plain, drawn = linear(), linear_model.LinearRegression(l1=0.1)
    assert isinstance(descent.build(plain, 0, (0, 1), NAMES[:2], 10, Keys.DEVICE), Fleet)
    chosen = compile_model(linear, 0, (0, 1), NAMES, 10).learner
    assert [field.name for field in chosen.blocks["model"].fields][-1] == "deviation"
    other = preprocessing.MinMaxScaler() | linear_model.LinearRegression()
    for estimator, reason in ((drawn, "an l1 penalty"), (other, "scaler MinMaxScaler")):
        refused = descent.build(estimator, 0, (0, 1), NAMES[:2], 10, Keys.DEVICE)
        assert isinstance(refused, str)
        assert reason in refused


def test_what_cannot_be_compiled_runs_as_river() -> None:
    """Everything else becomes one River estimator per device, and it says why."""
    chosen = compile_model(tree.SGTRegressor, 3, (0, 1), NAMES, 10)
    assert not chosen.compiled
    assert isinstance(chosen.learner, RiverFleet)
    assert chosen.learner.lane == 3
    assert "one instance per device" in chosen.why
    assert "SGTRegressor has no compiled equivalent" in chosen.why


def test_river_models_get_the_names_of_their_inputs() -> None:
    """The estimator's dict has the lane's features under their own names, in the lane's order."""
    seen: list[dict[str, float]] = []

    class Recorder(linear_model.LinearRegression):
        def predict_one(self, x: dict[str, float]) -> Any:
            seen.append(x)
            return super().predict_one(x)

    steps = schedule()
    compile_model(Recorder, 0, (2, 0), NAMES, 10).learner.run(steps)
    first = int(np.flatnonzero(steps.codes[:, STEP] == 0)[0])
    assert list(seen[0].items()) == [("c", steps.x[first, 2]), ("a", steps.x[first, 0])]


def test_compiled_and_river_fleets_answer_alike() -> None:
    """The user never has to know which one ran."""
    compiled, by_river = schedule(), schedule()
    chosen = compile_model(linear, 0, (0, 1, 2), NAMES, 2)
    assert chosen.compiled
    chosen.learner.run(compiled)
    RiverFleet(linear, 0, (0, 1, 2), NAMES).run(by_river)
    np.testing.assert_array_equal(compiled.answers, by_river.answers)
    assert np.isfinite(compiled.answers).sum() > 50
