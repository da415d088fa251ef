"""Several sources feed one stream: recorded files, databases and messages, through a kill."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ingest.journal import Journal
from ingest.source import Source
from ingest.sources import file, sql
from stream_processor.pipeline import Pipeline
from stream_processor.settings import load_text
from stream_processor.settings.problems import Problems
from stream_processor.worker import Worker
from streamgauge.delivery import Delivery
from tests.services.ports import wait_for
from tests.streams import BEGIN, COMPILED, SECOND
from tests.test_walk import state
from tests.workers import KEY, Kept, Queue, killed

CONFIG = f"""
[[source]]
use = "sql"
url = "sqlite:///unused.db"
table = "readings"
first = true
once = true
[[source]]
use = "file"
path = "rows.csv"
[[source]]
use = "mqtt"
topics = ["t"]
codec = "json"
[channels.load]
[tasks.soon]
kind = "forecast"
target = "load"
horizons = ["3s"]
ready_after = 0
model = {COMPILED}
"""
SQL, FILE, QUEUE = range(3)
ROWS = 60


def load(device: int, k: int) -> float:
    """What that device measures in that second."""
    return float(np.sin(k / 5 + device))


class Stand:
    """A worker on a folder with three sources; it is driven by hand, or by its own thread."""

    def __init__(self, folder: Path, *, once: bool = True) -> None:
        folder.mkdir(exist_ok=True)
        self.database, rows = folder / "rows.db", folder / "rows.csv"
        if not rows.exists():
            lines = [f"f{k % 2},{BEGIN // SECOND + k},{load(3, k)}" for k in range(ROWS)]
            rows.write_text("\n".join(["device,time,load", *lines, ""]))
            with sqlite3.connect(self.database) as base:
                base.execute("create table readings (id integer, device, time, load)")
                values = [(k, f"s{k % 2}", BEGIN // SECOND + k, load(5, k)) for k in range(ROWS)]
                base.executemany("insert into readings values (?, ?, ?, ?)", values)
            base.close()
        self.pipeline = Pipeline(load_text(CONFIG, folder / "p.toml", {}))
        schema, rejects = self.pipeline.walk.stages.schema, self.pipeline.rejects
        self.now = BEGIN + 200 * SECOND
        self.queue, self.sink = Queue(), Kept()
        self.sources: list[Source] = [
            sql.open(
                schema, SQL, lambda: self.now, rejects,
                url=f"sqlite:///{self.database}", table="readings", once=once, fetch=4,
            ),
            file.open(schema, FILE, lambda: self.now, rejects, path=rows, chunk=5),
            self.queue,
        ]  # fmt: skip
        self.journal = Journal(folder / "journal", segment_bytes=2_000, max_bytes=10**6)
        self.worker = Worker(
            self.pipeline, self.sources, [self.sink], self.journal, folder, KEY, lambda: self.now,
            first=[SQL],
        )  # fmt: skip

    def begin(self) -> "Stand":
        """Take the state back and start the sources, but not the worker's thread."""
        self.worker.recover()
        for source in self.sources:
            source.start()
        return self

    def work(self, script: list[int]) -> None:
        """The next delivery of each source that is named; a tick for -1."""
        for which in script:
            if which < 0:
                self.now += SECOND
                self.worker.work([Delivery(clock=self.now)])
                continue
            self.worker.work([self.next(self.sources[which])])

    def next(self, source: Source) -> Delivery:
        """Its next delivery."""
        taken: list[Delivery] = []

        def came() -> bool:
            delivery = source.take(100, 0.02)
            taken.extend([delivery] if delivery is not None else [])
            return bool(taken)

        wait_for(came)
        return taken[0]

    def put(self, *numbers: int) -> None:
        """Messages, each a delivery."""
        for k in numbers:
            body = {"device": "q", "time": BEGIN / 1e6 + k, "load": load(7, k)}
            self.queue.messages.append(
                Delivery(QUEUE, [json.dumps(body).encode()], ["t"], [self.now], tokens=[k])
            )

    def end(self) -> None:
        """As a kill would: nothing is saved."""
        for source in self.sources:
            source.stop()
        self.worker._writer.shutdown()
        self.journal.close()


SCRIPT = [SQL, FILE, QUEUE, -1, FILE, SQL, SQL, QUEUE, FILE, -1, QUEUE, SQL] * 2


