"""`streamgauge replay`: recorded data through the pipeline, predictions and scores out."""

import csv
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as Grid
from rich.text import Text

from ingest.rejects import Reject, Rejects
from ingest.sources import file
from monitoring.skill import skill
from stream_processor.pipeline import Pipeline
from stream_processor.settings import Settings, load, with_channels
from stream_processor.settings.problems import Problems
from stream_processor.table import Table
from streamgauge.delivery import Readings
from streamgauge.output import SCORE_COLUMNS

__all__ = ["columns_of", "readings_of", "replay"]


def replay(
    config: Path, data: Path, *, output: Path | None, rejects: Path | None, speed: float
) -> int:
    """Replay `data`; prints progress and a table of scores. Returns the exit code."""
    console = Console(stderr=True)
    with ExitStack() as stack:
        try:
            _check_output(output)
            settings = load(config, os.environ, for_replay=True)
            if not settings.channels:
                settings = with_channels(settings, file.numeric_columns(data))
            dead = stack.enter_context(_rejects(rejects))
            pipeline = Pipeline(settings, dead)
            source = file.open(
                pipeline.walk.stages.schema, 0, _now, dead, path=data, speed=speed,
                **{"zone": settings.devices.timezone, **columns_of(settings)},
            )  # fmt: skip
        except (Problems, MemoryError, OSError, ValueError) as wrong:
            _say(console, wrong)
            return 2
        began = time.perf_counter()
        try:
            table = _run(pipeline, source, console)
        except _Unreadable as broken:
            _say(console, broken)
            return 1
        took = time.perf_counter() - began
    if output is not None:
        _write(table.frame(), output)
    _report(pipeline, took, Console())
    return 0


def columns_of(settings: Settings) -> dict[str, Any]:
    """How the first source that reads such tables finds devices and times in them."""
    options = next((s.options for s in settings.sources if s.use in {"file", "folder"}), {})
    return {
        name: options[name] for name in ("device", "device_id", "time", "zone") if name in options
    }


class _Unreadable(Exception):
    """The recording cannot be read, from its beginning or from some row on."""


def _say(console: Console, wrong: Exception) -> None:
    # Configurations and messages are full of brackets, which are markup to rich.
    console.print(str(wrong), style="red", markup=False, highlight=False, soft_wrap=True)


def _check_output(path: Path | None) -> None:
    """Refuse at once what could not be written at the end."""
    if path is None:
        return
    if path.suffix not in OUTPUTS and path.suffixes[-2:] != [".csv", ".gz"]:
        raise ValueError(f"{path}: no known format; name it .csv, .csv.gz or .parquet")
    with path.open("ab"):
        pass


def _now() -> int:
    return time.time_ns() // 1_000


@contextmanager
def _rejects(path: Path | None) -> Iterator[Rejects]:
    if path is None:
        yield Rejects()
        return
    with path.open("w", newline="", encoding="utf-8") as target:
        yield Rejects(_RejectWriter(target))


class _RejectWriter:
    """Writes each reject as a CSV row: received, reason, detail, topic, payload."""

    def __init__(self, target: TextIO) -> None:
        self._rows = csv.writer(target)
        self._rows.writerow(("received", "reason", "detail", "topic", "payload"))

    def __call__(self, reject: Reject) -> None:
        # Rows without a time have no place on the log's clock.
        received = _iso_text(reject.received) if reject.received else ""
        payload = reject.payload.decode(errors="replace")
        self._rows.writerow((received, reject.reason, reject.detail, reject.topic, payload))


def _run(pipeline: Pipeline, source: Any, console: Console) -> Table:
    table = Table(pipeline.walk.stages.lanes, pipeline.walk.stages.classify.of)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f}%"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task("replaying", total=1.0)
        for readings in _readable(source):
            for output in pipeline.record(readings):
                table.add(output)
            progress.update(bar, completed=source.progress)
        progress.update(bar, completed=1.0)
    return table


def _readable(source: Any) -> Iterator[Readings]:
    """As `readings_of`; what cannot be read is told apart from what the pipeline refuses."""
    try:
        yield from readings_of(source)
    except (OSError, ValueError) as broken:
        raise _Unreadable(broken) from broken


def readings_of(source: Any) -> Iterator[Readings]:
    """Everything in a recording, piece by piece; OSError or ValueError where it cannot be read."""
    source.start()
    try:
        while not source.finished:
            delivery = source.take(65_536, 1.0)
            if delivery is not None and delivery.readings is not None:
                yield delivery.readings
    finally:
        source.stop()


