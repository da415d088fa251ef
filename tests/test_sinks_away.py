"""A database, a Kafka and an MQTT broker that are away for long: what waits goes to the disk, and
all of it arrives, whichever life of the service delivers it."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
import sqlalchemy as sa
from kafka import KafkaConsumer, TopicPartition
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from monitoring.sinks import kafka as kafka_sink
from monitoring.sinks import mqtt, sql
from monitoring.sinks._buffered import Buffered
from monitoring.sinks._sql_server import tables
from streamgauge import database
from tests.influx import arrived
from tests.outputs import LANES, START, output, predicted, told
from tests.services.kafka import kafka, new_topic
from tests.services.mosquitto import mosquitto
from tests.services.ports import free_port, wait_for
from tests.services.postgresql import postgresql

SLOW = 60.0
"""Seconds that a loaded machine may take."""
SMALL = 200_000
"""Bytes of memory: some thirty of the outputs below fill half of it."""
EACH = 50
"""Predictions of an output."""


class Stoppable(Protocol):
    """A server of the tests."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


Subject = tuple[Stoppable, Callable[[Path], Any], Callable[[], list[str]]]
"""The server, what opens a sink to it with its state in a folder, and the ids that arrived."""


@contextmanager
def of_postgresql(folder: Path) -> Iterator[Subject]:
    """Rows of the predictions' table."""
    with postgresql() as server:
        engine = database.engine(server.url, server.password)

        def ids() -> list[str]:
            with engine.connect() as connection:
                return list(
                    connection.scalars(sa.select(tables("streamgauge_")["predictions"].c.id))
                )

        def opened(state: Path) -> Any:
            return sql.open(
                LANES, "pumps", state, lambda: START,
                url=server.url, password=server.password, buffer_bytes=SMALL,
            )  # fmt: skip

        yield server, opened, ids


@contextmanager
def of_kafka(folder: Path) -> Iterator[Subject]:
    """Records of the one topic."""
    with kafka(folder / "server") as server:
        topic = new_topic(server.bootstrap)
        place = TopicPartition(topic, 0)

        def ids() -> list[str]:
            with KafkaConsumer(bootstrap_servers=server.bootstrap) as consumer:
                consumer.assign([place])
                consumer.seek_to_beginning()
                end, found = consumer.end_offsets([place])[place], list[str]()
                while consumer.position(place) < end:
                    few = consumer.poll(timeout_ms=500).get(place, [])
                    found += [json.loads(record.value)["id"] for record in few]
            return found

        def opened(state: Path) -> Any:
            return kafka_sink.open(
                LANES, "pumps", state, lambda: START,
                bootstrap_servers=server.bootstrap, topic=topic, buffer_bytes=SMALL,
            )  # fmt: skip

        yield server, opened, ids


@contextmanager
def of_mosquitto(folder: Path) -> Iterator[Subject]:
    """Messages that somebody hears who was there all the time."""
    with mosquitto(folder / "server", persistence=True) as server:
        heard: list[str] = []
        ready = threading.Event()
        client = Client(CallbackAPIVersion.VERSION2, client_id="hearer", clean_session=False)
        client.on_message = lambda _, __, one: heard.append(json.loads(one.payload)["id"])
        client.on_connect = lambda one, *_: one.subscribe("#", 1)
        client.on_subscribe = lambda *_: ready.set()
        client.reconnect_delay_set(1, 1)
        client.connect("127.0.0.1", server.port)
        client.loop_start()
        assert ready.wait(10)

        def opened(state: Path) -> Any:
            return mqtt.open(
                LANES, "pumps", state, lambda: START, url=server.url, buffer_bytes=SMALL
            )

        yield server, opened, lambda: heard
        client.disconnect()
        client.loop_stop()


@pytest.fixture(params=[of_postgresql, of_kafka, of_mosquitto])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    """Each of the three, running."""
    with request.param(tmp_path) as found:
        yield found


def written(sink: Buffered[Any], first: int, last: int) -> int:
    """Write these outputs, no faster than the disk takes them; the most bytes that waited."""
    most = 0
    for k in range(first, last):
        sink.write(output([predicted(k * EACH + i) for i in range(EACH)]))
        most = max(most, sink.state()["backlog_bytes"])
        wait_for(lambda: sink.state()["backlog_bytes"] < 0.9 * SMALL, SLOW)
    return most


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_outage_loses_nothing_and_memory_stays_bounded(subject: Subject, tmp_path: Path) -> None:
    """Several times what fits into memory comes while the server is away; the service stops
    meanwhile, and its next life delivers everything, in order.

    pg8000 leaves a socket to the garbage collector where the server went away while it connected.
    """
    server, opened, ids = subject
    state = tmp_path / "state"
    sink = opened(state)
    sink.resume(0)
    most = written(sink, 0, 5)
    arrived(sink)
    server.stop()
    most = max(most, written(sink, 5, 150))
    wait_for(lambda: not sink.state()["ok"], SLOW)
    assert sink.flush(SLOW)
    assert sink.state()["spilled"] * 104 > 2 * SMALL
    sink.close()
    assert sink.state()["dropped_total"] == 0
    later = opened(state)
    server.start()
    later.resume(0)
    most = max(most, written(later, 150, 170))
    arrived(later)
    wanted = [f"power@10m/pump-1/{k}" for k in range(170 * EACH)]
    wait_for(lambda: set(ids()) >= set(wanted), SLOW)
    assert sorted(set(ids())) == sorted(wanted)
    assert most <= SMALL
    told = later.state()
    assert (told["ok"], told["dropped_total"], told["dead_total"]) == (True, 0, 0)
    assert (told["backlog_bytes"], told["spilled_bytes"]) == (0, 0)
    later.close()
    assert not list(state.glob("*/*/*"))


def test_no_password_is_in_a_folders_name(tmp_path: Path) -> None:
    """The name tells the target, and what tells targets apart."""
    port = free_port()
    sinks = [
        sql.open(
            LANES, "pumps", tmp_path, lambda: START,
            url=f"postgresql://me:secret@127.0.0.1:{port}/plant", prefix="hall_",
        ),
        mqtt.open(
            LANES, "pumps", tmp_path, lambda: START,
            url=f"mqtt://127.0.0.1:{port}", username="me", password="secret", topic="out/{device}",
        ),
        kafka_sink.open(
            LANES, "pumps", tmp_path, lambda: START, bootstrap_servers=f"127.0.0.1:{port}",
            topic="out", kinds=["outcome"],
        ),
    ]  # fmt: skip
    for sink in sinks:
        sink.write(output([predicted(1), told(2)]))
        sink.close()
    found = sorted(str(place.relative_to(tmp_path)) for place in tmp_path.glob("*/*"))
    assert found == [
        f"kafka/127.0.0.1_{port}_out_outcome",
        f"mqtt/127.0.0.1_{port}_out_device_prediction_outcome_event",
        f"sql/postgresql_127.0.0.1_{port}_plant_hall",
    ]
