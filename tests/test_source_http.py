"""POST /v1/readings: 202 once durable, never half, never twice; and what is refused, with why."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from httpx import Client, Response

from ingest.journal import Journal
from ingest.labels import LabelCodec
from ingest.rejects import Rejects
from ingest.sources import http
from ingest.sources._keys import Keys, digest
from serving.api.intake import Intake
from serving.api.problems import MEDIA_TYPE
from stream_processor.settings.fields import PluginUse
from stream_processor.settings.tasks import LabelFields
from streamgauge.schema import Channel, Schema
from tests.services.ports import wait_for
from tests.services.service import Service, environment, service
from tests.services.stand import Stand

NOW = 1_772_366_400 * 10**6
LINES = {"Content-Type": "application/x-ndjson"}
CONFIG = """
[[source]]
use = "http"
time = "{time}"
{more}

[channels]
a = {{ range = [-1000000, 1000000] }}
"""
"""Where our own clock is the time, a message that comes twice counts twice."""


def configured(*, time: str = "received", more: str = "") -> str:
    """A pipeline.toml with an `http` source."""
    return CONFIG.format(time=time, more=more)


def lines(*messages: Any) -> bytes:
    """JSON lines."""
    return b"\n".join(json.dumps(message).encode() for message in messages)


def readings(running: Service, device: str) -> int:
    """How many readings of a device were admitted."""
    found = running.get(f"/v1/devices?search={device}")["items"]
    return sum(int(one["readings"]) for one in found if one["id"] == device)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A real service."""
    with service(tmp_path_factory.mktemp("service"), configured()) as one:
        yield one


@pytest.fixture
def client(running: Service) -> Iterator[Client]:
    """A client of it."""
    with Client(base_url=running.url) as one:
        yield one


def test_one_an_array_and_lines(running: Service, client: Client) -> None:
    """All three forms are taken, and counted in the answer."""
    one = client.post("/v1/readings", json={"device": "form-1", "a": 1.5})
    assert (one.status_code, one.json()) == (202, {"accepted": 1})
    array = client.post("/v1/readings", json=[{"device": f"form-{k}", "a": k} for k in (2, 3)])
    assert (array.status_code, array.json()) == (202, {"accepted": 2})
    body = lines({"device": "form-4", "a": 4}, {"device": "form-5", "a": 5}) + b"\n\n"
    many = client.post("/v1/readings", content=body, headers=LINES)
    assert (many.status_code, many.json()) == (202, {"accepted": 2})
    wait_for(lambda: [readings(running, f"form-{k}") for k in range(1, 6)] == [1] * 5)
    assert client.get("/v1/devices/form-5").json()["values"] == {"a": 5.0}
    assert client.post("/v1/readings", json=[]).json() == {"accepted": 0}


@pytest.mark.parametrize(
    ("body", "headers", "said"),
    [
        (b"", {}, "the body is empty"),
        (b" \n\n", LINES, "the body is empty"),
        (b'{"device": "bad", "a": 1', {}, "malformed: not readable as JSON"),
        (b'[{"device": "bad", "a": 1}, {"a": 2}]', {}, "index 1: no_device: nothing at 'device'"),
        (b'{"device": "bad"}\n\n{"device":}\n', LINES, "line 3: malformed"),
        (b"[1, 2]", {}, "2 of 2 messages cannot be read, so none was taken: index 0: malformed"),
        (b'"text"', {}, "malformed: str where an object is expected"),
        (b'[{"device": "bad"},', {}, "malformed"),
        (b"[" * 100_000, {}, "malformed"),
        (b'{"device": "bad", "a": \xff}', {}, "malformed"),
    ],
)
def test_what_cannot_be_read(
    running: Service, client: Client, body: bytes, headers: dict[str, str], said: str
) -> None:
    """422 names line or index and the reason, and nothing of the request is taken."""
    headers = {"Content-Type": "application/json"} | headers
    answer = client.post("/v1/readings", content=body, headers=headers)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert said in answer.json()["detail"]
    assert client.post("/v1/readings", json={"device": "after", "a": 1}).status_code == 202
    wait_for(lambda: readings(running, "after") > 0)
    assert readings(running, "bad") == 0


