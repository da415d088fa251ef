"""The worker: journal before acknowledgement, checkpoint and recovery, sinks."""

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.journal import Journal
from stream_processor import worker
from stream_processor.checkpoint import CheckpointRefused
from stream_processor.evicted import FILE
from stream_processor.pipeline import Pipeline
from stream_processor.rounds import parts
from stream_processor.settings import load_text
from stream_processor.worker import CHECKPOINT, Worker
from streamgauge.delivery import Delivery, Position
from streamgauge.output import Output
from tests.power import UnsafeDisk
from tests.services.ports import wait_for
from tests.streams import BEGIN, COMPILED, RIVER, SECOND
from tests.test_walk import state

KEY = b"k" * 32
CONFIG = """
[state]
checkpoint_every = "{every}"
[[source]]
use = "mqtt"
topics = ["t"]
codec = "json"
[channels.load]
[tasks.soon]
kind = "forecast"
target = "load"
horizons = ["3s"]
ready_after = 0
model = {model}
"""


class Queue:
    """A source whose messages the test puts in; it notes what was acknowledged."""

    finished = False

    def __init__(self) -> None:
        self.messages: deque[Delivery] = deque()
        self.acknowledged: list[int] = []
        self.running = False

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def take(self, limit: int, timeout: float) -> Delivery | None:
        if self.messages:
            return self.messages.popleft()
        time.sleep(timeout)
        return None

    def acknowledge(self, tokens: list[Any]) -> None:
        self.acknowledged += tokens

    def resume(self, position: Position) -> None:
        raise AssertionError("a source without positions is never resumed")

    def state(self) -> dict[str, Any]:
        return {"ok": True, "why": ""}


class Kept:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.outputs: list[Output] = []
        self.closed = threading.Event()
        self.durable = True

    def write(self, output: Output) -> None:
        self.outputs.append(output)

    def flush(self, timeout: float) -> bool:
        return self.durable

    def state(self) -> dict[str, Any]:
        return {"ok": True, "why": ""}

    def close(self) -> None:
        self.closed.set()

    @property
    def records(self) -> int:
        return sum(len(output.predictions) for output in self.outputs)


class Stand:
    """A worker on a folder, with a clock that stands still unless told."""

    def __init__(
        self, folder: Path, *, model: str = COMPILED, every: str = "1h", config: str = CONFIG
    ) -> None:
        text = config.format(model=model, every=every)
        self.pipeline = Pipeline(load_text(text, folder / "p.toml", {}))
        self.source, self.sink, self.now = Queue(), Kept(), BEGIN + 200 * SECOND
        self.journal = Journal(folder / "journal", segment_bytes=2_000, max_bytes=200_000)
        self.worker = Worker(
            self.pipeline, [self.source], [self.sink], self.journal, folder, KEY, lambda: self.now
        )

    def put(self, numbers: range) -> None:
        """Readings of two devices, a second apart, four messages to a delivery."""
        for k in range(numbers.start, numbers.stop, 4):
            payloads = [
                json.dumps(
                    {"device": f"d{i % 2}", "time": BEGIN / 1e6 + i, "load": float(np.sin(i / 5))}
                ).encode()
                for i in range(k, k + 4)
            ]
            tokens = list(range(k, k + 4))
            self.source.messages.append(
                Delivery(0, payloads, ["t"] * 4, [self.now] * 4, tokens=tokens)
            )

    def admitted(self) -> int:
        return int(self.pipeline.board.counts()["readings"]["admitted"])

    def start(self, *, accept: bool = False) -> "Stand":
        """Recover and begin."""
        self.worker.recover(accept=accept)
        self.worker.start()
        return self

    def work(self, numbers: range) -> None:
        self.put(numbers)
        wait_for(lambda: self.admitted() >= numbers.stop or bool(self.worker.failure))
        assert not self.worker.failure


