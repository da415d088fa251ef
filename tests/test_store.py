"""The store: what was written is answered, whatever happens to process, disk and clock."""

import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from monitoring.sinks import store
from monitoring.sinks._history_file import ROWS
from monitoring.sinks.store import FILE, Store, StoreClosed, StoreDamaged, StoreInUse
from serving.api.history import History
from streamgauge.events import Event, EventKind
from streamgauge.output import SCORE_COLUMNS, Output, Sink
from streamgauge.predictions import Predictions
from streamgauge.schedule import Lane
from tests.outputs import (
    DEVICES,
    LANES,
    LEVEL,
    MINUTE,
    START,
    made,
    output,
    predicted,
    scores,
    told,
)

DAY = 86_400 * 10**6
SLOW = 60.0
"""Seconds that a loaded machine may take."""


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


@contextmanager
def opened(
    folder: Path, clock: Clock | None = None, lanes: tuple[Lane, ...] = LANES, **options: int
) -> Iterator[Store]:
    """A store in that folder."""
    kept = store.open(lanes, "pumps", folder, clock or Clock(), **options)
    try:
        yield kept
    finally:
        kept.close()


def committed(kept: Store, *outputs: Output) -> None:
    """Write and wait until it is in the file."""
    for one in outputs:
        kept.write(one)
    assert kept.flush(SLOW)


def table(folder: Path, question: str) -> list[tuple[Any, ...]]:
    """Rows of a closed store."""
    with duckdb.connect(str(folder / FILE), read_only=True) as file:
        return file.execute(question).fetchall()


def sequences(kept: Store, device: str = "pump-1", limit: int = 1000) -> list[int]:
    """Sequence numbers of what the store answers on the first lane."""
    found = kept.predictions(device, "power", "10m", limit)
    return [int(one["id"].rpartition("/")[2]) for one in found]


def many(n: int, *, first: int = 0, devices: int = 3) -> Output:
    """n predictions and n outcomes in turns, of several devices."""
    place = np.arange(first, first + n)
    codes = np.zeros((2 * n, 8), np.int64)
    numbers = np.full((2 * n, 5), np.nan)
    for half, step in ((codes[0::2], 0), (codes[1::2], 1)):
        half[:, 0] = half[:, 6] = step
        half[:, 2], half[:, 3], half[:, 7] = place % devices, place, place // 2
        half[:, 4], half[:, 5] = START + place, START + place + 10
    numbers[0::2, 0], numbers[0::2, 1] = place / 8, place / 16
    numbers[1::2, 2], numbers[1::2, 3] = place / 4, place / 32
    return Output(Predictions(codes, numbers, DEVICES, LANES))


def test_it_is_a_sink_and_a_history(tmp_path: Path) -> None:
    """The worker and the API may hold it by their own contracts."""
    with opened(tmp_path) as kept:
        sink: Sink = kept
        history: History = kept
        sink.write(output([predicted(1)]))
        assert sink.flush(SLOW)
        assert len(history.predictions("pump-1", "power", "10m", 10)) == 1


def test_a_prediction_comes_back_with_its_outcome(tmp_path: Path) -> None:
    """Every key that the API shows, before the label and after it."""
    with opened(tmp_path) as kept:
        committed(kept, output([predicted(7, row=2)]))
        (waiting,) = kept.predictions("Ölpumpe", "power", "10m", 10)
        assert waiting == {
            "id": "power@10m/Ölpumpe/7",
            "horizon": "10m",
            "made_at": made(7),
            "target_time": made(17),
            "prediction": 2007.0,
            "last_value": 2006.5,
            "label": None,
            "residual": None,
            "status": "pending",
            "model_version": 14,
        }
        committed(kept, output([told(7, row=2)]))
        (known,) = kept.predictions("Ölpumpe", "power", "10m", 10)
        assert known == waiting | {"label": 2007.25, "residual": 0.25, "status": "labelled"}


def test_an_expired_prediction_has_no_label(tmp_path: Path) -> None:
    """Status expired; a value that was never served is None."""
    with opened(tmp_path) as kept:
        committed(kept, output([predicted(3, value=math.nan), told(3, expired=True)]))
        (one,) = kept.predictions("pump-1", "power", "10m", 10)
        assert (one["status"], one["label"], one["residual"]) == ("expired", None, None)
        assert one["prediction"] is None


