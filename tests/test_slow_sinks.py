"""Databases that stand still for a while under load: nothing stops, and nothing is lost."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pandas as pd
import pytest
import sqlalchemy as sa
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from stream_processor.pipeline import Pipeline
from streamgauge import database
from tests.services.mosquitto import Mosquitto, mosquitto
from tests.services.ports import wait_for
from tests.services.postgresql import PostgreSQL, postgresql
from tests.services.proxy import proxy
from tests.services.service import Service
from tests.services.victoria_metrics import victoria_metrics
from tests.streams import COMPILED

DEVICES = 4
START = pd.Timestamp("2024-05-01T00:00:00Z")
PAUSE = 0.002
"""Seconds between two readings."""
PIPELINE = f"""
[stream]
name = "plant"
[channels.load]
[features]
lags = {{ load = [1] }}
[tasks.ahead]
kind = "forecast"
target = "load"
horizons = ["3m", {{ readings = 2 }}]
ready_after = 0
model = {COMPILED}
"""
SOURCE = """
[[source]]
use = "mqtt"
url = "{broker}"
client_id = "slow"
topics = ["t/+"]
device = "topic:1"
"""
SQL = """
[[sink]]
use = "sql"
url = "{database}"
password = "${{DATABASE_PASSWORD}}"
"""
INFLUXDB = """
[[sink]]
use = "influxdb"
url = "{url}"
timeout = "500ms"
"""
A_MINUTE = 3_000
"""Readings that come while a server stands still. What waits is bounded in bytes, so that the load
of a minute counts, not its seconds."""
KEYS = ["id", "prediction", "label", "residual", "status"]
TABLE = "streamgauge_predictions"


def row(k: int) -> dict[str, Any]:
    """The k-th reading of all: each device has one a minute."""
    time = START + pd.Timedelta(minutes=k // DEVICES)
    return {"device": f"d{k % DEVICES}", "time": time, "load": ((k * 7919) % 1013) / 100}


class Sensors:
    """A thread that publishes readings with QoS 1 until it is told to stop."""

    def __init__(self, broker: Mosquitto) -> None:
        self.sent = 0
        self._stop = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.max_inflight_messages_set(200)
        self._client.connect("127.0.0.1", broker.port)
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(PAUSE):
            reading = row(self.sent)
            payload = {"time": reading["time"].isoformat(), "load": reading["load"]}
            self._client.publish(f"t/{reading['device']}", json.dumps(payload), qos=1)
            self.sent += 1

    def __enter__(self) -> Self:
        self._client.loop_start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.rest()
        self._client.disconnect()
        self._client.loop_stop()

    def rest(self) -> None:
        """No more readings."""
        self._stop.set()
        self._thread.join()


class Results:
    """The table that the sink writes."""

    def __init__(self, server: PostgreSQL) -> None:
        self.engine = database.engine(server.url, server.password)

    def count(self) -> int:
        """Rows so far; 0 while there is no table."""
        with self.engine.connect() as connection:
            if not sa.inspect(connection).has_table(TABLE):
                return 0
            return int(connection.execute(sa.text(f"select count(*) from {TABLE}")).scalar_one())

    def rows(self) -> pd.DataFrame:
        """All of it, by id."""
        with self.engine.connect() as connection:
            asked = sa.text(f"select {', '.join(KEYS)} from {TABLE}")
            return pd.DataFrame(connection.execute(asked).all(), columns=KEYS)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else gets at the table meanwhile."""
        with self.engine.begin() as connection:
            connection.execute(sa.text(f"lock table {TABLE} in access exclusive mode"))
            yield


@contextmanager
def running(folder: Path, sink: str, wait: str = "10m") -> Iterator[tuple[Service, Sensors]]:
    """A service under load between a real broker and a sink."""
    with mosquitto(folder / "broker") as broker:
        text = PIPELINE + SOURCE.format(broker=broker.url) + sink
        service = Service(folder / "service", text, every="200ms", wait_for_sinks=wait)
        try:
            # Its session begins with its first subscription; nothing is kept for it before.
            service.start()
            with Sensors(broker) as sensors:
                yield service, sensors
        finally:
            service.kill()


@contextmanager
def into_sql(
    folder: Path, monkeypatch: pytest.MonkeyPatch, wait: str
) -> Iterator[tuple[Service, Sensors, Results]]:
    """The same, into a real database."""
    with postgresql() as server:
        monkeypatch.setenv("DATABASE_PASSWORD", server.password)
        with running(folder, SQL.format(database=server.url), wait) as (service, sensors):
            yield service, sensors, Results(server)


def killed_while_the_table_is_held(
    service: Service, results: Results, tried: Callable[[Service], None]
) -> None:
    """SIGKILL at a moment when results wait for the table, then another life."""
    wait_for(lambda: results.count() > 0, 60.0, what="a first row")
    with results.held():
        number = service.admitted + 200
        service.wait_admitted(number)
        tried(service)
        service.kill()
    service.start()