def test_messages_are_acknowledged_in_order_once_they_are_in_the_journal(tmp_path: Path) -> None:
    """Every token once, in order of arrival, and the journal holds every message."""
    stand = Stand(tmp_path)
    stand.start()
    stand.work(range(80))
    wait_for(lambda: len(stand.source.acknowledged) == 80)
    assert stand.source.acknowledged == list(range(80))
    held = [p for _, d in stand.journal.entries(0) for p in d.payloads]
    assert len(held) == 80
    stand.worker.stop()
    assert stand.sink.closed.is_set()
    assert not stand.source.running


def killed(stand: Stand) -> None:
    """End the threads as a kill would: nothing is saved, nothing is said to the sinks."""
    stand.worker._stop.set()
    stand.worker._thread.join()
    stand.journal.close()


@pytest.mark.parametrize("model", [COMPILED, RIVER])
def test_a_killed_worker_goes_on_from_checkpoint_and_journal(tmp_path: Path, model: str) -> None:
    """State after checkpoint, kill, recovery and more readings: the same bits as uninterrupted."""
    whole = Stand(tmp_path / "whole", model=model)
    (tmp_path / "whole").mkdir(exist_ok=True)
    whole.start()
    whole.work(range(120))
    whole.worker.stop()

    first = Stand(tmp_path / "cut", model=model)
    first.start()
    first.work(range(40))
    first.worker._save().result()
    first.work(range(40, 80))
    killed(first)

    second = Stand(tmp_path / "cut", model=model)
    second.start()
    assert second.worker.replayed
    assert second.admitted() == 80
    second.work(range(80, 120))
    second.worker.stop()
    assert state(second.pipeline) == state(whole.pipeline)


def test_idle_devices_are_beside_the_checkpoint_and_missed_there(tmp_path: Path) -> None:
    """They come back after a restart; without their file the start is refused, unless they are to
    begin anew."""
    config = CONFIG + '[devices]\nevict_after = "1m"\n'

    def known() -> int:
        return stand.pipeline.walk.stages.devices.known

    def readings() -> list[int]:
        views = [stand.pipeline.board.device(f"d{k}") for k in range(2)]
        return [view.readings for view in views if view is not None]

    stand = Stand(tmp_path, config=config).start()
    stand.work(range(40))
    stand.now += 3_600 * SECOND
    wait_for(lambda: not known())
    stand.worker.stop()
    stand = Stand(tmp_path, config=config).start()
    assert not known()
    assert len(stand.pipeline.walk.eviction.store) == 2
    stand.work(range(40, 44))
    assert readings() == [22, 22]
    stand.now += 7_200 * SECOND
    wait_for(lambda: not known())
    stand.worker.stop()
    (tmp_path / FILE).unlink()
    stand = Stand(tmp_path, config=config)
    with pytest.raises(CheckpointRefused, match=r"evicted\.db has no state of 2 of 2 idle dev"):
        stand.start()
    stand.worker.stop()
    stand = Stand(tmp_path, config=config).start(accept=True)
    stand.work(range(44, 48))
    assert readings() == [2, 2]
    stand.worker.stop()


def test_results_after_a_restart_carry_the_same_places(tmp_path: Path) -> None:
    """A sink can tell what it has had: the same results come again with the same positions."""
    first = Stand(tmp_path)
    first.start()
    first.work(range(40))
    wait_for(lambda: first.sink.records > 0)
    killed(first)
    reached = max(output.position for output in first.sink.outputs)
    second = Stand(tmp_path)
    second.worker.recover()
    again = [output for output in second.sink.outputs if output.position <= reached]
    assert sum(len(output.predictions) for output in again) == first.sink.records
    assert [o.position for o in second.sink.outputs] == sorted(
        o.position for o in second.sink.outputs
    )
    second.worker.stop()


