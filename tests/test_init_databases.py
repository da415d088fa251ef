"""`streamgauge init` on databases: a service that runs what it writes learns their rows."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from serving.init import init
from serving.run import clock
from streamgauge import database
from tests.services.influxdb import influxdb_1
from tests.services.postgresql import PostgreSQL, postgresql
from tests.services.service import service
from tests.starting import started


def test_a_database(tmp_path: Path) -> None:
    """Table, device, time, and the column that grows; the file is relative to nothing."""
    path = tmp_path / "plant.db"
    with closing(sqlite3.connect(path)) as made:
        made.execute("create table r(id integer primary key, dev text, at text, temp_c real)")
        rows = [(f"p{k % 3}", f"2026-03-01T12:{k:02}:00Z", 20 + k / 7) for k in range(60)]
        made.executemany("insert into r(dev, at, temp_c) values(?, ?, ?)", rows)
        made.commit()
    found = started([f"sqlite:///{path}#r"], tmp_path / "p.toml")
    assert found["source"] == [
        {
            "use": "sql", "url": f"sqlite:///{path}", "table": "r", "time": "at", "device": "dev",
            "cursor": "id",
        }
    ]  # fmt: skip
    assert list(found["channels"]) == ["temp_c"]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    """One PostgreSQL for the tests of this file."""
    with postgresql() as one:
        yield one


PUMPS = [
    (f"pump-{k % 4}", 1_772_366_400 + 60 * (k // 4), 20 + (k * 7 % 31) / 8, k % 5)
    for k in range(800)
]
"""Device, seconds, temperature and state: what the databases below are filled with."""


def learned(found: dict[str, Any], text: str, folder: Path) -> None:
    """A service that runs what `init` wrote reads all of it and scores its forecast."""
    [task] = found["tasks"]
    with service(folder, text) as running:
        running.wait_admitted(len(PUMPS))
        assert {one["id"] for one in running.get("/v1/devices")["items"]} == {
            f"pump-{k}" for k in range(4)
        }
        assert running.get(f"/v1/tasks/{task}/scores")["items"][0]["scores"]["labels"]


def test_a_postgresql(server: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times with a zone and exact numbers, as PostgreSQL has them, under a schema; the password
    stays in the environment. What is written runs."""
    made = database.engine(server.url, server.password)
    with made.begin() as at:
        at.execute(sa.text("create schema plant"))
        at.execute(sa.text(
            "create table plant.readings(id bigserial primary key, dev varchar(20), "
            "at timestamptz, temp_c numeric(6, 3), state int, note text)"
        ))  # fmt: skip
        at.execute(
            sa.text(
                "insert into plant.readings(dev, at, temp_c, state) "
                "values(:dev, to_timestamp(:at), :temp_c, :state)"
            ),
            [dict(zip(("dev", "at", "temp_c", "state"), row, strict=True)) for row in PUMPS],
        )
    monkeypatch.setenv("STREAMGAUGE_PASSWORD", server.password)
    word = quote(server.password)
    found = started(
        [f"postgresql://plant:{word}@127.0.0.1:{server.port}/postgres/plant.readings"],
        tmp_path / "p.toml",
    )
    assert found["source"] == [
        {
            "use": "sql", "url": server.url, "table": "plant.readings", "cursor": "id",
            "device": "dev", "time": "at", "password": "${STREAMGAUGE_PASSWORD}",
        }
    ]  # fmt: skip
    assert list(found["channels"]) == ["temp_c", "state"]
    learned(found, (tmp_path / "p.toml").read_text(), tmp_path / "service")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("postgresql://plant:wrong@127.0.0.1:{port}/postgres/readings", "password"),
        ("postgresql://plant:{word}@127.0.0.1:{port}/postgres/nothing", "nothing"),
        ("postgresql://plant:{word}@127.0.0.1:1/postgres/readings", "127.0.0.1"),
    ],
)
def test_a_postgresql_that_refuses(
    source: str,
    said: str,
    server: PostgreSQL,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In its own words, without the password; no file is written."""
    url = source.format(port=server.port, word=quote(server.password))
    assert init([url], tmp_path / "p.toml", seconds=1.0, clock=clock) == 1
    told = capsys.readouterr()
    assert said in told.err
    assert "Traceback" not in told.err
    for secret in (server.password, quote(server.password), "wrong@"):
        assert secret not in told.err + told.out
    assert not (tmp_path / "p.toml").exists()


def test_an_influxdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Device from a tag, channels from the fields, whatever is in their names; with a login. What
    is written runs."""
    with influxdb_1(tmp_path / "influxdb", auth=True) as server:
        server.does("CREATE USER reader WITH PASSWORD 'w/rd' WITH ALL PRIVILEGES")
        login = {"u": "reader", "p": "w/rd"}
        server.does("CREATE DATABASE plant", **login)
        lines = (
            f"hall\\ pumps,device={dev},site=a temp_c={temp},state={state}i {at}000000000"
            for dev, at, temp, state in PUMPS
        )
        server.write("\n".join(lines), **login)
        monkeypatch.setenv("STREAMGAUGE_PASSWORD", "w/rd")
        found = started(
            [f"influxdb://reader:w%2Frd@127.0.0.1:{server.port}/plant/hall%20pumps"],
            tmp_path / "p.toml",
        )
        assert found["source"] == [
            {
                "use": "influxdb", "url": server.url, "database": "plant", "device": "device",
                "measurement": "hall pumps", "username": "reader",
                "password": "${STREAMGAUGE_PASSWORD}",
            }
        ]  # fmt: skip
        assert set(found["channels"]) == {"temp_c", "state"}
        learned(found, (tmp_path / "p.toml").read_text(), tmp_path / "service")
