"""Rows of databases: each once, in the order of a column, through failures and restarts."""

import gc
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from ingest.rejects import Rejects
from ingest.source import Source
from ingest.sources import sql
from streamgauge import database
from tests.readers import NOW, SCHEMA, T0, Taking
from tests.services.ports import free_port, wait_for
from tests.services.postgresql import PostgreSQL, postgresql

CREATE = """
create table readings (
  id integer, at {time}, device varchar(40), time {time}, heat {number}, power integer, note text
)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    """One PostgreSQL for the tests of this file."""
    with postgresql() as one:
        yield one


class Base:
    """A database with the table `readings`, emptied."""

    def __init__(self, url: str, password: str = "", *, time: str, number: str) -> None:
        self.url, self.password = url, password
        self.engine: Any = database.engine(url, password)
        self.does("drop table if exists readings")
        self.does(CREATE.format(time=time, number=number))

    def does(self, statement: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(sqlalchemy.text(statement), values)

    def add(self, *numbers: int, connection: Any = None, at: int | None = None) -> None:
        """Rows with these ids: a second apart, of three devices."""
        rows = [
            {
                "id": k,
                "at": stamp(k if at is None else at),
                "device": f"d{k % 3}",
                "time": stamp(k),
                "heat": k / 4,
                "power": k,
            }
            for k in numbers
        ]
        statement = sqlalchemy.text(
            "insert into readings (id, at, device, time, heat, power) "
            "values (:id, :at, :device, :time, :heat, :power)"
        )
        if connection is not None:
            connection.execute(statement, rows)
            return
        with self.engine.begin() as own:
            own.execute(statement, rows)

    def opened(self, rejects: Rejects | None = None, **options: Any) -> Source:
        """A source on it."""
        chosen = {"table": "readings", "every": "20ms", "password": self.password} | options
        if "query" in options:
            chosen["table"] = ""
        return sql.open(SCHEMA, 2, lambda: NOW, rejects or Rejects(), url=self.url, **chosen)


def stamp(second: int) -> datetime:
    """That second behind T0."""
    return datetime.fromtimestamp(T0 + second, UTC)


def expected(*numbers: int) -> list[tuple[str, int, float, float]]:
    """What `Base.add` makes of these ids."""
    return [(f"d{k % 3}", k, k / 4, float(k)) for k in numbers]


@pytest.fixture(params=["sqlite", "postgresql"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Base]:
    """An empty table in each kind of database."""
    if request.param == "sqlite":
        one = Base(f"sqlite:///{tmp_path / 'a.db'}", time="text", number="real")
    else:
        server = request.getfixturevalue("server")
        one = Base(server.url, server.password, time="timestamptz", number="numeric")
    yield one
    one.engine.dispose()


@pytest.mark.parametrize("fetch", [1, 3, 7, 0])
def test_every_row_comes_once_in_the_order_of_the_column(base: Base, fetch: int) -> None:
    """Whatever the number of rows that are read at a time."""
    base.add(5, 3, 1, 2, 4, 9, 7)
    taking = Taking(base.opened(once=True, fetch=fetch))
    assert taking.all() == expected(1, 2, 3, 4, 5, 7, 9)
    assert all(delivery.source == 2 for delivery in taking.deliveries)
    assert max(len(d.readings) for d in taking.deliveries if d.readings is not None) <= (fetch or 7)


def test_rows_that_are_added_come_too(base: Base) -> None:
    """While it runs, and while it did not."""
    base.add(*range(5))
    taking = Taking(base.opened(fetch=2)).until(5)
    base.add(*range(5, 8))
    taking.until(8).stop()
    base.add(*range(8, 12))
    again = Taking(base.opened(fetch=2), taking.position).until(4).stop()
    assert taking.rows + again.rows == expected(*range(12))


def test_going_on_after_any_position(base: Base) -> None:
    """From the position of each delivery exactly the rest follows."""
    base.add(*range(10))
    whole = Taking(base.opened(once=True, fetch=3))
    whole.all()
    for k, delivery in enumerate(whole.deliveries[:-1]):
        rest = Taking(base.opened(once=True, fetch=2), delivery.position).all()
        assert rest == expected(*range(10))[3 * (k + 1) :]
    last = base.opened(once=True)
    assert whole.position is not None
    last.resume(whole.position)
    assert last.finished


@pytest.mark.parametrize("fetch", [1, 2, 5])
def test_rows_with_the_same_value_of_the_column(base: Base, fetch: int) -> None:
    """A column of times may hold one time for many rows: none is passed over, none comes twice."""
    base.add(1, 2, 3, at=0)
    base.add(4, 5, 6, 7, at=60)
    taking = Taking(base.opened(cursor="at", fetch=fetch)).until(7)
    base.add(8, 9, at=60)
    base.add(10, at=120)
    taking.until(10).stop()
    assert sorted(taking.rows, key=lambda row: row[1]) == expected(*range(1, 11))
    assert Taking(base.opened(cursor="at", once=True), taking.position).all() == []


@pytest.mark.parametrize("identity", ["", "id"])
@pytest.mark.parametrize(("cursor", "lag"), [("id", 10), ("at", "10s")])
def test_rows_that_become_visible_late(base: Base, cursor: str, lag: Any, identity: str) -> None:
    """With `lag`, a smaller id committed after a larger one was read is still found, once."""
    base.add(1, 2, 5)
    taking = Taking(base.opened(cursor=cursor, lag=lag, id=identity, fetch=2)).until(3)
    base.add(3, 4)
    taking.until(5)
    base.add(6)
    taking.until(6).stop()
    assert taking.rows == expected(1, 2, 5, 3, 4, 6)
    base.add(0)
    options = {"cursor": cursor, "lag": lag, "id": identity}
    again = Taking(base.opened(**options, once=True), taking.position).all()
    assert again == expected(0)


def test_rows_that_were_read_may_be_deleted(base: Base) -> None:
    """The place in the column is kept without them; pieces are no larger for it."""
    base.add(*range(10))
    taking = Taking(base.opened(fetch=2, lag=100)).until(10).stop()
    base.does("delete from readings")
    base.add(*range(10, 17))
    rest = Taking(base.opened(fetch=3, lag=100, once=True), taking.position)
    assert rest.all() == expected(*range(10, 17))
    assert max(len(d.readings) for d in rest.deliveries if d.readings is not None) == 3


def test_transactions_that_run_side_by_side(server: PostgreSQL) -> None:
    """The trap itself: without `lag` a row of a slower transaction is missed, with it it is not."""
    base = Base(server.url, server.password, time="timestamptz", number="numeric")
    with base.engine.connect() as slow:
        with slow.begin():
            base.add(1, connection=slow)
            other: Any = database.engine(server.url, server.password)
            with other.begin() as quick:
                base.add(2, connection=quick)
            other.dispose()
            without, having = Taking(base.opened()).until(1), Taking(base.opened(lag=100)).until(1)
        having.until(2).stop()
    base.add(3)
    without.until(2).stop()
    assert having.rows == expected(2, 1)
    assert without.rows == expected(2, 3)
    base.engine.dispose()


def test_a_query_with_colons_and_its_own_names(base: Base) -> None:
    """A query is taken as it is written; rows that lack what a reading needs are rejected."""
    base.add(1, 2)
    base.does("insert into readings (id, at, time, power) values (3, :t, :t, 3)", t=stamp(3))
    rejects = Rejects()
    query = (
        "select id as n, 'hall :5' as pump, cast(time as text) as moment, heat, "
        "power * 2 as power from readings where coalesce(note, ':x') <> '12:30:00';"
    )
    opened = base.opened(
        rejects, query=query, cursor="n", device="pump", time="moment", once=True, fetch=1
    )
    rows = Taking(opened).all()
    assert [row[:3] for row in rows[:2]] == [("hall :5", 1, 0.25), ("hall :5", 2, 0.5)]
    assert [row[3] for row in rows] == [2.0, 4.0, 6.0]
    assert math.isnan(rows[2][2])
    plain = Taking(base.opened(rejects, once=True)).all()
    assert plain == expected(1, 2)
    assert rejects.counts == {"no_device": 1}
    one = Taking(base.opened(once=True, device_id="boiler")).all()
    assert [row[0] for row in one] == ["boiler"] * 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_outage_is_said_and_survived() -> None:
    """A server that goes away in the middle and comes back: nothing is lost or doubled.

    pg8000 leaves a socket to the garbage collector where the server went away while it connected.
    """
    with postgresql() as server:
        base = Base(server.url, server.password, time="timestamptz", number="numeric")
        base.add(1, 2)
        taking = Taking(base.opened()).until(2)
        base.engine.dispose()
        server.stop()
        wait_for(lambda: not taking.source.state()["ok"])
        why = taking.source.state()["why"]
        assert f"plant:***@127.0.0.1:{server.port}" in why
        assert server.password not in why
        server.start()
        base.add(3)
        taking.until(3).stop()
        assert taking.rows == expected(1, 2, 3)
        base.engine.dispose()
    gc.collect()


def test_a_wrong_password_is_not_shown(server: PostgreSQL) -> None:
    """The reason names the server and the user, never the password."""
    base = Base(server.url, server.password, time="timestamptz", number="numeric")
    wrong = "not the secret"
    taking = Taking(base.opened(password=wrong))
    wait_for(lambda: not taking.source.state()["ok"])
    why = taking.stop().source.state()["why"]
    assert "password authentication failed" in why
    assert wrong not in why
    base.engine.dispose()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"url": "nonsense"}, "url is no address"),
        ({"url": "nosuch://host/db"}, "url names no kind of database"),
        ({"table": ""}, "either a table or a query"),
        ({"query": "select 1", "table": "readings"}, "either a table or a query"),
        ({"cursor": ""}, "cursor names no column"),
        ({"lag": -1}, "lag = -1"),
        ({"lag": "soon"}, "lag: 'soon' is not a duration"),
        ({"fetch": -1}, "fetch = -1"),
        ({"every": "often"}, "not a duration"),
        ({"device_id": "a\nb"}, "device_id"),
        ({"zone": "Nowhere"}, "no time zone"),
    ],
)
def test_options_that_mean_nothing(options: dict[str, Any], match: str) -> None:
    """A wrong option is refused before anything is connected."""
    good = {"url": "sqlite://", "table": "readings"}
    with pytest.raises(ValueError, match=match):
        sql.open(SCHEMA, 0, lambda: 0, Rejects(), **(good | options))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"table": "nothing"}, "nothing"),
        ({"cursor": "nothing"}, "nothing"),
        ({"device": "nothing"}, "no column 'nothing' in the recording"),
        ({"cursor": "device"}, "text that is no time"),
        ({"lag": "5s"}, "does not fit a column with values like"),
        ({"query": "select 1 as id, 2 as id"}, "id"),
    ],
)
def test_what_the_database_refuses_is_said(base: Base, options: dict[str, Any], match: str) -> None:
    """Mistakes that only the database can tell are in the state, with what to do where it helps."""
    base.add(1)
    taking = Taking(base.opened(**options))
    wait_for(lambda: not taking.source.state()["ok"])
    assert match in taking.stop().source.state()["why"]


def test_a_missing_driver_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install is in the message."""
    with pytest.raises(ValueError, match="pip install pymysql"):
        database.engine("mysql+pymysql://plant@db/plant")
    with pytest.raises(ValueError, match="pip install mysqlclient"):
        database.engine("mysql://plant@db/plant")
    monkeypatch.setitem(__import__("sys").modules, "sqlalchemy", None)
    with pytest.raises(ValueError, match=r"pip install 'streamgauge\[sql\]'"):
        database.engine("sqlite://")


