"""An InfluxDB that is away for long: what waits goes to the disk, and all of it arrives."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitoring.sinks import _spill, influxdb
from monitoring.sinks._buffered import Buffered
from monitoring.sinks._dead_letters import DeadLetters
from monitoring.sinks._kept_outputs import pack, unpack
from monitoring.sinks._spill import LEAST, Spill, place_of
from streamgauge.classes import Classes
from streamgauge.events import EventKind
from streamgauge.output import Output
from streamgauge.predictions import Predictions
from tests.influx import SLOW, arrived, expected, minutes, picky, without_db
from tests.outputs import DEVICES, LANES, LEVEL, START, made, output, predicted, scores, told
from tests.services.influxdb import influxdb_1
from tests.services.ports import free_port, wait_for
from tests.services.victoria_metrics import victoria_metrics
from tests.test_influxdb_1 import held, numbered

SMALL = 200_000
"""Bytes of memory: some thirty of the outputs below fill half of it."""


@contextmanager
def opened(folder: Path, url: str, **options: Any) -> Iterator[Buffered[bytes]]:
    """A sink with its state in that folder, working from the start."""
    sink = influxdb.open(LANES, "pumps", folder, lambda: START, url=url, **options)
    sink.resume(0)
    try:
        yield sink
    finally:
        sink.close()


def written(sink: Buffered[bytes], first: int, last: int) -> int:
    """Write these minutes, no faster than the disk takes them; the most bytes that waited."""
    most = 0
    for minute in range(first, last):
        sink.write(output(minutes(minute, minute + 1)))
        most = max(most, sink.state()["backlog_bytes"])
        wait_for(lambda: sink.state()["backlog_bytes"] < 0.9 * SMALL, SLOW)
    return most


def test_an_outage_loses_nothing_and_memory_stays_bounded(tmp_path: Path) -> None:
    """Ten times what fits into memory comes while the server is away, and more while it catches
    up: every point is there, with its value and time."""
    with (
        victoria_metrics(tmp_path / "server") as server,
        opened(tmp_path, server.url, buffer_bytes=SMALL) as sink,
    ):
        most = written(sink, 0, 5)
        arrived(sink)
        server.stop()
        most = max(most, written(sink, 5, 700))
        state = sink.state()
        assert not state["ok"]
        assert state["spilled"] * 104 > 5 * SMALL
        server.start()
        most = max(most, written(sink, 700, 800))
        arrived(sink)
        wanted = without_db(expected(minutes(0, 800)))
        wait_for(lambda: without_db(server.points("iot_prediction.*")) == wanted)
        state = sink.state()
        assert most <= SMALL
        assert (state["ok"], state["dropped_total"], state["dead_total"]) == (True, 0, 0)
        assert (state["backlog_bytes"], state["spilled_bytes"]) == (0, 0)
        assert not list(tmp_path.glob("influxdb/*/*"))


@pytest.mark.parametrize("end", ["killed", "closed"])
def test_what_waits_outlives_the_service(tmp_path: Path, end: str) -> None:
    """While the server is away a flush says that all is safe; the next life delivers it, and begins
    only when it is told to."""
    first, second = tmp_path / "first", tmp_path / "second"
    with influxdb_1(tmp_path / "server") as server:
        server.does("CREATE DATABASE plant")
        server.stop()
        with opened(first, server.url, database="plant") as sink:
            for minute in range(50):
                sink.write(output(numbered(minute, minute + 1)))
            if end == "killed":
                assert sink.flush(SLOW)
                assert not sink.state()["ok"]
                shutil.copytree(first, second)
        if end == "closed":
            assert sink.state()["dropped_total"] == 0
            shutil.copytree(first, second)
        server.start()
        later = influxdb.open(
            LANES, "pumps", second, lambda: START, url=server.url, database="plant"
        )
        assert later.flush(SLOW)
        assert held(server) == {}
        later.resume(0)
        wait_for(lambda: len(held(server)) == 50, SLOW)
        arrived(later)
        later.close()
        assert held(server) == {made(minute): float(minute) for minute in range(50)}
        assert not list(second.glob("influxdb/*/*"))


def test_what_is_older_is_delivered_first(tmp_path: Path) -> None:
    """From the disk before memory, in the order in which it was written."""
    open_gate = threading.Event()
    with (
        picky(lambda lines: (204 if open_gate.is_set() else 503, {"Retry-After": "0"})) as server,
        opened(tmp_path, server.url, batch=10) as sink,
    ):
        for minute in range(95):
            sink.write(output([predicted(minute)]))
        assert sink.flush(SLOW)
        assert sink.state()["spilled"] == 95
        for minute in range(95, 120):
            sink.write(output([predicted(minute)]))
        open_gate.set()
        arrived(sink)
        times = [int(line.rpartition(" ")[2]) for line in server.taken]
        assert times == [made(minute) for minute in range(120)]


def test_a_server_that_is_back_but_slow_makes_nobody_drop(tmp_path: Path) -> None:
    """What comes while the disk's files are delivered goes behind them."""
    turns, back = threading.Semaphore(0), threading.Event()

    def judge(lines: list[str]) -> tuple[int, dict[str, str]]:
        if not back.is_set():
            return 503, {"Retry-After": "0"}
        turns.acquire()
        return 204, {}

    with (
        picky(judge) as server,
        opened(tmp_path, server.url, buffer_bytes=60_000, timeout="5m") as sink,
    ):
        for minute in range(3):
            sink.write(output([predicted(minute)]))
            assert sink.flush(SLOW)
        back.set()
        for minute in range(3, 43):
            sink.write(output([predicted(minute)]))
        turns.release()
        wait_for(lambda: sink.state()["backlog_bytes"] <= 30_000, SLOW)
        assert sink.state()["spilled"] >= 2
        turns.release(100)
        arrived(sink)
        times = [int(line.rpartition(" ")[2]) for line in server.taken]
        assert times == [made(minute) for minute in range(43)]
        assert sink.state()["dropped_total"] == 0


