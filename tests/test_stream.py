"""The stream over HTTP: its headers, and listeners that go without a word."""

import socket
import struct
import threading

import httpx
import pytest

from serving.live import Live
from tests.services.stand import Stand, output


def test_a_stream_says_how_it_is_to_be_passed_on() -> None:
    """Nothing on the way may keep or hold back events; the description names their fields."""
    stand = Stand()
    with stand.served() as server:
        with httpx.stream("GET", f"{server.url}/v1/stream", timeout=20) as answer:
            assert answer.headers["cache-control"] == "no-cache"
            assert answer.headers["x-accel-buffering"] == "no"
        document = httpx.get(f"{server.url}/openapi.json").json()
    content = document["paths"]["/v1/stream"]["get"]["responses"]["200"]["content"]
    assert set(content["text/event-stream"]["itemSchema"]["properties"]) >= {"data", "event", "id"}


def test_a_silent_stream_sends_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    """While there is nothing to tell, comments keep the connection open."""
    monkeypatch.setattr("serving.api.stream.IDLE_SECONDS", 0.01)
    with (
        Stand().served() as server,
        httpx.stream("GET", f"{server.url}/v1/stream", timeout=20) as answer,
    ):
        lines = filter(None, answer.iter_lines())
        found = [next(lines) for _ in range(4)]
    assert found == [": streamgauge", "retry: 2000", ": ping", ": ping"]


def leave(port: int, *, after: int, reset: bool) -> None:
    """Ask for the stream, read at least `after` bytes of it, and go without a word."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        got = 0
        while got < after:
            got += len(connection.recv(after - got))
        if reset:
            at_once = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)


def test_listeners_that_hang_up_in_the_middle_leave_no_trace(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Closed or reset, before, at or after the first events: nothing is logged, places are free."""
    stand = Stand(live=Live(interval=0.001))
    done = threading.Event()

    def work() -> None:
        burst = output(minutes=range(20, 120))
        while not done.wait(0.002):
            stand.live.write(burst)

    with stand.served() as server:
        worker = threading.Thread(target=work)
        worker.start()
        try:
            for i in range(60):
                leave(server.port, after=(0, 1, 400, 20_000)[i % 4], reset=i % 3 == 0)
            while stand.live.state()["clients"]:
                assert httpx.get(f"{server.url}/v1/tasks").status_code == 200
        finally:
            done.set()
            worker.join()
    assert capfd.readouterr() == ("", "")
    assert caplog.messages == []
