"""Tasks that find clusters: River's own on real recordings, with their distance and events."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from streamgauge.events import EventKind
from tests.kinds import (
    assert_any_cut_is_the_same,
    assert_goes_on,
    by_river,
    channels,
    live,
    loaded,
    problems,
    rows,
    scores,
    table,
    toml,
)

ROOM = ("co2", "humidity", "light", "temperature")
PLANT = ("Usage_kWh", "Lagging_Current_Power_Factor", "NSM")
SCALER = "preprocessing.StandardScaler"
MODELS: dict[str, Any] = {
    "KMeans": [SCALER, {"use": "cluster.KMeans", "n_clusters": 4, "halflife": 0.3}],
    "DBSTREAM": [SCALER, {"use": "cluster.DBSTREAM", "clustering_threshold": 1.0}],
    "CluStream": [SCALER, {"use": "cluster.CluStream", "max_micro_clusters": 20, "time_gap": 50}],
}


def modes(model: Any, names: tuple[str, ...] = ROOM, more: str = "") -> str:
    """A task that finds operating modes."""
    return f"""{channels(names)}
[tasks.mode]
kind = "clustering"
ready_after = 0
model = {toml(model)}
{more}
"""


def rooms(count: int) -> pd.DataFrame:
    """Readings of two rooms in turn."""
    found = pd.concat([rows("keti_rooms", count // 2, device=name) for name in ("413", "510")])
    return found.sort_values("time", kind="stable").reset_index(drop=True)


def group_and_learn(i: int) -> Iterator[tuple[str, int, Any]]:
    """What happens at a row."""
    yield "ask", i, None
    yield "teach", i, None


def ask(model: Any, x: dict[str, float]) -> tuple[float, float]:
    """The cluster that River gives, and how far its centre is, in scaled features."""
    group = model.predict_one(x)
    scaled = model["StandardScaler"].transform_one(x)
    centre = getattr(model[next(reversed(model.steps))], "centers", {}).get(group)
    if not centre:
        return group, math.nan
    return group, math.sqrt(sum((scaled[name] - centre[name]) ** 2 for name in scaled))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("recording", ["keti_rooms", "steel_energy"])
def test_a_replay_gives_rivers_clusters(recording: str, model: str) -> None:
    """Every reading is put into a cluster before it is learned, each device by its own model."""
    keti = recording == "keti_rooms"
    data, names = (rooms(800), ROOM) if keti else (rows("steel_energy", 800), PLANT)
    found = loaded(modes(MODELS[model], names)).replay(data)
    given = by_river(
        MODELS[model], "clustering", data, names, ask, group_and_learn, numbered=model == "KMeans"
    )
    expected = np.array(given)
    np.testing.assert_array_equal(found["prediction"], expected[:, 0])
    np.testing.assert_allclose(found["score"], expected[:, 1], 1e-12)
    assert len(set(found["prediction"])) > 1
    assert found["score"].notna().sum() > 100


def test_a_cluster_that_is_new_to_a_device_is_an_event() -> None:
    """Once for each cluster but the first: where it was, where it is now, how many it knows."""
    data = rooms(1_000)
    made = loaded(modes(MODELS["KMeans"]))
    outputs = live(made, data)
    found = table(made, outputs)
    told = [
        (output.device(event.row), event.time, event.before, event.after, event.size)
        for output in outputs
        for event in output.events
        if event.kind is EventKind.NEW_CLUSTER
    ]
    expected = []
    where: dict[str, list[float]] = {}
    for device, time, group in zip(
        found["device"], found["made_at"], found["prediction"], strict=True
    ):
        known = where.setdefault(device, [])
        if known and group not in known:
            last = known[-1]
            count = len(set(known)) + 1
            expected.append((device, int(time.timestamp()) * 10**6, last, group, count))
        known.append(group)
    assert told == expected
    assert {device for device, *_ in told} == {"413", "510"}


def test_live_messages_give_the_same() -> None:
    """Readings as messages, one at a time, are answered as the recording is."""
    data = rooms(300)
    made = loaded(modes(MODELS["KMeans"]))
    found = table(made, live(made, data))
    pd.testing.assert_frame_equal(found, loaded(modes(MODELS["KMeans"])).replay(data))
    for name, own in found.groupby("device"):
        newest = (made.board.predictions(str(name)) or [])[0]
        assert newest.prediction == own["prediction"].iloc[-1]
        assert newest.distance == own["score"].iloc[-1]


@pytest.mark.parametrize("model", MODELS)
def test_any_cut_gives_the_same(model: str) -> None:
    """One row at a time, and pieces of any size, are the same bits as all at once."""
    data = rooms(300)
    assert_any_cut_is_the_same(modes(MODELS[model]), data, range(1, 300))
    assert_any_cut_is_the_same(modes(MODELS[model]), data, [1, 2, 40, 130, 131, 250])


@pytest.mark.parametrize("model", MODELS)
def test_a_restarted_task_goes_on(model: str, tmp_path: Path) -> None:
    """Clusters, and which of them a device knows, come out of a checkpoint as they went in."""
    assert_goes_on(modes(MODELS[model]), rooms(400), tmp_path)


def test_the_fleet_may_share_its_clusters() -> None:
    """All devices teach the same model."""
    data = rooms(400)
    made = loaded(modes(MODELS["KMeans"], more='scope = "fleet"'))
    found = made.replay(data)
    one = data.assign(device="all")
    expected = by_river(
        MODELS["KMeans"], "clustering", one, ROOM, ask, group_and_learn, numbered=True
    )
    np.testing.assert_array_equal(found["prediction"], [group for group, _ in expected])
    assert all(one["labels"] == 0 for one in scores(made))


@pytest.mark.parametrize(
    ("model", "more", "key", "remedy"),
    [
        (["linear_model.LinearRegression"], "", "model", "KMeans"),
        (MODELS["KMeans"], 'target = "co2"', "target", "remove it"),
        (MODELS["KMeans"], 'label = { from = "http" }', "label", "remove it"),
        (MODELS["KMeans"], 'horizons = ["1m"]', "horizons", "remove it"),
    ],
)
def test_each_mistake_has_its_remedy(model: Any, more: str, key: str, remedy: str) -> None:
    """What does not fit together is named with what to do."""
    assert not problems(modes(MODELS["KMeans"]))
    found = problems(modes(model, more=more))
    problem = next(found[place] for place in found if place.startswith(f"tasks.mode.{key}"))
    assert remedy in problem.message + problem.remedy
