"""Forecasts by River's time series models: on a recording, with gaps, live, cut and restarted."""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from river import time_series

from models.series import Ahead
from models.spec import build
from tests.kinds import (
    assert_any_cut_is_the_same,
    assert_goes_on,
    channels,
    live,
    loaded,
    problems,
    rows,
    scores,
    table,
    toml,
)
from tests.series_by_hand import ByHand

HALF_HOUR = 30 * 60 * 10**6
WINTERS = [
    {"use": "time_series.HoltWinters", "alpha": 1.0, "beta": 0.3, "gamma": 0.05, "seasonality": 48}
]
SNARIMAX = [{"use": "time_series.SNARIMAX", "p": 3, "d": 1, "q": 1}]
OWN = "tests_own_series:build"


@pytest.fixture(autouse=True)
def own_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the user's own, with a function that gives a time series model."""
    module = ModuleType("tests_own_series")
    vars(module)["build"] = lambda: time_series.HoltWinters(0.6, 0.02)
    monkeypatch.setitem(sys.modules, module.__name__, module)


def grid(model: Any, more: str = "", horizons: str = '"30m"') -> str:
    """A task on vic_electricity, a value every half hour."""
    return f"""{channels(("demand", "temperature"))}
[tasks.load]
kind = "forecast"
target = "demand"
horizons = [{horizons}]
ready_after = 0
before_ready = "none"
model = {toml(model)}
{more}
"""


def gappy(count: int) -> pd.DataFrame:
    """The beginning, where single values, a whole day and every reading of an hour are missing."""
    data = rows("vic_electricity", count)
    data.loc[data.index % 17 == 5, "demand"] = np.nan
    data.loc[400:448, "demand"] = np.nan
    return data.drop(index=range(200, 203)).reset_index(drop=True)


def by_hand(
    model: Any, data: pd.DataFrame, ahead: Ahead, inputs: Sequence[str] = ()
) -> list[float]:
    """What River's own model forecasts at each reading."""
    device = ByHand(build(model, "forecast"), ahead)
    times = pd.to_datetime(data["time"]).astype("int64").to_numpy() // 1_000
    times = times if times.max() > 10**14 else times * 1_000
    answers = []
    for i, row in enumerate(data.to_dict("records")):
        position = i if ahead.readings else times[i]
        answers.append(device.ask(float(position), row["demand"], {k: row[k] for k in inputs}))
    return answers


@pytest.mark.parametrize("model", [WINTERS, SNARIMAX, OWN], ids=["winters", "snarimax", "own"])
@pytest.mark.parametrize(
    ("horizon", "more", "ahead"),
    [
        ('"30m"', "", Ahead(HALF_HOUR)),
        ('"6h"', 'step = "1h"', Ahead(12 * HALF_HOUR, 0, 2 * HALF_HOUR)),
        ("{ readings = 4 }", "", Ahead(0, 4)),
    ],
)
def test_a_replay_gives_rivers_forecasts(model: Any, horizon: str, more: str, ahead: Ahead) -> None:
    """Every value teaches when it comes, those that are missing are bridged, all are forecast."""
    data = gappy(700)
    found = loaded(grid(model, more, horizon)).replay(data)
    expected = by_hand(model, data, ahead)
    np.testing.assert_allclose(found["prediction"], expected, 1e-9)
    assert np.isfinite(expected[-500:]).all()


def test_several_horizons_are_steps_of_one_series() -> None:
    """Each has its own answer and label; the label of a horizon teaches nothing."""
    data = gappy(600)
    found = loaded(grid(WINTERS, 'tolerance = "1m"', '"30m", "12h"')).replay(data)
    for horizon, steps in (("30m", 1), ("12h", 24)):
        own = found[found["horizon"] == horizon]
        expected = by_hand(WINTERS, data, Ahead(steps * HALF_HOUR))
        np.testing.assert_allclose(own["prediction"], expected, 1e-9)
        labelled = own[own["status"] == "labelled"]
        assert len(labelled) > 400
        values = data.set_index(pd.to_datetime(data["time"]))["demand"]
        due = labelled["made_at"] + pd.Timedelta(horizon)
        np.testing.assert_array_equal(labelled["label"], values.reindex(due))


def test_what_explains_a_series_is_learned_beside_it() -> None:
    """Inputs that are named go to the model, as they are; what is made of the target does not."""
    data = gappy(300)
    made = loaded(grid(SNARIMAX, 'inputs = ["*", "!x*"]'))
    assert [view.inputs for view in made.board.tasks()] == [["temperature"]]
    found = made.replay(data)
    expected = by_hand(SNARIMAX, data, Ahead(HALF_HOUR), ["temperature"])
    np.testing.assert_array_equal(found["prediction"], expected)
    assert loaded(grid(SNARIMAX)).board.tasks()[0].inputs == []


