"""`streamgauge tune`: the best of what was tried, chosen on one part and judged on another."""

import io
import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from river import metrics

from serving.check import check
from serving.tune.command import tune
from serving.tune.recording import Recording, parts_of
from serving.tune.score import SCORES, Labels
from serving.tune.space import options_of, path_of, with_values
from serving.tune.study import Study
from serving.tune.trial import curves, judged
from stream_processor.pipeline import Pipeline
from stream_processor.settings import Settings, load
from stream_processor.settings.tuning import SplitSettings
from tests.recordings import recording

START = pd.Timestamp("2026-03-02", tz="UTC")
FLOW = """# A pump.
[channels]
flow = { range = [-1e6, 1e6] }   # l/min
[features]
lags = { flow = [1] }
[tasks.next]
kind = "forecast"
target = "flow"
horizons = [{ readings = 1 }]
model = [
  "preprocessing.StandardScaler",
  { use = "linear_model.LinearRegression", optimizer = { use = "optim.SGD", lr = 0.00001 } },
]
"""
CLASSES = """
[channels]
a = {}
[tasks.kind]
kind = "classification"
classes = [0, 1, 2]
model = ["naive_bayes.GaussianNB"]
label = { from = "column:label" }
"""
TUNE = """
[tune]
by = "random"
trials = 4
[tune.options]
"tasks.next.model[1].optimizer.lr" = { from = 0.001, to = 0.05, log = true }
"features.lags.flow" = [[1], [1, 2, 3]]
"""


def flow(n: int = 1_500, devices: int = 1, seed: int = 3) -> pd.DataFrame:
    """An oscillation in noise, which its last values tell: what changes next is no guess."""
    rng = np.random.default_rng(seed)
    parts = []
    for k in range(devices):
        value = np.zeros(n)
        for t in range(2, n):
            value[t] = 1.6 * value[t - 1] - 0.9 * value[t - 2] + rng.normal()
        time = START + pd.to_timedelta(np.arange(n), unit="min")
        parts.append(pd.DataFrame({"device": f"pump-{k}", "time": time, "flow": value}))
    return pd.concat(parts).sort_values("time", kind="stable", ignore_index=True)


def written(folder: Path, text: str, data: pd.DataFrame) -> tuple[Path, Path]:
    """A configuration and a recording as files."""
    config, path = folder / "pipeline.toml", folder / "data.parquet"
    config.write_text(text, encoding="utf-8")
    data.to_parquet(path)
    return config, path


def tuned(folder: Path, text: str, data: pd.DataFrame, trials: int | None = None) -> dict[str, Any]:
    """What `tune` writes, as TOML; it passes `check`."""
    config, path = written(folder, text, data)
    assert tune(config, path, output=None, trials=trials) == 0
    output, said = folder / "pipeline.tuned.toml", io.StringIO()
    assert check(output, {}, said) == 0, said.getvalue()
    return tomllib.loads(output.read_text(encoding="utf-8"))