def test_a_checkpoint_trims_the_journal(tmp_path: Path) -> None:
    """What a checkpoint holds need not be kept: whole segments before it are deleted."""
    stand = Stand(tmp_path, every="200ms")
    stand.start()
    stand.work(range(400))
    wait_for(lambda: stand.worker.checkpoints["count"] >= 1 and stand.journal.size < 5_000)
    assert stand.worker.checkpoints["write_seconds"] > 0.0
    assert (tmp_path / CHECKPOINT).exists()
    stand.worker.stop()


def test_ticks_are_in_the_journal_and_expire_what_silent_devices_owe(tmp_path: Path) -> None:
    """A clock that moves on settles predictions of devices that stopped sending."""
    stand = Stand(tmp_path)
    stand.now = BEGIN + 100 * SECOND
    stand.start()
    stand.work(range(8))
    assert stand.pipeline.board.counts()["expired"] == 0
    stand.now += 3_600 * SECOND
    wait_for(lambda: stand.pipeline.board.counts()["expired"] > 0)
    ticks = [d.clock for _, d in stand.journal.entries(0) if d.is_tick]
    assert ticks[-1] == stand.now
    stand.worker.stop()


def test_a_full_journal_stops_acknowledging_until_there_is_room(tmp_path: Path) -> None:
    """The state says so, nothing is lost, and a checkpoint makes room again."""
    stand = Stand(tmp_path)
    real, full = stand.journal.append, threading.Event()
    full.set()

    def append(*group: Delivery) -> list[int]:
        if full.is_set() and any(delivery.payloads for delivery in group):
            raise OSError(28, "No space left on device")
        return real(*group)

    stand.journal.append = append  # type: ignore[method-assign] # a disk cannot be filled here
    stand.start()
    stand.put(range(8))
    wait_for(lambda: not stand.worker.journal_state["ok"])
    assert "No space left" in stand.worker.journal_state["why"]
    assert stand.source.acknowledged == []
    full.clear()
    wait_for(lambda: stand.source.acknowledged == list(range(8)))
    assert stand.worker.journal_state["ok"]
    stand.worker.stop()


def test_a_worker_that_fails_says_why(tmp_path: Path) -> None:
    """An error in the walk ends the worker, is kept as text, and no checkpoint is written."""
    stand = Stand(tmp_path)

    def broken(delivery: Delivery, place: int = 0) -> None:
        raise RuntimeError("planted")

    stand.pipeline.feed = broken  # type: ignore[method-assign] # the fault is planted
    stand.start()
    before = (tmp_path / CHECKPOINT).read_bytes()
    stand.put(range(4))
    wait_for(lambda: not stand.worker.alive)
    assert "planted" in stand.worker.failure
    stand.worker.stop()
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_a_worker_that_could_not_recover_leaves_the_checkpoint_alone(tmp_path: Path) -> None:
    """Stopping after a refused checkpoint must not write an empty one over it."""
    first = Stand(tmp_path).start()
    first.work(range(40))
    first.worker.stop()
    path = tmp_path / CHECKPOINT
    damaged = path.read_bytes()[:-1]
    path.write_bytes(damaged)
    second = Stand(tmp_path)
    with pytest.raises(CheckpointRefused):
        second.start()
    second.worker.stop()
    assert path.read_bytes() == damaged


def test_all_that_was_computed_reaches_the_sinks_before_they_close(tmp_path: Path) -> None:
    """Results of the last moment before a stop are not lost."""
    stand = Stand(tmp_path).start()
    stand.work(range(400))
    stand.worker.stop()
    counts = stand.pipeline.board.counts()
    outcomes = counts["labels"] + counts["expired"]
    assert stand.sink.records == counts["predictions"] + outcomes


