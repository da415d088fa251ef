"""The compiled linear models: chosen by themselves, and River's own answers on hostile streams."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from river import linear_model, optim, preprocessing
from river.optim import initializers, losses, schedulers

from models.clip import Clip
from models.compile import compile as compile_model
from models.compiled._fleet import Fleet
from streamgauge.schedule import LANE, MODEL, ROW, Schedule
from streamgauge.state import put_rows, take_rows
from tests.compiled_fleets import (
    FEATURES,
    SCALERS,
    SEEDS,
    assert_rivers,
    by_river,
    classes,
    compiled,
    hostile,
    probability,
)

Linear = linear_model.LinearRegression
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "SGD": lambda: optim.SGD(0.01),
    "SGD, inverse scaling": lambda: optim.SGD(schedulers.InverseScaling(0.1)),
    "SGD, optimal": lambda: optim.SGD(schedulers.Optimal(losses.Squared())),
    "Momentum": lambda: optim.Momentum(0.01),
    "NesterovMomentum": lambda: optim.NesterovMomentum(0.01),
    "Adam": optim.Adam,
    "AdaGrad": optim.AdaGrad,
    "AdaDelta": optim.AdaDelta,
    "AdaMax": optim.AdaMax,
    "AMSGrad": optim.AMSGrad,
    "AMSGrad, biased": lambda: optim.AMSGrad(correct_bias=False),
    "AdaBound": lambda: optim.AdaBound(schedulers.InverseScaling(0.01)),
    "Nadam": optim.Nadam,
    "RMSProp": optim.RMSProp,
    "FTRLProximal": optim.FTRLProximal,
    "FTRLProximal, l1": lambda: optim.FTRLProximal(l1=0.1, l2=0.0),
    "Averager": lambda: optim.Averager(optim.Adam(), 50),
}
LOSSES = (
    losses.Squared,
    losses.Absolute,
    losses.Cauchy,
    losses.EpsilonInsensitiveHinge,
    losses.Huber,
    losses.Poisson,
    losses.Quantile,
)
BINARY = (losses.Log, lambda: losses.Log(2.0, 0.5), losses.Hinge, losses.BinaryFocalLoss)


def scaled(model: Any, seed: int = 1) -> Any:
    """The model behind a scaler; behind a clip as well at every third seed."""
    scaler = preprocessing.StandardScaler()
    return scaler | Clip(3.0) | model if seed % 3 == 0 else scaler | model


def regression(seed: int) -> Any:
    """A linear regression whose options change with the seed."""
    return linear_model.LinearRegression(
        optimizer=optim.SGD([0.01, 0.1, 0.5, 1e-4][seed % 4]),
        l2=[0.0, 0.0, 0.01][seed % 3],
        clip_gradient=[1e12, 1e12, 1.0, 50.0][seed % 13 % 4],
        intercept_init=[0.0, 21.5][seed % 2],
        intercept_lr=[0.01, 0.0, 0.2][seed % 5 % 3],
    )


def behind(scaler: Callable[[], Any], clip: float | None, seed: int) -> Any:
    """A regression behind this scaler."""
    return scaler() | Clip(clip) | regression(seed) if clip else scaler() | regression(seed)


def optimized(make: Callable[[], Any], seed: int) -> Any:
    """A regression with this optimiser."""
    return scaled(Linear(make(), l2=seed % 2 / 100), seed)


def any_optimizer(seed: int, count: int = len(OPTIMIZERS)) -> Any:
    """One of the first `count` optimisers, by the seed."""
    return list(OPTIMIZERS.values())[seed % count]()


def losing(loss: Callable[[], Any], seed: int) -> Any:
    """A regression with this loss, and any optimiser."""
    rate = schedulers.InverseScaling(0.1)
    return scaled(Linear(any_optimizer(seed), loss=loss(), intercept_lr=rate), seed)


PIPELINES: dict[str, Callable[[int], Any]] = {
    **{f"scaler {name}": partial(behind, make, None) for name, make in SCALERS.items()},
    **{f"scaler {name}, clip": partial(behind, make, 3.0) for name, make in SCALERS.items()},
    "clip": lambda seed: Clip(100.0) | regression(seed),
    "bare": regression,
    **{f"optimizer {name}": partial(optimized, make) for name, make in OPTIMIZERS.items()},
    **{f"loss {loss.__name__}": partial(losing, loss) for loss in LOSSES},
    "l1": lambda seed: scaled(Linear(any_optimizer(seed, 12), l1=0.01), seed),
    "initializer Normal": lambda seed: scaled(
        Linear(any_optimizer(seed), initializer=initializers.Normal(seed=seed))
    ),
    "initializer Constant, l1": lambda seed: scaled(
        Linear(initializer=initializers.Constant(2.0), l1=0.1)
    ),
}


@pytest.mark.parametrize("kind", PIPELINES)
@pytest.mark.parametrize("seeds", SEEDS)
def test_regressions_answer_as_river(kind: str, seeds: range) -> None:
    """Hostile streams: the kernel and River agree, divergence and refusals included."""
    asked = 0
    for seed in seeds:
        make, schedule = partial(PIPELINES[kind], seed), hostile(seed)
        asked += assert_rivers(make, schedule, by_river(make, schedule))
    assert asked > 20 * len(seeds)


def logistic(loss: Callable[[], Any], seed: int) -> Any:
    """A logistic regression with this loss, and any optimiser."""
    return scaled(linear_model.LogisticRegression(any_optimizer(seed), loss=loss()), seed)


CLASSIFIERS: dict[str, Callable[[int], Any]] = {
    **{f"logistic, {k}": partial(logistic, make) for k, make in enumerate(BINARY)},
    "perceptron": lambda seed: scaled(linear_model.Perceptron(l2=seed % 2 / 100), seed),
}


@pytest.mark.parametrize("kind", CLASSIFIERS)
@pytest.mark.parametrize("seeds", SEEDS)
def test_classifiers_answer_as_river(kind: str, seeds: range) -> None:
    """The probability that the target is 1 is River's."""
    asked = 0
    for seed in seeds:
        make, schedule = partial(CLASSIFIERS[kind], seed), classes(hostile(seed), seed)
        expected = by_river(make, schedule, target=bool, answer=probability)
        asked += assert_rivers(make, schedule, expected)
    assert asked > 20 * len(seeds)