def refused(folder: Path, text: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Why nothing was tried."""
    config, path = written(folder, text, flow(100))
    assert tune(config, path, output=None, trials=None) == 2
    assert not (folder / "pipeline.tuned.toml").exists()
    return " ".join(capsys.readouterr().err.split())


def test_the_best_is_written_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A learning rate that learns nothing gives way; comments and all else stay; a report says what
    came out, for better and on what was not looked at."""
    found = tuned(tmp_path, FLOW + TUNE, flow())
    lr = found["tasks"]["next"]["model"][1]["optimizer"]["lr"]
    assert 0.001 <= lr <= 0.05
    text = (tmp_path / "pipeline.tuned.toml").read_text()
    assert text.startswith("# A pump.")
    assert "# l/min" in text
    out = capsys.readouterr().out
    assert "4 trials of next" in out
    assert f"tasks.next.model[1].optimizer.lr = {lr}" in out
    page = (tmp_path / "pipeline.tuned.html").read_text()
    for part in ("Learning curves", "once learned", "best so far", f"lr = {lr}", "PED-ANOVA"):
        assert part in page
    assert "<script" not in page
    assert "$" not in page.replace("$.", "")


def test_it_goes_on_where_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """More trials add to those of before, and do not repeat them; another question begins anew."""
    tuned(tmp_path, FLOW + TUNE, flow(), trials=3)
    log = tmp_path / "pipeline.tuned.log"
    first = log.read_text()
    tuned(tmp_path, FLOW + TUNE, flow(), trials=5)
    assert log.read_text().startswith(first)
    assert "5 trials" in capsys.readouterr().out
    steps = [json.loads(line) for line in log.read_text().splitlines()]
    rates = [one for one in steps if one.get("param_name", "").endswith("lr")]
    assert len({one["param_value_internal"] for one in rates}) == len(rates) == 5
    tuned(tmp_path, FLOW.replace("flow = [1]", "flow = [2]") + TUNE, flow(), trials=2)
    assert "2 trials" in capsys.readouterr().out


def test_nothing_better_keeps_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file comes out as it went in, and it is said."""
    text = FLOW.replace("0.00001", "0.02") + TUNE.replace("0.001, to = 0.05", "1e-7, to = 2e-7")
    config, path = written(tmp_path, text.replace("[[1], [1, 2, 3]]", "[[1], [5]]"), flow())
    assert tune(config, path, output=tmp_path / "out.toml", trials=2) == 0
    assert (tmp_path / "out.toml").read_text() == config.read_text()
    assert "none was better than the configuration as it is" in capsys.readouterr().out


def test_a_trial_that_comes_to_nothing_is_no_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Values of which each fits alone, and two together do not, are told with the reason."""
    text = FLOW.replace("flow = [1]", "flow = [1, 2]")
    text += """
[tune]
by = "grid"
[tune.options]
"features.lags.flow" = [[1, 2], [2]]
"tasks.next.inputs" = [["*"], ["flow_lag1"]]
"""
    tuned(tmp_path, text, flow(400))
    assert "4 trials of next, 1 of them stopped early" in capsys.readouterr().out
    assert "no feature of that name" in (tmp_path / "pipeline.tuned.html").read_text()


@pytest.mark.parametrize("stops", [1, 3])
def test_a_grid_is_tried_point_by_point(tmp_path: Path, stops: int) -> None:
    """Each point once, also when it was interrupted; then there is nothing left to do."""
    options = options_of({"a": [1, 2], "b": [[1], [2, 3]]})
    seen: list[Any] = []

    def work(values: Any, told: Any) -> float:
        seen.append((values["a"], tuple(values["b"])))
        if len(seen) == stops:
            raise KeyboardInterrupt
        return float(values["a"])

    def study() -> Study:
        return Study(tmp_path / "log", "question", options, "grid", better=-1)

    with pytest.raises(KeyboardInterrupt):
        study().run(100, work, lambda: None)
    study().run(100, work, lambda: None)
    study().run(100, work, lambda: None)
    assert len(seen) == 5
    assert set(seen) == {(1, (1,)), (1, (2, 3)), (2, (1,)), (2, (2, 3))}
    assert [one.score for one in study().tried()] == [1.0, 1.0, 2.0, 2.0]


def test_what_tests_decides_nothing(tmp_path: Path) -> None:
    """Whatever the last quarter holds, the same values come out with the same score."""
    data = flow()
    other = data.copy()
    rows = other.index[-len(data) // 4 + 1 :]
    other.loc[rows, "flow"] = np.random.default_rng(0).normal(0.0, 1e4, len(rows))
    found = []
    for name, rows_of in (("one", data), ("two", other)):
        folder = tmp_path / name
        folder.mkdir()
        tuned(folder, FLOW + TUNE, rows_of)
        settings = load(folder / "pipeline.tuned.toml", {}, for_replay=True)
        given = _given(settings, folder / "data.parquet")
        found.append((settings.tasks["next"].model, judged(*given, "mae", "next")))
    assert found[0][0] == found[1][0]
    assert found[0][1].decides == found[1][1].decides
    assert found[0][1].tests != found[1][1].tests


def _given(settings: Settings, path: Path) -> tuple[Settings, Recording, Any]:
    recording = Recording(path)
    schema = Pipeline(settings).walk.stages.schema
    return settings, recording, parts_of(settings.tune.split, recording.pieces(settings, schema))


def test_other_devices_may_decide(tmp_path: Path) -> None:
    """Of eight pumps two decide and two others test, the same ones each time."""
    config, path = written(tmp_path, FLOW, flow(300, devices=8))
    settings = load(config, {}, for_replay=True)
    tuning = replace(settings.tune, split=SplitSettings("devices"))
    given = _given(replace(settings, tune=tuning), path)
    parts = given[2]
    assert parts.deciding is not None
    assert (len(parts.deciding), len(parts.testing)) == (2, 2)
    assert not parts.deciding & parts.testing
    assert judged(*given, "mae", "next").labels == 2 * 299


def test_scores_are_those_of_a_replay(tmp_path: Path) -> None:
    """MAE and RMSE over the deciding quarter, as a share of the last value's, from the table."""
    config, path = written(tmp_path, FLOW.replace("0.00001", "0.01"), flow())
    settings = load(config, {}, for_replay=True)
    given = _given(settings, path)
    table = Pipeline(settings).replay(flow()).dropna(subset=["label"])
    made = table["made_at"].astype("int64") // (1 if table["made_at"].dt.unit == "us" else 1_000)
    part = table[(made >= given[2].validate) & (made < given[2].test)]
    last = part["label"] - flow().set_index("time")["flow"].reindex(part["made_at"]).to_numpy()
    mae = part["residual"].abs().mean() / last.abs().mean()
    rmse = np.sqrt((part["residual"] ** 2).mean() / (last**2).mean())
    assert judged(*given, "mae", "next").decides == pytest.approx(mae, rel=1e-12)
    assert judged(*given, "rmse", "next").decides == pytest.approx(rmse, rel=1e-12)


def test_scores_of_classes_are_rivers(tmp_path: Path) -> None:
    """On classes and chances at random."""
    rng = np.random.default_rng(1)
    n = 500
    (tmp_path / "classes.toml").write_text(CLASSES, encoding="utf-8")
    stages = Pipeline.from_toml(tmp_path / "classes.toml", {}).walk.stages
    classes = stages.classify.of[0]
    numbers = np.full((n, 4), np.nan)
    value, label = rng.integers(0, 3, n), rng.integers(0, 3, n)
    numbers[:, 0], numbers[:, 2] = value, label
    parts = rng.dirichlet([1, 1, 1], n)
    labels = Labels(stages.lanes[0], classes, ["d"], np.zeros((n, 8), np.int64), numbers, parts)
    wanted: dict[str, Any] = {
        "accuracy": metrics.Accuracy(), "balanced_accuracy": metrics.BalancedAccuracy(),
        "f1_macro": metrics.MacroF1(), "kappa": metrics.CohenKappa(),
        "log_loss": metrics.CrossEntropy(),
    }  # fmt: skip
    for k in range(n):
        for name, metric in wanted.items():
            chances = dict(enumerate(parts[k].tolist()))
            metric.update(int(label[k]), chances if name == "log_loss" else int(value[k]))
    for name, metric in wanted.items():
        assert SCORES[name].of(labels) == pytest.approx(metric.get(), rel=1e-9)


def test_what_is_known_by_heart_shows(tmp_path: Path) -> None:
    """The nearest neighbour tells noise that it has seen, and none that it has not; a linear model
    tells both alike."""
    noise = pd.DataFrame(
        {
            "device": "d", "time": START + pd.to_timedelta(np.arange(600), unit="min"),
            "a": np.random.default_rng(5).normal(size=600),
            "flow": np.random.default_rng(6).normal(size=600),
        }
    )  # fmt: skip
    text = """
[channels]
a = {}
flow = {}
[features]
raw = ["a"]
[tasks.now]
kind = "regression"
target = "flow"
model = [MODEL]
"""
    gaps = []
    for model in (
        '{ use = "neighbors.KNNRegressor", n_neighbors = 1 }', '"linear_model.LinearRegression"'
    ):  # fmt: skip
        config, path = written(tmp_path, text.replace("MODEL", model), noise)
        found = curves(*_given(load(config, {}, for_replay=True), path), "mae", "now")
        gaps.append(1.0 - np.nanmean(found.seen[4:]) / np.nanmean(found.unseen[4:]))
    assert gaps[0] > 0.9
    assert abs(gaps[1]) < 0.1


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a", ("a",)),
        ("tasks.t.model[1].lr", ("tasks", "t", "model", 1, "lr")),
        ('channels."PM2.5".range[0]', ("channels", "PM2.5", "range", 0)),
        ('"say \\"x\\"".b', ('say "x"', "b")),
    ],
)
def test_keys(key: str, path: Sequence[str | int]) -> None:
    """Names, names in quotes, places in lists."""
    assert path_of(key) == path


