"""Posts that are made to hurt: each is refused with what to do, costs little, and the service goes
on."""

import gzip
import json
import re
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from httpx import Client

from ingest.rejects import Rejects
from ingest.sources import http
from serving.api import body, connection
from serving.api.guard import SMALL_BYTES
from serving.api.intake import Intake
from serving.api.problems import MEDIA_TYPE
from stream_processor.settings.fields import PluginUse
from tests.posts import LINES, NOW, SCHEMA, configured, in_background, readings
from tests.services.ports import wait_for
from tests.services.service import Service, service
from tests.services.stand import Stand

JSON = {"Content-Type": "application/json"}
LONG = 15_000_000
"""Bytes: nearly what the source takes in one request."""
ROOM = 120
"""Megabytes that such a body may cost beyond what the service has."""
DEEP = b"[" * 100_000 + b"]" * 100_000
READING = b'{"device": "hostile", "a": 1, "b": %b}'


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A real service."""
    with service(tmp_path_factory.mktemp("service"), configured()) as one:
        yield one


def megabytes(running: Service, which: str) -> int:
    """VmRSS: what the process has in memory; VmHWM: the most that it had."""
    assert running.process is not None
    status = Path(f"/proc/{running.process.pid}/status").read_text(encoding="utf-8")
    found = re.search(rf"{which}:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) // 1024


def forget_the_most(running: Service) -> None:
    """Begin VmHWM anew."""
    assert running.process is not None
    Path(f"/proc/{running.process.pid}/clear_refs").write_text("5", encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "headers", "status", "said"),
    [
        pytest.param(b"\n" * LONG, LINES, 422, "the body is empty", id="newlines"),
        pytest.param(b"1\n" * (LONG // 2), LINES, 413, "queue = 20,000", id="tiny lines"),
        pytest.param(b"[1" + b",1" * (LONG // 2) + b"]", JSON, 413, "queue =", id="tiny elements"),
        pytest.param(b"[{}" + b",{}" * (LONG // 3) + b"]", JSON, 413, "queue =", id="objects"),
        pytest.param(
            b"[[1" + b",1" * (LONG // 2) + b"]]", JSON, 422, "index 0, up to max_bytes", id="nested"
        ),
        pytest.param(b"[1" + b",1" * (LONG // 2), LINES, 413, "max_bytes", id="one line"),
        pytest.param(b'"' + b"x" * LONG + b'"', JSON, 413, "in one message", id="string"),
        pytest.param(b'[{"' + b"x" * LONG, JSON, 422, "malformed: the array", id="no end"),
        pytest.param(DEEP, JSON, 422, "nested too deeply", id="deep"),
        pytest.param(READING % DEEP, JSON, 422, "nested too deeply", id="deep in a reading"),
        pytest.param(b"[%b]" % (READING % DEEP), JSON, 422, "too deeply", id="deep in an array"),
        pytest.param(READING % DEEP, LINES, 422, "line 1: malformed", id="deep in a line"),
        pytest.param(
            b'{"a":' * 100_000 + b"1" + b"}" * 100_000, JSON, 422, "too deeply", id="deep objects"
        ),
        pytest.param(
            gzip.compress(bytes(LONG)), JSON | {"Content-Encoding": "gzip"}, 415,
            "send the body as it is", id="gzip",
        ),
    ],
)  # fmt: skip
def test_what_is_made_to_cost_much(
    running: Service, content: bytes, headers: dict[str, str], status: int, said: str
) -> None:
    """The answer says what to do, the memory that it took is a few times the body, nothing of it is
    learned, and the next reading is."""
    with Client(base_url=running.url, timeout=60.0) as client:
        client.post("/v1/readings", json={"device": "before", "a": 1})
        before = readings(running, "after")
        forget_the_most(running)
        has = megabytes(running, "VmRSS")
        answer = client.post("/v1/readings", content=content, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (status, MEDIA_TYPE)
        assert said in answer.json()["detail"]
        assert megabytes(running, "VmHWM") < has + ROOM
        assert client.post("/v1/readings", json={"device": "after", "a": 1}).status_code == 202
        wait_for(lambda: readings(running, "after") == before + 1)
        assert readings(running, "hostile") == 0


def test_a_reading_behind_millions_of_empty_lines(running: Service) -> None:
    """It is taken, and a bad one there is told by its line."""
    with Client(base_url=running.url, timeout=60.0) as client:
        post = partial(client.post, "/v1/readings", headers=LINES)
        assert post(content=b"\n" * LONG + b'{"device": "far", "a": 1}').json() == {"accepted": 1}
        bad = post(content=b"\n" * LONG + b'{"a": 1}')
        assert [one["line"] for one in bad.json()["errors"]] == [LONG + 1]


def test_a_large_array_is_still_cut_by_its_elements(running: Service) -> None:
    """An array with so many commas that it is counted first is taken like any other."""
    one = json.dumps({"device": "large", "a": 1, "b": list(range(100))})
    content = f"[{', '.join([one] * 2_000)}]".encode()
    assert content.count(b",") > 160_000
    with Client(base_url=running.url, timeout=60.0) as client:
        answer = client.post("/v1/readings", content=content, headers=JSON)
        assert (answer.status_code, answer.json()) == (202, {"accepted": 2_000})


def request(port: int, *lines: str) -> socket.socket:
    """A connection on which these lines of a request were sent."""
    one = socket.create_connection(("127.0.0.1", port), timeout=30.0)
    one.sendall("\r\n".join([*lines, ""]).encode())
    return one


POST = ("POST /v1/readings HTTP/1.1", "Host: localhost", "Content-Type: application/json")


def answered(one: socket.socket) -> tuple[int, bytes]:
    """Status and body of what comes until the server ends the connection."""
    with one:
        said = b"".join(iter(partial(one.recv, 65_536), b""))
    head, _, found = said.partition(b"\r\n\r\n")
    return int(head.split()[1] if head else 0), found


def test_a_body_without_end_is_refused_while_it_comes(running: Service) -> None:
    """Nobody announced its length; 413 comes as soon as it is too long, not when it ends."""
    sent = 0
    with request(running.port, *POST, "Transfer-Encoding: chunked", "") as one:
        # Whoever ends a connection on which something is still to be read resets it, behind the
        # answer.
        with suppress(ConnectionError):
            while not select.select([one], [], [], 0.0)[0]:
                assert sent < 10 * LONG, "it is read for ever"
                one.sendall(b"186a0\r\n" + b" " * 100_000 + b"\r\n")
                sent += 100_000
        assert one.recv(12) == b"HTTP/1.1 413"
    one.close()
    assert running.ready


@contextmanager
def stand(**options: Any) -> Iterator[tuple[Client, http.HttpSource, Intake]]:
    """A real server in this process over a source that no worker empties."""
    source = http.open(SCHEMA, 0, lambda: NOW, Rejects(), **options)
    intake = Intake(source, PluginUse("json", {"time": "received"}), SCHEMA, lambda: NOW)
    with Stand(intake=intake).served() as server, Client(base_url=server.url) as client:
        yield client, source, intake


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((*POST, "Content-Length: 1000", "", '{"device": "hal'), 408),
        ((*POST, "Transfer-Encoding: chunked", "", "5", "[1,2,"), 408),
        (("POST /login HTTP/1.1", *POST[1:], "Content-Length: 1000", "", "{"), 408),
        (POST, 408),
        ((), 0),
    ],
)
def test_a_client_that_stops_in_the_middle(
    monkeypatch: pytest.MonkeyPatch, lines: tuple[str, ...], status: int
) -> None:
    """After a while it is told, its connection ends, and nothing of it is held."""
    monkeypatch.setattr(connection, "SILENT_SECONDS", 0.3)
    with stand() as (client, source, intake):
        found, said = answered(request(client.base_url.port or 0, *lines))
        assert found == status
        assert not status or "send it again" in json.loads(said)["detail"]
        wait_for(lambda: intake.held == 0)
        assert source.take(10, 0.0) is None


def test_a_client_that_leaves_in_the_middle(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of it is held, and the log has no word of it."""
    with stand() as (client, source, intake):
        one = request(client.base_url.port or 0, *POST, "Content-Length: 1000", "", "[1,2,")
        wait_for(lambda: intake.held > 0)
        one.close()
        wait_for(lambda: intake.held == 0)
        assert client.get("/livez").status_code == 200
        assert source.take(10, 0.0) is None
    assert not caplog.records