def test_the_errors_of_a_request_are_listed(client: Client) -> None:
    """The document lists what was refused, at most 20 of it, for programs."""
    body = lines(*({"a": 1} if k % 2 else {"device": "x", "a": 1} for k in range(60)))
    answer = client.post("/v1/readings", content=body, headers=LINES).json()
    assert answer["refused"] == 30
    assert [one["line"] for one in answer["errors"]] == [2 * k for k in range(1, 21)]
    assert {one["reason"] for one in answer["errors"]} == {"no_device"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/json", "Content-Encoding": "br"},
        {"Content-Type": ""},
    ],
)
def test_other_content_types(client: Client, headers: dict[str, str]) -> None:
    """415 says which are read: curl's own default is none of them."""
    answer = client.post("/v1/readings", content=b'{"device":"x"}', headers=headers)
    assert answer.status_code == 415
    assert "accept-post" in answer.headers or "accept-encoding" in answer.headers


def test_a_reading_that_is_refused_later_is_taken_first(running: Service, client: Client) -> None:
    """Range, order and device limit are the pipeline's business: the message was well-formed."""
    before = running.count("streamgauge_readings_total{empty}")
    assert client.post("/v1/readings", json={"device": "later", "a": 1e30}).status_code == 202
    wait_for(lambda: running.count("streamgauge_readings_total{empty}") == before + 1)


def test_an_idempotency_key_is_learned_once(running: Service, client: Client) -> None:
    """The same key and body is answered again and learned once; another body is refused."""
    post = partial(client.post, "/v1/readings", headers={"Idempotency-Key": "k-1"})
    first, again = (post(json={"device": "once", "a": 1}) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json() == {"accepted": 1}
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    other = post(json={"device": "once", "a": 2})
    assert other.status_code == 422
    assert "use a new key" in other.json()["detail"]
    client.post("/v1/readings", json={"device": "once", "a": 3})
    wait_for(lambda: readings(running, "once") == 2)
    too_long = client.post("/v1/readings", json={}, headers={"Idempotency-Key": "k" * 256})
    assert too_long.status_code == 422


def test_a_request_longer_than_a_delivery_is_one_request(running: Service, client: Client) -> None:
    """Ten thousand messages in one body, answered once all of them are durable."""
    body = lines(*({"device": f"long-{k}", "a": 1} for k in range(10_000)))
    before = running.admitted
    answer = client.post("/v1/readings", content=body, headers=LINES)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 10_000})
    running.wait_admitted(before + 10_000)


def test_labels_without_a_task_that_takes_them(client: Client) -> None:
    """404 says what to write."""
    answer = client.post("/v1/labels", json={"device": "x", "label": 1})
    assert answer.status_code == 404
    assert 'label = { from = "http" }' in answer.json()["detail"]


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


def test_partial_takes_the_good_messages(tmp_path: Path) -> None:
    """Where the source says so, 202 lists what was refused, and the rejects have it."""
    with (
        service(tmp_path, configured(more="partial = true")) as running,
        Client(base_url=running.url) as client,
    ):
        body = lines({"device": "d", "a": 1}, {"a": 2}, {"device": "e", "a": 3})
        answer = client.post("/v1/readings", content=body, headers=LINES)
        assert answer.status_code == 202
        detail = {"line": 2, "reason": "no_device", "detail": "nothing at 'device'"}
        assert answer.json() == {"accepted": 2, "refused": 1, "errors": [detail]}
        wait_for(lambda: [readings(running, name) for name in "de"] == [1, 1])
        [reject] = running.get("/v1/rejects")["items"]
        assert (reject["topic"], reject["reason"]) == ("http/readings", "no_device")
        assert client.post("/v1/readings", json={"a": 2}).status_code == 422


SCHEMA = Schema([Channel("a")])
LABELS = LabelCodec(asdict(LabelFields(label="a")), "UTC")


