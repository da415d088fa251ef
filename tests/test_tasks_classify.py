"""Tasks that classify: River's own answers on real recordings, live and in a replay."""

import json
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
    recorded,
    rows,
    table,
    toml,
)

DELAY = 48
MARKET = ("nswprice", "nswdemand", "vicprice", "vicdemand", "transfer")
OFFICE = ("Temperature", "Humidity", "Light", "CO2", "HumidityRatio")
PLANT = ("Usage_kWh", "Lagging_Current_Power_Factor", "NSM")
LOADS = ("Light_Load", "Maximum_Load", "Medium_Load")
WORDS = ["DOWN", "UP"]
MODELS: dict[str, Any] = {
    "GaussianNB": ["naive_bayes.GaussianNB"],
    "LogisticRegression": ["preprocessing.StandardScaler", "linear_model.LogisticRegression"],
    "SoftmaxRegression": ["preprocessing.StandardScaler", "linear_model.SoftmaxRegression"],
    "ALMAClassifier": ["preprocessing.StandardScaler", "linear_model.ALMAClassifier"],
    "PAClassifier": ["preprocessing.StandardScaler", "linear_model.PAClassifier"],
    "Perceptron": ["preprocessing.StandardScaler", "linear_model.Perceptron"],
    "HoeffdingTreeClassifier": [{"use": "tree.HoeffdingTreeClassifier", "grace_period": 50}],
    "AMFClassifier": [{"use": "forest.AMFClassifier", "n_estimators": 3}],
}
COMPILED = [name for name in MODELS if name != "AMFClassifier"]
BINARY = {"LogisticRegression", "ALMAClassifier", "PAClassifier", "Perceptron"}


def market(model: str, label: str) -> str:
    """A task on elec2 that gets its labels from there."""
    return f"""{channels(MARKET)}
[tasks.price]
kind = "classification"
classes = ["DOWN", "UP"]
ready_after = 0
before_ready = "none"
model = {toml(MODELS[model])}
label = {{ {label} }}
"""


COLUMN = f'from = "column:label", delay = {{ readings = {DELAY} }}'
TOPIC = 'from = "topic:labels", match = { time_within = "1s" }'


def late(data: pd.DataFrame, binary: bool, delay: int = DELAY) -> Any:
    """What happens at a row of elec2: the label of an earlier one, then a question."""
    labels = [label == "UP" if binary else label for label in data["label"]]

    def steps(i: int) -> Iterator[tuple[str, int, Any]]:
        if i >= delay:
            yield "teach", i - delay, labels[i - delay]
        yield "ask", i, None

    return steps


def chances(model: Any, x: dict[str, float]) -> dict[Any, float]:
    """The probabilities that River gives."""
    found: dict[Any, float] = model.predict_proba_one(x)
    return found