def test_a_horizon_in_readings_ends_when_the_label_comes(tmp_path: Path) -> None:
    """Its target time is unknown at first, then the time of the reading that was the label."""
    with opened(tmp_path) as kept:
        committed(kept, output([predicted(3, where=1), predicted(4, where=1), told(3, where=1)]))
        newest, older = kept.predictions("pump-1", "power", "1 reading", 10)
        assert (newest["target_time"], older["target_time"]) == (None, made(13))


def test_newest_come_first_up_to_the_limit(tmp_path: Path) -> None:
    """Of one horizon, or of all horizons of the task; other devices and tasks stay out."""
    records = [predicted(m, row, where) for m in range(30) for row in (0, 1) for where in (0, 1, 2)]
    with opened(tmp_path) as kept:
        committed(kept, output(records))
        assert sequences(kept, limit=5) == [29, 28, 27, 26, 25]
        both = kept.predictions("pump 2, hall=3", "power", None, 4)
        assert [one["id"] for one in both] == [
            "power@10m/pump 2, hall=3/29",
            "power@1 reading/pump 2, hall=3/29",
            "power@10m/pump 2, hall=3/28",
            "power@1 reading/pump 2, hall=3/28",
        ]
        assert kept.predictions("nobody", "power", "10m", 5) == []
        assert kept.predictions("pump-1", "speed", None, 5) == []
        assert kept.predictions("pump-1", "power", "10m", 0) == []


def test_old_rows_are_found_however_far_back(tmp_path: Path) -> None:
    """The search widens from the newest seconds to the oldest row."""
    clock = Clock()
    with opened(tmp_path, clock, keep=1000 * DAY) as kept:
        for day in (0, 3, 100, 300):
            clock.now = START + day * DAY
            committed(kept, output([predicted(day)]))
        assert sequences(kept) == [300, 100, 3, 0]
        assert sequences(kept, limit=2) == [300, 100]


def test_a_clock_that_jumps_back_hides_nothing(tmp_path: Path) -> None:
    """Rows written before and after our clock was set back are all answered."""
    clock = Clock()
    with opened(tmp_path, clock) as kept:
        committed(kept, output([predicted(1)]))
        clock.now -= 5 * DAY
        committed(kept, output([predicted(2)]))
        assert sequences(kept) == [2, 1]


def test_a_row_given_to_another_device_keeps_them_apart(tmp_path: Path) -> None:
    """After an eviction the same row stands for another device."""
    with opened(tmp_path) as kept:
        committed(kept, output([predicted(1)], names=["old", "b"]))
        committed(kept, output([predicted(2)], names=["new", "b"]))
        assert (sequences(kept, "old"), sequences(kept, "new")) == ([1], [2])


def test_devices_that_come_later_are_known_by_name(tmp_path: Path) -> None:
    """The list of names grows while the walk goes on."""
    names: list[str | None] = ["d0"]
    with opened(tmp_path) as kept:
        for row in range(50):
            committed(kept, output([predicted(row, row)], names=names))
            names.append(f"d{row + 1}")
        assert [sequences(kept, f"d{row}") for row in range(50)] == [[row] for row in range(50)]


def test_codes_mean_the_same_after_a_restart(tmp_path: Path) -> None:
    """Devices in another order and a task more: what was written before is read as it was."""
    with opened(tmp_path) as kept:
        committed(kept, output([predicted(1, row=0), predicted(1, row=2, where=2)]))
    lanes = (Lane("speed", "", 0, 0, 0, 0, False, (0,), 1, "last"), LANES[2], LANES[0])
    with opened(tmp_path, lanes=lanes) as kept:
        names = ["Ölpumpe", "x", "pump-1"]
        committed(kept, output([predicted(2, row=2, where=2)], names=names, lanes=lanes))
        assert sequences(kept) == [2, 1]
        (one,) = kept.predictions("Ölpumpe", "flow", None, 5)
        assert one["id"] == "flow/Ölpumpe/1"
        assert kept.predictions("x", "speed", None, 5) == []


