"""Several models of a task side by side: the contract, who is followed, what is refused."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from river import dummy, linear_model, naive_bayes, preprocessing, stats

from models import candidates, class_mixture
from models.candidates import Candidates
from models.compile import compile as compile_model
from models.learner import Learner, Make
from models.mixture import build as mixture
from models.river_fleet import RiverFleet
from models.several_blobs import SeveralBlobs
from models.ways import Question
from stream_processor.pipeline import Pipeline
from stream_processor.settings import Problems, load_text
from streamgauge.classes import Classes
from streamgauge.schedule import TARGET, Choose
from streamgauge.state import Keys
from tests.contracts import learners
from tests.contracts.invariance import Cut, assert_same_bits, assert_same_state, cuts
from tests.contracts.learner_subjects import INPUTS, LANE
from tests.contracts.schedules import ROWS, Steps, lessons

BEGIN = pd.Timestamp("2026-03-02", tz="UTC")
WAYS: tuple[Choose, ...] = ("best", "mean", "halving")
NUMBERS: Mapping[str, Make] = {
    "linear": lambda: preprocessing.StandardScaler() | linear_model.LinearRegression(),
    "median": lambda: dummy.StatisticRegressor(stats.Quantile(0.5)),
}
CLASSES: Mapping[str, Make] = {
    "bayes": naive_bayes.GaussianNB,
    "usual": dummy.PriorClassifier,
}
NAMES = [f"f{k}" for k in range(6)]
calm = settings(deadline=None, max_examples=4, derandomize=True, phases=[Phase.generate])


def build(keys: Keys = Keys.DEVICE, *, choose: Choose, classes: int = 0) -> Candidates:
    """Candidates for the steps of the contract suite: compiled, as River, and the default."""
    question = Question()
    if classes:
        question = Question("classification", Classes.of(range(classes), range(classes)))
    given = CLASSES if classes else NUMBERS
    of: dict[str, Learner] = {
        name: compile_model(make, LANE, INPUTS, NAMES, ROWS, keys, question).learner
        for name, make in given.items()
    }
    if classes:
        of["default"] = class_mixture.build(
            LANE, INPUTS, ROWS, keys, classes=classes, declared=True, pending=400
        )
    else:
        of["default"] = mixture(LANE, INPUTS, ROWS, keys, delay=0, level=True, pending=400)
    return candidates.build(
        of, LANE, ROWS, keys, choose=choose, classes=classes, pending=400, round_labels=3
    )


def of_classes(steps: Steps, classes: int) -> Steps:
    """The same steps with places of classes as targets."""
    steps.numbers[:, TARGET] = np.floor(np.abs(np.arctan(steps.numbers[:, TARGET])) / 1.6 * classes)
    return steps


@calm
@given(data=st.data())
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("choose", WAYS)
def test_the_contract_of_learners(choose: Choose, classes: int, data: st.DataObject) -> None:
    """Cuts mean nothing, also where a candidate leaves in the middle of a batch; a device fares the
    same alone, moved, and beside others that are forgotten."""
    made = partial(build, choose=choose, classes=classes)
    steps = data.draw(lessons())
    steps = of_classes(steps, classes) if classes else steps
    cut = data.draw(cuts(len(steps)))
    learners.check_cut(made, steps, cut)
    learners.check_alone(made, steps)
    learners.check_move(made, steps, len(steps) // 2, cut)
    learners.check_evict(made, steps)
    assert_fleet_cut(partial(made, Keys.FLEET), steps.shared(), cut)


def assert_fleet_cut(made: Callable[[], Learner], steps: Steps, cut: Cut) -> None:
    """One model for all: answers and state are the same wherever the steps are cut."""
    whole, parts = learners.opened(made), learners.opened(made)
    assert_same_bits({"a": learners.play(whole, steps)}, {"a": learners.play(parts, steps, cut)})
    assert_same_state(whole.blocks, parts.blocks, np.arange(ROWS), np.arange(ROWS))


def test_blobs_of_several_learners_are_one() -> None:
    """One per row, which says whose is whose; a row that changed in any of them is dirty once."""
    of = [RiverFleet(dummy.NoChangeClassifier, LANE, INPUTS, NAMES) for _ in range(2)]
    both = SeveralBlobs([one.blobs for one in of])
    of[0].blobs.load([3], of[1].blobs.dump([3]))
    assert both.dirty == {3}
    of[0].blobs.of[3], of[1].blobs.of[4] = dummy.NoChangeClassifier(), dummy.PriorClassifier()
    found = both.dump([2, 3, 4])
    assert found[0] == b""
    both.load([5, 6, 7], found)
    assert {row: type(model).__name__ for row, model in of[0].blobs.of.items()} == {
        3: "NoChangeClassifier", 6: "NoChangeClassifier"
    }  # fmt: skip
    assert sorted(of[1].blobs.of) == [4, 7]
    assert both.dirty == {3, 5, 6, 7}
    both.drop([3, 4, 6, 7])
    assert not of[0].blobs.of
    assert not of[1].blobs.of


def stream(n: int) -> pd.DataFrame:
    """A target that is 3 a for the first half, and jumps where a is above 0 in the second."""
    rng = np.random.default_rng(4)
    time = BEGIN + pd.to_timedelta(np.arange(n), unit="min")
    a = rng.normal(size=n)
    y = np.where(np.arange(n) < n // 2, 3.0 * a, 4.0 * (a > 0.0)) + 0.1 * rng.normal(size=n)
    return pd.DataFrame({"device": "d", "time": time, "a": a, "y": y})


LINEAR = '["preprocessing.StandardScaler", "linear_model.LinearRegression"]'
TREE = '{ use = "tree.HoeffdingTreeRegressor", grace_period = 50 }'
MEDIAN = '{ use = "dummy.StatisticRegressor", statistic = { use = "stats.Quantile", q = 0.5 } }'


def task(of: str, more: str = "", kind: str = "regression") -> str:
    """A configuration with these candidates, or with one model where there is no list of them."""
    named = f"candidates = [{of}]" if more else of
    return (
        f'[channels]\na = {{}}\n[tasks.t]\nkind = "{kind}"\n{named}\n{more}\n'
        'label = { from = "column:y", delay = { readings = 3 } }\n[drift]\ndetector = "none"\n'
    )


def replayed(
    text: str, data: pd.DataFrame, size: int = 10**6, at: Path = Path()
) -> tuple[Pipeline, pd.DataFrame]:
    """The pipeline after a recording in pieces of so many rows, and its predictions."""
    pipeline = Pipeline(load_text(text, at / "pipeline.toml", {}, for_replay=True))
    pieces = [pipeline.replay(data[k : k + size]) for k in range(0, len(data), size)]
    return pipeline, pd.concat(pieces, ignore_index=True)


def followed(pipeline: Pipeline) -> dict[str, float]:
    """Whom the device follows."""
    return dict(pipeline.board.scores("t", "d")[0].follows)


def error(table: pd.DataFrame, begin: int, end: int) -> float:
    """Mean absolute error of these predictions."""
    return float(table["residual"][begin:end].abs().mean())


def test_the_best_answers_and_another_may_be_the_best_later() -> None:
    """Each half is told as well as by who is right there; whom a device follows is told."""
    data = stream(8_000)
    alone = {name: replayed(task(f"model = {name}"), data)[1] for name in (LINEAR, TREE)}
    half, tables = len(data) // 2, {}
    for choose in ("best", "mean"):
        pipeline, made = replayed(task(f"{LINEAR}, {TREE}, {MEDIAN}", f'choose = "{choose}"'), data)
        tables[choose] = made
        for begin, end, right in ((500, half, LINEAR), (half + 1_500, len(data), TREE)):
            assert error(made, begin, end) < 1.03 * error(alone[right], begin, end)
        shares = followed(pipeline)
        tree_name = "tree.HoeffdingTreeRegressor grace_period=50"
        assert shares[tree_name] > 0.8
        np.testing.assert_allclose(sum(shares.values()), 1.0)
        assert next(iter(shares)) == "preprocessing.StandardScaler | linear_model.LinearRegression"
    assert not tables["best"]["prediction"].equals(tables["mean"]["prediction"])


def test_the_worse_half_leaves_after_each_round() -> None:
    """Of four one remains after two rounds, with what River keeps of the others; pieces of the
    stream may be of any size."""
    data = stream(2_000)
    of = f"{MEDIAN}, {TREE}, {LINEAR}, {MEDIAN}"
    more = 'choose = "halving"\nhalve_after = 200'
    tables = []
    for size in (2_000, 317, 1):
        pipeline, made = replayed(task(of, more), data[: 700 if size == 1 else 2_000], size)
        tables.append(made["prediction"][:700])
        learner: Any = pipeline.walk.stages.learners[0]
        assert learner.blocks["choice"].view("out")[0].tolist() == [1.0, 1.0, 0.0, 1.0]
        told = pipeline.board.scores("t", "d")[0].follows
        assert told["preprocessing.StandardScaler | linear_model.LinearRegression"] == 1.0
        sizes = [len(blob) for blob in learner.blobs.dump([0])]
        assert sizes == [0], "two medians, both forgotten"
    pd.testing.assert_series_equal(tables[0], tables[1], check_exact=True)
    pd.testing.assert_series_equal(tables[0], tables[2], check_exact=True)


def test_the_default_may_be_a_candidate() -> None:
    """It answers as it does alone where it is the best, and sees how channels moved."""
    data = stream(2_000)
    _, alone = replayed(task(""), data)
    pipeline, beside = replayed(task(f'{MEDIAN}, "default"', 'choose = "best"'), data)
    assert pipeline.board.tasks()[0].inputs == ["a", "a_diff1"]
    assert followed(pipeline)["default"] == 1.0
    np.testing.assert_array_equal(alone["prediction"][300:], beside["prediction"][300:])


def test_classes_are_chosen_by_their_probabilities() -> None:
    """Who tells them best is followed; certainty that is wrong costs most."""
    data = stream(4_000)
    rng = np.random.default_rng(5)
    data["y"] = np.where(
        rng.random(len(data)) < 1.0 / (1.0 + np.exp(-4.0 * data["a"])), "on", "off"
    )
    more = 'choose = "{}"\nclasses = ["off", "on"]'
    of = '"dummy.PriorClassifier", "naive_bayes.GaussianNB", "default"'
    for choose in WAYS:
        text = task(of, more.format(choose) + "\nhalve_after = 300", "classification")
        pipeline, _ = replayed(text, data)
        assert followed(pipeline)["dummy.PriorClassifier"] < 0.01
        scores = pipeline.board.scores("t")[0].scores
        assert (scores["accuracy"] or 0.0) > 0.83


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            f"candidates = [{LINEAR}]",
            "candidates = .*: a single one; name it as model, or add another",
        ),
        (f"candidates = [{LINEAR}, {TREE}]\nmodel = {LINEAR}", "there is a model beside them"),
        ('candidates = ["default", "naive_bayes.GaussianNB"]', "candidates.*GaussianNB"),
        ('candidates = ["default", "linear_model.Nothing"]', "candidates.*Nothing"),
    ],
)
def test_what_is_wrong_is_said(wrong: str, message: str) -> None:
    """With the place, and what to write instead."""
    with pytest.raises(Problems, match=message):
        load_text(task("").replace("[drift]", f"{wrong}\n[drift]"), Path("p.toml"), {})


def test_what_learns_without_labels_has_one_model() -> None:
    """Nothing could choose among its candidates."""
    text = '[channels]\na = {}\n[tasks.t]\nkind = "anomaly"\ncandidates = ["default", "default"]\n'
    with pytest.raises(Problems, match=r"labels choose among candidates.*name one model"):
        load_text(text, Path("p.toml"), {})


def test_halving_is_not_for_tags(tmp_path: Path) -> None:
    """What devices keep beside a model that they share could not be forgotten at one moment."""
    (tmp_path / "devices.csv").write_text("device,site\nd,a\n", encoding="utf-8")
    text = task('"default", "default"', 'choose = "halving"\nscope = "tag:site"')
    text = '[devices]\ntags = "devices.csv"\n' + text
    with pytest.raises(Problems, match=r'choose.*halving is for.*write choose = "best"'):
        load_text(text, tmp_path / "p.toml", {}, for_replay=True)
    _, made = replayed(text.replace("halving", "best"), stream(300), at=tmp_path)
    assert made["prediction"].notna().sum() > 200
