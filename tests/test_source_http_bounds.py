"""POST /v1/readings: when nothing is taken, how much, and from whom."""

from typing import Any

import pytest
from httpx import Client

from ingest.rejects import Rejects
from ingest.sources import http
from serving.api.intake import Intake
from stream_processor.settings.fields import PluginUse
from tests.posts import LINES, NOW, SCHEMA, in_background, posted
from tests.services.ports import wait_for
from tests.services.stand import Stand


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


@pytest.mark.parametrize(
    "options", [{"queue": 0}, {"timeout": "1us"}, {"keys": 0}, {"max_request": 0}, {"timeout": ""}]
)
def test_options_that_mean_nothing(options: dict[str, Any]) -> None:
    """They are refused with what to write."""
    with pytest.raises(ValueError, match=r"at least|not a duration"):
        http.open(SCHEMA, 0, lambda: NOW, Rejects(), **options)
