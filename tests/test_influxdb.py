"""The InfluxDB sink: right points, none lost while the server is away, the worker never waits."""

import json
import math
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pyarrow as pa
import pytest

from monitoring.sinks import influxdb
from monitoring.sinks._buffered import Buffered
from monitoring.sinks._delivery import Delivery, GaveUp, Refused
from monitoring.sinks._influx_server import retry_after
from monitoring.sinks._lines import Lines, LinesEncoder, tag
from streamgauge.events import Event, EventKind
from streamgauge.output import SCORE_COLUMNS, Output, Sink
from tests.outputs import (
    DEVICES,
    LANES,
    LEVEL,
    START,
    Record,
    made,
    output,
    predicted,
    scores,
    told,
)
from tests.services.ports import free_port, wait_for
from tests.services.victoria_metrics import Points, victoria_metrics

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


def arrived(sink: Buffered[bytes]) -> None:
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


def test_points_arrive_with_values_and_times(tmp_path: Path) -> None:
    """Predictions and outcomes of odd names, exactly as written; NaN is no point."""
    records = [*minutes(0, 20), predicted(50, value=math.nan), told(50, expired=True)]
    records += [predicted(51, value=1e9), predicted(52, value=-0.125)]
    with victoria_metrics(tmp_path) as server, opened(server.url) as sink:
        sink_as_worker_sees_it: Sink = sink
        delivered(sink, output(records[:7]), output(records[7:]))
        assert sink_as_worker_sees_it.state()["ok"]
        wanted = without_db(expected(records))
        wait_for(lambda: without_db(server.points("iot_prediction.*")) == wanted)
        assert sink.state()["backlog"] == 0


