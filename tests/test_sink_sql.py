"""The SQL sink: one row per prediction whatever comes twice, none lost while the server is away."""

import gc
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from monitoring.sinks import sql
from monitoring.sinks._sql_server import Upserts, tables
from streamgauge import database
from streamgauge.events import Event, EventKind
from streamgauge.output import SCORE_COLUMNS, Output
from tests.influx import arrived
from tests.outputs import AHEAD, DEVICES, LANES, LEVEL, START, made, output, predicted, scores, told
from tests.services.ports import free_port, wait_for
from tests.services.postgresql import PostgreSQL, postgresql
from tests.workers import Stand, killed

SLOW = 60.0
"""Seconds that a loaded machine may take."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    """One PostgreSQL for the tests of this file."""
    with postgresql() as one:
        yield one


class Target:
    """A database that the sink writes to."""

    def __init__(self, folder: Path, url: str, password: str = "") -> None:
        self.folder, self.url, self.password = folder, url, password
        self.engine = database.engine(url, password)

    def opened(self, **options: Any) -> Any:
        """A sink to it."""
        return sql.open(
            LANES, "pumps", self.folder, lambda: START,
            url=self.url, password=self.password, **options,
        )  # fmt: skip

    def write(self, *outputs: Output, **options: Any) -> Any:
        """Through a sink that is then closed; its state."""
        sink = self.opened(**options)
        for one in outputs:
            sink.write(one)
        assert sink.flush(SLOW), sink.state()
        sink.close()
        return sink

    def rows(self, table: str, prefix: str = "streamgauge_") -> list[dict[str, Any]]:
        """All of a table, times in UTC."""
        chosen = tables(prefix)[table]
        with self.engine.connect() as connection:
            found = connection.execute(sa.select(chosen).order_by(*chosen.primary_key))
            return [{key: utc(value) for key, value in row._mapping.items()} for row in found]

    def clear(self) -> None:
        """Without any table."""
        with self.engine.begin() as connection:
            for table in tables("streamgauge_").values():
                table.drop(connection, checkfirst=True)


def utc(value: Any) -> Any:
    """SQLite knows no zones."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value


