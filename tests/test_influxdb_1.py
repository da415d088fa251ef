"""The InfluxDB sink and a real InfluxDB 1: its own write endpoint, its own rules."""

import json
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from monitoring.sinks import influxdb
from monitoring.sinks._buffered import Buffered
from tests.influx import SLOW, arrived
from tests.outputs import LANES, START, Record, made, output, predicted
from tests.services.influxdb import InfluxDB1, influxdb_1
from tests.services.ports import wait_for


@contextmanager
def opened(url: str, **options: Any) -> Iterator[Buffered[bytes]]:
    """A sink to the database `plant` at that address."""
    chosen: dict[str, Any] = {"database": "plant"} | options
    with tempfile.TemporaryDirectory() as folder:
        sink = influxdb.open(LANES, "pumps", Path(folder), lambda: START, url=url, **chosen)
        try:
            yield sink
        finally:
            sink.close()


def held(
    server: InfluxDB1, source: str = "iot_prediction", field: str = "value", **login: str
) -> dict[int, float | str]:
    """Time in microseconds and value of each of its points."""
    asked = {"db": "plant", "epoch": "u", "q": f"SELECT {field} FROM {source}"} | login
    where = f"{server.url}/query?{urllib.parse.urlencode(asked)}"
    with urllib.request.urlopen(where, timeout=10) as answer:
        found = json.load(answer)["results"][0].get("series", [])
    return {time: value for one in found for time, value in one["values"]}


def numbered(first: int, last: int) -> list[Record]:
    """A prediction of one device in each of these minutes, its value the minute."""
    return [predicted(minute, value=float(minute)) for minute in range(first, last)]


def test_nothing_is_lost_when_the_server_restarts(tmp_path: Path) -> None:
    """Stopped in the middle of the stream and started again; sent twice, there once."""
    with influxdb_1(tmp_path) as server, opened(server.url, batch=7) as sink:
        server.does("CREATE DATABASE plant")
        for minute in range(60):
            sink.write(output(numbered(minute, minute + 1)))
            if minute == 20:
                wait_for(lambda: sink.state()["sent_total"] > 0)
                server.stop()
            if minute == 40:
                wait_for(lambda: "is not reached" in sink.state()["why"])
                server.start()
        sink.write(output(numbered(0, 60)))
        arrived(sink)
        assert held(server) == {made(minute): float(minute) for minute in range(60)}
        state = sink.state()
        assert (state["ok"], state["dead_total"], state["dropped_total"]) == (True, 0, 0)


def test_a_database_that_is_made_later(tmp_path: Path) -> None:
    """What an operator can mend is waited for, and said."""
    with influxdb_1(tmp_path) as server, opened(server.url) as sink:
        sink.write(output(numbered(0, 3)))
        wait_for(lambda: "database not found" in sink.state()["why"])
        server.does("CREATE DATABASE plant")
        arrived(sink)
        assert len(held(server)) == 3


def test_points_that_the_server_drops_are_set_aside_alone(tmp_path: Path) -> None:
    """A field that others made text there: those points are dead letters, the rest arrives."""
    week = 7 * 24 * 60
    with influxdb_1(tmp_path) as server:
        server.does("CREATE DATABASE plant")
        # A field has one type per shard, and a shard is a week.
        server.write(f'iot_prediction,device=x value="text" {made(0) * 1000}')
        with opened(server.url) as sink:
            sink.write(output([*numbered(1, 4), *numbered(3 * week, 3 * week + 20)]))
            assert sink.flush(SLOW), sink.state()
            state = sink.state()
            assert (state["ok"], state["dead_total"], state["sent_total"]) == (True, 3, 20)
            line, why = sink.delivery.dead[0]
            assert line.endswith(str(made(1)))
            assert "field type conflict" in why
            # A letter is a line: with another field in place of that of text it is taken.
            assert sink._dead is not None
            letters = [json.loads(one) for one in sink._dead.path.read_text().splitlines()]
            assert [one["letter"].rpartition(" ")[2] for one in letters] == [
                str(made(m)) for m in (1, 2, 3)
            ]
            mended = [one["letter"].replace(" value=", " mended=") + "000" for one in letters]
            server.write("\n".join(mended))
            assert len(held(server, "iot_prediction", field="mended")) == 3
        numbers = {time: one for time, one in held(server).items() if isinstance(one, float | int)}
        assert numbers == {made(m): float(m) for m in range(3 * week, 3 * week + 20)}


def test_login_and_retention_policy(tmp_path: Path) -> None:
    """They are sent; a wrong password is waited for and never shown."""
    login = {"username": "plant", "password": "the secret"}
    asked = {"u": "plant", "p": "the secret"}
    with influxdb_1(tmp_path, auth=True) as server:
        server.does("CREATE USER plant WITH PASSWORD 'the secret' WITH ALL PRIVILEGES")
        server.does("CREATE DATABASE plant", **asked)
        server.does('CREATE RETENTION POLICY "kept" ON plant DURATION INF REPLICATION 1', **asked)
        with opened(server.url, **(login | {"password": "a wrong one"})) as sink:
            sink.write(output(numbered(0, 1)))
            wait_for(lambda: "authorization failed" in sink.state()["why"])
            assert "a wrong one" not in sink.state()["why"]
        with opened(server.url, retention="kept", **login) as sink:
            sink.write(output(numbered(0, 5)))
            assert sink.flush(SLOW), sink.state()
        assert len(held(server, "kept.iot_prediction", **asked)) == 5
        assert held(server, **asked) == {}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"token": "secret"}, "leave out what is not of yours"),
        ({"org": "plant"}, "leave out what is not of yours"),
        ({"bucket": "plant"}, "leave out what is not of yours"),
        ({"database": "", "username": "plant"}, "name its database"),
        ({"database": "", "retention": "kept"}, "name its database"),
    ],
)
def test_options_of_two_versions_are_refused(options: dict[str, Any], match: str) -> None:
    """Before anything is connected."""
    with pytest.raises(ValueError, match=match), opened("http://127.0.0.1:1", **options):
        pass