def test_a_full_disk_space_drops_the_oldest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is beyond `spill_bytes` is counted, said, and the rest arrives."""
    monkeypatch.setattr(_spill, "LEAST", 1)
    open_gate = threading.Event()
    with (
        picky(lambda lines: (204 if open_gate.is_set() else 503, {"Retry-After": "0"})) as server,
        opened(tmp_path, server.url, spill_bytes=4_000, batch=10) as sink,
    ):
        for minute in range(100):
            sink.write(output([predicted(minute)]))
            assert sink.flush(SLOW)
        state = sink.state()
        assert state["spilled_bytes"] <= 4_000
        assert state["dropped_total"] == 100 - state["spilled"] > 50
        assert state["lost"]["dropped"] == {"disk": state["dropped_total"]}
        open_gate.set()
        arrived(sink)
        times = [int(line.rpartition(" ")[2]) for line in server.taken]
        # The oldest was being sent.
        dropped = range(1, state["dropped_total"] + 1)
        assert times == [made(minute) for minute in range(100) if minute not in dropped]
        assert "were dropped" in sink.state()["why"]


def test_a_sink_of_scores_has_no_room_for_predictions(tmp_path: Path) -> None:
    """Without devices' points an outage is as long as scores fill the buffer, however many readings
    come."""
    open_gate = threading.Event()
    with (
        picky(lambda lines: (204 if open_gate.is_set() else 503, {"Retry-After": "0"})) as server,
        opened(tmp_path, server.url, per_device=False, buffer_bytes=40_000, spill_bytes=0) as sink,
    ):
        for minute in range(500):
            told = [scores(minute)] if minute % 50 == 0 else []
            sink.write(output(minutes(minute, minute + 1), scores=told))
        state = sink.state()
        assert (state["backlog"], state["dropped_total"]) == (10 * len(LANES), 0)
        open_gate.set()
        arrived(sink)
        assert len(server.taken) == 10 * len(LANES)


def test_a_disk_that_refuses_leaves_it_in_memory(tmp_path: Path) -> None:
    """Said and bounded; what memory holds arrives when the server does."""
    (tmp_path / "influxdb").write_text("no folder")
    open_gate = threading.Event()
    with (
        picky(lambda lines: (204 if open_gate.is_set() else 503, {"Retry-After": "0"})) as server,
        opened(tmp_path, server.url, buffer_bytes=30_000) as sink,
    ):
        for minute in range(101):
            sink.write(output([predicted(minute)]))
        wait_for(lambda: "cannot write" in sink.state()["why"], SLOW)
        state = sink.state()
        assert not sink.flush(0.1)
        assert state["backlog_bytes"] <= 30_000
        assert state["dropped_total"] == 101 - state["backlog"] > 0
        open_gate.set()
        assert sink.flush(SLOW)
        times = [int(line.rpartition(" ")[2]) for line in server.taken]
        assert len(set(times)) == len(times) == state["backlog"]
        assert made(100) in times


def whole(one: Output) -> dict[str, Any]:
    """All that a sink may read of an output."""
    records = one.predictions
    return {
        "devices": [one.device(row) for row in records.codes[:, 2].tolist()],
        "codes": records.codes.tolist(),
        "numbers": repr(records.numbers.tolist()),
        "named": repr([records.named(k) for k in range(len(records))]),
        "lanes": list(records.lanes),
        "place": (one.position, one.more),
        "events": [(event, one.device(event.row)) for event in one.events],
        "scores": [
            (s.time, s.lane.tolist(), list(map(one.device, s.row.tolist())), repr(s.numbers))
            for s in one.scores
        ],
    }


def test_outputs_come_back_from_the_disk_as_they_were() -> None:
    """Numbers, classes, probabilities, distances, events and scores, of devices whose rows were
    given to others meanwhile."""
    events = [LEVEL, replace(LEVEL, row=-1, kind=EventKind.SILENT)]
    classed = [
        replace(LANES[0], kind="classification", parts=2), LANES[1],
        replace(LANES[2], kind="clustering", parts=1),
    ]  # fmt: skip
    records = output([predicted(0, value=1.0), predicted(1, 1, 1), predicted(2, 2, 2), told(0)])
    classes = [Classes.of(["UP", True], [0.0, 1.0]), None, None]
    parts = np.array([[0.25, 0.75], [np.nan, np.nan], [3.5, np.nan], [np.nan, np.nan]])
    codes, numbers = records.predictions.codes, records.predictions.numbers.copy()
    numbers[3, 2] = 0.0
    outputs = [
        Output(
            Predictions(codes, numbers, DEVICES, classed, parts, classes), position=7, more=True
        ),
        output([], names=DEVICES, lanes=classed, events=events, scores=[scores(7, (-1, 2))]),
        output([predicted(4, 1, 1)], names=("x", "y"), lanes=classed),
        output([], names=(), lanes=classed),
    ]
    back = unpack(pack(outputs))
    assert [whole(one) for one in back] == [whole(one) for one in outputs]
    assert back[2].device(1) == "y"
    [odd] = unpack(pack([output([predicted(0)], names=("lone \ud800",))]))
    assert odd.device(0) == "lone ?"


def test_a_fleet_of_which_few_devices_speak_is_small_on_the_disk() -> None:
    """Only the names that are needed are kept, once for all outputs of a file."""
    names = [f"a device of a large fleet {k}" for k in range(100_000)]
    outputs = [output([predicted(k, 70_000)], names=names) for k in range(100)]
    assert len(pack(outputs)) < 100 * 250
    assert unpack(pack(outputs))[99].device(70_000) == names[70_000]


def test_two_that_share_a_folder_lose_nothing(tmp_path: Path) -> None:
    """Two sinks to one target: what either wrote is delivered by one of them."""
    one, other = Spill(tmp_path, LEAST), Spill(tmp_path, LEAST)
    one.put([output([predicted(k) for k in range(3)])])
    other.put([output([predicted(k) for k in range(3, 7)])])
    later, seen = Spill(tmp_path, LEAST), []
    later.open()
    assert later.records == 7
    while found := later.oldest():
        path, outputs = found
        seen += [code[4] for kept in outputs for code in kept.predictions.codes.tolist()]
        later.remove(path)
    assert sorted(seen) == [made(k) for k in range(7)]
    assert one.oldest() is None
    assert (one.records, one.bytes, later.records, later.bytes) == (0, 0, 0, 0)


def test_what_is_not_whole_is_set_aside(tmp_path: Path) -> None:
    """A kill while a file is written leaves the files before it; a damaged one does not stop those
    behind it, is counted, and stays for whoever wants to look."""
    one = Spill(tmp_path, LEAST)
    for k in range(3):
        one.put([output([predicted(k)])])
    first, second, _ = sorted(tmp_path.iterdir())
    (tmp_path / f"{7:020d}-5-00000000.part").write_bytes(b"\x97")
    first.write_bytes(first.read_bytes()[:-40])
    second.write_bytes(bytes(100))
    later = Spill(tmp_path, LEAST)
    later.open()
    assert later.records == 3
    found = later.oldest()
    assert found is not None
    assert found[1][0].predictions.codes[0, 4] == made(2)
    assert (later.records, later.lost) == (1, 2)
    assert len(list(tmp_path.glob("*.damaged"))) == 2


def test_no_password_is_in_a_folders_name(tmp_path: Path) -> None:
    """The name tells the target, and what tells targets apart."""
    assert place_of("influx", "8086", "", "", "two halls", "") == "influx_8086_two_halls"
    sink = influxdb.open(
        LANES, "pumps", tmp_path, lambda: START, url=f"http://me:secret@127.0.0.1:{free_port()}"
    )
    sink.write(output([predicted(1)]))
    sink.close()
    [place] = (tmp_path / "influxdb").iterdir()
    assert "secret" not in place.name
    assert place.name.endswith("_streamgauge")


def test_dead_letters_are_bounded(tmp_path: Path) -> None:
    """A file that has grown makes way for another; the two before the newest are not both kept."""
    letters = DeadLetters(tmp_path / "dead.jsonl", lambda: START, limit=1_000)
    for k in range(100):
        letters.add([f"line {k}"], "refused")
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) < 1_200
    newest = json.loads(letters.path.read_text().splitlines()[-1])
    assert newest["letter"] == "line 99"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"spill_bytes": 5}, "write at least 10000000"),
        ({"spill_bytes": -1}, "write at least 10000000"),
        ({"buffer_bytes": 0}, "holds nothing"),
    ],
)
def test_sizes_that_hold_nothing(tmp_path: Path, options: dict[str, Any], match: str) -> None:
    """Refused before anything is connected."""
    with pytest.raises(ValueError, match=match):
        influxdb.open(LANES, "s", tmp_path, lambda: 0, url="http://localhost:8086", **options)