def test_ids_of_any_characters_are_kept(tmp_path: Path) -> None:
    """Quotes, zero bytes and lone surrogates break neither the file nor the writer."""
    names = ["a'b\"c", "nul\0nul", "half\ud800", ""]
    with opened(tmp_path) as kept:
        committed(kept, output([predicted(k, k) for k in range(4)], names=names))
        assert [sequences(kept, name) for name in names] == [[0], [1], [2], [3]]
    with opened(tmp_path) as kept:
        assert [sequences(kept, name) for name in names if name != names[2]] == [[0], [1], [3]]


def test_rows_fill_tables_exactly_and_in_order(tmp_path: Path) -> None:
    """Rows beyond a row group, in pieces of odd sizes, all arrive unchanged."""
    n = 2 * ROWS + 999
    with opened(tmp_path) as kept:
        for first in range(0, n, 33_333):
            kept.write(many(min(33_333, n - first), first=first))
        assert kept.flush(SLOW)
        assert kept.state()["written_total"] == 2 * n
        assert kept.state()["queued"] == 0
    (sums,) = table(
        tmp_path,
        """select count(*), count(distinct sequence),
        bool_and(made = $start + sequence and due = made + 10 and value = sequence / 8
          and base = sequence / 16 and status = 0 and version = sequence // 2 and lane = 0
          and sequence = rowid and device = sequence % 3)
        from predictions""".replace("$start", str(START)),
    )
    assert sums == (n, n, True)
    (sums,) = table(
        tmp_path,
        """select count(*), count(distinct sequence),
        bool_and(made = $start + sequence and due = made + 10 and label = sequence / 4
          and residual = sequence / 32 and status = 1 and lane = 0 and sequence = rowid
          and device = sequence % 3)
        from outcomes""".replace("$start", str(START)),
    )
    assert sums == (n, n, True)


def test_full_tables_are_committed_without_waiting(tmp_path: Path) -> None:
    """A row group is its own transaction, whoever asks for nothing."""
    with opened(tmp_path) as kept:
        kept.write(many(ROWS))
        reached = threading.Event()
        for _ in range(600):
            if kept.state()["written_total"] == 2 * ROWS:
                reached.set()
                break
            threading.Event().wait(0.1)
        assert reached.is_set()
        assert kept.state()["commits_total"] <= 2


def test_few_rows_are_committed_soon(tmp_path: Path) -> None:
    """Without a flush, a lone row is answered after the interval."""
    with opened(tmp_path) as kept:
        kept.write(output([predicted(5)]))
        for _ in range(600):
            if sequences(kept) == [5]:
                break
            threading.Event().wait(0.1)
        assert sequences(kept) == [5]


def test_repeated_outputs_are_kept_once(tmp_path: Path) -> None:
    """After a restart the walk repeats what lies behind its checkpoint."""
    with opened(tmp_path) as kept:
        committed(
            kept,
            output([predicted(1)], position=100),
            output([predicted(2)], position=250),
        )
        assert kept.watermark == 250
    with opened(tmp_path) as kept:
        assert kept.watermark == 250
        committed(
            kept,
            output([predicted(1)], position=60),
            output([predicted(2)], position=250),
            output([predicted(3)], position=300),
        )
        assert kept.state()["repeated_total"] == 2
        assert sequences(kept) == [3, 2, 1]
    assert table(tmp_path, "select sequence from predictions order by all") == [(1,), (2,), (3,)]


def test_a_place_counts_once_all_its_pieces_are_in(tmp_path: Path) -> None:
    """A piece with more to come does not move the watermark, so the whole is taken again."""
    with opened(tmp_path) as kept:
        committed(kept, output([predicted(1)], position=100))
        committed(kept, output([predicted(2)], position=200, more=True))
        assert kept.watermark == 100
    with opened(tmp_path) as kept:
        committed(
            kept,
            output([predicted(2)], position=200, more=True),
            output([predicted(3)], position=200),
        )
        assert kept.watermark == 200
        assert sequences(kept) == [3, 2, 1]


def test_outputs_at_a_place_already_passed_are_taken_while_running(tmp_path: Path) -> None:
    """Only what the file held when it was opened is passed over."""
    with opened(tmp_path) as kept:
        committed(kept, output([predicted(1)], position=100))
        committed(kept, output([predicted(2)], position=100, more=True))
        assert sequences(kept) == [2, 1]


