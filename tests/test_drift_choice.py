"""A detector by its name in [drift], from the configuration to what it says of a recording."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stream_processor.pipeline import Pipeline
from stream_processor.settings.problems import Problems

TASK = """
[tasks.sum]
kind = "regression"
target = "y"
model = ["preprocessing.StandardScaler", { use = "linear_model.LinearRegression" }]
[drift]
detector = DETECTOR
"""
CHANNELS = """
[channels]
x = {}
y = {}
z = { kind = "category", values = ["off", "on"] }
"""
CLASSES = """
[tasks.state]
kind = "classification"
target = "z"
model = ["naive_bayes.GaussianNB"]
[drift]
detector = DETECTOR
"""
DETECTORS = (
    '"page_hinkley"',
    '{ use = "ddm", bound = 4.0 }',
    '{ use = "eddm", above = 1.0 }',
    '{ use = "hddm_a", bound = 4.0 }',
    '{ use = "hddm_w", bound = 3.0, drift_confidence = 1e-4 }',
)


def recording(changed: bool) -> pd.DataFrame:
    """y follows x, for 3,000 readings; after half of them the other way round, or not."""
    rng = np.random.default_rng(3)
    x, noise = rng.normal(size=3_000), 0.1 * rng.normal(size=3_000)
    turned = changed & (np.arange(3_000) >= 1_500)
    time = pd.date_range("2026-01-01", periods=3_000, freq="1min").strftime("%Y-%m-%dT%H:%M:%SZ")
    y = np.where(turned, -3.0, 3.0) * x + noise
    return pd.DataFrame({"device": "a", "time": time, "x": x, "y": y})


@pytest.mark.parametrize("name", ["ddm", "hddm_a", "hddm_w"])
def test_errors_in_a_unit_need_a_bound(name: str, tmp_path: Path) -> None:
    """Of a regression or forecast; 1 may be said; a classification's errors are 0 or 1 anyway."""
    config = tmp_path / "pipeline.toml"

    def load(detector: str, task: str = TASK) -> None:
        config.write_text(CHANNELS + task.replace("DETECTOR", detector), encoding="utf-8")
        Pipeline.from_toml(config)

    with pytest.raises(Problems, match="those of sum are in the unit of its target") as refused:
        load(f'"{name}"')
    assert f'{{ use = "{name}", bound = 4.0 }}' in str(refused.value)
    load(f'{{ use = "{name}", bound = 1.0 }}')
    load(f'"{name}"', CLASSES)


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_detector_tells_of_a_model_that_became_wrong(detector: str, tmp_path: Path) -> None:
    """Once the target turned round, and not of the same recording in which it did not."""
    config = tmp_path / "p.toml"
    config.write_text(TASK.replace("DETECTOR", detector), encoding="utf-8")
    told = {}
    for changed in (True, False):
        pipeline = Pipeline.from_toml(config)
        pipeline.replay(recording(changed))
        told[changed] = pipeline.walk.stages.drift.totals()["error_up"]
    assert told[True] > told[False] == 0