@contextmanager
def posted(**options: Any) -> Iterator[tuple[Client, http.HttpSource]]:
    """A real server over a source that no worker empties, and a client of it."""
    source = http.open(SCHEMA, 0, lambda: NOW, Rejects(), **options)
    use = PluginUse("json", {"time": "received"})
    intake = Intake(source, use, SCHEMA, lambda: NOW, labels=[LABELS])
    with Stand(intake=intake).served() as server, Client(base_url=server.url) as client:
        yield client, source


def in_background(work: Callable[[], Response]) -> tuple[threading.Thread, list[Response]]:
    """The work in a thread of its own, and where its result will be."""
    answers: list[Response] = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    thread.start()
    return thread, answers


def test_nothing_is_taken_while_the_state_is_taken_back() -> None:
    """503 with Retry-After: a key may be durable that is not known yet."""
    source = http.open(SCHEMA, 0, lambda: NOW, Rejects())
    intake = Intake(source, PluginUse("json", {"time": "received"}), SCHEMA, lambda: NOW)
    intake.taking = False
    with Stand(intake=intake).served() as server, Client(base_url=server.url) as client:
        answer = client.post("/v1/readings", json={"device": "d", "a": 1})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "takes its state back" in answer.json()["detail"]
    assert source.state()["queued"] == 0


def test_a_full_inbox_is_said_so() -> None:
    """429 with Retry-After, and what was in the inbox still gets its answer."""
    with posted(queue=3) as (client, source):
        body = [{"device": "d", "a": k} for k in range(3)]
        thread, answers = in_background(lambda: client.post("/v1/readings", json=body))
        wait_for(lambda: source.state()["queued"] == 3)
        full = client.post("/v1/readings", json=body[:1])
        assert (full.status_code, full.headers["retry-after"]) == (429, "1")
        assert client.post("/v1/readings", json=body * 2).status_code == 413
        delivery = source.take(10, 0.0)
        assert delivery is not None
        assert client.post("/v1/readings", json=body * 2).status_code == 413
        source.acknowledge(delivery.tokens)
        thread.join()
        assert answers[0].status_code == 202
        assert source.state()["refused_full"] == 1


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


def test_too_many_messages_are_refused_before_they_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A body of millions of tiny elements would else be tried one by one for minutes."""
    monkeypatch.setattr(Intake, "faults", lambda *_: pytest.fail("they were tried"))
    with posted(queue=10) as (client, source):
        answer = client.post("/v1/readings", json=[1] * 11)
        assert answer.status_code == 413
        assert "queue = 10" in answer.json()["detail"]
        assert source.take(20, 0.0) is None


def test_what_is_too_large() -> None:
    """413 for a long request, announced or not, and for a long message in a short one."""
    with posted(max_request=1_000, max_bytes=100) as (client, source):
        long = b'{"device": "d", "a": 1}\n' * 100
        parts = (long[k : k + 100] for k in range(0, len(long), 100))
        assert client.post("/v1/readings", content=long, headers=LINES).status_code == 413
        assert client.post("/v1/readings", content=parts, headers=LINES).status_code == 413
        body = [{"device": "d", "a": 1}, {"device": "d" * 100, "a": 1}]
        answer = client.post("/v1/readings", json=body)
        assert answer.status_code == 413
        assert "index 1" in answer.json()["detail"]
        assert source.take(10, 0.0) is None


@pytest.mark.parametrize(
    ("codec", "options", "media_type", "good", "bad"),
    [
        ("line_protocol", {"device": "field:id"}, "text/plain", b"w,id=d a=1.5", b"w,id=d"),
        ("csv", {}, "text/csv", b"device,time,a\nd,1772366400,1.5", b"device,time,a\nd,x,1"),
        ("cbor", {"time": "received"}, "application/cbor", b"\xa2fdeviceadaa\x01", b"\xa2fdev"),
        (
            "senml", {}, "application/senml+json",
            b'[{"bn":"d/","n":"a","v":1.5},{"n":"b","v":2}]', b'[{"n":1}]',
        ),
    ],
)  # fmt: skip
def test_other_codecs(
    codec: str, options: dict[str, Any], media_type: str, good: bytes, bad: bytes
) -> None:
    """A body is read as what the source's codec reads, by its own media type; it stays whole."""
    source = http.open(SCHEMA, 0, lambda: NOW, Rejects(), timeout="50ms")
    use = PluginUse(codec, options)
    intake = Intake(source, use, SCHEMA, lambda: NOW)
    with Stand(intake=intake).served() as server, Client(base_url=server.url) as client:
        post = partial(client.post, "/v1/readings")
        refused = post(content=bad, headers={"Content-Type": media_type})
        assert refused.status_code == 422, refused.text
        assert post(content=good, headers={"Content-Type": "image/png"}).status_code == 415
        thread, answers = in_background(
            partial(post, content=good, headers={"Content-Type": media_type})
        )
        delivery = source.take(10, 5.0)
        assert delivery is not None
        assert delivery.payloads == [good]
        source.acknowledge(delivery.tokens)
        thread.join()
        assert answers[0].status_code == 202, answers[0].text


