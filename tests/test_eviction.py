"""Devices that were idle leave the memory and come back: nothing of it shows in what is put out."""

import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_processor import checkpoint as files
from stream_processor import eviction
from stream_processor.changes import compare
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
from tests import label_logs, streams
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
model = [
  "preprocessing.MinMaxScaler",
  { use = "anomaly.HalfSpaceTrees", n_trees = 3, height = 3, window_size = 20 },
]
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
    found: dict[str, list[Any]] = defaultdict(list)
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
    log = label_logs.deliveries(label_logs.log(6_000, 3), [])
    text = label_logs.CONFIG.replace("limit = 5", "limit = 9")
    stays = label_logs.pipeline(text.replace('"5m"', '"never"'))
    leaves = label_logs.pipeline(text)
    wanted, found = label_logs.run(stays, log), label_logs.run(leaves, log)
    assert evictions(found) > 15
    assert by_device(found) == by_device(wanted)
    assert label_logs.views(leaves) == label_logs.views(stays)


class Process:
    """A pipeline on a state folder that can be killed: what it had not saved is gone."""

    def __init__(self, folder: Path, text: str = EVERYTHING) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.made = Pipeline(load_text(text, Path("test.toml"), {}, for_replay=True))
        self.store = self.made.walk.eviction.store
        self.store.open(folder / FILE, KEY)
        self.outputs: list[Output] = []

    def feed(self, log: list[Delivery]) -> "Process":
        for delivery in log:
            self.made.feed(delivery)
            self.outputs += self.made.sealed()
        return self

    def save(self) -> None:
        """What the worker does."""
        saved = capture(self.made.walk, definition(self.made.settings, self.made.walk.stages), {})
        self.store.settle()
        files.write(self.folder / "checkpoint", saved.facts, saved.parts, KEY)
        self.store.durable(saved.facts["evicted"])

    def restart(self, text: str = EVERYTHING) -> "Process":
        """Another process, from what is on the disk."""
        self.store.close()
        again = Process(self.folder, text)
        checkpoint = files.read(self.folder / "checkpoint", KEY)
        now = definition(again.made.settings, again.made.walk.stages)
        before = checkpoint.facts["definition"]
        changes = None if before == now else compare(before, now)
        restore(again.made.walk, checkpoint, changes)
        return again


def log_of(readings: Readings) -> list[Delivery]:
    """Readings in batches of ten, a tick behind each."""
    log = []
    for k in range(0, len(readings), 10):
        part = readings.part(k, min(k + 10, len(readings)))
        log += [Delivery(readings=part), Delivery(clock=int(part.received[-1]))]
    return log


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Delivery], Process]:
    """A log, and what a process that is never killed makes of it."""
    log = log_of(shifts(1_000, 4))
    process = Process(tmp_path_factory.mktemp("whole")).feed(log)
    assert evictions(process.outputs) > 8
    return log, process


@pytest.mark.parametrize("seed", range(4))
def test_a_kill_at_any_moment_loses_no_device(
    tmp_path: Path, whole: tuple[list[Delivery], Process], seed: int
) -> None:
    """Checkpoints at some deliveries, kills at others, some before and after the file of evicted
    devices was pruned: after the last one the same records, events and state."""
    log, wanted = whole
    random = np.random.default_rng(seed)
    process = Process(tmp_path)
    process.save()
    saved, outputs = 0, process.outputs
    while len(log) - saved > 20:
        checkpoint = saved + int(random.integers(0, 30))
        killed = checkpoint + int(random.integers(1, 60))
        process.feed(log[saved:checkpoint])
        outputs = [*process.outputs]
        process.save()
        process.feed(log[checkpoint:killed])
        process = process.restart()
        process.outputs, saved = outputs, min(checkpoint, len(log))
    process.feed(log[saved:])
    assert by_device(process.outputs) == by_device(wanted.outputs)
    assert process.store.facts == wanted.store.facts
    assert state(process.made) == state(wanted.made)
    devices = process.made.walk.stages.devices
    assert devices.snapshot() == wanted.made.walk.stages.devices.snapshot()
    assert not [device for device in devices.row_of if device in process.store]


