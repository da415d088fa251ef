"""The embedded history: each result is kept once, in time, within its bounds."""

import threading
from pathlib import Path

import pytest

from monitoring.sinks._history_file import ROWS
from monitoring.sinks.store import FILE, Store, StoreClosed
from streamgauge.events import Event, EventKind
from tests.histories import DAY, SLOW, Clock, committed, many, opened, sequences, table
from tests.outputs import (
    LANES,
    MINUTE,
    START,
    made,
    output,
    predicted,
    scores,
    told,
)


def test_rows_fill_tables_exactly_and_in_order(tmp_path: Path) -> None:
    """Rows beyond a row group, in pieces of odd sizes, all arrive unchanged."""
    n = 2 * ROWS + 999
    with opened(tmp_path) as kept:
        for first in range(0, n, 33_333):
            kept.write(many(min(33_333, n - first), first=first))
        assert kept.flush(SLOW)
        assert kept.state()["written_total"] == 2 * n
        assert kept.state()["backlog"] == 0
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
