"""The quarantine: what is kept of each refusal, once, within bounds; and a replay cut anywhere."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest import quarantine
from ingest.journal import Journal
from ingest.quarantine import Quarantine
from ingest.quarantine_file import (
    FILE,
    QuarantineDamaged,
    Record,
    Wanted,
    connected,
    counts,
    find,
    request,
)
from stream_processor.pipeline import Pipeline
from stream_processor.quarantine import replays as sent_again
from stream_processor.quarantine.replays import replays
from stream_processor.settings import load_text
from stream_processor.worker import Worker
from streamgauge.delivery import Delivery, Readings
from streamgauge.events import EventKind
from tests.test_walk import state

BEGIN = 1_772_366_400 * 10**6
SECOND = 10**6
CONFIG = """
[[source]]
use = "mqtt"
topics = ["t"]
codec = "json"
time = "field:ts"
{source}
[devices]
{devices}
[channels.a]
range = [0, {high}]
{a}
[channels.b]
outside = "reject"
range = [0, 9]
[tasks.next]
kind = "forecast"
target = "a"
horizons = [{{ readings = 1 }}]
ready_after = 0
model = ["preprocessing.StandardScaler", "linear_model.LinearRegression"]
"""


class Stand:
    """A pipeline and its quarantine, in a folder."""

    def __init__(
        self,
        folder: Path,
        *,
        source: str = "",
        devices: str = "",
        a: str = "",
        high: int = 50,
        keep: int = 10**15,
        max_size: int = 10**8,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.now = folder, BEGIN
        text = CONFIG.format(source=source, devices=devices, a=a, high=high)
        self.settings = load_text(text, folder / "pipeline.toml", {})
        self.quarantine = Quarantine(folder / FILE, lambda: self.now, keep=keep, max_size=max_size)
        self.pipeline = Pipeline(self.settings, quarantine=self.quarantine)

    def feed(self, messages: list[Any], place: int, **more: Any) -> None:
        """Messages, JSON or bytes as they are, as one delivery."""
        payloads = [m if isinstance(m, bytes) else json.dumps(m).encode() for m in messages]
        received = [BEGIN + 60 * SECOND + k for k in range(len(payloads))]
        self.pipeline.feed(Delivery(0, payloads, ["t"] * len(payloads), received, **more), place)

    def kept(self, **wanted: Any) -> list[Record]:
        """What is in the file, oldest first."""
        assert self.quarantine.flush(20.0)
        with connected(self.quarantine.path) as file:
            return find(file, Wanted(**wanted), before=None, limit=10_000)[::-1]


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    """One that refuses by range."""
    one = Stand(tmp_path)
    yield one
    one.quarantine.close()


def reading(device: str, k: float, **values: Any) -> dict[str, Any]:
    """A device's reading at a second."""
    return {"device": device, "ts": BEGIN / 1e6 + k, **values}


