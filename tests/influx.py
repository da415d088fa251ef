"""A sink to InfluxDB under test, what a server must hold of it, and a server that refuses."""

import math
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from monitoring.sinks import influxdb
from monitoring.sinks._buffered import Buffered
from streamgauge.output import Output
from tests.outputs import DEVICES, LANES, START, Record, predicted, told
from tests.services.ports import wait_for
from tests.services.victoria_metrics import Points

__all__ = [
    "SLOW",
    "Answer",
    "arrived",
    "delivered",
    "expected",
    "minutes",
    "opened",
    "picky",
    "without_db",
]

SLOW = 60.0
"""Seconds that a loaded machine may take."""


@contextmanager
def opened(url: str, **options: Any) -> Iterator[Buffered[bytes]]:
    """A sink to that address, whose folder goes with it."""
    with tempfile.TemporaryDirectory() as folder:
        sink = influxdb.open(LANES, "pumps", Path(folder), lambda: START, url=url, **options)
        try:
            yield sink
        finally:
            sink.close()


def arrived(sink: Buffered[Any]) -> None:
    """Wait until the server has all: what is on the disk is safe, but not there yet."""
    assert sink.flush(SLOW), sink.state()
    wait_for(lambda: not sink.state().get("spilled_bytes"), SLOW)


def delivered(sink: Buffered[bytes], *outputs: Output) -> None:
    """Write and wait until the server has it."""
    for one in outputs:
        sink.write(one)
    arrived(sink)


def expected(records: list[Record], names: tuple[str, ...] = DEVICES) -> Points:
    """What a server that keeps milliseconds must hold of these records."""
    points: Points = {}
    for code, number in records:
        where, row, time = LANES[code[1]], code[2], code[4] // 1000
        tags = [f"device={names[row]}", "stream=pumps", f"task={where.task}", "db=streamgauge"]
        tags += [f"horizon={where.horizon}"] if where.horizon else []
        fields = ("value", "last_value") if code[0] == 0 else ("label", "residual")
        pair = number[:2] if code[0] == 0 else number[2:]
        for name, value in zip(fields, pair, strict=True):
            if math.isfinite(value):
                points.setdefault((f"iot_prediction_{name}", *sorted(tags)), {})[time] = value
    return points


def without_db(points: Points) -> Points:
    """VictoriaMetrics adds a tag `db` in some of its versions: it says nothing about us."""
    return {tuple(k for k in key if not k.startswith("db=")): v for key, v in points.items()}


def minutes(first: int, last: int) -> list[Record]:
    """All that happens to three devices on three lanes in these minutes."""
    return [
        record
        for minute in range(first, last)
        for row in range(3)
        for where in range(3)
        for record in (predicted(minute, row, where), told(minute - 5, row, where))
    ]


# Some tests need a server that refuses. VictoriaMetrics takes nearly everything: it has no limit
# of a request, answers no 429 and passes over malformed lines. So a small server of the tests' own
# answers as InfluxDB's documentation says that InfluxDB does.

Answer = tuple[int, dict[str, str]]


@dataclass
class Picky:
    """Answers what `judge(lines)` says and keeps the lines that it took."""

    judge: Callable[[list[str]], Answer] = lambda lines: (204, {})
    taken: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""


@contextmanager
def picky(judge: Callable[[list[str]], Answer]) -> Iterator[Picky]:
    """That server on a free port."""
    about = Picky(judge)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            lines = body.splitlines()
            about.sizes.append(len(lines))
            about.asked.append((self.path, dict(self.headers)))
            status, headers = about.judge(lines)
            if status == 204:
                about.taken += lines
            text = b"" if status == 204 else b'{"message": "as the test wants"}'
            text = b"\xff\xfe" if status == 502 else text
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    about.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield about
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