def held(process: Process) -> list[str]:
    """The devices of which the file has a record."""
    with closing(sqlite3.connect(process.folder / FILE)) as file:
        return [device for (device,) in file.execute("select device from devices order by number")]


def idle(folder: Path, count: int = 3, text: str = EVERYTHING) -> Process:
    """A process whose devices were all evicted."""
    process = Process(folder, text)
    readings = shifts(120, 1, devices=max(2, count))
    process.feed([Delivery(readings=readings)])
    process.feed([Delivery(clock=int(readings.received[-1]) + 600 * SECOND)])
    assert process.made.walk.stages.devices.known == 0
    return process


def comes(process: Process, device: str) -> None:
    """A reading of that device, ten minutes later."""
    clock = np.array([process.made.walk.clock + 60 * SECOND])
    process.feed([Delivery(readings=Readings([device], clock, clock, np.ones((1, 3))))])


def test_a_record_stays_until_a_checkpoint_without_it_is_on_the_disk(tmp_path: Path) -> None:
    """A crash before that needs it still."""
    process = idle(tmp_path)
    process.save()
    comes(process, "d1")
    process.feed([Delivery(clock=process.made.walk.clock + 90 * SECOND)])
    assert sorted(held(process)) == ["d0", "d1", "d2"]
    process.save()
    assert "d1" in held(process)
    process.feed([Delivery(clock=process.made.walk.clock + SECOND)])
    assert sorted(held(process)) == ["d0", "d2"]
    again = process.restart()
    assert sorted(again.made.walk.stages.devices.row_of) == ["d1"]
    assert len(again.store) == 2
    assert sorted(held(again)) == ["d0", "d2"]


def test_a_changed_configuration_keeps_what_it_means_for_devices_that_are_away(
    tmp_path: Path,
) -> None:
    """A channel, a feature and tasks changed while they were on the disk: as if they had stayed."""
    text = EVERYTHING.replace("n_neighbors = 3", "n_neighbors = 4").replace(
        "[channels.heat]", "[channels.more]\n[channels.heat]"
    )
    text = text.replace("lags = { load = [1, 3] }", "lags = { load = [1, 2, 3] }")
    without = [one.replace('evict_after = "4m"\n', "") for one in (EVERYTHING, text)]
    readings, later = shifts(400, 8), shifts(300, 9, channels=3)
    clock = later.time + (readings.time[-1] - BEGIN) + 3_600 * SECOND
    values = np.column_stack([later.values[:, 0], later.values[:, 0] ** 2, later.values[:, 1:]])
    ended = [Delivery(clock=int(readings.received[-1]) + 900 * SECOND)]
    found = []
    for folder, (before, after) in {"evicts": (EVERYTHING, text), "stays": without}.items():
        process = Process(tmp_path / folder, before).feed([*log_of(readings), *ended])
        process.save()
        assert bool(process.made.walk.stages.devices.known) == (folder == "stays")
        process = process.restart(after)
        process.feed(log_of(Readings(later.devices, clock, clock, values)))
        found.append(by_device(process.outputs))
    assert found[0] == found[1]
    assert max(map(len, found[0].values())) > 100


def test_beyond_the_limit_those_evicted_first_are_forgotten(tmp_path: Path) -> None:
    """They come back as new ones, whose predictions have other ids than before."""
    process = idle(tmp_path)
    pushed = {}
    for device in ("d0", "d1", "d2"):
        pushed[device] = process.made.walk.stages.devices.retired[device]
    comes(process, "d0")
    process.feed([Delivery(clock=process.made.walk.clock + 600 * SECOND)])
    process.store.most = process.store.bytes - 1
    comes(process, "d2")
    process.feed([Delivery(clock=process.made.walk.clock + 600 * SECOND)])
    assert list(process.store._live) == ["d0", "d2"]
    process.save()
    assert process.restart().store.facts == process.store.facts
    again = process.restart()
    comes(again, "d1")
    [row] = again.made.walk.stages.devices.row_of.values()
    blocks = again.made.walk.blocks
    assert blocks["admit.admit"].view("count")[row] == 1
    assert blocks["labels.head"].view("pushed")[row] == pushed["d1"] + 1
    assert "d1" not in again.store


