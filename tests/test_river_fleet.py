import math
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from river import linear_model, preprocessing, tree

from models.river_fleet import MOST_FAILURE_TEXTS, OTHER, RiverFleet
from streamgauge.schedule import LANE, MODEL, ROW, STEP, TARGET, Schedule
from streamgauge.words import Step

NAMES = ("a", "b", "c", "d")


def stream(seed: int, n: int = 600) -> Schedule:
    """Predict and learn steps of three devices in two lanes, with absent features."""
    r = np.random.default_rng(seed)
    schedule = Schedule(n, len(NAMES))
    schedule.n = n
    schedule.x[:] = r.normal(size=(n, len(NAMES)))
    schedule.x[r.random((n, len(NAMES))) < 0.1] = np.nan
    schedule.x[r.random(n) < 0.02] = np.nan
    schedule.numbers[:, TARGET] = np.nan_to_num(schedule.x).sum(1) * 3 + r.normal(size=n)
    schedule.codes[:, STEP] = r.choice([0, 1, 0, 1, 2, 3], n)
    schedule.codes[:, ROW] = schedule.codes[:, MODEL] = r.integers(0, 3, n)
    schedule.codes[:, LANE] = r.random(n) < 0.3
    return schedule


def cut(whole: Schedule, begin: int, end: int) -> Schedule:
    """A copy of the steps from `begin` to `end`."""
    part = Schedule(end - begin, whole.x.shape[1])
    part.n = part.capacity
    for name in ("codes", "numbers", "x"):
        getattr(part, name)[:] = getattr(whole, name)[begin:end]
    return part


def by_hand(schedule: Schedule, make: Any, inputs: tuple[int, ...], lane: int) -> list[float]:
    """What a plain loop over River's estimators answers; NaN elsewhere."""
    models: dict[int, Any] = {}
    answers = [math.nan] * schedule.n
    for i in range(schedule.n):
        step, own, row = schedule.codes[i, :3].tolist()
        if own != lane or step > Step.LEARN:
            continue
        values = schedule.x[i].tolist()
        x = {NAMES[j]: values[j] for j in inputs if not math.isnan(values[j])}
        if row not in models:
            models[row] = make()
        if step == Step.PREDICT:
            answers[i] = models[row].predict_one(x)
        else:
            models[row].learn_one(x, float(schedule.numbers[i, TARGET]))
    return answers


def forest() -> Any:
    """A model that has no compiled equivalent."""
    return preprocessing.MinMaxScaler() | tree.HoeffdingTreeRegressor(grace_period=30)


@pytest.mark.parametrize("inputs", [(0, 1, 2, 3), (0, 1), (3, 1), (2,)])
@pytest.mark.parametrize("size", [1, 7, 600])
def test_answers_are_rivers_however_the_stream_is_cut(inputs: tuple[int, ...], size: int) -> None:
    """Each device's estimator sees its own steps, in order, with the lane's features only."""
    whole = stream(1)
    expected = by_hand(whole, forest, inputs, lane=1)
    fleet = RiverFleet(forest, 1, inputs, [NAMES[j] for j in inputs])
    answers: list[float] = []
    for begin in range(0, whole.n, size):
        part = cut(whole, begin, min(begin + size, whole.n))
        fleet.run(part)
        answers += part.answers.tolist()
    np.testing.assert_array_equal(answers, expected)
    assert np.isfinite(expected).sum() > 50
    assert not fleet.failures


def test_dumped_models_continue_elsewhere() -> None:
    """Blobs loaded into a fresh fleet, under other rows, go on with the very same answers."""
    first, second = stream(2), stream(3)
    fleet = RiverFleet(forest, 0, range(4), NAMES)
    fleet.run(first)
    other = RiverFleet(forest, 0, range(4), NAMES)
    other.blobs.load(np.array([12, 11, 10, 9]), fleet.blobs.dump(np.arange(4)))
    fleet.run(second)
    moved = cut(second, 0, second.n)
    moved.codes[:, ROW] = moved.codes[:, MODEL] = 12 - moved.codes[:, ROW]
    other.run(moved)
    np.testing.assert_array_equal(moved.answers, second.answers)
    assert fleet.blobs.dump([3]) == [b""]


def test_dirty_rows_are_those_that_changed() -> None:
    """What learned, was loaded or was dropped is dirty; what was only dumped is not."""
    fleet = RiverFleet(forest, 0, range(4), NAMES)
    fleet.run(stream(4))
    assert fleet.blobs.dirty == {0, 1, 2}
    blobs = fleet.blobs.dump([0, 1, 2])
    fleet.blobs.dirty.clear()
    fleet.evict(np.array([2, 5]))
    assert fleet.blobs.dirty == {2}
    assert fleet.blobs.dump(np.array([2])) == [b""]
    fleet.blobs.load([1, 2], [b"", blobs[2]])
    assert fleet.blobs.dirty == {1, 2}
    assert [bool(blob) for blob in fleet.blobs.dump([0, 1, 2])] == [True, False, True]
    assert isinstance(pickle.loads(blobs[0]), type(forest()))