def test_a_burst_larger_than_the_journal_is_worked_off(tmp_path: Path) -> None:
    """One delivery may be larger than all of the journal: it goes in piece by piece."""
    stand = Stand(tmp_path, every="1h")
    payloads = [
        json.dumps(
            {"device": "d", "time": BEGIN / 1e6 + k, "load": 1.0, "note": "x" * 1_500}
        ).encode()
        for k in range(190)
    ]
    assert sum(map(len, payloads)) > 200_000
    stand.source.messages.append(
        Delivery(0, payloads, ["t"] * 190, [stand.now] * 190, tokens=list(range(190)))
    )
    stand.start()
    wait_for(lambda: stand.admitted() == 190)
    assert stand.source.acknowledged == list(range(190))
    stand.worker.stop()


def test_a_checkpoint_that_went_missing_is_noticed(tmp_path: Path) -> None:
    """A journal that was trimmed cannot stand alone: starting from nothing would lose it all."""
    first = Stand(tmp_path).start()
    first.work(range(40))
    first.worker.stop()
    (tmp_path / CHECKPOINT).unlink()
    second = Stand(tmp_path)
    with pytest.raises(CheckpointRefused, match=r"checkpoint is missing.*begins at position"):
        second.start()
    second.worker.stop()


def test_a_checkpoint_waits_for_the_history(tmp_path: Path) -> None:
    """While results are not durable no checkpoint is written, and the state says why."""
    stand = Stand(tmp_path, every="50ms")
    stand.worker._history = stand.sink
    stand.sink.durable = False
    stand.start()
    stand.work(range(40))
    wait_for(lambda: not stand.worker.checkpoints["ok"])
    assert "the history did not have all results" in stand.worker.checkpoints["why"]
    assert not (tmp_path / CHECKPOINT).exists()
    stand.sink.durable = True
    wait_for(lambda: stand.worker.checkpoints["ok"])
    stand.worker.stop()
    assert (tmp_path / CHECKPOINT).exists()


def test_a_checkpoint_waits_for_other_sinks_for_a_while(tmp_path: Path) -> None:
    """What a sink could not take is computed again after a kill, unless the sink was away for
    longer than was allowed."""
    stand = Stand(tmp_path, every="1h")
    stand.sink.durable = False
    stand.worker.recover()
    stand.put(range(40))
    for _ in range(10):
        stand.worker._round()
    stand.worker.save()
    assert "the sink Kept did not have all results" in stand.worker.checkpoints["why"]
    assert not (tmp_path / CHECKPOINT).exists()
    stand.worker._patience = 0.0
    stand.worker.save()
    assert stand.worker.checkpoints["ok"]
    assert (tmp_path / CHECKPOINT).exists()
    stand.worker.stop()


def test_what_all_sources_have_is_written_down_with_one_sync(tmp_path: Path) -> None:
    """A round costs one wait for the disk, however many sources it comes from, and nothing of it
    is acknowledged before."""
    stand, other, disk = Stand(tmp_path / "a"), Queue(), UnsafeDisk()
    text = CONFIG.format(model=COMPILED, every="1h") + '[[source]]\nuse = "mqtt"\n'
    pipeline = Pipeline(load_text(f'{text}topics = ["u"]\ncodec = "json"\n', tmp_path / "p", {}))
    journal = Journal(tmp_path / "journal", sync=True, disk=disk)
    syncs: list[int] = []
    sync = disk.sync

    def counted(file: int) -> None:
        syncs.append(len(stand.source.acknowledged) + len(other.acknowledged))
        sync(file)

    disk.sync = counted  # type: ignore[method-assign] # what is asked of the disk is looked at
    sources = [stand.source, other]
    both = Worker(pipeline, sources, [], journal, tmp_path, KEY, lambda: stand.now)
    both.recover()
    stand.put(range(4))
    payload = b'{"device": "e", "time": 1700000000, "load": 1}'
    other.messages.append(Delivery(1, [payload], ["t"], [stand.now], tokens=[9]))
    both._round()
    assert syncs == [0]
    assert (stand.source.acknowledged, other.acknowledged) == ([0, 1, 2, 3], [9])
    assert [d.source for _, d in journal.entries(0) if not d.is_tick] == [0, 1]
    both.stop()
    stand.journal.close()