@pytest.mark.parametrize("saved", [None, 3, 9])
@pytest.mark.parametrize("cut", [5, 12, 19])
def test_a_kill_changes_nothing_of_what_several_sources_gave(
    tmp_path: Path, saved: int | None, cut: int
) -> None:
    """State after kill and restart is the uninterrupted run's, bit for bit: order between sources
    and clock as well, even where the rows of the database are gone meanwhile."""
    whole = Stand(tmp_path / "whole").begin()
    whole.put(*range(10))
    whole.work(SCRIPT)
    whole.end()

    first = Stand(tmp_path / "cut").begin()
    first.put(*range(10))
    for k, which in enumerate(SCRIPT[:cut]):
        first.work([which])
        if k == saved:
            first.worker.save()
    rest = list(first.queue.messages)
    first.end()
    with sqlite3.connect(first.database) as base:
        base.execute("delete from readings where id < ?", (4 * SCRIPT[:cut].count(SQL),))
    base.close()

    second = Stand(tmp_path / "cut")
    second.now = first.now
    second.begin()
    second.queue.messages.extend(rest)
    second.work(SCRIPT[cut:])
    second.end()
    assert second.pipeline.board.counts()["readings"] == whole.pipeline.board.counts()["readings"]
    assert state(second.pipeline) == state(whole.pipeline)


def test_the_journal_has_rows_that_may_go_and_only_the_place_of_those_that_stay(
    tmp_path: Path,
) -> None:
    """A file can be read again, a table may not be the same tomorrow."""
    stand = Stand(tmp_path).begin()
    stand.work([SQL, FILE])
    (from_sql, from_file) = [delivery for _, delivery in stand.journal.entries(0)]
    assert from_sql.readings is not None
    assert len(from_sql.readings) == 4
    assert from_sql.position is not None
    assert from_file.readings is None
    assert from_file.runs == [("rows.csv", 0, 0, 5)]
    stand.end()


def test_a_recording_that_lost_its_rows_is_not_gone_on_with(tmp_path: Path) -> None:
    """What was learned from it could not be learned again: it is refused, with what to do."""
    first = Stand(tmp_path).begin()
    first.work([FILE, FILE])
    first.end()
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:8]))
    second = Stand(tmp_path)
    with pytest.raises(OSError, match=r"no longer has rows 5 to 10.*restore the file"):
        second.worker.recover()
    second.worker.stop()


def sources_in(journal: Journal) -> list[int]:
    """Whose deliveries the journal holds, in order."""
    return [delivery.source for _, delivery in journal.entries(0) if not delivery.is_tick]


def admitted(stand: Stand) -> Callable[[], int]:
    """Readings so far."""
    return lambda: int(stand.pipeline.board.counts()["readings"]["admitted"])


@pytest.mark.parametrize(
    ("old", "new", "remedy"),
    [
        ("once = true", "once = false", "write once = true beside it"),
        ("topics =", "first = true\ntopics =", "remove it"),
    ],
)
def test_a_source_that_never_ends_cannot_come_first(
    tmp_path: Path, old: str, new: str, remedy: str
) -> None:
    """All others would wait for ever: the check says so."""
    (tmp_path / "rows.csv").touch()
    assert CONFIG.count(old) == 1
    with pytest.raises(Problems, match=f"a source that never ends.*; {remedy}"):
        load_text(CONFIG.replace(old, new), tmp_path / "p.toml", {})


def test_history_comes_before_what_is_live(tmp_path: Path) -> None:
    """Nothing is taken from other sources before the first one is finished; a restart does not read
    it again."""
    stand = Stand(tmp_path)
    stand.put(*range(10))
    stand.worker.recover()
    stand.worker.start()
    wait_for(lambda: admitted(stand)() == 2 * ROWS + 10)
    order = sources_in(stand.journal)
    assert order[: ROWS // 4 + 1] == [SQL] * (ROWS // 4 + 1)
    assert SQL not in order[ROWS // 4 + 1 :]
    killed(stand)  # type: ignore[arg-type] # it has what a stand has
    for source in stand.sources:
        source.stop()

    again = Stand(tmp_path)
    again.worker.recover()
    assert again.sources[SQL].finished
    again.put(10)
    again.worker.start()
    wait_for(lambda: admitted(again)() == 2 * ROWS + 11)
    assert not again.worker.failure
    again.worker.stop()
