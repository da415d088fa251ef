"""Cleaning policies in [channels.NAME]: checked, built in order, part of the walk."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stream_processor import Pipeline
from stream_processor.settings import load_text
from stream_processor.settings.problems import Problems

CONFIG = """
[channels.load]
range = [0, 1000]
rate = { per_second = 500 }
stuck = { readings = 5 }
outlier = { use = "hampel", action = "drop" }
missing = "mean"
[channels.flow]
missing = { use = "hold", at_most = "1m" }
[tasks.soon]
kind = "forecast"
target = "load"
horizons = ["1s"]
model = "linear_model.LinearRegression"
"""


def test_policies_work_in_their_order() -> None:
    """An outlier is dropped and then filled in; the flags of both are counted by channel."""
    pipeline = Pipeline(load_text(CONFIG, Path("pipeline.toml"), {}, for_replay=True))
    rng = np.random.default_rng(1)
    load = rng.normal(50.0, 2.0, 60)
    load[40] = 400.0
    flow = np.ones(60)
    flow[41] = np.nan
    time = pd.date_range("2026-03-01", periods=60, freq="s", tz="UTC")
    data = pd.DataFrame({"device": "p", "time": time, "load": load, "flow": flow})
    pipeline.replay(data)
    stages = pipeline.walk.stages
    assert list(stages.cleaners) == [
        "load.rate",
        "load.stuck",
        "load.outlier",
        "load.missing",
        "flow.missing",
    ]
    wanted = {"load": {"outlier": 1, "filled": 1}, "flow": {"filled": 1}}
    assert stages.flags.by_channel() == wanted
    assert stages.flags.by_channel(row=0) == wanted
    assert pipeline.board.counts()["flags"]["outlier"] == 1
    assert pipeline.board.counts()["channel_flags"] == wanted
    view = pipeline.board.device("p")
    assert view is not None
    assert view.flags == wanted


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('outlier = "hample"', "no outlier named 'hample'"),
        ('outlier = { use = "iqr", windw = 5 }', "did you mean 'window'?"),
        ('missing = { use = "hold", at_most = "soon" }', "'soon' is not a duration"),
        ("rate = { per_second = -1 }", "per_second is -1"),
        ("rate = {}", "missing"),
        ('transform = { kind = "cube" }', "write 'log', 'log1p'"),
    ],
)
def test_a_wrong_policy_is_told_with_its_line(line: str, said: str) -> None:
    """Each mistake names the key, its line and what to write."""
    text = f"[channels.load]\n{line}\n"
    with pytest.raises(Problems) as refused:
        load_text(text, Path("pipeline.toml"), {}, for_replay=True)
    (problem,) = refused.value.problems
    assert problem.line == 2
    assert said in str(problem)