def test_labels_come_in_one_order_with_readings() -> None:
    """One delivery, its topics tell them apart."""
    with posted() as (client, source):
        threads, body = [], {"device": "d", "time": 1, "a": 1}
        for path in ("readings", "labels", "readings"):
            threads.append(in_background(partial(client.post, f"/v1/{path}", json=body)))
            wait_for(lambda: source.state()["queued"] == len(threads))
        delivery = source.take(10, 0.0)
        assert delivery is not None
        assert delivery.topics == ["http/readings", "http/labels", "http/readings"]
        source.acknowledge(delivery.tokens)
        for thread, answers in threads:
            thread.join()
            assert answers[0].status_code == 202
        assert client.post("/v1/labels", json=["x"]).status_code == 422


def test_a_service_without_the_source() -> None:
    """404 says what to add to the configuration."""
    with Stand().served() as server, Client(base_url=server.url) as client:
        for path in ("/v1/readings", "/v1/labels"):
            answer = client.post(path, json={})
            assert answer.status_code == 404
            assert 'use = "http"' in answer.json()["detail"]


def test_keys_are_for_reading_or_for_writing() -> None:
    """A sensor's key cannot read, a dashboard's cannot post, the service's own does both; neither a
    session nor a page of another site may post."""
    stand = Stand(keys=["all"], read_keys=["reader"], write_keys=["writer"])
    with stand.served() as server, Client(base_url=server.url) as client:
        client.headers["Host"] = "gauge.example"
        statuses = {
            key: (
                client.get("/v1/tasks", headers={"X-API-Key": key}).status_code,
                client.post("/v1/readings", json={}, headers={"X-API-Key": key}).status_code,
            )
            for key in ("all", "reader", "writer", "other")
        }
        assert statuses == {
            "all": (200, 404), "reader": (200, 403), "writer": (403, 404), "other": (401, 401),
        }  # fmt: skip
        assert client.post("/login", json={"key": "writer"}).status_code == 401
        assert client.post("/login", json={"key": "reader"}).status_code == 204
        assert client.get("/v1/tasks").status_code == 200
        assert client.post("/v1/readings", json={}).status_code == 401
    with Stand().served() as server, Client(base_url=server.url) as client:
        own, other = {"Origin": server.url}, {"Origin": "http://elsewhere.example"}
        assert client.post("/v1/readings", json={}, headers=own).status_code == 404
        assert client.post("/v1/readings", json={}, headers=other).status_code == 403


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


@pytest.mark.parametrize(
    "options", [{"queue": 0}, {"timeout": "1us"}, {"keys": 0}, {"max_request": 0}, {"timeout": ""}]
)
def test_options_that_mean_nothing(options: dict[str, Any]) -> None:
    """They are refused with what to write."""
    with pytest.raises(ValueError, match=r"at least|not a duration"):
        http.open(SCHEMA, 0, lambda: NOW, Rejects(), **options)