def test_a_window_too_large_for_a_position(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lag that would make every position large is refused, with what to do."""
    monkeypatch.setattr("ingest.sources._sql_rows.MOST_SEEN", 5)
    base.add(*range(10))
    taking = Taking(base.opened(lag=100))
    wait_for(lambda: not taking.source.state()["ok"])
    assert "shorten it" in taking.stop().source.state()["why"]


def test_the_first_rows_as_they_are(base: Base) -> None:
    """What a configuration can be made from."""
    base.add(*range(5))
    first = sql.sample(rows=3, url=base.url, password=base.password, table="readings")
    assert list(first.columns) == ["id", "at", "device", "time", "heat", "power", "note"]
    assert len(first) == 3
    assert first["power"].tolist() == [0, 1, 2]


def test_an_unwritten_database_is_not_made(tmp_path: Path) -> None:
    """A SQLite file that is missing is said to be missing, and not made."""
    path = tmp_path / "missing.db"
    source = sql.open(SCHEMA, 0, lambda: NOW, Rejects(), url=f"sqlite:///{path}", table="readings")
    source.start()
    wait_for(lambda: not source.state()["ok"])
    source.stop()
    assert str(path) in source.state()["why"]
    assert not path.exists()


def test_nobody_listens() -> None:
    """Stopping ends the thread while the server is away."""
    source = sql.open(
        SCHEMA, 0, lambda: NOW, Rejects(),
        url=f"postgresql://plant@127.0.0.1:{free_port()}/plant", table="readings",
    )  # fmt: skip
    source.start()
    wait_for(lambda: not source.state()["ok"])
    assert source.state()["failures_total"] == 1
    source.stop()
