"""History from a real InfluxDB 1: every point once, in the order of time, then finished."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.rejects import Rejects
from ingest.source import Source
from ingest.sources import influxdb
from ingest.sources._influx_query import quoted
from tests.readers import NOW, SCHEMA, T0, Row, Taking
from tests.services.influxdb import InfluxDB1, influxdb_1
from tests.services.ports import free_port, wait_for


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDB1]:
    """One InfluxDB for the tests of this file."""
    with influxdb_1(tmp_path_factory.mktemp("influxdb")) as one:
        yield one


@pytest.fixture
def server(running: InfluxDB1) -> InfluxDB1:
    """With an empty database `plant`."""
    running.does("DROP DATABASE plant")
    running.does("CREATE DATABASE plant")
    return running


def point(k: int, *, device: str = "", at: int | None = None, measurement: str = "pumps") -> str:
    """One point in line protocol."""
    name = device or f"d{k % 3}"
    time = (T0 + (k if at is None else at)) * 10**9
    return f"{measurement},device={name} heat={k / 4},power={k} {time}"


def fill(server: InfluxDB1, *points: str) -> None:
    """Write these points."""
    server.write("\n".join(points))


def expected(*numbers: int) -> list[Row]:
    """What `point` writes."""
    return [(f"d{k % 3}", k, k / 4, float(k)) for k in numbers]


def opened(url: str, rejects: Rejects | None = None, *, now: int = NOW, **options: Any) -> Source:
    """The history as source 1."""
    chosen = {"database": "plant", "measurement": "pumps"} | options
    return influxdb.open(SCHEMA, 1, lambda: now, rejects or Rejects(), url=url, **chosen)


@pytest.mark.parametrize("page", [2, 3, 7, 0])
def test_every_point_once_in_the_order_of_time(server: InfluxDB1, page: int) -> None:
    """Whatever the size of a page; then the source is finished."""
    fill(server, *(point(k) for k in (5, 3, 0, 1, 4, 2, 9, 7, 8, 6)))
    taking = Taking(opened(server.url, page=page))
    assert taking.all() == expected(*range(10))
    assert taking.source.state()["ok"]


@pytest.mark.parametrize("page", [2, 3, 5, 100])
def test_points_of_one_time_stay_together(server: InfluxDB1, page: int) -> None:
    """A fleet that measures at the same instant: none is passed over at the end of a page."""
    points = [point(10 * at + k, device=f"d{k}", at=at) for at in range(4) for k in range(7)]
    fill(server, *points)
    rows = Taking(opened(server.url, page=page)).all()
    assert [row[1] for row in rows] == [at for at in range(4) for _ in range(7)]
    assert len({row[:2] for row in rows}) == 28


def test_going_on_after_any_position(server: InfluxDB1) -> None:
    """The rest follows, up to where it ended when reading began; then it stays finished."""
    fill(server, *(point(k) for k in range(10)))
    whole = Taking(opened(server.url, page=3))
    whole.all()
    late = NOW // 10**6 - T0 + 5
    fill(server, point(late))
    taken = 0
    for delivery in whole.deliveries[:-1]:
        assert delivery.readings is not None
        assert json.loads(json.dumps(delivery.position)) == delivery.position
        taken += len(delivery.readings)
        later = opened(server.url, now=NOW + 10**9, page=3)
        later.resume(delivery.position or {})
        later.start()
        rows: list[int] = []

        def ended(source: Source = later, rows: list[int] = rows) -> bool:
            found = source.take(100, 0.02)
            if found is not None and found.readings is not None:
                rows += (found.readings.time // 10**6 - T0).tolist()
            return source.finished

        wait_for(ended)
        later.stop()
        assert rows == list(range(taken, 10))
    last = opened(server.url)
    last.resume(whole.position)
    assert last.finished


def test_between_two_times_and_where(server: InfluxDB1) -> None:
    """As times or as so long ago, and with a condition of one's own."""
    fill(server, *(point(k) for k in range(10)))
    now = (T0 + 10) * 10**6

    def seconds(**options: Any) -> list[int]:
        source = influxdb.open(
            SCHEMA, 1, lambda: NOW, Rejects(),
            url=server.url, database="plant", measurement="pumps", **options,
        )  # fmt: skip
        return [row[1] for row in Taking(source).all()]

    assert seconds(since=f"{T0 + 4}") == [4, 5, 6, 7, 8, 9]
    assert seconds(since="2026-03-01T12:00:07Z", until="2026-03-01T12:00:09Z") == [7, 8]
    assert seconds(where="\"device\" = 'd1' AND power > 1") == [4, 7]
    ago = influxdb._time("4s", now, "since")
    assert ago == (T0 + 6) * 10**9


