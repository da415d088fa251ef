"""Tasks of any kind on a recording: by replay, live as messages, cut anywhere, and restarted."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ingest.frames import frame
from models.spec import Step, build
from stream_processor import checkpoint as files
from stream_processor.pipeline import Pipeline
from stream_processor.settings import Problem, Problems, load_text
from stream_processor.snapshot import capture, restore
from stream_processor.table import Table
from streamgauge.delivery import Delivery, Readings
from streamgauge.output import Output
from streamgauge.schedule import TaskKind
from tests.recordings import recording
from tests.test_walk import run, state, told

__all__ = [
    "assert_any_cut_is_the_same",
    "assert_goes_on",
    "by_river",
    "channels",
    "live",
    "loaded",
    "problems",
    "recorded",
    "rows",
    "scores",
    "table",
    "toml",
]

LIVE = """
[[source]]
use = "mqtt"
topics = ["t/+", "labels"]
codec = "json"
device = "topic:1"
"""
KEY = b"k" * 32


def rows(name: str, count: int, **only: str) -> pd.DataFrame:
    """The first rows of a recording, of those where columns say so."""
    found = pd.read_csv(recording(f"{name}.csv.gz"), dtype={"device": str})
    for column, value in only.items():
        found = found[found[column] == value]
    return found[:count].reset_index(drop=True)


def loaded(text: str) -> Pipeline:
    """A pipeline as configured; several of one configuration know nothing of each other."""
    return Pipeline(load_text(LIVE + text, Path("pipeline.toml"), {}))


def problems(text: str) -> dict[str, Problem]:
    """All that is wrong with a configuration, by key."""
    try:
        load_text(text, Path("pipeline.toml"), {}, for_replay=True)
    except Problems as found:
        return {problem.key: problem for problem in found.problems}
    return {}


def live(
    made: Pipeline, data: pd.DataFrame, label: str = "", delay: int = 0, start: int = 0
) -> list[Output]:
    """Outputs of rows as messages from row `start` on; a label on its own topic comes `delay` rows
    after its own, before that row."""
    channels = [name for name in made.walk.stages.schema.names if name in data]
    times = pd.to_datetime(data["time"]).astype("int64") // 1_000
    times = times if times.max() > 10**14 else times * 1_000
    messages = list(zip(data["device"], times.tolist(), data.to_dict("records"), strict=True))
    found: list[Output] = []
    for i, (device, time, row) in enumerate(messages):
        if i < start:
            continue
        payloads, topics = [], []
        if label and i >= delay:
            of, _, late = messages[i - delay]
            told = {"device": of, "time": late["time"], "label": late[label]}
            payloads, topics = [json.dumps(told).encode()], ["labels"]
        values = {name: row[name] for name in channels if row[name] == row[name]}
        payloads.append(json.dumps({"time": row["time"], **values}).encode())
        topics.append(f"t/{device}")
        made.feed(Delivery(payloads=payloads, topics=topics, received=[time] * len(topics)))
        found += made.sealed()
    assert not sum(made.rejects.counts.values()), made.rejects.counts
    return found


def table(made: Pipeline, outputs: Sequence[Output]) -> pd.DataFrame:
    """A row per prediction, in the order in which they were made, with its outcome."""
    gathered = Table(made.walk.stages.lanes, made.walk.stages.classify.of)
    for output in outputs:
        gathered.add(output)
    return gathered.frame()


def toml(value: Any) -> str:
    """A model in the words of the configuration."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {toml(one)}' for key, one in value.items())} }}"
    return f"[{', '.join(map(toml, value))}]" if isinstance(value, list) else _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return json.dumps(value)


def channels(names: tuple[str, ...]) -> str:
    """Channels without a range."""
    return "".join(f'[channels."{name}"]\n' for name in names)


Asked = Callable[[Any, dict[str, float]], Any]
"""What is asked of an estimator."""


def by_river(
    model: Step | Sequence[Step],
    kind: TaskKind,
    data: pd.DataFrame,
    inputs: Sequence[str],
    ask: Asked,
    steps: Callable[[int], Iterator[tuple[str, int, Any]]],
    *,
    numbered: bool = False,
) -> list[Any]:
    """River's own answers, each device its own estimator: `steps(i)` says what happens at row i,
    "ask" or "teach", with the features of which row and what target. Features are called by their
    names, or `numbered` where River walks a set of them: words have no order there."""
    called: Sequence[Any] = range(len(inputs)) if numbered else inputs
    make = build(model, kind)
    models: dict[str, Any] = {}
    answers = []
    features = [
        {name: value for name, value in zip(called, row, strict=True) if value == value}
        for row in data[list(inputs)].to_numpy(np.float64).tolist()
    ]
    devices = data["device"].tolist()
    for i in range(len(data)):
        for what, of, target in steps(i):
            if devices[of] not in models:
                models[devices[of]] = make()
            one = models[devices[of]]
            if what == "ask":
                answers.append(ask(one, dict(features[of])))
            elif target is None:
                one.learn_one(dict(features[of]))
            else:
                one.learn_one(dict(features[of]), target)
    return answers


def readings_of(made: Pipeline, data: pd.DataFrame) -> Readings:
    """Rows as a recording brings them."""
    return frame(data, made.walk.stages.schema, made.rejects, "UTC", None)


def recorded(made: Pipeline, data: pd.DataFrame) -> list[Output]:
    """Outputs of rows as a recording."""
    return run(made, readings_of(made, data), [])


def assert_any_cut_is_the_same(text: str, data: pd.DataFrame, cuts: Sequence[int]) -> None:
    """Records, events and state are the same bits, however the rows come in."""
    made, pieces = loaded(text), loaded(text)
    readings = readings_of(made, data)
    assert told(run(made, readings, [])) == told(run(pieces, readings, list(cuts)))
    assert state(made) == state(pieces)


def assert_goes_on(
    text: str, data: pd.DataFrame, folder: Path, label: str = "", delay: int = 0
) -> None:
    """Half the messages, a checkpoint on disk, a new pipeline, the other half: the same bits."""
    whole, first, second = loaded(text), loaded(text), loaded(text)
    half = len(data) // 2
    expected = live(whole, data, label, delay)
    begun = live(first, data[:half], label, delay)
    captured = capture(first.walk, {"definition": {}}, {})
    files.write(folder / "checkpoint", captured.facts, captured.parts, KEY)
    restore(second.walk, files.read(folder / "checkpoint", KEY))
    rest = live(second, data, label, delay, start=half)
    assert told(begun + rest) == told(expected)
    assert state(second) == state(whole)
    assert scores(second) == scores(whole)


def scores(made: Pipeline) -> list[Mapping[str, float | None]]:
    """The scores of every lane, of each device and over all."""
    names = ["", *made.board.device_ids()]
    tasks = dict.fromkeys(lane.task for lane in made.walk.stages.lanes)
    return [one.scores for task in tasks for name in names for one in made.board.scores(task, name)]
