"""Compiled Holt-Winters: River's own forecasts on hostile series, with every option."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from river import preprocessing, time_series

from models.compile import compile as compile_model
from models.series import Ahead
from models.ways import Question
from streamgauge.schedule import MADE, MODEL, SEQUENCE, STEP, TARGET, Schedule
from streamgauge.words import Step
from tests.compiled_fleets import FEATURES, SEEDS, compiled, hostile
from tests.series_by_hand import ByHand

SECOND = 10**6
START = 1_700_000_000 * SECOND
AHEAD = (Ahead(0, 1), Ahead(0, 7), Ahead(30 * SECOND), Ahead(45 * SECOND, 0, 10 * SECOND))


def series(seed: int, events: int = 2_000) -> Schedule:
    """Values of two devices every ten seconds or so: early, late, missing one by one and for days;
    constant, zero, of any size, with outliers."""
    r = np.random.default_rng(seed)
    schedule = hostile(seed, events)
    apart = np.full(events, 10.0)
    if seed % 2:
        apart *= r.uniform(0.6, 1.4, events)
    if seed % 3:
        apart[r.random(events) < 0.05] *= r.integers(2, 9)
    apart[r.random(events) < 0.002] = 100_000.0
    apart[r.random(events) < 0.03] /= 7.0
    y = r.normal(size=events) * 10.0 ** r.integers(-3, 6) + r.normal() * 100
    y += np.sin(np.arange(events) / 3.0) * 10.0 ** r.integers(-1, 4)
    if seed % 4 == 0:
        y = np.round(y / (np.abs(y).max() / 3.0))
    if seed % 5 == 0:
        y[: events // 3] = 0.0
    if seed % 7 == 0:
        y[r.random(events) < 0.01] = 1e12
    if seed % 11 == 0:
        y[r.random(events) < 0.1] = -0.0
    y[r.random(events) < 0.1] = np.nan
    schedule.numbers[:, TARGET] = y
    schedule.codes[:, MADE] = START + np.cumsum(apart * SECOND).astype(np.int64)
    schedule.codes[:, SEQUENCE] = np.cumsum(r.choice([1, 1, 1, 2, 5], events))
    return schedule


def model(seed: int) -> Any:
    """With and without trend, season, multiplication; weights at their ends and between."""
    r = np.random.default_rng(1_000 + seed)
    beta = [None, 0.1, 1.0, 0, 0.01][seed % 5]
    season = int(r.choice([0, 1, 2, 3, 24])) if beta else 0
    return time_series.HoltWinters(
        alpha=[0.3, 1, 0.05, 0][seed % 4],
        beta=beta, gamma=[0.2, 0.9, 0, 1.0][seed % 4] if beta is not None else None,
        seasonality=season, multiplicative=seed % 3 == 0,
    )  # fmt: skip


def by_hand(make: Callable[[], Any], ahead: Ahead, schedule: Schedule) -> NDArray[np.float64]:
    """float64[n]: River's own forecasts; NaN where it raises and where nobody asked."""
    models: dict[int, ByHand] = {}
    answers = np.full(schedule.n, np.nan)
    place = SEQUENCE if ahead.readings else MADE
    for i in np.flatnonzero(schedule.codes[: schedule.n, STEP] == Step.PREDICT).tolist():
        row, position = (int(schedule.codes[i, column]) for column in (MODEL, place))
        device = models.setdefault(row, models.get(row) or ByHand(make, ahead))
        with suppress(ArithmeticError, ValueError):
            answers[i] = device.ask(position, schedule.numbers.item(i, TARGET), {})
    return answers


@pytest.mark.parametrize("ahead", AHEAD, ids=str)
@pytest.mark.parametrize("seeds", SEEDS)
def test_forecasts_are_rivers(seeds: range, ahead: Ahead) -> None:
    """Each forecast, however the values come; where River has none, neither have we."""
    told = 0
    for seed in [*seeds, *(s + 60 for s in seeds)]:
        make, schedule = partial(model, seed), series(seed)
        expected = by_hand(make, ahead, schedule)
        compiled(make, question=Question("forecast", ahead=ahead)).run(schedule)
        asked = schedule.codes[:, STEP] == Step.PREDICT
        ours, theirs = schedule.answers[asked], expected[asked]
        finite = np.isfinite(theirs)
        assert not np.isfinite(ours[~finite]).any(), seed
        np.testing.assert_allclose(ours[finite], theirs[finite], 1e-9, 1e-300, err_msg=str(seed))
        told += finite.sum()
    assert told > 2_000 * len(seeds) // 2


Build = Callable[[], Any]
winters = time_series.HoltWinters
REFUSED: list[tuple[Build, str]] = [
    (partial(winters, 0.3, None, 0, 12), "no beta"),
    (partial(winters, 0.3, 0, 0, 12), "no beta"),
    (partial(winters, 0.3, 0.1, 0.1, -1), "seasonality -1"),
    (partial(winters, "0.3"), "alpha '0.3'"),
    (lambda: preprocessing.StandardScaler() | winters(0.3), "steps before"),
    (lambda: _taught(winters(0.3)), "learned already"),
]


def _taught(model: Any) -> Any:
    model.learn_one(0.5)
    return model


@pytest.mark.parametrize(("make", "reason"), REFUSED, ids=[str(k) for k in range(len(REFUSED))])
def test_refuses_what_it_would_not_forecast_alike(make: Build, reason: str) -> None:
    """Such a model runs as River, and the reason is told."""
    question = Question("forecast", ahead=Ahead(0, 1))
    chosen = compile_model(make, 0, range(FEATURES), list("abcdef"), 4, question=question)
    assert not chosen.compiled
    assert reason in chosen.why


def test_zeros_are_refused_as_river_refuses_them_and_then_forgotten() -> None:
    """A first season of zeros divides by zero until another value comes; each time is counted."""
    schedule = Schedule(12, 1)
    schedule.n = 12
    schedule.codes[:, SEQUENCE] = np.arange(12)
    schedule.numbers[:, TARGET] = [0.0] * 8 + [3.0, 1.0, 2.0, 4.0]
    make = partial(winters, 0.3, 0.1, 0.2, 4)
    expected = by_hand(make, Ahead(0, 1), schedule)
    fleet = compiled(make, question=Question("forecast", ahead=Ahead(0, 1)))
    fleet.run(schedule)
    np.testing.assert_allclose(schedule.answers, expected, 1e-12)
    assert dict(fleet.failures) == {"division by zero": 5}
    assert np.isfinite(expected[8:]).all()


def test_what_is_too_far_ahead_is_counted() -> None:
    """A step that is far too short for the horizon gives no forecast and says so."""
    schedule = Schedule(9, 1)
    schedule.n = 9
    schedule.codes[:, MADE] = START + np.arange(9) * SECOND
    schedule.numbers[:, TARGET] = 1.0
    question = Question("forecast", ahead=Ahead(86_400 * SECOND))
    fleet = compiled(partial(winters, 0.3), question=question)
    fleet.run(schedule)
    assert np.isnan(schedule.answers).all()
    assert dict(fleet.failures) == {"a forecast of more than 10,000 steps": 4}
