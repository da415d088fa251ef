"""Traces: spans of batches and stages, as a real service sends them to a real receiver."""

import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

from serving.traces import Traces
from streamgauge.delivery import Delivery
from streamgauge.timing import Stage
from tests.services.ports import free_port
from tests.services.service import Service

WALL = 1_772_366_400 * 10**9
STAGES = ("decode", "admit", "clean", "features", "label_join", "models", "scores", "error_drift")
CONFIG = """
[stream]
name = "pumps"
[[source]]
use = "http"
codec = "json"
time = "received"
[channels.a]
[tasks.ahead]
kind = "forecast"
target = "a"
horizons = [{ readings = 1 }]
"""


def spans(*, sampler: Sampler = ALWAYS_ON) -> tuple[Traces, InMemorySpanExporter]:
    """Traces by clocks that stand still, and where their spans go."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("test")
    return Traces(tracer, "pumps", ("mqtt", "http"), lambda: WALL, lambda: 1_000), kept


def times(span: ReadableSpan) -> tuple[int | None, int | None]:
    """Begin and end."""
    return span.start_time, span.end_time


def test_a_batch_holds_the_stages_of_its_delivery() -> None:
    """By our clock, from the first to the last; what is done for a whole round stands alone."""
    traced, kept = spans()
    traced.lap(Stage.JOURNAL, 1_000, 1_100)
    traced.lap(Stage.DECODE, 1_200, 1_300)
    traced.lap(Stage.ADMIT, 1_300, 1_350)
    traced.worked_off(Delivery(source=1, payloads=[b"{}", b"{}"]), 77)
    traced.lap(Stage.TICK, 1_400, 1_500)
    traced.worked_off(Delivery(clock=1), 78)
    traced.worked_off(Delivery(clock=2), 79)
    journal, decode, admit, batch, within, tick = kept.get_finished_spans()
    assert [journal.name, batch.name, tick.name] == ["journal", "batch", "tick"]
    assert [decode.name, admit.name, within.name] == ["decode", "admit", "tick"]
    assert times(journal) == (WALL, WALL + 100)
    assert times(batch) == (WALL + 200, WALL + 350)
    assert times(admit) == (WALL + 300, WALL + 350)
    assert journal.parent is batch.parent is tick.parent is None
    for stage, parent in ((decode, batch), (admit, batch), (within, tick)):
        assert stage.parent is not None
        assert parent.context is not None
        assert stage.parent.span_id == parent.context.span_id
    assert dict(batch.attributes or {}) == {
        "streamgauge.stream": "pumps",
        "streamgauge.source": "http",
        "streamgauge.messages": 2,
        "streamgauge.journal.position": 77,
    }


def test_a_batch_is_linked_to_who_sent_its_messages() -> None:
    """Once to each, whether the context came in a record's headers or beside the messages; what is
    no context is passed over."""
    traced, kept = spans()
    traced.lap(Stage.DECODE, 1_200, 1_300)
    first, second = (f"00-{k:032x}-{k + 1:016x}-01" for k in (7, 9))
    headers = [{"traceparent": first}, {}, {"traceparent": "00-nonsense"}]
    traced.worked_off(Delivery(payloads=[b"{}"] * 3, headers=headers, traces=[second, first]), 1)
    *_, batch = kept.get_finished_spans()
    linked = [(one.context.trace_id, one.context.span_id) for one in batch.links]
    assert linked == [(9, 10), (7, 8)]


def test_what_is_not_sampled_is_not_sent() -> None:
    """The sampler is the SDK's."""
    traced, kept = spans(sampler=ALWAYS_OFF)
    traced.lap(Stage.DECODE, 1_200, 1_300)
    traced.worked_off(Delivery(payloads=[b""]), 1)
    assert kept.get_finished_spans() == ()


@contextmanager
def receiver() -> Iterator[tuple[str, list[Span], list[str]]]:
    """A server that takes OTLP over HTTP: its url, the spans that came, and their header."""
    came, headers = list[Span](), list[str]()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            told = ExportTraceServiceRequest.FromString(body)
            for one in told.resource_spans:
                names = {pair.key: pair.value.string_value for pair in one.resource.attributes}
                headers.append(f"{names['service.name']} {self.headers['x-tenant']}")
                for scope in one.scope_spans:
                    came.extend(scope.spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", came, headers
        finally:
            server.shutdown()
            thread.join()


def parent(first: int) -> str:
    """The context of who posts."""
    return f"00-{first + 1:032x}-{first + 2:016x}-01"


def post(running: Service, first: int, n: int) -> None:
    """A reading of each of n devices in one request."""
    rows = [{"device": f"p{k}", "a": float(first + k)} for k in range(n)]
    request = urllib.request.Request(
        running.url + "/v1/readings",
        json.dumps(rows).encode(),
        {"Content-Type": "application/json", "traceparent": parent(first)},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 202


def test_a_service_sends_its_spans_and_counts_its_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through real HTTP: a batch for each post with every stage in order within it, and the same
    stages in /metrics."""
    with receiver() as (url, came, headers):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=plant-7")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        running = Service(tmp_path / "service", CONFIG)
        running.options = ("--trace",)
        try:
            running.start()
            for k in range(3):
                post(running, 10 * k, 10)
            running.wait_admitted(30)
            counted = running.metrics()
            code, _ = running.stop()
        finally:
            running.kill()
    assert (code, set(headers)) == (0, {"streamgauge plant-7"})
    batches = [span for span in came if span.name == "batch"]
    assert len(batches) == 3
    senders = [int.from_bytes(link.trace_id) for batch in batches for link in batch.links]
    assert senders == [1, 11, 21]
    for batch in batches:
        inside = [span for span in came if span.parent_span_id == batch.span_id]
        assert tuple(span.name for span in inside) == STAGES
        edges = [batch.start_time_unix_nano]
        edges += [
            edge for span in inside for edge in (span.start_time_unix_nano, span.end_time_unix_nano)
        ]
        edges.append(batch.end_time_unix_nano)
        assert all(a <= b for a, b in pairwise(edges))
    assert {"journal", "acknowledge", "sinks", "checkpoint"} <= {span.name for span in came}
    for stage in (*STAGES, "journal", "acknowledge", "checkpoint"):
        assert counted[f"streamgauge_stage_duration_seconds_count{{{stage}}}"] >= 1, stage
    assert counted["streamgauge_stage_duration_seconds_count{decode}"] == 3
    assert counted["streamgauge_delivery_delay_seconds_count"] == 3
    assert counted["streamgauge_batch_readings_sum"] == 30


def test_a_receiver_that_is_away_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readings are worked off, and the service ends when it is told to."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    running = Service(tmp_path / "service", CONFIG)
    running.options = ("--trace",)
    try:
        running.start()
        post(running, 0, 10)
        running.wait_admitted(10)
        code, _ = running.stop()
    finally:
        running.kill()
    assert code == 0


def test_without_the_extra_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, and nothing is begun."""
    missing = "import sys\nsys.modules['opentelemetry.exporter'] = None\n"
    (tmp_path / "sitecustomize.py").write_text(missing)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    running = Service(tmp_path / "service", CONFIG)
    running.options = ("--trace",)
    code, said = running.refused()
    assert code == 2
    assert 'pip install "streamgauge[otel]"' in said
    assert not running.state.exists()


def test_what_is_not_asked_for_is_not_imported() -> None:
    """The command knows nothing of OpenTelemetry until it is told to trace."""
    code = "import serving.run, sys; sys.exit('opentelemetry.sdk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