def test_a_series_begins_anew_after_weeks_without_a_value() -> None:
    """A thousand steps are bridged; after more the old level is worth nothing."""
    data = rows("vic_electricity", 2_400)
    for missing, begun in ((900, True), (1_100, False)):
        left = data.drop(index=range(600, 600 + missing)).reset_index(drop=True)
        found = loaded(grid(WINTERS)).replay(left)
        np.testing.assert_allclose(found["prediction"], by_hand(WINTERS, left, Ahead(HALF_HOUR)))
        assert np.isfinite(found["prediction"][600:640]).all() == begun
        assert np.isfinite(found["prediction"][650:]).all()


def test_holt_winters_is_ahead_of_the_last_value() -> None:
    """Half an hour ahead, with the season of a day: a third off the last value's error."""
    made = loaded(grid(WINTERS, "", '"30m"'))
    made.replay(rows("vic_electricity", 5_000))
    [view] = made.board.tasks()
    assert view.compiled
    assert view.why == "all of it runs compiled: HoltWinters"
    found = scores(made)[0]
    assert found["mae"] is not None
    assert found["persistence_mae"] is not None
    assert found["mae"] < 0.75 * found["persistence_mae"]
    assert found["interval_coverage"] == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("predict", ["change", "level"])
def test_series_are_candidates_beside_each_other(predict: str) -> None:
    """Each answers what it would answer alone, and who has been better is followed."""
    data = gappy(900)
    level = [{"use": "time_series.HoltWinters", "alpha": 1.0}]
    trend = [{"use": "time_series.HoltWinters", "alpha": 1.0, "beta": 0.5}]
    each = [loaded(grid(model)).replay(data)["prediction"] for model in (level, trend)]
    text = grid([]).replace("model = []", f"candidates = {toml([level, trend])}")
    made = loaded(text.replace("[tasks.load]", f'[tasks.load]\npredict = "{predict}"'))
    both = made.replay(data)["prediction"]
    apart = np.abs(np.array(each) - both.to_numpy()) / both.to_numpy()
    assert (apart[:, 100:] < 1e-9).any(axis=0).all()
    assert ((apart < 1e-9).sum(axis=1) > 50).all()


def test_beside_the_default_it_sees_the_target_alone() -> None:
    """What the default sees is made of the target too; a series among candidates has no inputs."""
    data = gappy(300)
    text = grid([]).replace("model = []", f'candidates = ["default", {toml(SNARIMAX)}]')
    made = loaded(text)
    found = made.replay(data)["prediction"].to_numpy()
    default = loaded(grid([]).replace("model = []", "")).replay(data)["prediction"].to_numpy()
    alone = loaded(grid(SNARIMAX)).replay(data)["prediction"].to_numpy()
    apart = np.abs(np.array([default, alone]) - found) / found
    assert (apart[:, 60:] < 1e-9).any(axis=0).all()
    assert "demand" in made.board.tasks()[0].inputs


@pytest.mark.parametrize(
    "model",
    [WINTERS, SNARIMAX, ["preprocessing.StandardScaler", *WINTERS]],
    ids=["winters", "snarimax", "winters in a pipeline"],
)
def test_any_cut_and_a_restart_give_the_same(model: Any, tmp_path: Path) -> None:
    """One reading at a time, in pieces, and from a checkpoint half-way: the same bits."""
    data, text = gappy(300), grid(model, "", '"30m", "6h"')
    assert_any_cut_is_the_same(text, data, range(1, 297))
    assert_any_cut_is_the_same(text, data, [1, 2, 40, 199, 201, 250])
    assert_goes_on(text, data, tmp_path)
    made = loaded(text)
    found = table(made, live(made, data))
    again = loaded(text).replay(data)
    np.testing.assert_array_equal(found["prediction"], again["prediction"])


@pytest.mark.parametrize(
    ("model", "more", "key", "remedy"),
    [
        (WINTERS, 'scope = "fleet"', "scope", "not one series"),
        (WINTERS, 'predict = "change"', "predict", "the value itself"),
        (WINTERS, 'select = { by = "variance" }', "select", "the target alone"),
        (["linear_model.LinearRegression"], 'step = "30m"', "step", "time_series.HoltWinters"),
        ([{"use": "time_series.HoltWinters"}], "", "model", "alpha"),
    ],
)
def test_each_mistake_has_its_remedy(model: Any, more: str, key: str, remedy: str) -> None:
    """What leaves a series no sense is named with what to do."""
    assert not problems(grid(WINTERS, 'step = "30m"'))
    found = problems(grid(model, more))
    problem = next(found[place] for place in found if place.startswith(f"tasks.load.{key}"))
    assert remedy in problem.message + problem.remedy


def test_a_step_means_nothing_where_readings_are_counted() -> None:
    """Horizons of readings have the step of a reading."""
    found = problems(grid(WINTERS, 'step = "30m"', "{ readings = 2 }"))
    assert "the step of a reading" in found["tasks.load.step"].message


def test_a_regression_takes_no_time_series_model() -> None:
    """What continues a series answers forecasts alone."""
    text = grid(WINTERS).replace('"forecast"', '"regression"').replace('horizons = ["30m"]\n', "")
    assert "regressor" in problems(text)["tasks.load.model"].remedy
