"""How well tasks on real recordings are told, beside naive answers and the best known before.

Every prediction is judged by its label before the label is learned, and labels come as late as the
recordings' README says. No task names a model: the default, nothing tuned. Beside it the same
question answered by River: forecasts by its linear regression on the change (standardised, clipped,
gradients clipped), which diverges without the clipping, classifications by the best of three of its
models; by the last value or label, by the value a day before, and by the commonest class. MAE, RMSE
and accuracy.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stream_processor.pipeline import Pipeline
from stream_processor.settings import load_text
from tests.known_tasks import CLASSES, FORECASTS, Classes, Forecast

__all__ = ["run"]

DATA = Path(os.environ.get("STREAMGAUGE_DATA", Path(__file__).parents[2] / "shared" / "data"))
CLIPPED = '"preprocessing.StandardScaler", { use = "clip", limit = 5 }'
SGD = '{ use = "optim.SGD", lr = 0.001 }'
RIVER = (
    f'model = [{CLIPPED}, {{ use = "linear_model.LinearRegression", optimizer = {SGD}, '
    "clip_gradient = 50 }]\n"
)
MODELS = {
    "tree": '["tree.HoeffdingTreeClassifier"]',
    "softmax": f'[{CLIPPED}, "linear_model.SoftmaxRegression"]',
    "naive Bayes": '["naive_bayes.GaussianNB"]',
}
DAY = pd.Timedelta(days=1)


def run() -> list[dict[str, Any]]:
    """A row per task; tasks whose recording is not there are left out."""
    there = [one for one in FORECASTS if (DATA / f"{one.recording}.csv.gz").exists()]
    rows = [_forecast(one) for one in there]
    return rows + [_classes(one) for one in CLASSES if (DATA / f"{one.recording}.csv.gz").exists()]


def _read(name: str) -> pd.DataFrame:
    return pd.read_csv(DATA / f"{name}.csv.gz", dtype={"device": str})


def _replayed(text: str, data: pd.DataFrame) -> tuple[dict[str, Any], pd.DataFrame]:
    pipeline = Pipeline(load_text(text, Path("quality.toml"), {}, for_replay=True))
    table = pipeline.replay(data)
    return dict(pipeline.board.scores("t")[0].scores), table


def _forecast(task: Forecast) -> dict[str, Any]:
    data = _read(task.recording)
    data = data.drop(columns=[c for c in ("label", "split") if c in data])
    ours, table = _replayed(task.toml(), data)
    river, _ = _replayed(task.toml(RIVER), data)
    missed = _a_day_before(task, data, table)
    known = [f"{one:g}" for one in (task.mae, task.rmse) if np.isfinite(one)]
    return {
        "task": task.id,
        "default": _both(ours["mae"], ours["rmse"]),
        "River": _both(river["mae"], river["rmse"]),
        "last value, or class": _both(ours["persistence_mae"], ours["persistence_rmse"]),
        "day before, or majority": _both(missed.mean(), float(np.sqrt((missed**2).mean()))),
        "known before": ", ".join(known),
    }


def _a_day_before(task: Forecast, data: pd.DataFrame, table: pd.DataFrame) -> "pd.Series[float]":
    """How far the value of the nearest reading a day before the label was from it."""
    past = data[["device", "time", task.target]].dropna()
    past = past.assign(time=pd.to_datetime(past["time"], utc=True).astype("datetime64[us, UTC]"))
    asked = table[["device", "target_time", "label"]].dropna()
    asked = asked.assign(time=(asked["target_time"] - DAY).astype("datetime64[us, UTC]"))
    found = pd.merge_asof(
        asked.sort_values("time"), past.sort_values("time"), on="time", by="device",
        direction="nearest", tolerance=pd.Timedelta(hours=1),
    )  # fmt: skip
    return (found["label"] - found[task.target]).abs().dropna()


def _both(mae: float, rmse: float) -> str:
    return f"{mae:.4g}, {rmse:.4g}"


def _classes(task: Classes) -> dict[str, Any]:
    data = _read(task.recording).drop(columns="split", errors="ignore")
    classes = json.dumps(sorted(data["label"].dropna().unique().tolist()))
    ours, _ = _replayed(task.toml(classes), data)
    river = {
        name: _replayed(task.toml(classes, f"model = {steps}\n"), data)[0]["accuracy"]
        for name, steps in MODELS.items()
    }
    best = max(river, key=lambda name: river[name])
    return {
        "task": f"{task.recording} label",
        "default": _share(ours["accuracy"]),
        "River": f"{_share(river[best])} ({best})",
        "last value, or class": _share(ours["persistence_accuracy"]),
        "day before, or majority": _share(ours["majority_accuracy"]),
        "known before": _share(task.accuracy),
    }


def _share(accuracy: float) -> str:
    return f"{100 * accuracy:.2f} %"
