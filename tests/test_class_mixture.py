"""The model of a classification that names none: the contract, what it learns, on recordings."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import class_mixture
from models.class_mixture import EXPERTS
from models.kernel_fleet import KernelFleet
from models.mixing import outweigh
from stream_processor.pipeline import Pipeline
from stream_processor.settings import load_text
from streamgauge.schedule import TARGET
from streamgauge.state import Keys
from streamgauge.words import Step
from tests.contracts import learners
from tests.contracts.invariance import cuts
from tests.contracts.learner_subjects import INPUTS, LANE
from tests.contracts.schedules import ROWS, SCALES, Steps, lessons, make
from tests.known_tasks import CLASSES, Classes
from tests.recordings import recording

BEGIN = pd.Timestamp("2026-03-02", tz="UTC")
calm = settings(deadline=None, max_examples=20, derandomize=True)


def build(keys: Keys = Keys.DEVICE, *, classes: int = 3, from_fleet: bool = False) -> KernelFleet:
    """A mixture for the steps of the contract suite."""
    return class_mixture.build(
        LANE, INPUTS, ROWS, keys, classes=classes, declared=True, pending=400, from_fleet=from_fleet
    )


def of_classes(steps: Steps, classes: int) -> Steps:
    """The same steps with places of classes as targets."""
    steps.numbers[:, TARGET] = np.floor(np.abs(np.arctan(steps.numbers[:, TARGET])) / 1.6 * classes)
    return steps


@calm
@given(data=st.data())
def test_the_contract_of_learners(data: st.DataObject) -> None:
    """Cuts and chains mean nothing; a device fares the same alone, moved, and beside others that
    are forgotten."""
    classes = data.draw(st.sampled_from([2, 3, 12]))
    made = partial(build, classes=classes)
    steps = of_classes(data.draw(lessons()), classes)
    cut = data.draw(cuts(len(steps)))
    learners.check_cut(made, steps, cut)
    learners.check_cut(partial(made, from_fleet=True), steps, cut)
    learners.check_chain(made, steps, cut)
    learners.check_alone(made, steps)
    learners.check_move(made, steps, len(steps) // 2, cut)
    learners.check_evict(made, steps)


@pytest.mark.parametrize("scale", SCALES)
def test_whatever_comes_it_answers(scale: str) -> None:
    """Once there was a label there is an answer, a class that was met, and probabilities of it."""
    for seed in range(30):
        steps = of_classes(make(seed, 400, scale=scale, missing=0.3, devices=1), 4)
        fleet = learners.opened(partial(build, classes=4))
        answers = learners.play(fleet, steps)
        learned = np.flatnonzero(steps.are(LANE, Step.LEARN))[0]
        asked = steps.are(LANE, Step.PREDICT)
        assert np.isnan(answers[:learned][asked[:learned]]).all()
        met = set(steps.numbers[steps.are(LANE, Step.LEARN), TARGET])
        assert set(answers[learned:][asked[learned:]]) <= met
        waiting = fleet.blocks["waiting"].view("chance")
        assert np.isfinite(waiting).all()


def test_experts_are_weighed_by_their_brier_scores() -> None:
    """Who tells the truth better is followed, also when that changes."""
    weights, losses = np.zeros(3), np.zeros(3)
    sure = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    for _ in range(500):
        outweigh(weights, losses, sure, 0)
    assert weights[0] > 0.95
    np.testing.assert_allclose(weights.sum(), 1.0)
    for _ in range(2_000):
        outweigh(weights, losses, sure, 1)
    assert weights[2] > 0.95


def replayed(text: str, data: pd.DataFrame) -> tuple[Pipeline, pd.DataFrame]:
    """The pipeline after a recording, and its predictions."""
    pipeline = Pipeline(load_text(text, Path("pipeline.toml"), {}, for_replay=True))
    return pipeline, pipeline.replay(data)


def task(classes: str, delay: str, more: str = "") -> str:
    """A configuration that names nothing but the question."""
    return (
        f'[tasks.t]\nkind = "classification"\nclasses = {classes}\n'
        f'label = {{ from = "column:label", delay = {delay} }}\n{more}'
        '[drift]\ndetector = "none"\n'
    )


def shares(pipeline: Pipeline) -> dict[str, float]:
    """Whom the first device follows."""
    learner: Any = pipeline.walk.stages.learners[0]
    found: dict[str, float] = learner.shares([0])
    return found


def stream(n: int, seed: int) -> tuple[pd.DataFrame, np.random.Generator]:
    """Two channels of noise, a reading a minute."""
    rng = np.random.default_rng(seed)
    time = BEGIN + pd.to_timedelta(np.arange(n), unit="min")
    columns = {"device": "d", "time": time, "a": rng.normal(size=n), "b": rng.normal(size=n)}
    return pd.DataFrame(columns), rng


def scores_of(pipeline: Pipeline) -> dict[str, Any]:
    """Over all devices."""
    return dict(pipeline.board.scores("t")[0].scores)


def test_it_follows_who_is_right() -> None:
    """Labels that stay for hours: the last one. A line in the channels: a regression. A ring: the
    one that sees squares. Hours of the day: one that sees the time."""
    n = 6_000
    data, rng = stream(n, 5)
    a, b = data["a"], data["b"]
    minute = np.arange(n)
    stays = np.repeat(rng.integers(0, 3, n // 100), 100)
    cases: dict[str, tuple[Any, set[str], float]] = {
        "stays": (stays, {"last label", "linear in time", "curved", "least squares"}, 0.9),
        "line": ((a + 0.5 * b > 0.3).astype(int), {"linear", "linear in time", "curved"}, 0.97),
        "ring": ((a * a + b * b > 1.4).astype(int), {"curved"}, 0.95),
        "hours": ((minute % 1440 < 600).astype(int), set(EXPERTS) - {"linear"}, 0.95),
    }
    for name, (label, right, least) in cases.items():
        known = sorted({f"c{one}" for one in label})
        table = data.assign(label=[f"c{one}" for one in label])
        pipeline, _ = replayed(task(json.dumps(known), "{ readings = 5 }"), table)
        assert scores_of(pipeline)["rolling_accuracy"] > least, name
        found = shares(pipeline)
        assert sum(found[one] for one in right) > 0.9, (name, found)
    assert not pipeline.models[0].learner.failures


def test_probabilities_are_those_of_the_labels() -> None:
    """Of what is told with .2 to .3 a quarter is so; together they are 1."""
    data, rng = stream(8_000, 6)
    chance = 1.0 / (1.0 + np.exp(-1.5 * data["a"] + 0.5))
    data["label"] = np.where(rng.random(len(data)) < chance, "on", "off")
    _, table = replayed(task('["off", "on"]', "{ readings = 5 }"), data)
    table = table[table["probabilities"].notna()].iloc[1_000:]
    chances = pd.DataFrame(map(json.loads, table["probabilities"]), index=table.index)
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)
    told = chances["on"]
    for least in np.arange(0.0, 1.0, 0.1):
        part = (told >= least) & (told < least + 0.1)
        if part.sum() > 200:
            gap = abs((table["label"][part] == "on").mean() - told[part].mean())
            assert gap < 0.06, least


def test_a_class_that_comes_late_is_told_once_it_was_met() -> None:
    """It is rare at first, and no other answer is worse for it; then it is learned."""
    data, _ = stream(6_000, 7)
    usual = (data["a"] > 0.0).map({True: "up", False: "down"})
    wild = (data["b"] > 1.0) & (np.arange(6_000) >= 3_000)
    data["label"] = usual.mask(wild, "wild")
    _, table = replayed(task('["down", "up", "wild"]', "{ readings = 5 }"), data)
    right = table["prediction"] == table["label"]
    assert right[:3_000].iloc[500:].mean() > 0.97
    assert "wild" not in set(table["prediction"][:3_000])
    told = json.loads(table["probabilities"][2_999])
    assert 0.0 < told["wild"] < 0.001
    np.testing.assert_allclose(sum(told.values()), 1.0)
    assert right[3_000:3_300][~wild[3_000:3_300]].mean() > 0.9
    assert right[4_000:].mean() > 0.9


def test_a_new_device_begins_with_what_the_fleet_learned() -> None:
    """It tells its first labels nearly as well as the others tell theirs; later all are alike."""
    parts = []
    for k in range(4):
        data, _ = stream(1_500, 10 + k)
        begin = pd.Timedelta(days=2) if k == 3 else pd.Timedelta(seconds=k)
        data["label"] = (data["a"] - data["b"] > 0.5).map({True: "on", False: "off"})
        parts.append(data.assign(device=f"d{k}", time=data["time"] + begin))
    data = pd.concat(parts).sort_values("time", kind="stable", ignore_index=True)
    found = {}
    for begins in ("fleet", "empty"):
        text = task('["off", "on"]', "{ readings = 5 }", f'start = "{begins}"\nready_after = 0\n')
        _, table = replayed("[channels]\na = {}\nb = {}\n" + text, data)
        new = table[table["device"] == "d3"]
        right = (new["prediction"] == new["label"]).to_numpy()
        found[begins] = right[:100].mean(), right[500:].mean()
    assert found["fleet"][0] > 0.93
    assert found["empty"][0] < 0.88
    assert found["fleet"][1] > found["empty"][1] - 0.01


def test_one_model_for_the_fleet() -> None:
    """`scope = "fleet"`: what is learned is shared, the last label is each device's own."""
    rng = np.random.default_rng(3)
    parts = []
    for k in range(3):
        data, _ = stream(1_000, 20 + k)
        data["label"] = np.repeat(rng.choice(["x", "y", "z"], 10), 100)
        moved = data["time"] + pd.Timedelta(seconds=k)
        parts.append(data.assign(device=f"d{k}", time=moved))
    data = pd.concat(parts).sort_values("time", ignore_index=True)
    text = task('["x", "y", "z"]', "{ readings = 1 }", 'scope = "fleet"\n')
    pipeline, _ = replayed(text, data)
    assert pipeline.walk.stages.learners[0].keys is Keys.FLEET
    assert scores_of(pipeline)["rolling_accuracy"] > 0.93


@pytest.mark.slow
@pytest.mark.parametrize("known", CLASSES, ids=lambda known: known.recording)
def test_recordings(known: Classes) -> None:
    """With nothing but the question, labels as late as the recordings say: ahead of what was known
    or as good (within .05 %), ahead of the last label that is known and of the commonest class."""
    data = pd.read_csv(recording(f"{known.recording}.csv.gz"), dtype={"device": str})
    data = data.drop(columns="split", errors="ignore")
    classes = json.dumps(sorted(data["label"].dropna().unique().tolist()))
    pipeline, _ = replayed(known.toml(classes), data)
    scores = scores_of(pipeline)
    assert scores["accuracy"] > known.accuracy - 0.0005
    assert scores["accuracy"] > scores["persistence_accuracy"]
    assert scores["accuracy"] > scores["majority_accuracy"]


def test_names_of_experts() -> None:
    """Each has one, the first is the last label."""
    assert len(set(EXPERTS)) == len(EXPERTS)
    assert EXPERTS[0] == "last label"
