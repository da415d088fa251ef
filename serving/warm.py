"""`streamgauge compile-kernels`: fill the compile cache, for an image build or a first start."""

import inspect
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

import numpy as np
import pandas as pd

from ingest.quarantine import Quarantine
from ingest.sources._kafka_parse import COLUMNS, places
from models.series import Ahead
from monitoring.sinks._history_rows import DeviceCodes, Staged
from serving.examples import SCHEMA, operator_of, selection_of
from stream_processor.pipeline import Pipeline
from stream_processor.settings import load
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Chain, Now
from streamgauge.events import Events
from streamgauge.kernels import cache_folder
from streamgauge.output import Output
from streamgauge.plugins import find, options
from streamgauge.predictions import HALF, VERSION, Predictions
from streamgauge.schedule import Schedule
from streamgauge.signal import Kind, Signal
from streamgauge.state import Keys

__all__ = ["compile_kernels"]

WALK = """
[devices]
expected = 1
tags = "devices.csv"
reorder = "1s"
assemble = { use = "last", within = "10s" }
[channels.a]
range = [-10, 10]
[channels.b]
[features]
rolling = [{ of = ["a"], window = "5s", stats = ["mean", "std", "var", "min", "max"] }]
[tasks.ahead]
kind = "forecast"
target = "a"
horizons = ["2s", { readings = 1 }]
model = ["preprocessing.StandardScaler", "clip", "linear_model.LinearRegression"]
[tasks.unnamed]
kind = "forecast"
target = "a"
horizons = ["2s"]
[tasks.beside]
kind = "regression"
target = "b"
start = "fleet"
model = ["preprocessing.StandardScaler", "linear_model.LinearRegression"]
[tasks.told]
kind = "regression"
scope = "tag:site"
label = { from = "column:told", delay = "5s" }
model = ["linear_model.LinearRegression"]
[tasks.class]
kind = "classification"
classes = [false, true]
label = { from = "column:sign" }
[tasks.strange]
kind = "anomaly"
[tasks.sign]
kind = "classification"
classes = [false, true]
label = { from = "column:sign" }
model = ["naive_bayes.GaussianNB"]
"""
"""All that stands around cleaners and features: what is walked is compiled."""
_OPERATORS = (
    "stream_processor.clean",
    "stream_processor.clean.outlier",
    "stream_processor.clean.missing",
    "stream_processor.features",
)


def compile_kernels(out: TextIO) -> int:
    """Compile what any configuration may need, a line for each part; says where it is kept."""
    parts = list(_parts())
    for k, (name, work) in enumerate(parts, 1):
        print(f"[{k:2}/{len(parts)}] {name}", file=out, flush=True)
        work()
    print(f"kernels are compiled in {cache_folder()}", file=out)
    return 0


def _parts() -> Iterator[tuple[str, Callable[[], None]]]:
    yield "the walk: admission, labels, models, scores, drift", _walk
    yield "Kafka's records", _kafka
    yield "the history's rows", _history
    for name, module in find("models.compiled").items():
        yield f"models {name}", partial(_models, module)
    for name, module in find("models.selections").items():
        yield f"selection of features by {name}", partial(_selection, module)
    for name, module in find("monitoring.detectors").items():
        yield f"detectors {name}", partial(_detector, module)
    for package in _OPERATORS:
        for name, module in find(package).items():
            room = package.partition(".")[2].replace(".", " ")
            yield f"{room} {name}", partial(_operator, module)


def _walk() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "walk.toml"
        path.write_text(WALK, encoding="utf-8")
        path.with_name("devices.csv").write_text("device,site\none,here\n", encoding="utf-8")
        kept = Quarantine(path.with_suffix(".db"), lambda: 0, keep=1, max_size=1_000_000)
        with closing(kept):
            _walk_through(Pipeline(load(path, {}, for_replay=True), quarantine=kept))


def _walk_through(pipeline: Pipeline) -> None:
    n = 200
    data = pd.DataFrame(
        {
            "device": "one",
            "time": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.arange(n), unit="s"),
            "a": np.where(np.arange(n) == n // 2, 99.0, np.sin(np.arange(n))),
            "b": np.cos(np.arange(n)),
            "told": np.sin(np.arange(n)),
            "sign": np.sin(np.arange(n)) > 0,
        }
    )
    pipeline.replay(data)


def _kafka() -> None:
    places(np.zeros(0, np.uint8), 0, np.zeros((0, COLUMNS), np.int64))


def _history() -> None:
    nothing = Predictions(np.zeros((0, VERSION + 1), np.int64), np.zeros((0, HALF + 1)), [], [])
    Staged([], DeviceCodes([])).records(Output(nothing), 0, 0)


def _operator(module: ModuleType) -> None:
    operator = operator_of(module, SCHEMA)
    names = getattr(operator, "names", ())
    features = Features(names, [frozenset()] * len(names), 1)
    _compiled(operator.call(Batch(1, SCHEMA.width), features))


def _compiled(call: Call) -> None:
    # A chain compiles what it binds.
    Chain([call], np.zeros(len(Now), np.int64)).run()


def _models(module: ModuleType) -> None:
    for model in module.MODELS:
        # Trees that are drawn have a seed, as every model of a configuration.
        seeded = {"seed": 0} if "seed" in inspect.signature(model).parameters else {}
        needed = {
            name: 0.5
            for name, one in inspect.signature(model).parameters.items()
            if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD
        }
        given: dict[str, Any] = {"watched": "value", "ahead": Ahead(1)}
        own = {name: given[name] for name in options(module) if name in given}
        learner = module.build(
            model(**needed, **seeded), 0, (0,), ("value",), 1, Keys.DEVICE, **own
        )
        if not isinstance(learner, str):
            _compiled(learner.call(Schedule(1, 1, 2)))


def _detector(module: ModuleType) -> None:
    for kind in Kind:
        signal = Signal(kind, "channels", ("value",), 1)
        with suppress(ValueError):
            _compiled(module.build(signal, 1).call(signal, Events(1)))


def _selection(module: ModuleType) -> None:
    _compiled(selection_of(module, 1).call(Schedule(1, 1)))