def assert_rivers(found: pd.DataFrame, expected: list[dict[Any, float]]) -> None:
    """A class and probabilities as River's, of the classes that it knows by then."""
    assert len(found) == len(expected)
    names = {True: "UP", False: "DOWN"}
    for told, answer, ours in zip(
        found["prediction"], expected, found["probabilities"], strict=True
    ):
        if not answer:
            assert pd.isna(told)
            assert pd.isna(ours)
            continue
        best = max(answer, key=answer.__getitem__)
        assert told == names.get(best, best)
        mine = json.loads(ours)
        for name, chance in answer.items():
            assert mine[names.get(name, name)] == pytest.approx(chance, rel=1e-9, abs=1e-12)
        assert sum(mine.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("model", MODELS)
def test_a_replay_gives_rivers_answers(model: str) -> None:
    """Classes in words and probabilities, labels 48 rows late, compiled and as River."""
    data = rows("elec2", 1_500)
    made = loaded(market(model, COLUMN))
    assert made.models[0].compiled == (model in COMPILED), made.models[0].why
    steps = late(data, model in BINARY)
    expected = by_river(MODELS[model], "classification", data, MARKET, chances, steps)
    assert_rivers(made.replay(data), expected)


@pytest.mark.parametrize("model", ["LogisticRegression", "AMFClassifier"])
def test_live_messages_give_the_same(model: str) -> None:
    """Readings and labels as messages, one at a time, are answered as the recording is."""
    data = rows("elec2", 600)
    made = loaded(market(model, TOPIC))
    found = table(made, live(made, data, "label", DELAY))
    steps = late(data, model in BINARY)
    expected = by_river(MODELS[model], "classification", data, MARKET, chances, steps)
    assert_rivers(found, expected)
    labelled = found[found["status"] == "labelled"]
    assert len(labelled) > 500
    assert list(labelled["label"]) == list(
        data["label"][:-DELAY][found["status"][:-DELAY] == "labelled"]
    )


OCCUPIED = f"""{channels(OFFICE)}
[channels.label]
kind = "boolean"
[tasks.occupied]
kind = "classification"
target = "label"
{{horizons}}
inputs = ["!*", {", ".join(f'"{name}"' for name in OFFICE)}]
ready_after = 0
before_ready = "none"
model = {toml(MODELS["LogisticRegression"])}
"""


@pytest.mark.parametrize("ahead", [0, 10])
def test_a_boolean_channel_is_a_label(ahead: int) -> None:
    """Of the same reading, predicted before it is known, or of a later one."""
    data = rows("occupancy_detection", 1_200)
    horizons = f"horizons = [{{ readings = {ahead} }}]" if ahead else ""
    made = loaded(OCCUPIED.replace("{horizons}", horizons))
    assert made.models[0].compiled
    found = made.replay(data)

    def steps(i: int) -> Iterator[tuple[str, int, Any]]:
        target = bool(data["label"][i])
        if ahead and i >= ahead:
            yield "teach", i - ahead, target
        yield "ask", i, None
        if not ahead:
            yield "teach", i, target

    model = MODELS["LogisticRegression"]
    expected = by_river(model, "classification", data, OFFICE, chances, steps)
    ours = [json.loads(text)["true"] for text in found["probabilities"]]
    np.testing.assert_allclose(ours, [answer[True] for answer in expected], 1e-9)
    assert list(found["prediction"]) == [answer[True] > 0.5 for answer in expected]
    known = found["label"][: len(found) - ahead]
    assert list(known) == [bool(label) for label in data["label"][ahead:]]


@pytest.mark.parametrize("model", ["GaussianNB", "SoftmaxRegression", "AMFClassifier"])
def test_several_classes_of_a_category(model: str) -> None:
    """Three words of a channel's vocabulary; a class that never came has no probability yet."""
    data = rows("steel_energy", 2_000)
    words = ", ".join(f'"{word}"' for word in LOADS)
    made = loaded(f"""{channels(PLANT)}
[channels.label]
kind = "category"
values = [{words}]
[tasks.load]
kind = "classification"
target = "label"
inputs = ["!*", {", ".join(f'"{name}"' for name in PLANT)}]
ready_after = 0
before_ready = "none"
model = {toml(MODELS[model])}
""")
    assert made.models[0].compiled == (model in COMPILED), made.models[0].why

    def steps(i: int) -> Iterator[tuple[str, int, Any]]:
        yield "ask", i, None
        yield "teach", i, data["label"][i]

    expected = by_river(MODELS[model], "classification", data, PLANT, chances, steps)
    found = made.replay(data)
    assert_rivers(found, expected)
    assert set(found["prediction"].dropna()) == set(LOADS)


def test_numbers_that_nobody_declared_are_learned_as_they_come() -> None:
    """A class is its number; what is beyond `classes_max` is refused, counted and not taught."""
    text = f"""{channels(("a",))}
[tasks.code]
kind = "classification"
classes_max = 2
ready_after = 0
model = ["naive_bayes.GaussianNB"]
label = {{ from = "column:label" }}
"""
    codes = [7, 7, 2.5, 7, 9, 2.5, 7, 9]
    times = pd.date_range("2026-01-01", periods=8, freq="s", tz="UTC")
    a = [1.0, 1.1, 5.0, 1.0, 9.0, 5.1, 0.9, 9.1]
    data = pd.DataFrame({"device": "d", "time": times, "a": a, "label": codes})
    made = loaded(text)
    found = made.replay(data)
    assert [one for one in found["label"] if pd.notna(one)] == [7, 7, 2.5, 7, 2.5, 7]
    assert list(found["status"]).count("expired") == 2
    assert json.loads(found["probabilities"].iloc[-1]).keys() == {"7", "2.5"}
    view = made.board.tasks()[0]
    assert (list(view.classes), view.labels_refused) == (["7", "2.5"], 2)


@pytest.mark.parametrize("model", ["GaussianNB", "AMFClassifier"])
def test_any_cut_gives_the_same(model: str) -> None:
    """One row at a time, and pieces of any size, are the same bits as all at once."""
    data = rows("elec2", 300)
    text = market(model, COLUMN)
    assert_any_cut_is_the_same(text, data, range(1, 300))
    assert_any_cut_is_the_same(text, data, [1, 2, 48, 49, 130, 131, 250])


@pytest.mark.parametrize("model", ["SoftmaxRegression", "AMFClassifier"])
def test_a_restarted_task_goes_on(model: str, tmp_path: Path) -> None:
    """Models, classes, waiting probabilities and scores come out of a checkpoint."""
    assert_goes_on(market(model, TOPIC), rows("elec2", 400), tmp_path, "label", DELAY)
    undeclared = market(model, TOPIC).replace('classes = ["DOWN", "UP"]\n', "")
    data = rows("elec2", 300)
    data["label"] = (data["label"] == "UP") * 3 + 1
    assert_goes_on(undeclared, data, tmp_path, "label", DELAY)


def test_the_board_names_class_and_probabilities() -> None:
    """What the API and the page show of a device's newest prediction."""
    made = loaded(market("LogisticRegression", COLUMN))
    found = made.replay(rows("elec2", 200)).iloc[-1]
    predictions = made.board.predictions("nsw")
    assert predictions is not None
    (newest,) = predictions
    assert newest.predicted_class == found["prediction"]
    assert newest.probabilities == pytest.approx(json.loads(found["probabilities"]))
    assert newest.label_class is None
    assert not math.isnan(newest.prediction or math.nan) or newest.prediction == 0.0


def test_drift_is_seen_in_wrong_answers() -> None:
    """Labels turned round: the share of wrong answers rises, and the detector says so."""
    data = rows("elec2", 1_000)
    late = data["label"][600:]
    data.loc[600:, "label"] = late.map({"UP": "DOWN", "DOWN": "UP"})
    made = loaded(market("GaussianNB", COLUMN) + '[drift]\ndetector = "adwin"\n')
    events = [event for output in recorded(made, data) for event in output.events]
    rose = [one for one in events if one.kind is EventKind.DRIFT_UP]
    assert rose
    assert all(0.0 <= one.before < one.after <= 1.0 for one in rose)


BASE = f"""{channels(("a", "b"))}
[tasks.t]
kind = "classification"
target = "a"
model = ["naive_bayes.GaussianNB"]
"""


@pytest.mark.parametrize(
    ("old", "new", "key", "remedy"),
    [
        ('"naive_bayes.GaussianNB"', '"linear_model.LinearRegression"', "model", "GaussianNB"),
        ('"naive_bayes.GaussianNB"', '"linear_model.LogisticRegression"', "model", "OneVsRest"),
        ('target = "a"', "", "target", "add target"),
        ('target = "a"', 'target = "a"\nclasses = ["x", "y"]', "classes", "without quotes"),
        ('target = "a"', 'target = "a"\nclasses = [1]', "classes", "name all"),
        ('target = "a"', 'target = "a"\nclasses = [1, 1]', "classes", "name each once"),
        ('target = "a"', 'target = "a"\nclasses_max = 1', "classes_max", "2"),
        ('kind = "classification"', 'kind = "regression"\nclasses = [0, 1]\npredict = "level"',
         "classes", "remove it"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_remedy(old: str, new: str, key: str, remedy: str) -> None:
    """What does not fit together is named with what to do."""
    assert not problems(BASE)
    found = problems(BASE.replace(old, new))
    problem = next(found[place] for place in found if place.startswith(f"tasks.t.{key}"))
    assert remedy in problem.message + problem.remedy