def subclasses(of: type) -> set[str]:
    """Names of the public classes of River below this one that can be made."""
    found: set[type] = set(of.__subclasses__())
    for child in list(found):
        found.update(child.__subclasses__())
    river = {one for one in found if one.__module__.startswith("river.")}
    return {one.__name__ for one in river if not inspect.isabstract(one)}


def test_every_optimiser_of_river_is_tried() -> None:
    """What River has beyond the list above is refused for a reason."""
    tried = {type(make()).__name__ for make in OPTIMIZERS.values()}
    assert subclasses(optim.base.Optimizer) - tried == {"Newton"}
    assert {type(make()).__name__ for make in (*LOSSES, *BINARY)} == subclasses(optim.base.Loss) - {
        "CrossEntropy"
    }
    names = {"Zeros", "Constant", "Normal"}
    assert subclasses(optim.base.Initializer) == names
    assert subclasses(optim.base.Scheduler) == {"Constant", "InverseScaling", "Optimal"}


def test_cuts_change_neither_answers_nor_state() -> None:
    """A schedule run whole, step by step or in uneven parts gives the same bits."""
    whole = hostile(12)
    fleet = compiled(lambda: PIPELINES["scaler standard, clip"](12))
    fleet.run(whole)
    for size in (1, 7, 64):
        other = compiled(lambda: PIPELINES["scaler standard, clip"](12))
        answers = run_in_parts(other, whole, size)
        np.testing.assert_array_equal(answers, whole.answers)
        np.testing.assert_array_equal(other.block.array, fleet.block.array)


def run_in_parts(fleet: Fleet, whole: Schedule, size: int) -> NDArray[np.float64]:
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
    fleet = compiled(lambda: PIPELINES["scaler standard"](9), inputs, lane=1)
    fleet.run(schedule)
    alone = Schedule(int(own.sum()), FEATURES)
    alone.n = alone.capacity
    for name in ("codes", "numbers", "x"):
        getattr(alone, name)[:] = getattr(schedule, name)[own]
    expected = by_river(lambda: PIPELINES["scaler standard"](9), alone, inputs)
    np.testing.assert_array_equal(schedule.answers[own], expected)
    assert np.isnan(schedule.answers[~own]).all()


def test_starts_and_restarts_from_the_initial_intercept() -> None:
    """A new or evicted device answers with the initial intercept, and others keep their state."""
    fleet = compiled(lambda: PIPELINES["scaler standard"](1))
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
    fleet = compiled(lambda: PIPELINES["scaler standard"](21))
    fleet.run(first)
    other = compiled(lambda: PIPELINES["scaler standard"](21))
    put_rows(other.blocks, np.array([4, 0]), take_rows(fleet.blocks, np.array([1, 3])))
    fleet.run(second)
    moved = hostile(22)
    moved.codes[:, ROW] = moved.codes[:, MODEL] = np.where(second.codes[:, ROW] == 1, 4, 0)
    other.run(moved)
    np.testing.assert_array_equal(moved.answers, second.answers)


class WiderScaler(preprocessing.StandardScaler):
    """A user's own scaler: whatever it changes, it is not the compiled one."""


def learned(model: Any) -> Any:
    """A pipeline that comes with what it learned elsewhere."""
    model.learn_one({"f0": 1.0}, 2.0)
    return model


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: Linear(optim.Newton()), "optimizer Newton"),
    (lambda: Linear(initializer=initializers.Normal()), "initializer Normal without a seed"),
    (lambda: Linear(optim.FTRLProximal(), l1=0.1), "no learning rate"),
    (lambda: Linear(optim.Adam(beta_1=1.0)), "betas"),
    (lambda: Linear(optim.AdaGrad(eps=0.0)), "eps"),
    (lambda: Linear(optim.AdaBound(0.0)), "rate of 0"),
    (lambda: Linear(loss=losses.Log()), "loss Log"),
    (lambda: preprocessing.StandardScaler(window_size=0) | Linear(), "window_size 0"),
    (lambda: preprocessing.Normalizer() | Linear(), "found Normalizer"),
    (lambda: Clip() | preprocessing.StandardScaler() | Linear(), "found"),
    (lambda: WiderScaler() | Linear(), "found WiderScaler"),
    (lambda: learned(Linear()), "learned already"),
    (lambda: learned(preprocessing.StandardScaler() | Linear(optim.Adam())), "learned already"),
]


@pytest.mark.parametrize(("make", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_refuses_what_it_would_not_compute_alike(make: Callable[[], Any], reason: str) -> None:
    """Whatever differs from what the kernel computes runs as River, with the reason."""
    chosen = compile_model(make, 0, range(3), ["a", "b", "c"], 4)
    assert not chosen.compiled
    assert reason in chosen.why
