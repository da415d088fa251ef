"""A database that stands still while the service is killed: its table is whole in the end."""

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
from tests.services.service import Service
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
LIVE = """
[[source]]
use = "mqtt"
url = "{broker}"
client_id = "waits"
topics = ["t/+"]
device = "topic:1"
[[sink]]
use = "sql"
url = "{database}"
password = "${{DATABASE_PASSWORD}}"
"""
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
def running(
    folder: Path, monkeypatch: pytest.MonkeyPatch, wait: str
) -> Iterator[tuple[Service, Sensors, Results]]:
    """A service under load between a real broker and a real database."""
    with mosquitto(folder / "broker") as broker, postgresql() as server:
        monkeypatch.setenv("DATABASE_PASSWORD", server.password)
        text = PIPELINE + LIVE.format(broker=broker.url, database=server.url)
        service = Service(folder / "service", text, every="200ms", wait_for_sinks=wait)
        try:
            # Its session begins with its first subscription; nothing is kept for it before.
            service.start()
            with Sensors(broker) as sensors:
                yield service, sensors, Results(server)
        finally:
            service.kill()


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


def finished(service: Service, sensors: Sensors, results: Results) -> tuple[Any, Any]:
    """What the table holds when all is worked off, and what it should."""
    sensors.rest()
    service.wait_admitted(sensors.sent, 60.0)
    assert service.stop()[0] == 0
    path = service.folder / "replay.toml"
    path.write_text(PIPELINE, encoding="utf-8")
    readings = pd.DataFrame([row(k) for k in range(sensors.sent)])
    wanted = Pipeline.from_toml(path).replay(readings)[KEYS]
    return by_id(results.rows()), by_id(wanted)


def by_id(table: pd.DataFrame) -> dict[str, list[Any]]:
    """The rows of a table, NULL and NaN the same."""
    return {
        one[0]: [None if pd.isna(x) else x for x in one[1:]] for one in table.to_numpy().tolist()
    }


def refused(service: Service) -> None:
    """Until a checkpoint was not written because the table does not have all results."""

    def said() -> bool:
        parts = {part["name"]: part for part in service.get("/v1/status")["parts"]}
        return "the sink sql did not have" in str(parts["state checkpoint"]["why"])

    wait_for(said, 60.0, what="a refused checkpoint")


def written(service: Service) -> None:
    """Until a checkpoint was written that began after this."""
    count = "streamgauge_state_count{checkpoint}"
    number = service.count(count)
    wait_for(lambda: service.count(count) >= number + 2, 60.0, what="two checkpoints")


@pytest.mark.slow
def test_every_prediction_is_in_the_table_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed twice while the table was held and once in full flight: the rows are those of an
    uninterrupted run, in number and in every value."""
    with running(tmp_path, monkeypatch, "10m") as (service, sensors, results):
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
    with running(tmp_path, monkeypatch, "1ms") as (service, sensors, results):
        killed_while_the_table_is_held(service, results, written)
        found, wanted = finished(service, sensors, results)
    assert set(found) < set(wanted)
