"""POST /v1/readings: 202 once durable, never half, never twice."""

import asyncio
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
from httpx import Client

from ingest.journal import Journal
from ingest.rejects import Rejects
from ingest.sources import http
from ingest.sources._keys import Keys, digest
from streamgauge.schema import Channel, Schema
from tests.posts import NOW, configured, in_background, posted, readings
from tests.services.ports import wait_for
from tests.services.service import Service, environment, service


def test_posts_of_many_clients_become_few_deliveries(tmp_path: Path) -> None:
    """Nothing is lost or learned twice, and one write to the journal serves many requests."""
    clients, each = 12, 60
    answers: list[int] = []

    def post(url: str, name: int) -> None:
        with Client(base_url=url) as one:
            for k in range(each):
                key = {"Idempotency-Key": f"{name}-{k}"}
                body = {"device": f"d{name}", "a": k}
                # Every request twice, as after a lost answer.
                twice = [one.post("/v1/readings", json=body, headers=key) for _ in range(2)]
                answers.extend(answer.status_code for answer in twice)

    with service(tmp_path, configured(), every="1h") as running:
        threads = [threading.Thread(target=post, args=(running.url, k)) for k in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [202] * (2 * clients * each)
        running.wait_admitted(clients * each)
        assert [readings(running, f"d{k}") for k in range(clients)] == [each] * clients
        running.kill()
    journal = Journal(tmp_path / "state" / "journal")
    deliveries = [len(one.payloads) for one in journal.read() if one.payloads]
    journal.close()
    assert sum(deliveries) == clients * each
    assert len(deliveries) < clients * each


def durable_then(work: str) -> str:
    """A program that runs the service, but does that where a delivery has just become durable."""
    return f"""
import os, signal, sys
from pathlib import Path
from ingest.sources.http import HttpSource
from serving.run import run

acknowledge = HttpSource.acknowledge

def crash(self, tokens):
    {work}

HttpSource.acknowledge = crash
sys.exit(run(Path(sys.argv[1])))
"""


class Crashing(Service):
    """A service that SIGKILL ends between journal and answer."""

    work = "os.kill(os.getpid(), signal.SIGKILL)"

    def launch(self) -> None:
        """Start the process."""
        program = [sys.executable, "-c", durable_then(self.work), str(self.config)]
        self.process = subprocess.Popen(program, env=environment(self.folder))


@pytest.mark.parametrize("checkpoint", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_crash_between_journal_and_answer(tmp_path: Path, *, checkpoint: bool) -> None:
    """The sender never had its answer; it asks again with its key, and nothing is learned twice."""
    key = {"Idempotency-Key": "lost-answer"}
    body = {"device": "d", "a": 1}
    crashing = Crashing(tmp_path, configured())
    crashing.start()
    with Client(base_url=crashing.url) as client, pytest.raises(Exception, match="disconnected"):
        client.post("/v1/readings", json=body, headers=key)
    assert crashing.process is not None
    assert crashing.process.wait(20) == -signal.SIGKILL
    sound = Service(tmp_path, configured(), every="1h" if not checkpoint else "100ms")
    try:
        sound.start()
        if checkpoint:
            # A second life, in which the key is known from the checkpoint alone.
            wait_for(lambda: sound.count("streamgauge_checkpoints_total") > 1)
            sound.stop()
            sound.start()
        with Client(base_url=sound.url) as client:
            again = client.post("/v1/readings", json=body, headers=key)
            assert again.status_code == 202
            assert again.headers["idempotency-replayed"] == "true"
            assert client.post("/v1/readings", json={"device": "d", "a": 2}).status_code == 202
        wait_for(lambda: readings(sound, "d") == 2)
    finally:
        sound.kill()


def test_what_does_not_become_durable_in_time() -> None:
    """503 with Retry-After; what the worker never saw is taken back, so that nobody learns it."""
    with posted(timeout="50ms") as (client, source):
        answer = client.post("/v1/readings", json={"device": "d", "a": 1})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "nothing was taken" in answer.json()["detail"]
        assert source.take(10, 0.0) is None
        assert source.state()["queued"] == 0


def test_what_was_taken_but_not_acknowledged_in_time() -> None:
    """503 says that it is not known; the same key finds it once it has become durable."""
    with posted(timeout="50ms") as (client, source):
        key = {"Idempotency-Key": "k"}
        post = partial(client.post, "/v1/readings", json={"device": "d", "a": 1}, headers=key)
        thread, answers = in_background(post)
        wait_for(lambda: source.state()["queued"] == 1)
        delivery = source.take(10, 1.0)
        thread.join()
        assert answers[0].status_code == 503
        assert "not known" in answers[0].json()["detail"]
        assert delivery is not None
        source.acknowledge(delivery.tokens)
        assert post().headers["idempotency-replayed"] == "true"


def test_the_same_key_twice_at_once_is_queued_once() -> None:
    """A sender that is impatient joins its first request."""
    with posted() as (client, source):
        key = {"Idempotency-Key": "k"}
        post = partial(client.post, "/v1/readings", json={"device": "d", "a": 1}, headers=key)
        first, answers = in_background(post)
        wait_for(lambda: source.state()["queued"] == 1)
        second, more = in_background(post)
        wait_for(lambda: [post.waiting for post in source._posts] == [2])
        delivery = source.take(10, 0.0)
        assert delivery is not None
        assert len(delivery.payloads) == 1
        source.acknowledge(delivery.tokens)
        first.join()
        second.join()
        assert [answers[0].status_code, more[0].status_code] == [202, 202]


def test_a_key_that_came_while_a_large_body_was_looked_at() -> None:
    """A body that takes long to look at is compared again before it is queued: another one with
    its key is refused, not taken for it, and one that has become durable is not learned twice."""
    source = http.open(Schema([Channel("a")]), 0, lambda: NOW, Rejects())

    async def came() -> None:
        assert not source.repeats(b"k", b"one")
        assert not source.repeats(b"k", b"two")
        first = source.offer("readings", [b"1"], b"k", b"one")
        with pytest.raises(http.KeyReused):
            source.offer("readings", [b"2"], b"k", b"two")
        delivery = source.take(10, 0.0)
        assert delivery is not None
        assert (delivery.payloads, delivery.tokens) == ([b"1"], [first])
        source.acknowledge(delivery.tokens)
        assert source.offer("readings", [b"1"], b"k", b"one") is None
        with pytest.raises(http.KeyReused):
            source.offer("readings", [b"2"], b"k", b"two")
        assert source.take(10, 0.0) is None

    asyncio.run(came())


def test_keys_are_bounded_in_number_and_age() -> None:
    """The oldest are forgotten; what is kept survives packing."""
    keys = Keys(3, 100)
    for k in range(5):
        keys.add(digest(b"key", bytes([k])), digest(bytes([k])), 1_000 + k)
    known = [keys.content(digest(b"key", bytes([k])), 1_004) is not None for k in range(5)]
    assert known == [False, False, True, True, True]
    assert keys.content(digest(b"key", b"\x04"), 1_105) is None
    again = Keys(3, 100)
    again.unpack(keys.packed())
    again.unpack(keys.packed())
    assert again.packed() == keys.packed()
    assert len(again) == 3
    keys.add(b"n" * 16, b"c" * 16, 1_200)
    assert len(keys) == 1
