"""Kafka and what is killed: the worker, the service, members that come and go; nothing is lost,
nothing is learned twice."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.journal import Journal
from ingest.sources import kafka
from stream_processor.pipeline import Pipeline
from stream_processor.settings import load_text
from stream_processor.worker import Worker
from tests.kafka_reader import Reader, produce, reading
from tests.services.kafka import new_topic, shared
from tests.services.ports import wait_for
from tests.services.service import service
from tests.streams import BEGIN, COMPILED, SECOND
from tests.test_walk import state

NOW = BEGIN + 10_000 * SECOND
CONFIG = """
[[source]]
use = "kafka"
topics = ["{topic}"]
bootstrap_servers = "{bootstrap}"
group = "{group}"
session_timeout = "{session}"
device = "key"
[channels.load]
[tasks.soon]
kind = "forecast"
target = "load"
horizons = ["3s"]
ready_after = 0
model = {model}
"""


def configured(topic: str, bootstrap: str, group: str, session: str = "45s") -> str:
    """A pipeline.toml that reads this topic."""
    return CONFIG.format(
        topic=topic, bootstrap=bootstrap, group=group, session=session, model=COMPILED
    )


def messages(start: int, stop: int) -> list[bytes]:
    """Readings a second apart."""
    return [
        json.dumps({"time": BEGIN / 1e6 + k, "load": float(np.sin(k / 5))}).encode()
        for k in range(start, stop)
    ]


class Stand:
    """A worker that reads a topic with a real source; its clock stands still."""

    def __init__(
        self, folder: Path, bootstrap: str, topic: str, *, group: str = "", session: str = "45s"
    ) -> None:
        text = configured(topic, bootstrap, group or topic, session)
        self.pipeline = Pipeline(load_text(text, folder / "p.toml", {}))
        settings = self.pipeline.settings.sources[0]
        stages = self.pipeline.walk.stages
        self.source: Any = kafka.open(
            stages.schema, 0, lambda: NOW, self.pipeline.rejects, **settings.options
        )
        self.journal = Journal(folder / "journal")
        self.worker = Worker(
            self.pipeline, [self.source], [], self.journal, folder, b"k" * 32, lambda: NOW
        )

    def admitted(self) -> int:
        return int(self.pipeline.board.counts()["readings"]["admitted"])

    def start(self) -> "Stand":
        self.worker.recover()
        self.worker.start()
        return self

    def until(self, number: int) -> None:
        wait_for(lambda: self.admitted() >= number or bool(self.worker.failure), 30.0)
        assert not self.worker.failure
        assert self.admitted() == number

    def kill(self) -> None:
        """End as a kill would: nothing is saved, nothing is committed."""
        self.source._arrivals.due = lambda _: {}
        self.worker._stop.set()
        self.worker._thread.join()
        self.source.stop()
        self.journal.close()


@pytest.mark.parametrize("saved", [False, True])
def test_a_killed_worker_reads_its_order_again(tmp_path: Path, *, saved: bool) -> None:
    """State after a kill and a restart, with a checkpoint in between or none, is that before it;
    the journal holds no payload, and what comes later comes once."""
    bootstrap = shared()
    topic = new_topic(bootstrap, partitions=4)
    produce(bootstrap, topic, messages(0, 400), partitions=4)
    first = Stand(tmp_path, bootstrap, topic).start()
    first.until(400)
    if saved:
        first.worker._save().result()
    produce(bootstrap, topic, messages(400, 600), partitions=4)
    first.until(600)
    first.kill()
    before = state(first.pipeline)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "journal").glob("*.log"))
    assert topic.encode() in kept
    assert b'"load"' not in kept

    second = Stand(tmp_path, bootstrap, topic)
    second.worker.recover()
    assert second.admitted() == 600
    assert state(second.pipeline) == before
    second.worker.start()
    produce(bootstrap, topic, messages(600, 700), partitions=4)
    second.until(700)
    second.worker.stop()
    third = Stand(tmp_path, bootstrap, topic)
    third.worker.recover()
    assert state(third.pipeline) == state(second.pipeline)
    third.worker.stop()


@pytest.mark.slow
def test_a_service_that_is_killed_again_and_again(tmp_path: Path) -> None:
    """`streamgauge run` under load, killed three times: every reading is counted once, and the
    scores are those of a service that was left alone."""
    bootstrap = shared()
    topic = new_topic(bootstrap)
    text = configured(topic, bootstrap, topic)
    total = 3_000

    def load() -> None:
        for k in range(0, total, 500):
            produce(bootstrap, topic, messages(k, k + 500))

    writing = threading.Thread(target=load)
    with service(tmp_path / "killed", text, every="200ms") as one:
        writing.start()
        for k in range(1, 4):
            one.wait_admitted(k * total // 6, 60.0)
            one.kill()
            one.start()
        writing.join()
        one.wait_admitted(total, 60.0)
        killed = one.get("/v1/tasks"), one.admitted
    whole = configured(topic, bootstrap, f"{topic}-whole")
    with service(tmp_path / "whole", whole, every="200ms") as other:
        other.wait_admitted(total, 60.0)
        assert killed == (other.get("/v1/tasks"), other.admitted)


def test_a_second_member_takes_over_without_loss_or_repetition() -> None:
    """Partitions move while records wait and others were taken but are not durable yet: each
    record is read once, by one member or the other, and the devices move with the partition."""
    bootstrap = shared()
    topic = new_topic(bootstrap, partitions=4)
    produce(bootstrap, topic, [b"%d" % k for k in range(2_000)], partitions=4)
    with reading(bootstrap, topic, instance="one") as one:
        wait_for(lambda: one.state["queued"] == 2_000)
        assert one.take(limit=300) == 300
        assert one.take(acknowledge=False, limit=300) == 300
        other = Reader(bootstrap, topic, instance="two")
        other.source.start()
        # The first gives partitions up only once what was taken of them is durable.
        threading.Timer(0.5, one.source.acknowledge, [one.deliveries[1].tokens]).start()
        wait_for(lambda: one.state["partitions"] == other.state["partitions"] == 2, 30.0)
        both = [one, other]
        wait_for(
            lambda: [r.take() for r in both] and sum(len(r.payloads) for r in both) >= 2_000, 30.0
        )
        assert sorted([*one.payloads, *other.payloads]) == sorted(b"%d" % k for k in range(2_000))
        assert one.state["unsettled"] == 0
        other.source.stop()


def test_a_member_that_died_is_followed_by_another() -> None:
    """What it acknowledged and committed is not read again; after the session timeout the rest is
    read by the member that remains, and the first, when it is back, reads none of it."""
    bootstrap = shared()
    topic = new_topic(bootstrap)
    produce(bootstrap, topic, [b"%d" % k for k in range(100)])
    options: dict[str, Any] = {"session_timeout": "6s"}
    with reading(bootstrap, topic, instance="one", **options) as one:
        one.until(lambda: len(one.payloads) >= 100)
    # It left without a word, as static members do.
    with reading(bootstrap, topic, instance="two", ready=False, **options) as two:
        wait_for(lambda: two.state["partitions"] == 1, 40.0)
        produce(bootstrap, topic, [b"new"])
        two.until(lambda: two.payloads == [b"new"])
    again = Reader(bootstrap, topic, instance="one", **options)
    again.source.resume(one.deliveries[-1].position)
    again.source.start()
    produce(bootstrap, topic, [b"newer"])
    again.until(lambda: again.payloads == [b"newer"], seconds=40.0)
    again.source.stop()