def test_a_log_that_lost_its_end_gives_its_places_again(tmp_path: Path) -> None:
    """Told where the log goes on, the store takes smaller positions for what they are: new."""
    with opened(tmp_path) as kept:
        committed(kept, output([predicted(1)], position=1000))
    with opened(tmp_path) as kept:
        kept.write(output([predicted(1)], position=400))
        kept.resume(400)
        committed(kept, output([predicted(2)], position=500))
        assert kept.watermark == 500
        assert sequences(kept) == [2, 1]
    with opened(tmp_path) as kept:
        assert kept.watermark == 500


def test_what_was_stored_twice_is_answered_once(tmp_path: Path) -> None:
    """Results without a place in a log that come twice."""
    twice = output(
        [predicted(1), told(1)],
        events=[Event(EventKind.DRIFT_UP, 0, 0, made(2), 0, 1.0, 2.0, 30.0)],
        scores=[scores(1)],
    )
    with opened(tmp_path) as kept:
        committed(kept, twice, twice)
        assert sequences(kept) == [1]
        assert len(kept.drift(10, None)) == 1
        assert len(kept.score_history("power", "10m", 0, 10)) == 1


def test_events_of_devices_come_back_newest_first(tmp_path: Path) -> None:
    """Silences with channel and length, and evictions; drift is in a list of its own."""
    nothing = (math.nan, math.nan)
    events = [
        Event(EventKind.SILENT, 0, -1, made(1), -1, *nothing, 600.0),
        Event(EventKind.DRIFT_UP, 0, 0, made(2), 0, 0.5, 2.0, 30.0),
        Event(EventKind.RETURNED, 1, -1, made(3), 7, *nothing, 900.5, "flow"),
        Event(EventKind.EVICTED, 0, -1, made(4), -1, *nothing, math.nan),
    ]
    with opened(tmp_path) as kept:
        committed(kept, output([], events=events), output([], events=events))
        found = kept.events(10, None)
        assert [one["kind"] for one in found] == ["evicted", "returned", "silent"]
        assert found[1] == {
            "time": made(3),
            "device": "pump 2, hall=3",
            "channel": "flow",
            "kind": "returned",
            "seconds": 900.5,
        }
        assert [one["time"] for one in kept.events(10, "pump-1")] == [made(4), made(1)]
        assert len(kept.events(1, None)) == 1
        assert kept.events(10, "unknown") == []
        assert len(kept.drift(10, None)) == 1


def test_a_file_of_an_earlier_version_gets_its_new_columns(tmp_path: Path) -> None:
    """Events that were stored before channels were named are still there, and new ones fit."""
    before = Event(EventKind.EVICTED, 0, -1, made(1), -1, math.nan, math.nan, math.nan)
    with opened(tmp_path) as kept:
        committed(kept, output([], events=[before]))
        [path] = tmp_path.rglob("history.duckdb")
    with duckdb.connect(str(path)) as file:
        for column in ("channel", "signal", "since", "magnitude", "detector", "version"):
            file.execute(f"alter table events drop column {column}")
    after = Event(EventKind.SILENT, 0, -1, made(2), -1, math.nan, math.nan, 60.0, "flow")
    with opened(tmp_path) as kept:
        committed(kept, output([], events=[after, LEVEL]))
        assert [one["detector"] for one in kept.drift(10, None)] == ["cusum"]
        assert [one["channel"] for one in kept.events(10, None)] == ["flow", ""]


