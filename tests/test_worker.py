"""The worker: journal before acknowledgement, its clock, its sinks."""

import json
import threading
from pathlib import Path

from ingest.journal import Journal
from stream_processor.pipeline import Pipeline
from stream_processor.rounds import parts
from stream_processor.settings import load_text
from stream_processor.worker import CHECKPOINT, Worker
from streamgauge.delivery import Delivery
from tests.power import UnsafeDisk
from tests.services.ports import wait_for
from tests.streams import BEGIN, COMPILED, SECOND
from tests.test_walk import state
from tests.workers import CONFIG, KEY, Queue, Stand


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


def test_only_the_last_part_of_a_delivery_tells_its_place() -> None:
    """What is journaled in parts is not durable before the last of them is: a crash in between must
    not pass for the whole."""
    payloads = [b"x" * 10] * 7
    whole = Delivery(0, payloads, ["t"] * 7, [BEGIN] * 7, position={"keys": "k"})
    found = list(parts(whole, 25))
    assert [len(part.payloads) for part in found] == [2, 2, 2, 1]
    assert [part.position for part in found] == [None, None, None, {"keys": "k"}]
    assert [part.position for part in parts(whole, 1_000)] == [{"keys": "k"}]