def _write(frame: pd.DataFrame, path: Path) -> None:
    if path.suffix == ".parquet":
        frame.assign(**{name: _alike(frame[name]) for name in ("prediction", "label")}).to_parquet(
            path, index=False
        )
        return
    texts = {name: _iso(frame[name]) for name in ("made_at", "target_time")}
    frame.assign(**texts).to_csv(path, index=False)


def _alike(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """A column of one type, as Parquet has it: text where numbers and classes are mixed."""
    if len({type(value) for value in values if not pd.isna(value)}) < 2:
        return values
    return values.map(str, na_action="ignore")


def _iso_text(microseconds: int) -> str:
    return f"{np.datetime64(microseconds, 'us')}Z"


def _iso(times: "pd.Series[Any]") -> list[str]:
    """ISO 8601 UTC; empty where there is none."""
    texts = np.datetime_as_string(times.to_numpy("datetime64[us]"), unit="us").tolist()
    return ["" if text == "NaT" else f"{text}Z" for text in texts]


def _report(pipeline: Pipeline, took: float, console: Console) -> None:
    board = pipeline.board
    names = board.device_ids(limit=pipeline.settings.devices.limit)
    for task in pipeline.settings.tasks:
        for horizon, overall in enumerate(board.scores(task)):
            title = Text(f"{task}{f' at {overall.horizon}' if overall.horizon else ''}")
            grid = Grid(title=title, title_justify="left")
            shown = COLUMNS.get(pipeline.settings.tasks[task].kind, NUMBERS)
            for heading in ("device", "labels", *shown.values()):
                left = heading == "device"
                grid.add_column(heading, justify="left" if left else "right", no_wrap=left)
            for name in names[:SHOWN]:
                scores = board.scores(task, name)[horizon].scores
                grid.add_row(Text(name), *_cells(scores, shown))
            grid.add_section()
            grid.add_row(f"all {len(names)} devices", *_cells(overall.scores, shown), style="bold")
            console.print(grid)
            if len(names) > SHOWN:
                console.print(f"the first {SHOWN} of {len(names)} devices are shown")
    _report_selections(pipeline, console)
    counts = board.counts()
    readings = counts["readings"]
    total = sum(readings.values())
    console.print(
        f"{total:,} readings in {took:.1f} s ({total / max(took, 1e-9):,.0f}/s); "
        + ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in readings.items() if n),
        highlight=False,
    )


def _report_selections(pipeline: Pipeline, console: Console) -> None:
    """Which features the models of a task with `select` see now, and by which score."""
    views = [view for task in pipeline.settings.tasks for view in pipeline.board.selections(task)]
    for view in views:
        name = f"{view.task}{f' at {view.horizon}' if view.horizon else ''}"
        grid = Grid(title=Text(f"features of {name} by {view.by}"), title_justify="left")
        fleet = view.scope == "fleet"
        for heading in ("feature", "score", "why" if fleet else f"kept of {view.models} models"):
            grid.add_column(heading, no_wrap=heading == "feature")
        for choice in view.choices:
            said = f"{'kept' if choice.kept else 'left out'}: {choice.why}"
            score = "" if choice.score is None else f"{choice.score:.3g}"
            shared = "" if choice.kept is None else f"{choice.kept:.0%}"
            grid.add_row(Text(choice.feature), score, said if fleet else shared)
        console.print(grid)


OUTPUTS = (".csv", ".parquet")
SHOWN = 50
"""Devices listed in the table of scores; the overall row covers all."""
NUMBERS = {
    "skill": "skill",
    "mae": "MAE",
    "rmse": "RMSE",
    "bias": "bias",
    "r2": "R²",
    "persistence_mae": "last value: MAE",
    "persistence_rmse": "RMSE",
}
CLASSES = {
    "skill": "skill",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "f1_macro": "F1",
    "kappa": "kappa",
    "log_loss": "log loss",
    "majority_accuracy": "majority: accuracy",
    "persistence_accuracy": "last class: accuracy",
}
COLUMNS = {
    "classification": CLASSES,
    "anomaly": {
        "rolling_roc_auc": "ROC AUC of the last labels",
        "rolling_pr_auc": "PR AUC",
    },
    "clustering": dict[str, str](),
}
"""The scores that are shown of each kind of task, and their headings."""
assert {*NUMBERS, *(name for of in COLUMNS.values() for name in of)} <= {"skill", *SCORE_COLUMNS}


def _cells(scores: Any, shown: Mapping[str, str]) -> list[str]:
    labels = f"{int(scores['labels']):,}"
    known = {**scores, "skill": skill(scores)}
    numbers = ["–" if known[name] is None else f"{known[name]:,.3f}" for name in shown]
    return [labels, *numbers]
