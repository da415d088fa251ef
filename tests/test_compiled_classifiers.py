"""Compiled classifiers beside the linear ones: River's own answers on hostile streams."""

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from river import linear_model, naive_bayes, optim, preprocessing

from models.compile import compile as compile_model
from models.compiled import naive_bayes as compiled_bayes
from models.compiled import softmax
from models.compiled._fleet import Fleet
from streamgauge.schedule import TARGET
from streamgauge.state import Keys
from tests.compiled_fleets import (
    FEATURES,
    SEEDS,
    assert_rivers,
    by_river,
    chances,
    classes,
    hostile,
    probability,
    scaled,
)

Make = Callable[[int], Any]


def passive(kind: type, mode: int, seed: int) -> Any:
    """A passive-aggressive model."""
    options = {"C": [1.0, 0.01][seed % 2], "learn_intercept": seed % 3 > 0}
    return scaled(kind(mode=mode, **options), seed)


BINARY: dict[str, Make] = {
    **{
        f"passive-aggressive, {mode}": partial(passive, linear_model.PAClassifier, mode)
        for mode in range(3)
    },
    "ALMA": lambda seed: scaled(linear_model.ALMAClassifier(), seed),
}


@pytest.mark.parametrize("kind", BINARY)
@pytest.mark.parametrize("seeds", SEEDS)
def test_classifiers_of_two_classes_answer_as_river(kind: str, seeds: range) -> None:
    """Answer and probabilities are River's."""
    asked = 0
    for seed in seeds:
        make, schedule = partial(BINARY[kind], seed), classes(hostile(seed), seed)
        expected = by_river(make, schedule, target=bool, answer=probability)
        asked += assert_rivers(make, schedule, expected)
    assert asked > 20 * len(seeds)


OPTIMIZERS = (
    lambda: optim.SGD(0.1),
    optim.Adam,
    optim.AdaGrad,
    optim.RMSProp,
    optim.Momentum,
    optim.AdaDelta,
    optim.AdaMax,
    optim.Nadam,
)
MANY: dict[str, tuple[ModuleType, Make]] = {
    "softmax": (
        softmax,
        lambda seed: scaled(
            linear_model.SoftmaxRegression(OPTIMIZERS[seed % 8](), l2=seed % 2 / 100), seed
        ),
    ),
    "naive Bayes": (compiled_bayes, lambda seed: scaled(naive_bayes.GaussianNB(), seed)),
}


@pytest.mark.parametrize("kind", MANY)
@pytest.mark.parametrize("seeds", SEEDS)
def test_classifiers_of_several_classes_answer_as_river(kind: str, seeds: range) -> None:
    """Every probability is River's, of classes that come one after the other."""
    module, make = MANY[kind]
    asked = 0
    for seed in seeds:
        schedule = classes(hostile(seed), seed, 3)
        # The last class comes late.
        schedule.numbers[:80, TARGET] = schedule.numbers[:80, TARGET] % 2
        one = partial(make, seed)
        fleet = module.build(one(), 0, range(FEATURES), "abcdef", 6, Keys.DEVICE, classes=3)
        assert isinstance(fleet, Fleet), fleet
        fleet.block.open_device(np.arange(6))
        fleet.run(schedule)
        expected = by_river(one, schedule, target=int, answer=chances(3), shape=(3,))
        np.testing.assert_allclose(schedule.parts, expected, 1e-9, 1e-15)
        asked += int(np.isfinite(expected).sum())
    assert asked > 60 * len(seeds)


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: linear_model.BayesianLinearRegression(smoothing=0.9), "smoothing"),
    (lambda: linear_model.PARegressor(C=0.0), "a C that is not above 0"),
    (lambda: linear_model.ALMAClassifier(p=3), "the norm p = 3"),
    (
        lambda: preprocessing.StandardScaler(window_size=5) | linear_model.PARegressor(),
        "no Clip behind it",
    ),
    (lambda: linear_model.SoftmaxRegression(optim.FTRLProximal()), "optimizer FTRLProximal"),
    (lambda: linear_model.SoftmaxRegression(optim.AdaBound()), "optimizer AdaBound"),
    (
        lambda: linear_model.SoftmaxRegression(loss=optim.losses.CrossEntropy({1: 2.0})),
        "weights of its own",
    ),
]


@pytest.mark.parametrize(("make", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_refuses_what_it_would_not_compute_alike(make: Callable[[], Any], reason: str) -> None:
    """Whatever differs from what the kernels compute runs as River, with the reason."""
    chosen = compile_model(make, 0, range(3), ["a", "b", "c"], 4)
    assert not chosen.compiled
    assert reason in chosen.why