def test_awkward_names_and_missing_fields(server: InfluxDB1) -> None:
    """Names are quoted; a field that a point lacks is an absent value; a policy may be named."""
    server.does('CREATE RETENTION POLICY "a b" ON plant DURATION INF REPLICATION 1 DEFAULT')
    name = "p 'q \"; drop"
    escaped = name.replace(" ", "\\ ")
    server.write(f"{escaped},device=a heat=1 {T0 * 10**9}\n{escaped} power=2 {T0 * 10**9 + 1}")
    rejects = Rejects()
    (row,) = Taking(opened(server.url, rejects, measurement=name, retention="a b")).all()
    assert row[:3] == ("a", 0, 1.0)
    assert math.isnan(row[3])
    assert rejects.counts == {"no_device": 1}
    rows = Taking(opened(server.url, measurement=name, device_id="boiler")).all()
    assert [row[0] for row in rows] == ["boiler", "boiler"]
    assert quoted('a"b\\') == '"a\\"b\\\\"'


def test_nothing_there(server: InfluxDB1) -> None:
    """A measurement without points ends at once, and stays ended."""
    taking = Taking(opened(server.url, measurement="nothing"))
    assert taking.all() == []
    again = opened(server.url, measurement="nothing")
    again.resume(taking.position)
    assert again.finished


def test_a_server_that_comes_later(tmp_path: Path) -> None:
    """It is asked again until it answers, and what is wrong is said."""
    with influxdb_1(tmp_path) as server:
        server.does("CREATE DATABASE plant")
        fill(server, point(0), point(1))
        server.stop()
        taking = Taking(opened(server.url))
        wait_for(lambda: not taking.source.state()["ok"])
        assert f"127.0.0.1:{server.port} is not reached" in taking.source.state()["why"]
        server.start()
        assert taking.all() == expected(0, 1)
        assert taking.source.state()["ok"]


def trouble(source: Source) -> str:
    """What is wrong with it, as soon as something is."""
    taking = Taking(source)
    wait_for(lambda: not source.state()["ok"])
    return str(taking.stop().source.state()["why"])


def test_what_the_server_refuses_is_said(server: InfluxDB1) -> None:
    """In its own words."""
    refused: list[tuple[dict[str, Any], str]] = [
        ({"database": "nowhere"}, "database not found: nowhere"),
        ({"where": "nonsense ="}, "answered 400"),
    ]
    for options, said in refused:
        assert said in trouble(opened(server.url, **options))


def test_a_login_is_sent_and_never_shown(tmp_path: Path) -> None:
    """With the right password it reads; with a wrong one it says so without it."""
    with influxdb_1(tmp_path, auth=True) as server:
        server.does("CREATE USER plant WITH PASSWORD 'the secret' WITH ALL PRIVILEGES")
        good: dict[str, Any] = {
            "username": "plant",
            "password": "the secret",
            "measurement": "nothing",
        }
        why = trouble(opened(server.url, username="plant", password="a wrong one"))
        assert "authorization failed" in why
        assert "a wrong one" not in why
        assert "database not found" in trouble(opened(server.url, **good))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"url": "db:8086"}, "url is no address"),
        ({"database": ""}, "database and measurement"),
        ({"page": -1}, "page = -1"),
        ({"since": "yesterday"}, "since = 'yesterday' is no time"),
        ({"until": "tomorrow"}, "until = 'tomorrow' is no time"),
        ({"timeout": "soon"}, "not a duration"),
    ],
)
def test_options_that_mean_nothing(options: dict[str, Any], match: str) -> None:
    """A wrong option is refused before anything is connected."""
    with pytest.raises(ValueError, match=match):
        opened(**({"url": f"http://127.0.0.1:{free_port()}"} | options))


def test_the_newest_points_as_they_are(server: InfluxDB1) -> None:
    """With tags and fields, oldest first."""
    fill(server, *(point(k) for k in range(5)))
    first = influxdb.sample(rows=3, url=server.url, database="plant", measurement="pumps")
    assert set(first.columns) == {"time", "device", "heat", "power"}
    assert first["power"].tolist() == [2, 3, 4]