def moment(minute: int) -> datetime:
    """That minute as a time."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=made(minute))


@pytest.fixture(params=["sqlite", "postgresql", "another"])
def target(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Target:
    """Each kind of database, empty. "Another" is SQLite treated as one without upserts."""
    if request.param == "postgresql":
        server = request.getfixturevalue("server")
        one = Target(tmp_path, server.url, server.password)
        one.clear()
        return one
    if request.param == "another":
        monkeypatch.setattr("sqlalchemy.dialects.sqlite.pysqlite.SQLiteDialect_pysqlite.name", "b")
    return Target(tmp_path, f"sqlite:///{tmp_path / 'results.db'}")


def test_a_prediction_and_its_outcome_are_one_row(target: Target) -> None:
    """With every column, by what they are, also where they come in different outputs."""
    target.write(
        output([predicted(1), predicted(2, 1, 1), predicted(3, 2, 2, value=math.nan)]),
        output([told(1), predicted(5), told(5, expired=True), predicted(6)]),
        output([told(2, 1, 1)]),
    )
    rows = {row["id"]: row for row in target.rows("predictions")}
    assert rows["power@10m/pump-1/1"] == {
        "stream": "pumps", "id": "power@10m/pump-1/1", "made_at": moment(1),
        "target_time": moment(1 + AHEAD), "device": "pump-1", "task": "power", "horizon": "10m",
        "sequence": 1, "prediction": 1.0, "last_value": 0.5, "label": 1.25, "residual": 0.25,
        "status": "labelled", "model_version": 2,
        "predicted_class": None, "label_class": None, "probabilities": None, "distance": None,
        "lower": None, "upper": None,
    }  # fmt: skip
    by_reading = rows[f"power@1 reading/{DEVICES[1]}/2"]
    assert by_reading["target_time"] == moment(2 + AHEAD)
    assert by_reading["label"] == 1002.25
    unknown = rows["flow/Ölpumpe/3"]
    assert (unknown["prediction"], unknown["status"]) == (None, "pending")
    expired, pending = rows["power@10m/pump-1/5"], rows["power@10m/pump-1/6"]
    assert (expired["status"], expired["label"], expired["residual"]) == ("expired", None, None)
    assert expired["target_time"] == moment(5 + AHEAD)
    assert (pending["status"], pending["target_time"]) == ("pending", moment(6 + AHEAD))
    assert len(rows) == 5


def test_a_horizon_in_readings_has_no_target_time_before_its_label(target: Target) -> None:
    """Nobody knows when the reading will come."""
    target.write(output([predicted(1, 0, 1), predicted(2, 0, 1), told(2, 0, 1, expired=True)]))
    assert [row["target_time"] for row in target.rows("predictions")] == [None, None]


def test_events_and_scores(target: Target) -> None:
    """Drifts and evictions by device and lane, "" for all of them; scores by lane."""
    events = [
        Event(EventKind.DRIFT_UP, 1, 0, made(3), 0, 0.5, 2.25, 30.0),
        Event(EventKind.DRIFT_DOWN, -1, 2, made(4), 0, 4.0, math.nan, 32.0),
        LEVEL,
        replace(LEVEL, signal="noise", kind=EventKind.DRIFT_UP),
        replace(LEVEL, signal="shape", kind=EventKind.DRIFT),
        Event(EventKind.EVICTED, 0, -1, made(4), -1, math.nan, math.nan, math.nan),
        Event(EventKind.SILENT, 0, -1, made(5), -1, math.nan, math.nan, 60.0),
        Event(EventKind.SILENT, 0, -1, made(5), -1, math.nan, math.nan, 90.0, "flow"),
    ]
    target.write(output([], events=events, scores=[scores(7, (-1, 0))]))
    found = {row["kind"]: row for row in target.rows("events")}
    assert found["drift_up"] == {
        "stream": "pumps", "task": "power", "horizon": "10m", "device": DEVICES[1],
        "kind": "drift_up", "channel": "", "time": moment(3),
        "before": 0.5, "after": 2.25, "size": 30.0,
    }  # fmt: skip
    assert (found["level_down"]["channel"], found["level_down"]["before"]) == ("flow", 20.5)
    assert {"noise_up", "shape"} <= set(found)
    silent = [row for row in target.rows("events") if row["kind"] == "silent"]
    assert {(row["channel"], row["size"]) for row in silent} == {("", 60.0), ("flow", 90.0)}
    assert (found["drift_down"]["device"], found["drift_down"]["after"]) == ("", None)
    assert (found["evicted"]["task"], found["evicted"]["device"]) == ("", "pump-1")
    kept = target.rows("scores")
    assert len(kept) == 2 * len(LANES)
    assert kept[0]["time"] == moment(7)
    assert kept[0][SCORE_COLUMNS[1]] == 8.0
    assert kept[0][SCORE_COLUMNS[-1]] is None


@pytest.mark.parametrize("batch", [1, 3, 500])
def test_what_comes_again_gives_no_second_row(target: Target, batch: int) -> None:
    """All of it, from any place on, as after a kill; of two values the newer one stays."""
    records = [one for k in range(6) for one in (predicted(k), told(k))]
    events = [Event(EventKind.DRIFT_UP, 1, 0, made(3), 0, 0.5, 2.25, 30.0)]
    first = output(records, events=events, scores=[scores(7)])
    target.write(first, batch=batch)
    rows = {name: target.rows(name) for name in ("predictions", "events", "scores")}
    assert [len(kept) for kept in rows.values()] == [6, 1, 3]
    for start in (0, 3, 8):
        again = output(records[start:], events=events, scores=[scores(7)])
        target.write(again, first, batch=batch)
        assert {name: target.rows(name) for name in rows} == rows
    target.write(output([predicted(2, value=9.0)]))
    changed = target.rows("predictions")[2]
    assert (changed["prediction"], changed["status"]) == (9.0, "pending")


def test_a_device_that_begins_anew_overwrites_nothing(target: Target) -> None:
    """The same id at another time is another row; another stream has rows of its own."""
    code, numbers = predicted(1)
    later = (*code[:4], code[4] + 5, *code[5:])
    target.write(output([(code, numbers), (later, numbers)]))
    other = sql.open(
        LANES, "fans", target.folder, lambda: START, url=target.url, password=target.password
    )
    other.write(output([predicted(1)]))
    assert other.flush(SLOW)
    other.close()
    assert [row["stream"] for row in target.rows("predictions")] == ["fans", "pumps", "pumps"]


def test_a_killed_worker_gives_every_prediction_once(tmp_path: Path, target: Target) -> None:
    """Its results come again after a restart: the rows are those of a run without a kill."""

    def stand(name: str, stream: str) -> tuple[Stand, Any]:
        (tmp_path / name).mkdir(exist_ok=True)
        one = Stand(tmp_path / name)
        sink = sql.open(
            one.pipeline.walk.stages.lanes, stream, tmp_path, lambda: START,
            url=target.url, password=target.password,
        )  # fmt: skip
        one.worker.sinks = [sink]
        return one, sink

    whole, _ = stand("whole", "whole")
    whole.start().work(range(40))
    whole.worker.stop()
    first, sink = stand("cut", "cut")
    first.start().work(range(24))
    assert sink.flush(SLOW)
    killed(first)
    sink.close()
    second, _ = stand("cut", "cut")
    second.start().work(range(24, 40))
    assert second.worker.replayed
    second.worker.stop()
    rows = [{**row, "stream": ""} for row in target.rows("predictions")]
    assert len(rows) == 2 * 40
    assert rows[:40] == rows[40:]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nothing_is_lost_in_an_outage(tmp_path: Path) -> None:
    """A server that goes away and comes back: said meanwhile, without the password.

    pg8000 leaves a socket to the garbage collector where the server went away while it connected.
    """
    with postgresql() as server:
        target = Target(tmp_path, server.url, server.password)
        sink = target.opened(batch=7)
        for minute in range(60):
            sink.write(output([predicted(minute), told(minute - 5)]))
            if minute == 20:
                wait_for(lambda: sink.state()["sent_total"] > 0)
                server.stop()
            if minute == 40:
                wait_for(lambda: not sink.state()["ok"])
                assert f"127.0.0.1:{server.port}" in sink.state()["why"]
                assert server.password not in sink.state()["why"]
                server.start()
        arrived(sink)
        assert sink.state()["ok"]
        assert sink.state()["dropped_total"] == 0
        sink.close()
        rows = target.rows("predictions")
        assert len(rows) == 65
        assert sum(row["status"] == "labelled" for row in rows) == 60
    gc.collect()


def test_a_row_that_no_try_gets_in_is_set_aside(server: PostgreSQL, tmp_path: Path) -> None:
    """PostgreSQL has no NUL in text: that row is kept aside and counted, the others arrive."""
    target = Target(tmp_path, server.url, server.password)
    target.clear()
    names = ("a", "b\0c", "d")
    sink = target.write(output([predicted(k, k % 3) for k in range(9)], names=names))
    assert (sink.state()["sent_total"], sink.state()["dead_total"]) == (6, 3)
    letters = [json.loads(one) for one in sink._dead.path.read_text().splitlines()]
    rows = [json.loads(one["letter"]) for one in letters]
    assert [(row["table"], row["device"]) for row in rows] == [("predictions", "b\0c")] * 3
    assert len(target.rows("predictions")) == 6


def test_tables_of_another_schema_and_name(server: PostgreSQL, tmp_path: Path) -> None:
    """As `prefix` says."""
    target = Target(tmp_path, server.url, server.password)
    with target.engine.begin() as connection:
        connection.execute(sa.text("create schema plant"))
    target.write(output([predicted(1)]), prefix="plant.hall3_")
    assert len(target.rows("predictions", "plant.hall3_")) == 1


def test_mysql_gets_its_own_statement() -> None:
    """No MySQL runs here: what would be sent is looked at instead."""
    sent: list[Any] = []

    class Connection:
        def execute(self, statement: Any) -> None:
            sent.append(statement)

    engine: Any = type("Engine", (), {"dialect": mysql.dialect()})()
    events = tables("streamgauge_")["events"]
    row = {column.name: 1 for column in events.columns}
    Upserts(engine, "streamgauge_")._write(Connection(), events, [row, row])  # type: ignore[arg-type] # stands in
    text = " ".join(str(sent[0].compile(dialect=mysql.dialect())).split())
    assert text.startswith("INSERT INTO streamgauge_events (stream, task,")
    assert "ON DUPLICATE KEY UPDATE `before` = VALUES(`before`), after = VALUES(after)" in text


def test_closing_without_a_server_ends_and_counts(tmp_path: Path) -> None:
    """What was not delivered is said."""
    sink = Target(tmp_path, f"postgresql://plant@127.0.0.1:{free_port()}/plant").opened(
        spill_bytes=0
    )
    sink.write(output([predicted(1), predicted(2)]))
    wait_for(lambda: not sink.state()["ok"])
    sink.close()
    assert sink.state()["dropped_total"] == 2
    assert sink.state()["lost"]["dropped"] == {"ended": 2}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"url": "nonsense"}, "url is no address"),
        ({"batch": 0}, "batch = 0"),
        ({"batch": 5_000}, "batch = 5000"),
        ({"prefix": "a; drop table x"}, "begins no table's name"),
    ],
)
def test_options_that_mean_nothing(options: dict[str, Any], match: str) -> None:
    """A wrong option is refused before anything is connected."""
    with pytest.raises(ValueError, match=match):
        sql.open(LANES, "pumps", Path(), lambda: START, **({"url": "sqlite://"} | options))


@pytest.mark.parametrize(
    ("sink", "source", "loop"),
    [
        ({}, {"table": "streamgauge_predictions"}, True),
        ({"prefix": "my_"}, {"table": "my_scores"}, True),
        ({"prefix": "my_"}, {"table": "streamgauge_predictions"}, False),
        ({}, {"table": "readings"}, False),
        ({}, {"query": "select 1"}, False),
        ({"url": "sqlite:///other.db"}, {"table": "streamgauge_predictions"}, False),
    ],
)
def test_a_source_that_would_read_what_this_writes(
    sink: dict[str, Any], source: dict[str, Any], loop: bool
) -> None:
    """The same database and a table of the sink's own are refused."""
    here = {"url": "sqlite:///results.db"}
    assert bool(sql.comes_back("pumps", here | sink, here | source)) == loop