def replayed(service: Service, number: int) -> pd.DataFrame:
    """What an uninterrupted run makes of so many readings."""
    path = service.folder / "replay.toml"
    path.write_text(PIPELINE, encoding="utf-8")
    return Pipeline.from_toml(path).replay(pd.DataFrame([row(k) for k in range(number)]))


def finished(service: Service, sensors: Sensors, results: Results) -> tuple[Any, Any]:
    """What the table holds when all is worked off, and what it should."""
    sensors.rest()
    service.wait_admitted(sensors.sent, 60.0)
    assert service.stop()[0] == 0
    return by_id(results.rows()), by_id(replayed(service, sensors.sent)[KEYS])


def by_id(table: pd.DataFrame) -> dict[str, list[Any]]:
    """The rows of a table, NULL and NaN the same."""
    return {
        one[0]: [None if pd.isna(x) else x for x in one[1:]] for one in table.to_numpy().tolist()
    }


def why(service: Service, part: str) -> str:
    """What keeps a part from working."""
    parts = {one["name"]: one for one in service.get("/v1/status")["parts"]}
    return str(parts[part]["why"])


def refused(service: Service) -> None:
    """Until a checkpoint was not written because the sink does not have all results."""
    wait_for(
        lambda: "the sink sql did not have" in why(service, "state checkpoint"),
        60.0,
        what="a refused checkpoint",
    )


def written(service: Service) -> None:
    """Until a checkpoint was written that began after this."""
    count = "streamgauge_checkpoints_total"
    number = service.count(count)
    wait_for(lambda: service.count(count) >= number + 2, 60.0, what="two checkpoints")


@pytest.mark.slow
def test_every_prediction_is_in_the_table_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed twice while the table was held and once in full flight: the rows are those of an
    uninterrupted run, in number and in every value."""
    with into_sql(tmp_path, monkeypatch, "10m") as (service, sensors, results):
        for _ in range(2):
            killed_while_the_table_is_held(service, results, refused)
        service.wait_admitted(service.admitted + 300)
        service.kill()
        service.start()
        found, wanted = finished(service, sensors, results)
    assert len(found) > 1_000
    assert found == wanted


@pytest.mark.slow
def test_without_the_waiting_rows_are_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above notices: once a checkpoint stands, nobody computes again what the table did
    not take."""
    with into_sql(tmp_path, monkeypatch, "1ms") as (service, sensors, results):
        killed_while_the_table_is_held(service, results, written)
        found, wanted = finished(service, sensors, results)
    assert set(found) < set(wanted)


@pytest.mark.slow
def test_a_server_that_stands_still_for_a_minute(tmp_path: Path) -> None:
    """Readings are taken and predicted meanwhile and checkpoints written, for what waits is on the
    disk; the service says why it is not ready, and is killed. Then every point arrives, with the
    values of an uninterrupted run."""
    with (
        victoria_metrics(tmp_path / "points") as server,
        proxy(server.port) as way,
        running(tmp_path, INFLUXDB.format(url=f"http://127.0.0.1:{way.port}")) as (
            service,
            sensors,
        ),
    ):
        service.wait_admitted(200)
        way.stall()
        count = "streamgauge_checkpoints_total"
        wait_for(lambda: "is not reached" in why(service, "sink influxdb"), 60.0)
        checkpoints, number = service.count(count), service.admitted
        service.wait_admitted(number + A_MINUTE, 120.0)
        assert why(service, "source mqtt") == why(service, "worker") == ""
        [newest, _] = service.get("/v1/devices/d0/predictions")["items"]
        assert int(newest["id"].rpartition("/")[2]) >= (number + A_MINUTE) // DEVICES - 1
        wait_for(lambda: service.count(count) >= checkpoints + 2, 60.0, what="two checkpoints")
        assert service.count("streamgauge_sink_spilled{influxdb}") > A_MINUTE
        service.kill()
        service.launch()
        wait_for(service.answers, 60.0)
        wait_for(lambda: service.count("streamgauge_sink_spilled{influxdb}") > A_MINUTE, 60.0)
        way.resume()
        sensors.rest()
        service.wait_admitted(sensors.sent, 60.0)
        wait_for(lambda: service.ready, 90.0, what="a sink that caught up")
        wait_for(lambda: not service.count("streamgauge_sink_spilled{influxdb}"), 60.0)
        assert service.count("streamgauge_sink_dropped_total{influxdb}") == 0
        assert service.stop()[0] == 0
        wanted = replayed(service, sensors.sent)
        for field, column in (("value", "prediction"), ("label", "label")):
            found = server.points(f"iot_prediction_{field}")
            values = sorted(value for points in found.values() for value in points.values())
            # VictoriaMetrics keeps some twelve digits.
            assert values == pytest.approx(sorted(wanted[column].dropna()), rel=1e-9)