def test_drift_comes_back_newest_first(tmp_path: Path) -> None:
    """Of the fleet, of a device or of all; an eviction is no drift."""
    events = [
        Event(EventKind.DRIFT_UP, 0, 1, made(1), 0, 0.5, 2.0, 30.0),
        Event(EventKind.DRIFT_DOWN, -1, 2, made(3), 0, 4.0, math.nan, 30.0),
        Event(EventKind.EVICTED, 0, -1, made(4), -1, math.nan, math.nan, math.nan),
        Event(EventKind.DRIFT_UP, 1, 0, made(2), 0, 0.5, 2.0, 30.0),
    ]
    with opened(tmp_path) as kept:
        committed(kept, output([], events=events[:2]), output([], events=events[2:]))
        found = kept.drift(10, None)
        assert [one["time"] for one in found] == [made(3), made(2), made(1)]
        assert found[2] == {
            "time": made(1),
            "device": "pump-1",
            "task": "power",
            "horizon": "1 reading",
            "kind": "drift_up",
            "before": 0.5,
            "after": 2.0,
            "channel": "",
            "signal": "error",
            "severity": "alarm",
            "since": None,
            "magnitude": 0.0,
            "size": 30.0,
            "detector": "",
            "version": 0,
            "text": "error of power rose from 0.5 to 2",
        }
        assert (found[0]["device"], found[0]["task"], found[0]["kind"]) == (
            "",
            "flow",
            "drift_down",
        )
        assert found[0]["after"] is None
        assert [one["time"] for one in kept.drift(10, "pump 2, hall=3")] == [made(2)]
        assert [one["time"] for one in kept.drift(10, "")] == [made(3)]
        assert kept.drift(1, None) == found[:1]
        assert kept.drift(10, "nobody") == []
    with opened(tmp_path) as kept:
        assert kept.drift(10, None) == found


def test_drift_of_a_channel_comes_back_with_all_that_is_known(tmp_path: Path) -> None:
    """What drifted, how far, since when, and who says so."""
    with opened(tmp_path) as kept:
        committed(kept, output([], events=[LEVEL]))
        [found] = kept.drift(10, "pump-1")
    assert (found["task"], found["channel"], found["signal"]) == ("", "flow", "level")
    assert (found["kind"], found["severity"]) == ("drift_down", "alarm")
    assert (found["time"], found["since"]) == (LEVEL.time, LEVEL.since)
    assert (found["before"], found["after"], found["magnitude"]) == (20.5, 18.0, 3.0)
    assert (found["detector"], found["version"]) == ("cusum", 1)
    since = datetime.fromtimestamp(LEVEL.since / 1e6, UTC)
    assert found["text"] == f"level of flow fell from 20.5 to 18 since {since:%Y-%m-%dT%H:%M}Z"


def test_scores_over_time(tmp_path: Path) -> None:
    """Overall scores only, since a time, newest first; what was undefined is None."""
    with opened(tmp_path) as kept:
        committed(kept, *(output([], scores=[scores(m, (-1, 1))]) for m in range(6)))
        found = kept.score_history("power", "1 reading", made(2), 3)
        assert [one["time"] for one in found] == [made(5), made(4), made(3)]
        assert list(found[0]) == ["time", *SCORE_COLUMNS]
        assert [found[0][name] for name in SCORE_COLUMNS[:-1]] == [
            5.0 + k for k in range(len(SCORE_COLUMNS) - 1)
        ]
        assert found[0][SCORE_COLUMNS[-1]] is None
        assert len(kept.score_history("power", "1 reading", made(2), 100)) == 4
        assert kept.score_history("power", "2h", 0, 3) == []


def test_rows_older_than_keep_are_deleted(tmp_path: Path) -> None:
    """Old rows of every table go; younger ones stay."""
    clock = Clock()
    event = Event(EventKind.DRIFT_UP, 0, 0, made(0), 0, 0.5, 2.0, 30.0)
    with opened(tmp_path, clock, keep=DAY) as kept:
        committed(kept, output([predicted(1), told(1)], events=[event], scores=[scores(1)]))
        clock.now += DAY // 2
        committed(kept, output([predicted(2), told(2)]))
        clock.now += DAY // 2 + 1
        committed(kept, output([predicted(3)]))
        clock.now += MINUTE
        committed(kept, output([predicted(4)]))
        assert sequences(kept) == [4, 3, 2]
        assert kept.drift(5, None) == []
        assert kept.score_history("power", "10m", 0, 5) == []
    assert table(tmp_path, "select sequence from outcomes") == [(2,)]


