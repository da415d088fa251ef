"""Devices that were idle leave the memory and come back: nothing of it shows in what is put out."""

import sqlite3
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_processor import checkpoint as files
from stream_processor.checkpoint import CheckpointRefused
from stream_processor.definition import definition
from stream_processor.evicted import FILE
from stream_processor.pipeline import Pipeline
from stream_processor.settings import load_text
from stream_processor.snapshot import capture, restore
from streamgauge.delivery import Delivery, Readings
from streamgauge.events import EventKind
from streamgauge.output import Output
from streamgauge.predictions import ROW
from streamgauge.state import take_rows
from tests import streams, test_label_log
from tests.streams import BEGIN, COMPILED, RIVER, SECOND
from tests.test_walk import run, state

KEY = b"k" * 32
EVERYTHING = """
[devices]
evict_after = "4m"
silent_after = "6m"
[channels.load]
missing = "hold"
stuck = { after = "2m" }
outlier = { use = "hampel" }
[channels.heat]
[channels.state]
kind = "category"
values = ["on", "off"]
[features]
lags = { load = [1, 3] }
rolling = [{ of = ["load"], window = "90s", stats = ["mean", "max"] }]
group = { of = ["load"], stats = ["from_median"], at_most = "1m" }
joined = { of = ["heat"], device = "d1", at_most = "1h" }
scale = { method = "standard", of = ["load"] }
[tasks.unnamed]
kind = "forecast"
target = "load"
horizons = ["20s", { readings = 2 }]
[tasks.classes]
kind = "classification"
target = "state"
model = ["tree.HoeffdingTreeClassifier"]
[tasks.odd]
kind = "anomaly"
model = ["preprocessing.MinMaxScaler", { use = "anomaly.HalfSpaceTrees", n_trees = 3, height = 3, window_size = 20 }]
[tasks.modes]
kind = "clustering"
model = ["preprocessing.StandardScaler", { use = "cluster.KMeans", n_clusters = 3, seed = 1 }]
[tasks.forest]
kind = "forecast"
target = "heat"
horizons = ["20s"]
select = { by = "variance" }
model = ["preprocessing.StandardScaler", { use = "neighbors.KNNRegressor", n_neighbors = 3 }]
[drift]
level = "adwin"
detector = { use = "adwin", delta = 0.5, clock = 1, grace_period = 1, min_window_length = 1 }
"""


def everything(evict: bool) -> Pipeline:
    """A pipeline with every kind of state."""
    text = EVERYTHING if evict else EVERYTHING.replace('evict_after = "4m"\n', "")
    return Pipeline(load_text(text, Path("test.toml"), {}, for_replay=True))


def shifts(n: int, seed: int, devices: int = 8, channels: int = 3) -> Readings:
    """Readings every few seconds of two devices at a time; the others are idle for minutes."""
    random = np.random.default_rng(seed)
    clock = BEGIN + np.cumsum(random.choice([1, 3, 5], n)) * SECOND
    turn = np.arange(n) // 60
    who = (turn * 2 + random.integers(0, 2, n)) % devices
    load = np.sin(clock / (30 * SECOND)) * 5 + who + random.normal(size=n)
    values = np.stack([load, 0.3 * load + random.normal(size=n), (load > who) * 1.0], axis=1)
    values[random.random((n, 3)) < 0.03] = np.nan
    return Readings([f"d{k}" for k in who.tolist()], clock, clock, values[:, :channels])


def by_device(outputs: list[Output]) -> dict[str, list[Any]]:
    """Records of each device as bits and its events, each in order; that one was evicted is left
    out."""
    found = defaultdict(list)
    for output in outputs:
        records = output.predictions
        names = [output.predictions.names[row] for row in records.codes[:, ROW].tolist()]
        codes = records.codes.copy()
        codes[:, ROW] = 0
        for k, name in enumerate(names):
            row = (codes[k].tobytes(), records.numbers[k].tobytes(), records.parts[k].tobytes())
            found[str(name)].append(row)
        for e in output.events:
            if e.kind is not EventKind.EVICTED:
                event = (e.kind, e.lane, e.time, e.before, e.after, e.size, e.channel)
                found[f"events of {output.device(e.row)}"].append(repr(event))
    return found


def evictions(outputs: list[Output]) -> int:
    """How often a device was evicted."""
    return sum(e.kind is EventKind.EVICTED for output in outputs for e in output.events)


def assert_same(one: Pipeline, other: Pipeline) -> None:
    """The same state, device by device, in the memory or not."""
    devices = sorted(one.walk.stages.devices.row_of)
    rows = [
        np.array([k.walk.stages.devices.recall(device) for device in devices]) for k in (one, other)
    ]
    other.walk.open()
    wanted, found = (take_rows(k.walk.blocks, r) for k, r in zip((one, other), rows, strict=True))
    for name, array in wanted.items():
        # Members of a group know their neighbours by their rows.
        if not name.endswith((".members.rows", ".groups.rows")):
            assert found[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("seed", range(3))
def test_a_stream_is_the_same_with_and_without_eviction(seed: int) -> None:
    """Every kind of state: each record and event of each device, and what is left at the end."""
    readings = shifts(1_500, seed)
    stays, leaves = everything(evict=False), everything(evict=True)
    wanted, found = run(stays, readings, []), run(leaves, readings, [])
    assert evictions(wanted) == 0
    assert evictions(found) > 15
    assert by_device(found) == by_device(wanted)
    for made in (stays, leaves):
        made.feed(Delivery(clock=int(readings.received[-1]) + 600 * SECOND))
    assert leaves.walk.stages.devices.known == 0
    assert_same(stays, leaves)


@pytest.mark.parametrize("model", [COMPILED, RIVER])
def test_a_dirty_stream_is_the_same_with_and_without_eviction(model: str) -> None:
    """Readings that are late, refused, or missing; few predictions may wait."""
    readings = streams.stream(4_000, 5, devices=20)
    stays = streams.pipeline(model, limit=30, evict_after="never")
    leaves = streams.pipeline(model, limit=30, evict_after="1m")
    wanted, found = run(stays, readings, []), run(leaves, readings, [])
    assert evictions(found) > 15
    assert by_device(found) == by_device(wanted)


def test_labels_find_devices_that_were_evicted() -> None:
    """By id and by time, too late, twice or of nobody: all of them mean what they meant."""
    log = test_label_log.deliveries(test_label_log.log(6_000, 3), [])
    text = test_label_log.CONFIG.replace("limit = 5", "limit = 9")
    stays = test_label_log.pipeline(text.replace('"5m"', '"never"'))
    leaves = test_label_log.pipeline(text)
    wanted, found = test_label_log.run(stays, log), test_label_log.run(leaves, log)
    assert evictions(found) > 15
    assert by_device(found) == by_device(wanted)
    assert test_label_log.views(leaves) == test_label_log.views(stays)