def test_a_clock_that_is_put_back_expires_nothing_too_soon(tmp_path: Path) -> None:
    """A day ahead for a while, then right again: devices that are heard owe what they owed, and the
    ticks go on at once."""
    stand = Stand(tmp_path)
    right = stand.now
    stand.now = right + 86_400 * SECOND
    stand.worker.recover()
    stand.worker._round()
    stand.now = right
    stand.put(range(200, 204))
    for k in range(3):
        stand.now = right + k * SECOND
        stand.worker._round()
    assert stand.admitted() == 4
    assert stand.pipeline.board.counts()["expired"] == 0
    ticks = [d.clock - right for _, d in stand.journal.entries(0) if d.is_tick]
    assert ticks == [86_400 * SECOND, 0, SECOND, 2 * SECOND]
    stand.now = right + 3_600 * SECOND
    stand.worker._round()
    assert stand.pipeline.board.counts()["expired"] > 0
    stand.worker.stop()


def test_a_clock_that_jumps_forward_expires_what_waits_and_loses_no_reading(
    tmp_path: Path,
) -> None:
    """A day ahead at once: what was owed expires and teaches nothing, readings are admitted as
    before, and a restart from the journal comes to the same state."""
    stand = Stand(tmp_path)
    stand.worker.recover()
    stand.put(range(40))
    for _ in range(10):
        stand.worker._round()
    labels = stand.pipeline.board.counts()["labels"]
    assert stand.pipeline.board.counts()["expired"] == 0
    stand.now += 86_400 * SECOND
    stand.worker._round()
    counts = stand.pipeline.board.counts()
    assert counts["expired"] > 0
    assert counts["labels"] == labels
    stand.put(range(40, 80))
    for _ in range(10):
        stand.worker._round()
    assert stand.admitted() == 80
    assert stand.pipeline.board.counts()["labels"] > labels
    wanted = state(stand.pipeline)
    stand.journal.close()
    again = Stand(tmp_path)
    again.now = stand.now
    again.worker.recover()
    assert state(again.pipeline) == wanted
    again.journal.close()


def test_the_journal_is_trimmed_only_behind_a_checkpoint_that_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is removed from the journal before the file, its name and the folder were synced; and
    nothing at all where the checkpoint could not be written."""
    stand, done = Stand(tmp_path), list[str]()
    stand.worker.recover()
    stand.put(range(40))
    for _ in range(10):
        stand.worker._round()

    def noted(word: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*given: Any) -> Any:
            done.append(word)
            return function(*given)

        return wrapped

    monkeypatch.setattr(os, "fsync", noted("sync", os.fsync))
    monkeypatch.setattr(Path, "replace", noted("rename", Path.replace))
    monkeypatch.setattr(stand.journal, "trim", noted("trim", stand.journal.trim))
    stand.worker.save()
    assert done[: done.index("trim") + 1] == ["sync", "rename", "sync", "trim"]
    size, kept = stand.journal.size, len(done)

    def refused(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker, "write", refused)
    stand.worker.save()
    assert "trim" not in done[kept:]
    assert stand.journal.size == size
    assert "No space left" in stand.worker.checkpoints["why"]
    monkeypatch.undo()
    stand.worker.stop()


def test_only_the_last_part_of_a_delivery_tells_its_place() -> None:
    """What is journaled in parts is not durable before the last of them is: a crash in between must
    not pass for the whole."""
    payloads = [b"x" * 10] * 7
    whole = Delivery(0, payloads, ["t"] * 7, [BEGIN] * 7, position={"keys": "k"})
    found = list(parts(whole, 25))
    assert [len(part.payloads) for part in found] == [2, 2, 2, 1]
    assert [part.position for part in found] == [None, None, None, {"keys": "k"}]
    assert [part.position for part in parts(whole, 1_000)] == [{"keys": "k"}]