def test_the_file_stays_within_its_size(tmp_path: Path) -> None:
    """Beyond `max_size` the oldest rows make room, and the newest stay."""
    clock, limit = Clock(), 12_000_000
    with opened(tmp_path, clock, max_size=limit) as kept:
        sizes = []
        for k in range(24):
            clock.now += MINUTE + 1
            committed(kept, many(ROWS, first=k * ROWS))
            # The deletion follows the commit: a second flush comes behind it.
            committed(kept, output([predicted(24 * ROWS + k)]))
            sizes.append((tmp_path / FILE).stat().st_size)
        assert kept.state()["bytes"] <= limit
        assert max(sizes) < 2 * limit
        assert sequences(kept, limit=1) == [24 * ROWS + 23]
        assert kept.state()["ok"]
    ((oldest, rows),) = table(tmp_path, "select min(sequence), count(*) from predictions")
    assert oldest > 2 * ROWS
    assert rows > 2 * ROWS


def test_what_the_disk_cannot_follow_is_dropped_and_counted(tmp_path: Path) -> None:
    """The worker never waits; the condition is reported for a minute."""
    clock = Clock()
    kept = Store(LANES, "pumps", tmp_path / FILE, clock, keep=DAY, max_size=10**9, waiting=10)
    try:
        committed(kept, output([predicted(m) for m in range(10)]))
        kept.write(output([predicted(m) for m in range(11)]))
        state = kept.state()
        assert (state["ok"], state["dropped_total"]) == (False, 11)
        assert "11 records" in state["why"]
        clock.now += 2 * MINUTE
        assert kept.state()["ok"]
        committed(kept, output([predicted(20)]))
        assert sequences(kept, limit=2) == [20, 9]
    finally:
        kept.close()


def test_closing_commits_what_waits(tmp_path: Path) -> None:
    """Rows that no flush waited for are in the file; closing twice does nothing."""
    with opened(tmp_path) as kept:
        kept.write(many(5))
        kept.close()
        kept.write(many(7))
        assert kept.state()["dropped_total"] == 14
        with pytest.raises(StoreClosed):
            kept.predictions("pump-1", "power", "10m", 5)
    assert table(tmp_path, "select count(*) from predictions") == [(5,)]
    assert table(tmp_path, "select count(*) from outcomes") == [(5,)]