class Moody:
    """Answers with the number of labels it learned; refuses some readings."""

    def __init__(self) -> None:
        self.labels = 0

    def predict_one(self, x: dict[str, float]) -> float | None:
        if x.get("a", 0.0) > 1.0:
            raise ZeroDivisionError(f"no answer to {x['b']}")
        return self.labels or None

    def learn_one(self, x: dict[str, float], y: float) -> None:
        if y > 1.0:
            raise RuntimeError("too steep")
        self.labels += 1


def step(fleet: RiverFleet, kind: Step, a: float, y: float = 0.0, row: int = 0) -> float:
    """One step of one device; the answer."""
    schedule = Schedule(1, 2)
    schedule.n = 1
    schedule.codes[0, [STEP, ROW, MODEL]] = kind, row, row
    schedule.x[0] = a, 0.5
    schedule.numbers[0, TARGET] = y
    schedule.answers[0] = -1.0
    fleet.run(schedule)
    return float(schedule.answers[0])


def test_what_a_model_raises_is_counted_and_stops_nobody() -> None:
    """One device's trouble becomes a NaN and a count; the others go on."""
    fleet = RiverFleet(Moody, 0, range(2), NAMES[:2])
    assert math.isnan(step(fleet, Step.PREDICT, 0.0))
    step(fleet, Step.LEARN, 0.0)
    assert step(fleet, Step.PREDICT, 0.0) == 1.0
    assert math.isnan(step(fleet, Step.PREDICT, 2.0))
    step(fleet, Step.LEARN, 0.0, y=9.0)
    step(fleet, Step.LEARN, 0.0, y=9.0)
    assert math.isnan(step(fleet, Step.PREDICT, 2.0))
    assert step(fleet, Step.PREDICT, 0.0) == 1.0
    assert math.isnan(step(fleet, Step.PREDICT, 0.0, row=1))
    assert fleet.failures == {
        "predict: ZeroDivisionError: no answer to 0.5": 2,
        "learn: RuntimeError: too steep": 2,
    }


def test_failure_texts_are_bounded() -> None:
    """A model that writes values into its messages fills no memory."""

    class Chatty(Moody):
        def learn_one(self, x: dict[str, float], y: float) -> None:
            raise ValueError(f"bad value {y}")

    fleet = RiverFleet(Chatty, 0, range(2), NAMES[:2])
    for k in range(MOST_FAILURE_TEXTS + 30):
        step(fleet, Step.LEARN, 0.0, y=float(k))
    assert len(fleet.failures) == MOST_FAILURE_TEXTS + 1
    assert fleet.failures[OTHER] == 30


def test_a_model_that_cannot_be_made_is_counted() -> None:
    """A `make` that fails for one device is that device's trouble, at every step anew."""

    def refuse() -> Any:
        raise OSError("no file of weights")

    fleet = RiverFleet(refuse, 0, range(2), NAMES[:2])
    assert math.isnan(step(fleet, Step.PREDICT, 0.0))
    assert fleet.failures == {"predict: OSError: no file of weights": 1}
    assert fleet.blobs.dump([0]) == [b""]


def test_numpy_is_quiet_inside_and_as_before_outside() -> None:
    """Overflow inside a model neither warns nor raises, and the caller's numpy settings stay."""

    class Overflowing(Moody):
        def predict_one(self, x: dict[str, float]) -> float:
            return float(np.exp(np.float64(1e4)) * np.float64(0.0))

    before = np.geterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fleet = RiverFleet(Overflowing, 0, range(2), NAMES[:2])
        assert math.isnan(step(fleet, Step.PREDICT, 0.0))
    assert not fleet.failures
    assert np.geterr() == before


def test_answers_that_are_no_numbers_are_failures() -> None:
    """A classifier's label in a regression is counted, not written."""

    class Wordy(Moody):
        def predict_one(self, x: dict[str, float]) -> Any:
            return "high"

    fleet = RiverFleet(Wordy, 0, range(2), NAMES[:2])
    assert math.isnan(step(fleet, Step.PREDICT, 0.0))
    assert sum(fleet.failures.values()) == 1


def test_empty_readings_still_move_the_intercept() -> None:
    """A reading without any feature is `{}` to River, which learns from it all the same."""
    fleet = RiverFleet(linear_model.LinearRegression, 0, (1,), ["b"])
    schedule = Schedule(2, 2)
    schedule.n = 2
    schedule.codes[:, STEP] = Step.LEARN, Step.PREDICT
    schedule.x[:] = np.nan
    schedule.numbers[0, TARGET] = 10.0
    fleet.run(schedule)
    assert schedule.answers[1] == pytest.approx(0.2)
