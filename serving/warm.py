"""`streamgauge compile-kernels`: fill the compile cache, for an image build or a first start."""

import tempfile
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd

from ingest.sources._kafka_parse import COLUMNS, places
from stream_processor.pipeline import Pipeline
from stream_processor.settings import load
from streamgauge.kernels import cache_folder

__all__ = ["compile_kernels"]

EVERYTHING = """
[devices]
reorder = "1s"
assemble = { use = "last", within = "10s" }
[channels.a]
range = [-10, 10]
[channels.b]
[features]
lags = { a = [1] }
rolling = [
  { of = ["a"], window = { readings = 3 }, stats = ["mean", "std", "var", "min", "max"] },
  { of = ["a"], window = "5s", stats = ["mean", "std", "var", "min", "max"] },
]
calendar = { of = ["hour", "weekday"], as = "cyclic" }
[tasks.ahead]
kind = "forecast"
target = "a"
horizons = ["2s", { readings = 1 }]
model = ["preprocessing.StandardScaler", "clip", "linear_model.LinearRegression"]
[tasks.beside]
kind = "regression"
target = "b"
model = ["preprocessing.StandardScaler", "linear_model.LinearRegression"]
[tasks.told]
kind = "regression"
label = { from = "column:told", delay = "5s" }
model = ["linear_model.LinearRegression"]
"""
"""One of everything that is compiled: walking it once compiles every kernel of the walk."""


def compile_kernels(out: TextIO) -> int:
    """Walk a few readings through one of everything; says where the result is kept."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "everything.toml"
        path.write_text(EVERYTHING, encoding="utf-8")
        pipeline = Pipeline(load(path, {}, for_replay=True))
    n = 200
    data = pd.DataFrame(
        {
            "device": "one",
            "time": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.arange(n), unit="s"),
            "a": np.sin(np.arange(n)),
            "b": np.cos(np.arange(n)),
            "told": np.sin(np.arange(n)),
        }
    )
    pipeline.replay(data)
    places(np.zeros(0, np.uint8), 0, np.zeros((0, COLUMNS), np.int64))
    print(f"kernels are compiled in {cache_folder()}", file=out)
    return 0