def test_bodies_of_many_clients_share_one_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes when it is full is asked to come again; who was there before is served."""
    monkeypatch.setattr(body, "HELD_BYTES", 1_000)
    content = READING % (b'"%b"' % (b"x" * 900))
    with stand(max_request=1_000) as (client, source, intake):
        length = f"Content-Length: {len(content)}"
        first = request(client.base_url.port or 0, *POST, "Connection: close", length, "")
        first.sendall(content[:-1])
        wait_for(lambda: intake.held == len(content) - 1)
        full = client.post("/v1/readings", content=content, headers=JSON)
        assert (full.status_code, full.headers["retry-after"]) == (429, "1")
        first.sendall(content[-1:])
        wait_for(lambda: source.state()["queued"] == 1)
        assert intake.held == 0
        thread, answers = in_background(
            partial(client.post, "/v1/readings", content=content, headers=JSON)
        )
        wait_for(lambda: source.state()["queued"] == 2)
        delivery = source.take(10, 0.0)
        assert delivery is not None
        source.acknowledge(delivery.tokens)
        thread.join()
        assert (answered(first)[0], answers[0].status_code) == (202, 202)


def test_a_long_login_is_not_read() -> None:
    """Anybody may send one: a body that is long, or does not say how long it is, is refused."""
    with Stand(keys=["k"]).served() as server, Client(base_url=server.url) as client:
        login = json.dumps({"key": "x" * SMALL_BYTES}).encode()
        answer = client.post("/login", content=login, headers=JSON)
        assert (answer.status_code, answer.headers["content-type"]) == (413, MEDIA_TYPE)
        answer = client.post("/login", content=iter([login]), headers=JSON)
        assert (answer.status_code, answer.headers["content-type"]) == (411, MEDIA_TYPE)
        assert client.post("/login", json={"key": "k"}).status_code == 204