def test_a_full_disk_keeps_devices_in_memory(tmp_path: Path) -> None:
    """It says so, loses nothing, and goes on once there is room."""
    process = Process(tmp_path)
    file = process.store._connect()
    [(pages,)] = file.execute("pragma page_count").fetchall()
    file.execute(f"pragma max_page_count = {pages}").fetchall()
    readings = shifts(120, 1, devices=3)
    process.feed([Delivery(readings=readings)])
    process.feed([Delivery(clock=int(readings.received[-1]) + 600 * SECOND)])
    assert process.made.walk.stages.devices.known == 3
    assert process.store.state()["why"].endswith(
        "database or disk is full; idle devices stay in memory"
    )
    assert evictions(process.outputs) == 0
    file.execute("pragma max_page_count = 100000").fetchall()
    process.feed([Delivery(clock=process.made.walk.clock + SECOND)])
    assert process.made.walk.stages.devices.known == 0
    assert process.store.state()["ok"]
    assert process.store.state()["devices"] == 3


def test_a_full_disk_keeps_records_that_are_needed_no_more(tmp_path: Path) -> None:
    """They are deleted once there is room."""
    process = idle(tmp_path)
    comes(process, "d1")
    process.save()
    process.store.close()
    file = sqlite3.connect(f"file:{tmp_path / FILE}?mode=ro", uri=True, check_same_thread=False)
    file.isolation_level = None
    with closing(file):
        process.store._file = file
        process.feed([Delivery(clock=process.made.walk.clock + SECOND)])
        assert "readonly database" in process.store.state()["why"]
    process.store._connect()
    process.feed([Delivery(clock=process.made.walk.clock + SECOND)])
    assert sorted(held(process)) == ["d0", "d2"]


def test_damaged_and_unsigned_states_are_refused(tmp_path: Path) -> None:
    """Nothing of them is loaded, and what to do is said."""
    process = idle(tmp_path)
    file: Any = process.store._file
    file.execute("update devices set tensors = zeroblob(length(tensors)) where device = 'd1'")
    with pytest.raises(CheckpointRefused, match=r"holds a state of 'd1' that is damaged.*--accept"):
        comes(process, "d1")
    process.store.open(tmp_path / FILE, b"another key")
    with pytest.raises(CheckpointRefused, match=r"holds a state of 'd2' that is unsigned"):
        comes(process, "d2")
    process.store.close()
    (tmp_path / FILE).write_bytes(b"no database" * 1_000)
    with pytest.raises(CheckpointRefused, match=r"evicted\.db cannot be read"):
        process.store.open(tmp_path / FILE, KEY)


def test_a_tick_evicts_so_many_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fleet that falls silent at once does not stop the stream."""
    monkeypatch.setattr(eviction, "AT_ONCE", 2)
    process = Process(tmp_path)
    readings = shifts(120, 1, devices=5)
    process.feed([Delivery(readings=readings)])
    left = []
    for k in range(4):
        process.feed([Delivery(clock=int(readings.received[-1]) + (600 + k) * SECOND)])
        left.append(process.made.walk.stages.devices.known)
    assert left == [max(0, left[0] - 2 * k) for k in range(4)]
    assert left[0] > 0


def test_a_start_that_is_refused_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    """To open it changes nothing, and where there is none none is made."""
    assert not (Process(tmp_path / "none").folder / FILE).exists()
    process = idle(tmp_path / "some")
    process.save()
    process.store.close()
    before = (process.folder / FILE).read_bytes()
    Process(process.folder).store.close()
    assert (process.folder / FILE).read_bytes() == before