def test_many_threads_ask_while_it_writes_and_closes(tmp_path: Path) -> None:
    """Answers are whole at any time; who still asks at the end is told that it closed."""
    problems: list[str] = []
    answered = threading.Event()

    def ask(kept: Store) -> None:
        try:
            while True:
                found = sequences(kept, limit=50)
                if found != sorted(set(found), reverse=True):
                    problems.append(str(found))
                if found:
                    answered.set()
        except StoreClosed:
            return
        except Exception as broken:  # noqa: BLE001 - whatever it is, the test must see it
            problems.append(repr(broken))

    with opened(tmp_path) as kept:
        threads = [threading.Thread(target=ask, args=(kept,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for first in range(0, 40_000, 500):
            kept.write(many(500, first=first))
            if first % 5_000 == 0:
                assert kept.flush(SLOW)
        assert answered.wait(SLOW)
    for thread in threads:
        thread.join(SLOW)
    assert problems == []
    assert not any(thread.is_alive() for thread in threads)


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    """The error names the file and says what to do; the file is left as it is."""
    with opened(tmp_path) as kept:
        committed(kept, many(1000))
    path = tmp_path / FILE
    damaged = bytearray(path.read_bytes())
    damaged[4096:12_288] = b"\x01" * 8192
    path.write_bytes(damaged)
    with pytest.raises(StoreDamaged, match=r"history\.duckdb cannot be read.*move it"):
        store.open(LANES, "pumps", tmp_path, Clock())
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("half", [True, False])
def test_rubbish_and_half_a_file_are_refused_by_name(tmp_path: Path, half: bool) -> None:
    """However DuckDB stumbles over it, the error names the file and says what to do."""
    with opened(tmp_path) as kept:
        committed(kept, many(5000))
    path = tmp_path / FILE
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if half else b"garbage" * 1000)
    with pytest.raises(StoreDamaged, match=r"history\.duckdb cannot be read.*move it"):
        store.open(LANES, "pumps", tmp_path, Clock())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("update about set format = 999", "has format 999, this program writes format 1"),
        ("drop table outcomes", "no table outcomes"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, change: str, words: str) -> None:
    """A newer format and a stranger's file."""
    with opened(tmp_path):
        pass
    with duckdb.connect(str(tmp_path / FILE)) as file:
        file.execute(change)
    with pytest.raises(StoreDamaged, match=words):
        store.open(LANES, "pumps", tmp_path, Clock())


CHILD = """
import resource, sys
sys.path[:0] = [{root!r}]
from pathlib import Path
from tests.test_store import *
from tests.test_store import _closing_on_a_full_disk, _full_disk
folder = Path({folder!r})
"""


def child(folder: Path, program: str) -> "subprocess.Popen[str]":
    """A process that works on the folder."""
    root = str(Path(__file__).resolve().parent.parent)
    code = CHILD.format(root=root, folder=str(folder)) + program
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_file_in_use_is_refused(tmp_path: Path) -> None:
    """Two services on one folder: the second is told."""
    with child(tmp_path, "with opened(folder): print('open', flush=True); input()") as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(StoreInUse, match=r"history\.duckdb is open in another process"):
            store.open(LANES, "pumps", tmp_path, Clock())
        holder.communicate("\n", timeout=SLOW)


def test_a_kill_loses_nothing_committed(tmp_path: Path) -> None:
    """SIGKILL in the middle of writing: all that a flush reported is there, nothing twice."""
    program = """
kept = store.open(LANES, "pumps", folder, Clock())
for k in range(10_000):
    one = many(3_000, first=k * 3_000)
    kept.write(Output(one.predictions, position=k + 1))
    if k % 7 == 6 and kept.flush(60):
        print(k + 1, flush=True)
"""
    for _ in range(2):
        with child(tmp_path, program) as writer:
            assert writer.stdout is not None
            for _line in range(8):
                reported = int(writer.stdout.readline())
            os.kill(writer.pid, signal.SIGKILL)
        with opened(tmp_path) as kept:
            assert kept.watermark >= reported
            reached = kept.watermark
        counts = "select count(*), count(distinct sequence), max(sequence) from "
        expected = (reached * 3_000, reached * 3_000, reached * 3_000 - 1)
        assert table(tmp_path, counts + "predictions") == [expected]
        assert table(tmp_path, counts + "outcomes") == [expected]


def _full_disk(folder: Path) -> None:
    """Write while no file may grow, then while they may: all is kept, once."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(folder) as kept:
        committed(kept, many(1_000))
        size = max(path.stat().st_size for path in folder.glob(FILE + "*"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        for k in range(1, 41):
            kept.write(many(20_000, first=k * 20_000))
        assert not kept.flush(4.0)
        state = kept.state()
        assert not state["ok"]
        assert FILE in state["why"], state
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert kept.flush(SLOW), kept.state()
        assert kept.state()["ok"]
        assert kept.state()["dropped_total"] == 0
        # A checkpoint of a full disk is fatal to the connection, which is opened anew.
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        with kept._file.reader() as cursor, pytest.raises(duckdb.FatalException):
            cursor.execute("checkpoint")
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        committed(kept, many(10, first=820_000))
        assert sequences(kept, limit=1)[0] > 820_000


def test_a_full_disk_delays_but_loses_nothing(tmp_path: Path) -> None:
    """In a process of its own, since the limit on files holds for a whole process."""
    with child(tmp_path, "_full_disk(folder)") as writer:
        _, errors = writer.communicate(timeout=2 * SLOW)
        assert writer.returncode == 0, errors
    counts = "select count(*), count(distinct sequence) from "
    expected = [(801_010, 801_010)]
    assert table(tmp_path, counts + "predictions") == expected
    assert table(tmp_path, counts + "outcomes") == expected


def _closing_on_a_full_disk(folder: Path) -> None:
    """Close while no file may grow: it ends, and says what is lost."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = store.open(LANES, "pumps", folder, Clock())
    committed(kept, many(1_000))
    size = max(path.stat().st_size for path in folder.glob(FILE + "*"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    kept.write(many(50_000, first=1_000))
    assert not kept.flush(0.5)
    kept.close()
    assert kept.state()["dropped_total"] == 100_000


def test_closing_on_a_full_disk_ends_and_counts(tmp_path: Path) -> None:
    """What was committed before stays readable."""
    with child(tmp_path, "_closing_on_a_full_disk(folder)") as writer:
        _, errors = writer.communicate(timeout=2 * SLOW)
        assert writer.returncode == 0, errors
    assert table(tmp_path, "select count(*) from predictions") == [(1_000,)]
