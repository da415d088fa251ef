"""Tasks that score anomalies: River's own scores on a test bed's recording, live and replayed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from river import compose

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

BED = ("Accelerometer1RMS", "Current", "Pressure", "Volume Flow RateRMS")
FOREST = {"use": "anomaly.HalfSpaceTrees", "n_trees": 5, "height": 6, "window_size": 50}
MODELS: dict[str, Any] = {
    "HalfSpaceTrees": ["preprocessing.MinMaxScaler", FOREST],
    "OneClassSVM": ["preprocessing.StandardScaler", "anomaly.OneClassSVM"],
    "QuantileFilter": [
        "preprocessing.MinMaxScaler",
        {"use": "anomaly.QuantileFilter", "anomaly_detector": FOREST, "q": 0.95},
    ],
}
WATCHING: dict[str, Any] = {
    "GaussianScorer": [{"use": "anomaly.GaussianScorer", "window_size": 100}],
    "PredictiveAnomalyDetection": [
        "preprocessing.StandardScaler",
        {"use": "anomaly.PredictiveAnomalyDetection", "warmup_period": 20},
    ],
}


def bed(model: Any, more: str = "") -> str:
    """A task on skab_valve1."""
    return f"""{channels(BED)}
[tasks.fault]
kind = "anomaly"
ready_after = 0
model = {toml(model)}
{more}
"""


def valve() -> pd.DataFrame:
    """The end of one experiment's good part, its fault, and the beginning of another one's."""
    one, other = (rows("skab_valve1", 900, device=f"valve1/{k}") for k in (0, 1))
    found: pd.DataFrame = pd.concat([one[300:], other[:300]]).sort_values("time", kind="stable")
    return found.reset_index(drop=True)


def score_and_learn(i: int) -> Iterator[tuple[str, int, Any]]:
    """What happens at a row."""
    yield "ask", i, None
    yield "teach", i, None


def ask(model: Any, x: dict[str, float]) -> float:
    """The score that River gives."""
    return float(model.score_one(x))


@pytest.mark.parametrize("model", MODELS)
def test_a_replay_gives_rivers_scores(model: str) -> None:
    """Every reading is scored before it is learned, each device by its own detector."""
    data = valve()
    found = loaded(bed(MODELS[model])).replay(data)
    expected = by_river(MODELS[model], "anomaly", data, BED, ask, score_and_learn)
    np.testing.assert_array_equal(found["score"], expected)
    np.testing.assert_array_equal(found["prediction"], expected)
    assert set(found["device"]) == {"valve1/0", "valve1/1"}
    assert set(found["status"]) == {"pending"}


@pytest.mark.parametrize("model", WATCHING)
def test_a_channel_is_watched_with_what_explains_it(model: str) -> None:
    """A detector with a target scores that channel, from the other inputs."""
    data = valve()
    data.loc[::17, "Pressure"] = np.nan
    others = [name for name in BED if name != "Pressure"]
    found = loaded(bed(WATCHING[model], 'target = "Pressure"')).replay(data)
    watched = data["Pressure"]

    def steps(i: int) -> Iterator[tuple[str, int, Any]]:
        yield "ask", i, None
        if watched[i] == watched[i]:
            yield "teach", i, watched[i]

    places = iter(range(len(data)))

    def ask_one(one: Any, x: dict[str, float]) -> float:
        y = watched[next(places)]
        if y != y:
            return np.nan
        if isinstance(one, compose.Pipeline):
            scaler, last = one.steps.values()
            return float(last.score_one(scaler.transform_one(x), y))
        return float(one.score_one(x, y))

    expected = by_river(WATCHING[model], "anomaly", data, others, ask_one, steps)
    np.testing.assert_array_equal(found["score"], expected)
    assert np.isnan(expected[::17]).all()
    assert len(set(expected)) > 100


def test_live_messages_give_the_same() -> None:
    """Readings as messages, one at a time, are scored as the recording is."""
    data = valve()[:300]
    made = loaded(bed(MODELS["HalfSpaceTrees"]))
    found = table(made, live(made, data))
    again = loaded(bed(MODELS["HalfSpaceTrees"])).replay(data)
    np.testing.assert_array_equal(found["score"], again["score"])


def test_labels_are_for_the_score_alone() -> None:
    """Known faults change no score; the area under the ROC curve is that of counting all pairs."""
    data = valve()
    plain = loaded(bed(MODELS["HalfSpaceTrees"])).replay(data)
    more = 'label = { from = "column:label", delay = "10s" }'
    made = loaded(bed(MODELS["HalfSpaceTrees"], more) + "\n[scores]\nwindow = 5000\n")
    found = made.replay(data)
    np.testing.assert_array_equal(found["score"], plain["score"])
    labelled = found[found["status"] == "labelled"]
    times = pd.to_datetime(data["time"])
    assert len(labelled) == (times <= times.max() - pd.Timedelta("10s")).sum() > 800
    assert found["residual"].isna().all()
    every, *own = scores(made)
    assert len(own) == 2
    for device, ours in zip(sorted(set(data["device"])), own, strict=True):
        mine = labelled[labelled["device"] == device]
        bad = mine["score"][mine["label"] == 1].to_numpy()
        good = mine["score"][mine["label"] == 0].to_numpy()
        area = np.mean((bad[:, None] > good) + (bad[:, None] == good) / 2) if len(bad) else None
        assert ours["rolling_roc_auc"] == (None if area is None else pytest.approx(area))
        precision = [np.mean(mine["label"][mine["score"] >= score]) for score in bad]
        mean = pytest.approx(np.mean(precision)) if len(bad) else None
        assert ours["rolling_pr_auc"] == mean
        assert ours["labels"] == len(mine)
    assert every["rolling_roc_auc"] is not None
    assert every["accuracy"] is None
    assert every["mae"] is None


@pytest.mark.parametrize("model", [MODELS["HalfSpaceTrees"], MODELS["OneClassSVM"]])
def test_any_cut_gives_the_same(model: Any) -> None:
    """One row at a time, and pieces of any size, are the same bits as all at once."""
    data = valve()[:300]
    assert_any_cut_is_the_same(bed(model), data, range(1, 300))
    labelled = bed(model, 'label = { from = "column:label", delay = "5s" }')
    assert_any_cut_is_the_same(labelled, data, [1, 2, 40, 130, 131, 250])


def test_a_restarted_task_goes_on(tmp_path: Path) -> None:
    """Detectors come out of a checkpoint as they went in."""
    assert_goes_on(bed(MODELS["HalfSpaceTrees"]), valve()[:400], tmp_path)


def test_the_fleet_may_share_one_detector() -> None:
    """All devices teach the same one."""
    data = valve()
    found = loaded(bed(MODELS["OneClassSVM"], 'scope = "fleet"')).replay(data)
    one = data.assign(device="all")
    expected = by_river(MODELS["OneClassSVM"], "anomaly", one, BED, ask, score_and_learn)
    np.testing.assert_array_equal(found["score"], expected)


@pytest.mark.parametrize(
    ("model", "more", "key", "remedy"),
    [
        (["cluster.KMeans"], "", "model", "HalfSpaceTrees"),
        (MODELS["OneClassSVM"], 'target = "Pressure"', "model", "remove target"),
        (WATCHING["GaussianScorer"], "", "model", "add target"),
        (WATCHING["GaussianScorer"], 'target = "Pressure"\ninputs = ["Current"]', "target",
         "to inputs"),
        (MODELS["OneClassSVM"], 'horizons = ["1m"]', "horizons", "remove it"),
        (MODELS["OneClassSVM"], "classes = [0, 1]", "classes", "remove it"),
        (MODELS["OneClassSVM"], 'select = { by = "variance" }', "select", "choose with inputs"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_remedy(model: Any, more: str, key: str, remedy: str) -> None:
    """What does not fit together is named with what to do."""
    assert not problems(bed(MODELS["OneClassSVM"]))
    found = problems(bed(model, more))
    problem = next(found[place] for place in found if place.startswith(f"tasks.fault.{key}"))
    assert remedy in problem.message + problem.remedy
