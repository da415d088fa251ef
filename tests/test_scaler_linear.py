from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from river import compose, linear_model, optim, preprocessing

from models.clip import Clip
from models.compiled.scaler_linear import ScalerLinear, build
from streamgauge.schedule import LANE, MODEL, ROW, STEP, TARGET, Schedule
from streamgauge.state import Keys, put_rows, take_rows
from streamgauge.words import Step

Make = Callable[[], Any]
FEATURES = 6
EVENTS = 400


def hostile(seed: int) -> Schedule:
    """Steps of two devices: gaps, constants, wild scales, outliers, ties, empty readings."""
    r = np.random.default_rng(seed)
    n = EVENTS
    schedule = Schedule(n, FEATURES)
    schedule.n = n
    offset = r.normal(size=FEATURES) * 10.0 ** r.integers(-3, 7, FEATURES)
    x = r.normal(size=(n, FEATURES)) * 10.0 ** r.integers(-6, 7, FEATURES) + offset
    constant = r.random(FEATURES) < 0.3
    x[:, constant] = offset[constant]
    if seed % 3 == 0:
        x[r.random((n, FEATURES)) < 0.3] = np.nan
    if seed % 4 == 0:
        x[r.random(n) < 0.05] = np.nan
    if seed % 5 == 0:
        x[r.random((n, FEATURES)) < 0.02] = 10.0 ** r.integers(6, 13)
    if seed % 7 == 0:
        x = np.round(x, 2)
    y = r.normal(size=n) * 10.0 ** r.integers(-3, 6) + r.normal() * 100
    if seed % 11 == 0:
        y[r.random(n) < 0.01] = 1e12
    schedule.x[:] = x
    schedule.numbers[:, TARGET] = y
    schedule.codes[:, STEP] = r.choice([0, 1, 1, 0, 2, 3], n)
    schedule.codes[:, ROW] = schedule.codes[:, MODEL] = 1 + 2 * (r.random(n) < 0.1)
    return schedule


def by_river(make: Make, schedule: Schedule, inputs: Sequence[int]) -> NDArray[np.float64]:
    """River's own answers, one estimator per device row; NaN where nothing was asked."""
    models: dict[int, Any] = {}
    answers = np.full(schedule.n, np.nan)
    for i in range(schedule.n):
        step, row = schedule.codes[i, STEP], int(schedule.codes[i, ROW])
        if row not in models:
            models[row] = make()
        model = models[row]
        values = schedule.x[i].tolist()
        x = {f"f{j}": values[j] for j in inputs if values[j] == values[j]}
        if step == Step.PREDICT:
            answers[i] = model.predict_one(x)
        elif step == Step.LEARN:
            model.learn_one(x, float(schedule.numbers[i, TARGET]))
    return answers


def compiled(make: Make, inputs: Sequence[int] = range(FEATURES), lane: int = 0) -> ScalerLinear:
    """The fleet for six devices; fails the test when there is none."""
    fleet = build(make(), lane, inputs, [f"f{j}" for j in inputs], 6, Keys.DEVICE)
    assert isinstance(fleet, ScalerLinear), fleet
    fleet.block.open_device(np.arange(6))
    return fleet


def regression(seed: int) -> Any:
    """A linear regression whose options change with the seed."""
    return linear_model.LinearRegression(
        optimizer=optim.SGD([0.01, 0.1, 0.5, 1e-4][seed % 4]),
        l2=[0.0, 0.0, 0.01][seed % 3],
        clip_gradient=[1e12, 1e12, 1.0, 50.0][seed % 13 % 4],
        intercept_init=[0.0, 21.5][seed % 2],
        intercept_lr=[0.01, 0.0, 0.2][seed % 5 % 3],
    )


PIPELINES: dict[str, Callable[[int], Any]] = {
    "scaler": lambda seed: preprocessing.StandardScaler() | regression(seed),
    "scaler, clip": lambda seed: preprocessing.StandardScaler() | Clip(3.0) | regression(seed),
    "centred": lambda seed: preprocessing.StandardScaler(with_std=False) | regression(seed),
    "centred, clip": lambda seed: (
        preprocessing.StandardScaler(with_std=False) | Clip(9.0) | regression(seed)
    ),
    "clip": lambda seed: Clip(100.0) | regression(seed),
    "bare": regression,
}


@pytest.mark.parametrize(
    ("kind", "seeds"),
    [(kind, range(300) if kind == "scaler" else range(60)) for kind in PIPELINES],
)
def test_answers_are_rivers_to_the_last_bit(kind: str, seeds: range) -> None:
    """600 hostile streams: the kernel and River agree in every bit, divergence included."""
    asked = 0
    for seed in seeds:
        schedule = hostile(seed)

        def make(seed: int = seed) -> Any:
            return PIPELINES[kind](seed)

        expected = by_river(make, schedule, range(FEATURES))
        compiled(make).run(schedule)
        np.testing.assert_array_equal(schedule.answers, expected, err_msg=f"seed {seed}")
        asked += int(np.isfinite(expected).sum())
    assert asked > 50 * len(seeds)