def test_each_refusal_with_what_was_sent(stand: Stand) -> None:
    """Values as sent, the channel at fault, reason and rule; raw where nothing could be read; none
    of what was admitted, repeated or retained."""
    stand.feed(
        [
            reading("d", 0, a=1.0, b=2.0),
            reading("d", 1, a=60.0, b=2.0),
            reading("d", 2, a=3.0, b=70.0),
            reading("d", 2.5, a=99.0),
            reading("d", 1, a=60.0, b=2.0),
            reading("d", 0.5, a=4.0),
            reading("d", 10_000, a=5.0),
            reading("d", -(10**9), a=5.0),
            reading("d", 3, x=1),
            b"{",
        ],
        100,
    )
    stand.feed([reading("r", 0, a=60.0), b"?"], 200, retained=True)
    late = "event time 2026-03-01T12:00:00.500000Z"
    found = {(r.reason, r.channel, r.content if r.kind == "reading" else "") for r in stand.kept()}
    assert found == {
        ("out_of_range", "a", '{"a":60.0}'),
        ("out_of_range", "b", '{"a":3.0,"b":70.0}'),
        ("out_of_range", "a", '{"a":99.0}'),
        ("late", "", '{"a":4.0}'),
        ("future", "", '{"a":5.0}'),
        ("clock_unset", "", '{"a":5.0}'),
        ("empty", "", ""),
        ("malformed", "", ""),
    }
    by = {record.reason: record for record in stand.kept()}
    assert json.loads(by["empty"].payload) == reading("d", 3, x=1)
    assert (by["empty"].device, by["malformed"].payload) == ("d", b"{")
    assert (by["late"].detail, by["late"].time) == (late, BEGIN + SECOND // 2)
    assert by["future"].rule.startswith("devices.max_ahead = ")
    assert by["late"].source == "mqtt"


@pytest.mark.parametrize(
    "policy",
    [
        "rate = { per_second = 1.0 }",
        "spike = { ready_after = 3 }",
        'stuck = { readings = 2, action = "drop" }',
        'outlier = { use = "zscore", action = "drop", ready_after = 5, window = 10 }',
    ],
    ids=lambda policy: policy.split()[0],
)
@pytest.mark.parametrize("missing", ["", 'missing = "hold"'], ids=["missing", "held"])
def test_what_a_policy_dropped(tmp_path: Path, policy: str, missing: str) -> None:
    """The value as sent is kept, by channel and policy, whatever fills its place afterwards; no
    other value is."""
    stand = Stand(tmp_path, a=f"{policy}\n{missing}")
    usual = [reading("d", k, a=10.0 + 0.1 * (k % 4), b=k % 2) for k in range(20)]
    name = policy.split(maxsplit=1)[0]
    last = [reading("d", 20, a=10.3, b=0)] if name == "stuck" else [reading("d", 20, a=45.0, b=0)]
    stand.feed(usual + last, 100)
    [record] = stand.kept()
    assert (record.reason, record.channel, record.device) == (name, "a", "d")
    assert record.values == {"a": last[0]["a"]}
    assert name in record.flagged["a"]
    assert record.rule.startswith(f"channels.a.{name} = ")
    stand.quarantine.close()


def test_messages_behind_empty_readings_are_found(tmp_path: Path) -> None:
    """Where one message gives several readings or none, each empty one still leads to its own."""
    stand = Stand(tmp_path, source='readings = "items"')
    whole = {"items": [reading("d", 0, a=1.0), reading("d", 1, a=2.0)]}
    half = {"items": [reading("d", 2, a=1.0), reading("d", 3, x=2.0)]}
    stand.feed([whole, b"{", half], 100)
    assert [(r.reason, r.payload) for r in stand.kept()] == [
        ("malformed", b"{"),
        ("empty", json.dumps(half).encode()),
    ]
    stand.quarantine.close()


def test_what_is_arranged_first(tmp_path: Path) -> None:
    """Readings that wait for others are kept as they were sent as well, each once."""
    stand = Stand(tmp_path, devices='reorder = "5s"')
    stand.feed(
        [
            reading("d", 0, a=60.0, b=2.0),
            reading("d", 1, a=1.0),
            reading("d", 2, a=77.0),
            reading("d", 3, x=1.0),
            reading("d", 20, a=2.0),
            reading("d", 0.5, a=3.0),
        ],
        100,
    )
    found = [(r.kind, r.reason, r.content if r.kind == "reading" else "") for r in stand.kept()]
    assert sorted(found) == [
        ("message", "empty", ""),
        ("reading", "late", '{"a":3.0}'),
        ("reading", "out_of_range", '{"a":60.0}'),
        ("reading", "out_of_range", '{"a":77.0}'),
    ]
    stand.quarantine.close()


def test_recorded_readings_and_the_device_limit(tmp_path: Path) -> None:
    """What has no row in the state is kept under its device's name."""
    stand = Stand(tmp_path, devices="limit = 1")
    times = BEGIN + SECOND * np.arange(3)
    values = np.array([[1.0, np.nan], [2.0, 3.0], [60.0, 3.0]])
    stand.pipeline.feed(Delivery(readings=Readings(["d", "e", "d"], times, times, values)), 50)
    assert [(r.device, r.reason, r.values) for r in stand.kept()] == [
        ("e", "device_limit", {"a": 2.0, "b": 3.0}),
        ("d", "out_of_range", {"a": 60.0}),
    ]
    stand.quarantine.close()


def test_what_is_repeated_is_kept_once(tmp_path: Path) -> None:
    """A restart that walks the log again adds nothing; a log that begins anew does, at the same
    places."""
    messages = [reading("d", k, a=60.0 + k) for k in range(5)] + [b"{"]
    for again in range(2):
        stand = Stand(tmp_path)
        stand.feed(messages, 100)
        assert len(stand.kept()) == 6
        stand.quarantine.resume(100)
        if again:
            stand.quarantine.resume(99)
        stand.quarantine.close()
    stand = Stand(tmp_path)
    stand.feed(messages, 100)
    assert len(stand.kept()) == 12
    stand.quarantine.close()


def test_the_bounds_hold(tmp_path: Path) -> None:
    """The oldest goes when the file is too large and when it is too old; the newest stays."""
    stand = Stand(tmp_path, max_size=200_000, keep=3600 * SECOND)
    for k in range(40):
        stand.feed([b"{" + b"x" * 500] * 100, 100 + k)
        assert stand.quarantine.flush(20.0)
    found = stand.kept()
    assert 50 < len(found) < 400
    assert found[-1].place == 139
    assert stand.quarantine.state()["bytes"] <= 200_000
    stand.now += 3601 * SECOND
    stand.feed([b"{"], 1_000)
    assert [r.place for r in stand.kept()] == [1_000]
    stand.quarantine.close()


def test_a_flood_is_bounded_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the disk cannot take is dropped beyond a bound, and counted; the rest is kept."""
    stand = Stand(tmp_path)
    monkeypatch.setattr(stand.quarantine, "_limit", 150)
    monkeypatch.setattr(quarantine, "INTERVAL", 3600.0)
    for k in range(3):
        stand.feed([b"{"] * 100, k + 1)
    assert stand.quarantine.state()["dropped_total"] == 150
    assert len(stand.kept()) == 150
    stand.quarantine.close()


def test_filters_and_counts(stand: Stand) -> None:
    """By device, channel, reason, time and what was replayed."""
    stand.feed([reading("d", 0, a=60.0), reading("e", 0, a=1.0, b=70.0), b"{"], 100)
    assert stand.quarantine.flush(20.0)
    with connected(stand.quarantine.path) as file:
        everything = counts(file, Wanted())
        assert everything == {"out_of_range": 2, "malformed": 1}
        assert counts(file, Wanted(device="e")) == {"out_of_range": 1}
        assert counts(file, Wanted(channel="a")) == {"out_of_range": 1}
        assert counts(file, Wanted(reason="malformed")) == {"malformed": 1}
        since = BEGIN + 60 * SECOND + 1
        assert sum(counts(file, Wanted(since=since)).values()) == 2
        assert sum(counts(file, Wanted(until=since)).values()) == 1
        assert counts(file, Wanted(replayed=True)) == {}


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """What is damaged, or of a newer version, is said and not overwritten."""
    path = tmp_path / FILE
    path.write_bytes(b"this is no database, " * 50)
    with pytest.raises(QuarantineDamaged, match="move it away"), connected(path):
        pass
    path.unlink()
    with sqlite3.connect(path) as file:
        file.execute("pragma user_version = 9")
    file.close()
    with pytest.raises(QuarantineDamaged, match="format 9"), connected(path):
        pass


class Restarted:
    """A worker on a state folder, whose quarantine asks for a replay."""

    def __init__(self, folder: Path) -> None:
        self.stand = Stand(folder)
        journal = Journal(folder / "journal")
        again = replays(
            folder / FILE, self.stand.pipeline.walk.stages.schema, ["mqtt"], self.stand.now
        )
        self.again = again
        self.worker = Worker(
            self.stand.pipeline, [], [], journal, folder, b"k" * 32, lambda: self.stand.now
        )
        self.worker.recover()
        self.stand.quarantine.resume(self.worker.place)

    def work(self, n: int | None = None) -> None:
        """Send n deliveries again, or all."""
        assert self.stand.quarantine.flush(20.0)
        for delivery in islice(self.again, n):
            self.worker.work([delivery])

    def close(self) -> None:
        """Release the files."""
        self.worker.journal.close()
        self.stand.quarantine.close()


def test_a_replay_cut_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each delivery that is sent again the process dies, with or without its marks on disk:
    the next goes on, and the state is that of one that never died."""
    monkeypatch.setattr(sent_again, "TOGETHER", 7)
    monkeypatch.setattr(quarantine, "INTERVAL", 3600.0)
    base, deliveries = tmp_path / "base", 6
    first = Stand(base, a='path = "elsewhere"')
    first.feed([reading(f"d{k % 3}", k, a=10.0 + k % 5) for k in range(40)], 100)
    assert len(first.kept(reason="empty")) == 40
    first.quarantine.close()
    with connected(base / FILE) as file:
        sent, _ = request(file, Wanted(), BEGIN, ready=lambda *_: True, dry=False)
    assert sent == {"empty": 40}
    whole = Restarted(_copied(base, tmp_path / "whole"))
    whole.work()
    wanted = state(whole.stand.pipeline)
    assert whole.stand.pipeline.board.counts()["readings"]["admitted"] == 40
    for n in range(deliveries + 1):
        for marked in (False, True):
            dying = Restarted(_copied(base, tmp_path / f"dying-{n}-{marked}"))
            dying.work(n)
            if marked:
                assert dying.stand.quarantine.flush(20.0)
            next_one = Restarted(_copied(dying.stand.folder, tmp_path / f"next-{n}-{marked}"))
            next_one.work()
            assert state(next_one.stand.pipeline) == wanted
            assert len(next_one.stand.kept(replayed=True)) == 40
            assert next_one.worker.replayed == n
            dying.close()
            next_one.close()
    whole.close()


def _copied(folder: Path, to: Path) -> Path:
    """What is on the disk of a folder, at this moment."""
    return Path(shutil.copytree(folder, to))


def test_what_comes_too_late_to_teach_is_told(tmp_path: Path) -> None:
    """Of devices that went on, values within the range of now become events and teach nothing;
    those that are still outside it are kept again; each is sent once."""
    first = Stand(tmp_path)
    first.feed([reading("d", 0, a=70.0, b=1.0), reading("d", 1, a=500.0, b=1.0)], 100)
    assert len(first.kept()) == 2
    first.quarantine.close()
    with connected(tmp_path / FILE) as file:
        request(file, Wanted(), BEGIN, ready=lambda *_: True, dry=False)
    corrected = Stand(tmp_path, high=100)
    corrected.feed([reading("d", 2, a=1.0, b=1.0)], 200)
    before = corrected.pipeline.board.counts()["readings"]["admitted"]
    schema = corrected.pipeline.walk.stages.schema
    for delivery in replays(tmp_path / FILE, schema, ["mqtt"], BEGIN + SECOND):
        corrected.pipeline.feed(delivery, 300)
    told = [event for output in corrected.pipeline.sealed() for event in output.events]
    assert [(e.kind, e.channel, e.time, e.after) for e in told] == [
        (EventKind.RECOVERED, "a", BEGIN, 70.0)
    ]
    assert corrected.pipeline.board.counts()["readings"]["admitted"] == before
    assert [(r.values, r.replayed) for r in corrected.kept()] == [
        ({"a": 70.0}, BEGIN + SECOND),
        ({"a": 500.0}, BEGIN + SECOND),
        ({"a": 500.0}, None),
    ]
    corrected.quarantine.close()
