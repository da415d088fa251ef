"""Passive-aggressive and Bayesian linear regression: compiled, with the answers of River."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from river import linear_model, preprocessing

from tests.compiled_fleets import SEEDS, assert_rivers, by_river, hostile


def passive_aggressive(mode: int, seed: int) -> Any:
    """Behind a scaler or bare, with and without an intercept."""
    model = linear_model.PARegressor(
        C=[1.0, 0.01][seed % 2], mode=mode, eps=0.1 * (seed % 3), learn_intercept=seed % 4 > 0
    )
    return preprocessing.StandardScaler() | model if seed % 5 else model


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
    assert answered > 50 * len(seeds)


@pytest.mark.parametrize("seeds", SEEDS)
def test_bayesian_regression_answers_as_river(seeds: range) -> None:
    """Where the data determine the answer: behind a scaler that keeps features of one size."""
    answered = 0
    for seed in seeds:
        make = partial(
            lambda alpha: (
                preprocessing.StandardScaler() | linear_model.BayesianLinearRegression(alpha)
            ),
            [1.0, 0.1][seed % 2],
        )
        # Its sums are rounded in another order than those of River's linear algebra library.
        expected = by_river(make, hostile(seed))
        answered += assert_rivers(make, hostile(seed), expected, 1e-7)
    assert answered > 50 * len(seeds)