def test_cuts_change_neither_answers_nor_state() -> None:
    """A schedule run whole, step by step or in uneven parts gives the same bits."""
    whole = hostile(12)
    fleet = compiled(lambda: PIPELINES["scaler, clip"](12))
    fleet.run(whole)
    for size in (1, 7, 64):
        other = compiled(lambda: PIPELINES["scaler, clip"](12))
        answers = run_in_parts(other, whole, size)
        np.testing.assert_array_equal(answers, whole.answers)
        np.testing.assert_array_equal(other.block.array, fleet.block.array)


def run_in_parts(fleet: ScalerLinear, whole: Schedule, size: int) -> NDArray[np.float64]:
    """Run `size` steps at a time; all answers."""
    answers = np.full(whole.n, np.nan)
    part = Schedule(size, FEATURES)
    for begin in range(0, whole.n, size):
        part.n = n = min(size, whole.n - begin)
        part.codes[:n] = whole.codes[begin : begin + n]
        part.numbers[:n] = whole.numbers[begin : begin + n]
        part.x[:n] = whole.x[begin : begin + n]
        part.answers[:] = np.nan
        fleet.run(part)
        answers[begin : begin + n] = part.answers[:n]
    return answers


def test_uses_its_own_inputs_and_lane_only() -> None:
    """Two lanes with other inputs share one schedule and disturb neither each other nor the order
    of sums."""
    schedule = hostile(9)
    schedule.codes[:, LANE] = np.arange(schedule.n) % 2
    own = schedule.codes[:, LANE] == 1
    inputs = (5, 0, 3)
    fleet = compiled(lambda: PIPELINES["scaler"](9), inputs, lane=1)
    fleet.run(schedule)
    alone = Schedule(int(own.sum()), FEATURES)
    alone.n = alone.capacity
    for name in ("codes", "numbers", "x"):
        getattr(alone, name)[:] = getattr(schedule, name)[own]
    expected = by_river(lambda: PIPELINES["scaler"](9), alone, inputs)
    np.testing.assert_array_equal(schedule.answers[own], expected)
    assert np.isnan(schedule.answers[~own]).all()


def test_starts_and_restarts_from_the_initial_intercept() -> None:
    """A new or evicted device answers with the initial intercept, and others keep their state."""
    fleet = compiled(lambda: PIPELINES["scaler"](1))
    schedule = hostile(1)
    fleet.run(schedule)
    kept = fleet.block.array[3].copy()
    assert kept[fleet.block.offset("learned")] > 0
    fleet.evict(np.array([1]))
    question = Schedule(1, FEATURES)
    question.n = 1
    question.codes[0, [ROW, MODEL]] = 1
    fleet.run(question)
    assert question.answers[0] == 21.5
    np.testing.assert_array_equal(fleet.block.array[3], kept)


def test_moved_rows_continue_as_if_they_had_stayed() -> None:
    """Rows taken from one fleet and put into another, at other places, give the same answers."""
    first, second = hostile(21), hostile(22)
    fleet = compiled(lambda: PIPELINES["scaler"](21))
    fleet.run(first)
    other = compiled(lambda: PIPELINES["scaler"](21))
    put_rows(other.blocks, np.array([4, 0]), take_rows(fleet.blocks, np.array([1, 3])))
    fleet.run(second)
    moved = hostile(22)
    moved.codes[:, ROW] = moved.codes[:, MODEL] = np.where(second.codes[:, ROW] == 1, 4, 0)
    other.run(moved)
    np.testing.assert_array_equal(moved.answers, second.answers)


class WiderScaler(preprocessing.StandardScaler):
    """A user's own scaler: whatever it changes, it is not the compiled one."""


def learned() -> Any:
    """A pipeline that comes with what it learned elsewhere."""
    model = preprocessing.StandardScaler() | linear_model.LinearRegression()
    model.learn_one({"f0": 1.0}, 2.0)
    return model


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (linear_model.LinearRegression(optim.Adam()), "optimizer Adam"),
        (
            linear_model.LinearRegression(optim.SGD(optim.schedulers.InverseScaling(0.1))),
            "learning rate",
        ),
        (
            linear_model.LinearRegression(intercept_lr=optim.schedulers.InverseScaling(0.1)),
            "an intercept_lr",
        ),
        (linear_model.LinearRegression(loss=optim.losses.Huber()), "loss Huber"),
        (linear_model.LinearRegression(l1=0.1), "l1"),
        (
            linear_model.LinearRegression(initializer=optim.initializers.Normal(seed=1)),
            "initializer Normal",
        ),
        (
            preprocessing.StandardScaler(window_size=9) | linear_model.LinearRegression(),
            "window",
        ),
        (preprocessing.MinMaxScaler() | linear_model.LinearRegression(), "MinMaxScaler"),
        (Clip() | preprocessing.StandardScaler() | linear_model.LinearRegression(), "found"),
        (WiderScaler() | linear_model.LinearRegression(), "WiderScaler"),
        (compose.Pipeline(linear_model.PARegressor()), "PARegressor"),
        (learned(), "learned already"),
    ],
)
def test_refuses_what_it_would_not_compute_alike(estimator: Any, reason: str) -> None:
    """Whatever differs from what the kernel computes is refused with its reason."""
    refused = build(estimator, 0, range(3), ["a", "b", "c"], 4, Keys.DEVICE)
    assert isinstance(refused, str)
    assert reason in refused