@pytest.mark.parametrize("key", ["", ".", "a..b", "a.", "a[", "a[x]", "a b", 'a."b'])
def test_what_is_no_key(key: str) -> None:
    """Is refused, with an example."""
    with pytest.raises(ValueError, match="is no key; write it like"):
        path_of(key)


def test_values_are_put_in_their_place() -> None:
    """Tables and lists on the line of their key; a step that is a name alone becomes a table."""
    text = '[tasks.t]\nmodel = [\n  "a.B", # first\n  { use = "c.D" },\n]\n'
    options = options_of(
        {
            "tasks.t.model[0].n": {"from": 1, "to": 9},
            "tasks.t.model[1].o": [{"use": "e.F", "l": [1, {"k": True}]}, None],
            "tasks.t.more": ["x", "y"],
        }
    )
    found = with_values(text, [(one, one.ends[0]) for one in options])
    assert "# first" in found
    assert tomllib.loads(found) == {
        "tasks": {
            "t": {
                "model": [
                    {"use": "a.B", "n": 1},
                    {"use": "c.D", "o": {"use": "e.F", "l": [1, {"k": True}]}},
                ],
                "more": "x",
            }
        }
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (FLOW, "tune.options: there is nothing to try; write [tune.options]"),
        (FLOW + '[tune.options]\n"features.lags.flow" = [[1]]', "give a list of two or more"),
        (FLOW + '[tune.options]\n"features.lags.flow" = [[1], [1]]', "stands there twice"),
        (FLOW + '[tune.options]\n"a" = { from = 2, to = 1 }', "must be a number below `to`"),
        (FLOW + '[tune.options]\n"a" = { from = 0, to = 1, log = true }', "above 0 with log"),
        (FLOW + '[tune.options]\n"a.b.c" = [1, 2]', "'a.b.c': the configuration has no such place"),
        (FLOW + '[tune.options]\n"tasks.next.model[7]" = ["a", "b"]', "has no such place"),
        (FLOW + '[tune.options]\n"tasks.next.kind" = ["x", "y"]', "'tasks.next.kind' = 'x': "),
        (FLOW + '[tune]\ntask = "other"' + TUNE.replace("\n[tune]", ""), "one of the tasks: next"),
        (FLOW + '[tune]\nscore = "kappa"' + TUNE.replace("\n[tune]", ""), "one of mae, rmse"),
        (FLOW + TUNE.replace("random", "grid"), "needs a list of values for each option"),
        (FLOW + TUNE + "[tune.split]\nvalidate = 0.6\ntest = 0.5", "leave nothing to learn from"),
        (FLOW + TUNE + '[tune.split]\nby = "devices"', 'split by "time"'),
        (FLOW + TUNE.replace("random", "luck"), "tune.by"),
    ],
)
def test_questions_that_mean_nothing(
    text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Are refused before anything is tried, with what to write instead."""
    assert says in refused(tmp_path, text, capsys)


@pytest.mark.slow
def test_the_how_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its configuration gives what it shows."""
    text = (Path(__file__).parents[1] / "docs" / "how-to" / "tuning.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:toml|sh)?\n(.*?)```", text, re.DOTALL)
    config, _, wanted = blocks
    (tmp_path / "pipeline.toml").write_text(config, encoding="utf-8")
    data = recording("steel_energy.csv.gz")
    assert tune(tmp_path / "pipeline.toml", data, output=None, trials=None) == 0
    assert capsys.readouterr().out.startswith(wanted)
