"""Passive-aggressive and Bayesian linear regression: compiled, with the answers of River."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from river import linear_model

from streamgauge.schedule import TARGET, Schedule
from streamgauge.words import Step
from tests.compiled_fleets import (
    FEATURES,
    SCALERS,
    SEEDS,
    assert_rivers,
    by_river,
    compiled,
    hostile,
    scaled,
)


def passive_aggressive(mode: int, seed: int) -> Any:
    """Behind a scaler of any kind or bare, with and without an intercept."""
    model = linear_model.PARegressor(
        C=[1.0, 0.01][seed % 2], mode=mode, eps=0.1 * (seed % 3), learn_intercept=seed % 4 > 0
    )
    return scaled(model, seed)


PIPELINES: dict[str, Callable[[int], Any]] = {
    f"PARegressor, mode {mode}": partial(passive_aggressive, mode) for mode in range(3)
}


@pytest.mark.parametrize("kind", PIPELINES)
@pytest.mark.parametrize("seeds", SEEDS)
def test_regressors_answer_as_river(kind: str, seeds: range) -> None:
    """On hostile streams, at most 1e-9 apart; without answers nothing would be shown."""
    answered = 0
    for seed in seeds:
        make = partial(PIPELINES[kind], seed)
        answered += assert_rivers(make, hostile(seed), by_river(make, hostile(seed)))
    assert answered > 20 * len(seeds)


BAYESIAN: dict[str, Callable[[int], Any]] = {
    name: partial(
        lambda seed, make: (
            make()
            | linear_model.BayesianLinearRegression(
                alpha=[1, 0.5][seed % 2], beta=[1, 2.0][seed % 2]
            )
        ),
        make=SCALERS[name],
    )
    for name in ("standard", "min-max", "max-abs", "min-max, window", "max-abs, window")
}


@pytest.mark.parametrize("kind", BAYESIAN)
@pytest.mark.parametrize("seeds", SEEDS)
def test_bayesian_regression_answers_as_river(kind: str, seeds: range) -> None:
    """Behind a scaler, where features are of one size, the answers are River's."""
    for seed in seeds:
        make, schedule = partial(BAYESIAN[kind], seed), hostile(seed)
        expected = by_river(make, schedule)
        compiled(make).run(schedule)
        size = np.nanmax(np.abs(expected))
        np.testing.assert_allclose(schedule.answers, expected, 1e-8, 1e-12 * size)


def test_bayesian_regression_is_as_accurate_as_river_on_features_of_any_size() -> None:
    """Without a scaler rounding decides about digits that say nothing: the error is the same."""
    r = np.random.default_rng(5)
    schedule = Schedule(4000, FEATURES, 0)
    schedule.n = 4000
    schedule.x[:] = r.normal(size=(4000, FEATURES)) * 10.0 ** np.arange(-3, 3) + 5.0
    schedule.numbers[:, TARGET] = schedule.x @ r.normal(size=FEATURES) + r.normal(size=4000)
    schedule.codes[:, 0] = np.arange(4000) % 2
    schedule.x[1::2] = schedule.x[::2]
    schedule.numbers[::2, TARGET] = schedule.numbers[1::2, TARGET]
    make = linear_model.BayesianLinearRegression
    expected = by_river(make, schedule)
    compiled(make).run(schedule)
    asked = schedule.codes[:, 0] == Step.PREDICT
    truth = schedule.numbers[asked, TARGET]
    ours = np.abs(schedule.answers[asked] - truth).mean()
    theirs = np.abs(expected[asked] - truth).mean()
    assert ours == pytest.approx(theirs, rel=0.005)
