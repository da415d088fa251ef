"""Scores by a tag of devices, from those of each device."""

from pathlib import Path

import numpy as np
import pytest

from stream_processor.pipeline import Pipeline
from stream_processor.settings import load
from stream_processor.views import ScoreView
from streamgauge.delivery import Delivery, Readings

CONFIG = """
[devices]
tags = { file = "devices.csv" }
limit = 8
[channels.heat]
[channels.state]
kind = "category"
values = ["off", "on"]
[tasks.heat]
target = "heat"
kind = "forecast"
inputs = ["heat"]
horizons = [{ readings = 1 }, { readings = 2 }]
model = ["preprocessing.StandardScaler", "linear_model.LinearRegression"]
[tasks.state]
target = "state"
kind = "classification"
inputs = ["heat"]
model = ["naive_bayes.GaussianNB"]
[scores]
window = 1000
half_life = 10
"""
TABLE = "device,site\nd0,north\nd1,south\nd2,north\nd4,nowhere\n"


def number(view: ScoreView, name: str) -> float:
    """A score that is known."""
    score = view.scores[name]
    assert score is not None
    return score


@pytest.fixture
def made(tmp_path: Path) -> Pipeline:
    """Four devices, one of them in no table, and a label at every reading."""
    (tmp_path / "devices.csv").write_text(TABLE, encoding="utf-8")
    (tmp_path / "pipeline.toml").write_text(CONFIG, encoding="utf-8")
    pipeline = Pipeline(load(tmp_path / "pipeline.toml", {}, for_replay=True))
    random = np.random.default_rng(2)
    clock = (1_700_000_000 + np.arange(800)) * 10**6
    values = np.stack([random.normal(size=800), random.integers(0, 2, 800)], axis=1)
    devices = [f"d{k}" for k in random.integers(0, 4, 800)]
    pipeline.feed(Delivery(readings=Readings(devices, clock, clock, values)))
    return pipeline


def test_groups_are_scored_from_their_devices(made: Pipeline) -> None:
    """Per horizon and value of the tag, also for devices without one; all groups together have the
    labels of the fleet, and the mean error of a group is that of its devices by their labels."""
    board = made.board
    assert board.tags() == ("site",)
    found = board.group_scores("heat", "site")
    assert [(one.horizon, one.group, one.of_devices) for one in found] == [
        (horizon, group, devices)
        for horizon in ("1 reading", "2 readings")
        for group, devices in (("", 1), ("north", 2), ("south", 1))
    ]
    for k, overall in enumerate(board.scores("heat")):
        own = found[3 * k : 3 * k + 3]
        assert sum(number(one, "labels") for one in own) == number(overall, "labels") > 700
        known = {name: score for name, score in own[2].scores.items() if score is not None}
        alone = board.scores("heat", "d1")[k].scores
        assert known == pytest.approx({name: alone[name] for name in known}, rel=1e-12)
        assert {name for name, score in alone.items() if score is not None} == set(known)
        members = [board.scores("heat", device)[k] for device in ("d0", "d2")]
        weights = [number(one, "labels") for one in members]
        for name in ("mae", "bias", "mape", "persistence_mae", "rolling_mae"):
            mean = np.average([number(one, name) for one in members], weights=weights)
            assert own[1].scores[name] == pytest.approx(mean, rel=1e-9)


def test_classes_of_a_group_are_counted_together(made: Pipeline) -> None:
    """A group's labels of each class are its devices' sums."""
    board = made.board
    north = board.group_scores("state", "site")[1]
    members = [board.scores("state", device)[0] for device in ("d0", "d2")]
    for name in ("off", "on"):
        assert north.per_class[name]["labels"] == sum(
            one.per_class[name]["labels"] or 0 for one in members
        )
    weights = [number(one, "labels") for one in members]
    accuracies = [number(one, "accuracy") for one in members]
    mean = float(np.average(accuracies, weights=weights))
    assert north.scores["accuracy"] == pytest.approx(mean, rel=1e-12)
    pairs = [np.array(one.confusion) for one in members]
    assert list(north.confusion) == (pairs[0] + pairs[1]).tolist()
