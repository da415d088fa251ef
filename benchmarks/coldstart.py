"""What a new device gains from a fleet that has learned: mean absolute errors, devices left out.

Each device in turn is told of after all others have been learned, by the default model and by a
named one. Its errors over the first 100 labels, and after 2,000, beside those of a model that
begins empty and those of the last value. A recording of shorter devices says nothing of later.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.known_tasks import Forecast
from tests.left_out import FIRST, LATER, LEFT_OUT, left_out

__all__ = ["run"]

DATA = Path(os.environ.get("STREAMGAUGE_DATA", Path(__file__).parents[2] / "shared" / "data"))


MODELS = {
    "none": "",
    "line": '["preprocessing.StandardScaler", { use = "clip", limit = 5.0 },'
    ' { use = "linear_model.LinearRegression", clip_gradient = 1.0 }]',
}
"""No model named, and a named one with the clips that wild values ask for."""


def run() -> list[dict[str, Any]]:
    """A row per task and model; tasks whose recording is not there are left out."""
    there = [task for task in LEFT_OUT if (DATA / f"{task.recording}.csv.gz").exists()]
    return [_row(task, model) for task in there for model in MODELS]


def _row(task: Forecast, model: str) -> dict[str, Any]:
    data = pd.read_csv(DATA / f"{task.recording}.csv.gz", dtype={"device": str})
    found = list(left_out(task, data, MODELS[model]))
    first = [[np.nanmean(e[:FIRST]) for e in (one.fleet, one.empty, one.last)] for one in found]
    begun, empty, last = np.mean(first, axis=0)
    settled = [one for one in found if len(one.fleet) > LATER]
    later = [[e[LATER:].mean() for e in (one.fleet, one.empty)] for one in settled]
    after, own = np.mean(later, axis=0) if later else ("", "")
    return {
        "task": task.id,
        "model": model,
        "devices": len(found),
        "first, from the fleet": begun,
        "first, empty": empty,
        "first, last value": last,
        "better than empty": sum(1 for a, b, _ in first if a < b),
        "later, from the fleet": after,
        "later, empty": own,
    }
