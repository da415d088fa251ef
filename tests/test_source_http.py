"""POST /v1/readings: what is read, as what, and what is refused, with why."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from httpx import Client

from ingest.rejects import Rejects
from ingest.sources import http
from serving.api.intake import Intake
from serving.api.problems import MEDIA_TYPE
from stream_processor.settings.fields import PluginUse
from tests.posts import LINES, NOW, SCHEMA, configured, in_background, lines, posted, readings
from tests.services.ports import wait_for
from tests.services.service import Service, service
from tests.services.stand import Stand


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


def test_partial_takes_the_good_messages(tmp_path: Path) -> None:
    """Where the source says so, 202 lists what was refused, and the quarantine has it."""
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
        wait_for(lambda: running.get("/v1/quarantine")["items"])
        [reject] = running.get("/v1/quarantine")["items"]
        assert (reject["topic"], reject["reason"]) == ("http/readings", "no_device")
        assert client.post("/v1/readings", json={"a": 2}).status_code == 422


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