def test_scores_drift_and_silences_arrive(tmp_path: Path) -> None:
    """Scores per lane over all devices and per device; drift with its direction; silences."""
    events = [
        Event(EventKind.DRIFT_UP, 1, 0, made(3), 0, 0.5, 2.25, 30.0),
        Event(EventKind.DRIFT_DOWN, -1, 2, made(4), 0, 4.0, math.nan, 32.0),
        LEVEL,
        Event(EventKind.EVICTED, 0, -1, made(4), -1, math.nan, math.nan, math.nan),
        Event(EventKind.SILENT, 1, -1, made(5), -1, math.nan, math.nan, 600.0),
        Event(EventKind.RETURNED, 1, -1, made(6), 0, math.nan, math.nan, 660.0, "flow"),
    ]
    with victoria_metrics(tmp_path) as server, opened(server.url) as sink:
        delivered(sink, output([], events=events, scores=[scores(7, (-1, 0))]))
        common = ("stream=pumps", "task=power")
        scored = 2 * 3 * (len(SCORE_COLUMNS) - 1)
        wait_for(lambda: len(server.points("iot_.*")) == scored + 7 + 5 + 2)
        silences = without_db(server.points("iot_silence_.*"))
        who = ("iot_silence_seconds", "device=pump 2, hall=3")
        assert silences == {
            (*who, "event=silent", "stream=pumps"): {made(5) // 1000: 600.0},
            ("iot_silence_seconds", "channel=flow", *who[1:], "event=returned", "stream=pumps"): {
                made(6) // 1000: 660.0
            },
        }
        models = without_db(server.points("iot_model_.*"))
        fleet = {key for key in models if not any(k.startswith("device=") for k in key)}
        assert len(models) == 2 * len(fleet) == 2 * 3 * (len(SCORE_COLUMNS) - 1)
        assert models["iot_model_mae", "horizon=10m", *common] == {made(7) // 1000: 8.0}
        drifts = without_db(server.points("iot_drift_.*"))
        up = ("device=pump 2, hall=3", "direction=up", "horizon=10m", *common)
        assert drifts["iot_drift_before", *up] == {made(3) // 1000: 0.5}
        assert drifts["iot_drift_after", *up] == {made(3) // 1000: 2.25}
        down = ("direction=down", "stream=pumps", "task=flow")
        assert drifts["iot_drift_size", *down] == {made(4) // 1000: 32.0}
        level = ("channel=flow", "device=pump-1", "direction=down", "signal=level", "stream=pumps")
        assert drifts["iot_drift_before", *level] == {made(5) // 1000: 20.5}
        assert drifts["iot_drift_magnitude", *level] == {made(5) // 1000: 3.0}
        assert drifts["iot_drift_since", *level] == {made(5) // 1000: made(2) / 1000}
        assert len(drifts) == 7 + 5


def test_nothing_is_lost_while_the_server_is_not_there_yet(tmp_path: Path) -> None:
    """Started before its server, the sink says why it waits and delivers in the end."""
    with (
        victoria_metrics(tmp_path, running=False) as server,
        opened(server.url, spill_bytes=0) as sink,
    ):
        for minute in range(30):
            sink.write(output(minutes(minute, minute + 1)))
        assert not sink.flush(0.2)
        wait_for(lambda: not sink.state()["ok"])
        state = sink.state()
        assert server.url in state["why"]
        assert (state["backlog"], state["dropped_total"]) == (30 * 18, 0)
        server.start()
        arrived(sink)
        assert sink.state()["ok"]
        assert sink.state()["retries_total"] > 0
        wanted = without_db(expected(minutes(0, 30)))
        wait_for(lambda: without_db(server.points("iot_prediction.*")) == wanted)


def test_nothing_is_lost_when_the_server_restarts(tmp_path: Path) -> None:
    """Stopped in the middle of the stream and started again; batches of odd size."""
    with victoria_metrics(tmp_path) as server, opened(server.url, batch=7) as sink:
        for minute in range(60):
            sink.write(output(minutes(minute, minute + 1)))
            if minute == 20:
                wait_for(lambda: sink.state()["sent_total"] > 0)
                server.stop()
            if minute == 40:
                wait_for(lambda: not sink.state()["ok"])
                server.start()
        arrived(sink)
        wanted = without_db(expected(minutes(0, 60)))
        wait_for(lambda: without_db(server.points("iot_prediction.*")) == wanted)


def test_sending_again_changes_nothing(tmp_path: Path) -> None:
    """After a kill that cost the server its newest points, the walk's repetition restores them."""
    with victoria_metrics(tmp_path) as server, opened(server.url) as sink:
        delivered(sink, output(minutes(0, 20)))
        server.kill()
        server.start()
        delivered(sink, output(minutes(0, 20)))
        delivered(sink, output(minutes(0, 20)))
        wanted = without_db(expected(minutes(0, 20)))
        wait_for(lambda: without_db(server.points("iot_prediction.*")) == wanted)


@pytest.mark.parametrize("batch", [1, 5, 5000])
def test_awkward_ids_are_told_apart(tmp_path: Path, batch: int) -> None:
    """Whatever a device calls itself, its line does not harm the lines of the others."""
    names = (
        "a b",
        "a,b",
        "a=b",
        "a\\b",
        'q"q',
        "nl\nx",
        "end\\",
        "b\\,c",
        "ü€",
        "{j}",
        "#c",
        "a/b",
    )
    seen = {"nl\nx": "nl x", "end\\": "end/", "b\\,c": "b/,c"}
    records = [predicted(3, row) for row in range(len(names))]
    with victoria_metrics(tmp_path) as server, opened(server.url, batch=batch) as sink:
        delivered(sink, output(records, names=names))
        read = tuple(seen.get(name, name) for name in names)
        wanted = without_db(expected(records, read))
        wait_for(lambda: without_db(server.points("iot_prediction.*")) == wanted)


# What follows needs a server that refuses. VictoriaMetrics takes nearly everything: it has no limit
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


def test_requests_name_bucket_precision_and_token() -> None:
    """The v2 write API, with times in microseconds."""
    with picky(lambda lines: (204, {})) as server:
        with opened(server.url, org="plant", bucket="b 1", token="secret") as sink:
            delivered(sink, output([predicted(1)]))
        path, headers = server.asked[0]
        assert urlsplit(path).path == "/api/v2/write"
        query = parse_qs(urlsplit(path).query)
        assert query == {"org": ["plant"], "bucket": ["b 1"], "precision": ["us"]}
        assert headers["Authorization"] == "Token secret"
        start = "iot_prediction,device=pump-1,horizon=10m,stream=pumps,task=power"
        assert server.taken == [f"{start} value=1,last_value=0.5 {made(1)}"]


def test_too_large_requests_are_split() -> None:
    """413 halves the request, and the ones after it; every line arrives once, in order."""

    def judge(lines: list[str]) -> Answer:
        return (413 if len(lines) > 10 else 204), {}

    with picky(judge) as server, opened(server.url, batch=64) as sink:
        delivered(sink, output([predicted(m) for m in range(500)]))
        assert [int(line.rpartition(" ")[2]) for line in server.taken] == list(
            map(made, range(500))
        )
        assert sum(size > 10 for size in server.sizes) <= 7
        assert sink.state()["dead_total"] == 0


def test_a_line_too_large_by_itself_is_set_aside() -> None:
    """What no request can carry is counted, and the rest goes on."""

    def judge(lines: list[str]) -> Answer:
        return (413 if f"{made(3)}" in "".join(lines) else 204), {}

    with picky(judge) as server, opened(server.url) as sink:
        delivered(sink, output([predicted(m) for m in range(9)]))
        assert len(server.taken) == 8
        assert sink.state()["dead_total"] == 1


def test_malformed_lines_are_found_and_set_aside() -> None:
    """400 is bisected: all other lines of the batch arrive; the bad ones are counted and kept."""
    bad = {made(13), made(14), made(77)}

    def judge(lines: list[str]) -> Answer:
        return (400 if bad & {int(line.rpartition(" ")[2]) for line in lines} else 204), {}

    with picky(judge) as server, opened(server.url) as sink:
        delivered(sink, output([predicted(m) for m in range(100)]))
        assert len(server.taken) == 97
        state = sink.state()
        assert (state["dead_total"], state["sent_total"], state["ok"]) == (3, 97, True)
        assert [int(line.rpartition(" ")[2]) for line, _ in sink.delivery.dead] == sorted(bad)
        assert "as the test wants" in sink.delivery.dead[0][1]
        assert sink._dead is not None
        letters = [json.loads(one) for one in sink._dead.path.read_text().splitlines()]
        assert [one["letter"] for one in letters] == [line for line, _ in sink.delivery.dead]
        assert [one["why"] for one in letters] == [why for _, why in sink.delivery.dead]


def test_a_server_that_refuses_every_line_is_not_asked_for_ever() -> None:
    """Beyond a number of refusals the rest of a batch is set aside whole."""
    with picky(lambda lines: (400, {})) as server, opened(server.url) as sink:
        delivered(sink, output([predicted(m) for m in range(5000)]))
        assert sink.state()["dead_total"] == 5000
        assert len(server.sizes) < 300
        assert sink._dead is not None
        letters = [json.loads(one)["letter"] for one in sink._dead.path.read_text().splitlines()]
        assert sorted(int(one.rpartition(" ")[2]) for one in letters) == list(
            map(made, range(5000))
        )


@pytest.mark.parametrize("status", [401, 404, 429, 500, 502, 503])
def test_what_an_operator_can_mend_is_tried_again(status: int) -> None:
    """A wrong token, a missing bucket, a proxy's gibberish and an overload lose nothing."""
    broken = threading.Event()
    broken.set()

    def judge(lines: list[str]) -> Answer:
        return (status, {"Retry-After": "0"}) if broken.is_set() else (204, {})

    with picky(judge) as server, opened(server.url) as sink:
        sink.write(output([predicted(1)]))
        wait_for(lambda: len(server.sizes) >= 3)
        state = sink.state()
        assert not state["ok"]
        assert server.url in state["why"]
        if status != 502:
            assert f"answered {status}: as the test wants" in state["why"]
        broken.clear()
        arrived(sink)
        assert len(server.taken) == 1


def test_a_server_that_does_not_answer_stops_nobody() -> None:
    """Writes return while a request hangs; after its timeout it is made again."""
    hanging = threading.Event()

    def judge(lines: list[str]) -> Answer:
        first = not hanging.is_set()
        hanging.set()
        if first:
            ended.wait(SLOW)
        return 204, {}

    ended = threading.Event()
    with picky(judge) as server, opened(server.url, timeout="300ms") as sink:
        sink.write(output([predicted(0)]))
        assert hanging.wait(SLOW)
        for minute in range(1, 200):
            sink.write(output([predicted(minute)]))
        arrived(sink)
        ended.set()
        assert {int(line.rpartition(" ")[2]) for line in server.taken} == set(map(made, range(200)))


def test_a_full_buffer_drops_the_oldest() -> None:
    """What waits is bounded; the newest survive and the loss is counted and reported."""
    with picky(lambda lines: (204 if open_gate.is_set() else 503, {})) as server:
        open_gate = threading.Event()
        with opened(server.url, buffer_bytes=30_000, spill_bytes=0) as sink:
            sink.write(output([predicted(0)]))
            wait_for(lambda: not sink.state()["ok"])
            for minute in range(1, 101):
                sink.write(output([predicted(minute)]))
            state = sink.state()
            assert state["backlog_bytes"] <= 30_000
            assert state["dropped_total"] == 101 - state["backlog"] > 50
            open_gate.set()
            arrived(sink)
            times = [int(line.rpartition(" ")[2]) for line in server.taken]
            assert times[0] == made(0)
            assert times[1:] == [made(m) for m in range(state["dropped_total"] + 1, 101)]
            assert "were dropped" in sink.state()["why"]


def test_closing_delivers_what_waits() -> None:
    """Nothing that a reachable server would have taken is thrown away at the end."""
    with picky(lambda lines: (204, {})) as server:
        with opened(server.url, batch=10) as sink:
            for minute in range(300):
                sink.write(output([predicted(minute)]))
        assert len(server.taken) == 300
        sink.write(output([predicted(1)]))
        assert sink.state()["dropped_total"] == 1


def test_closing_without_a_server_ends_and_counts() -> None:
    """Waits are cut short; what was not delivered is said."""
    with opened(f"http://127.0.0.1:{free_port()}", spill_bytes=0) as sink:
        sink.write(output([predicted(1), predicted(2)]))
        wait_for(lambda: not sink.state()["ok"])
        sink.close()
        assert sink.state()["dropped_total"] == 2


def test_a_dead_server_does_not_hold_up_another() -> None:
    """Every sink has its own thread and its own waits."""
    with (
        picky(lambda lines: (204, {})) as server,
        opened(server.url) as healthy,
        opened(f"http://127.0.0.1:{free_port()}") as dead,
    ):
        dead.write(output([predicted(1)]))
        wait_for(lambda: not dead.state()["ok"])
        delivered(healthy, output([predicted(1)]))
        assert healthy.state()["ok"]
        assert dead.state()["backlog"] == 1


@pytest.mark.parametrize("url", ["localhost:8086", "ftp://host", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """The message shows what was written and what to write."""
    with pytest.raises(ValueError, match="http://HOST:8086"):
        influxdb.open(LANES, "pumps", Path("unused"), lambda: START, url=url)


# The encoder and the delivery by themselves.


def plain(records: list[Record]) -> list[str]:
    """The same lines, written the obvious way."""
    lines = []
    for code, number in records:
        where = LANES[code[1]]
        tags = f"device={tag(DEVICES[code[2]])}"
        tags += f",horizon={tag(where.horizon)}" if where.horizon else ""
        tags += f",stream=pumps,task={where.task}"
        named = zip(("value", "last_value", "label", "residual"), number, strict=True)
        chosen = list(named)[:2] if code[0] == 0 else list(named)[2:]
        fields = [f"{name}={value!r}" for name, value in chosen if math.isfinite(value)]
        if fields:
            lines.append(f"iot_prediction,{tags} {','.join(fields)} {code[4]}")
    return lines


def parsed(line: str) -> tuple[str, dict[str, float], int]:
    """Series, fields as numbers and time of a line."""
    head, fields, time = line.rsplit(" ", 2)
    pairs = (one.split("=") for one in fields.split(","))
    return head, {name: float(value) for name, value in pairs}, int(time)


def test_lines_are_those_of_a_plain_encoder() -> None:
    """Over random numbers of every magnitude, NaN and infinities among them."""
    rng = np.random.default_rng(5)
    records: list[Record] = []
    for code, _ in minutes(0, 100):
        numbers = rng.normal(size=4) * 10.0 ** rng.integers(-320, 300, 4)
        numbers[rng.random(4) < 0.2] = math.nan
        numbers[rng.random(4) < 0.05] = math.inf
        records.append((code, tuple(numbers.tolist())))
    encoder = LinesEncoder("pumps", per_device=True)
    lines = encoder.encode([output(records[:11]), output([]), output(records[11:])])
    text = lines.part(0, len(lines)).decode()
    assert text.endswith("\n")
    assert len(lines) == text.count("\n")
    # Predictions come before outcomes: the order of lines means nothing.
    found = sorted(map(parsed, text.splitlines()), key=repr)
    assert found == sorted(map(parsed, plain(records)), key=repr)
    parts = b"".join(lines.part(k, min(k + 7, len(lines))) for k in range(0, len(lines), 7))
    assert parts.decode() == text


def test_without_devices_only_the_fleet_is_written() -> None:
    """Scores and drift over all devices: the number of series does not grow with the fleet."""
    encoder = LinesEncoder("pumps", per_device=False)
    event = Event(EventKind.DRIFT_UP, 1, 0, made(3), 0, 0.5, 2.25, 30.0)
    one = output(minutes(0, 9), events=[event], scores=[scores(7, (-1, 0, 1))])
    lines = encoder.encode([one])
    text = lines.part(0, len(lines)).decode().splitlines()
    assert len(text) == len(LANES) + 1
    assert not any("device=" in line or "iot_prediction" in line for line in text)


def lines_of(n: int) -> Lines:
    """n numbered lines."""
    return Lines([pa.array([f"line {k}\n" for k in range(n)])])


def test_waits_grow_by_doubling_with_jitter_and_obey_the_server() -> None:
    """0.5 s, 1 s, 2 s ... at most a minute, each shortened by chance; Retry-After overrides."""
    answers: list[Refused | None] = [Refused("away") for _ in range(9)]
    answers += [Refused("busy", status=429, wait=17.0), None]
    waits: list[float] = []

    def post(body: bytes) -> None:
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    def sleep(seconds: float) -> bool:
        waits.append(seconds)
        return False

    chances = iter([1.0, 0.0, 1.0, 0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0])
    delivery = Delivery(post, 10, sleep, lambda: next(chances))
    delivery.send(lines_of(3))
    assert waits == [0.5, 0.5, 2.0, 2.0, 6.0, 16.0, 32.0, 60.0, 60.0, 17.0]
    assert delivery.counts == {"sent_total": 3, "retries_total": 10, "dead_total": 0}
    assert delivery.why == ""


def test_told_to_stop_it_gives_up() -> None:
    """In the middle of a wait."""

    def post(body: bytes) -> None:
        raise Refused("away")

    delivery = Delivery(post, 10, lambda seconds: True)
    with pytest.raises(GaveUp):
        delivery.send(lines_of(3))
    assert delivery.why == "away"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("12", 12.0),
        ("-3", 0.0),
        ("86400", 300.0),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    """As HTTP allows; never longer than five minutes, never negative."""
    assert retry_after(header, 1_772_366_400.0) == seconds
