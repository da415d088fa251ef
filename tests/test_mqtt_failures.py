"""What a failing network, broker or client does to an MQTT source: nothing is lost but what is
counted."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mqtt_traffic import publisher, reading
from tests.services.mosquitto import Mosquitto, mosquitto
from tests.services.ports import wait_for
from tests.services.proxy import proxy


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that keeps sessions in memory."""
    with mosquitto(tmp_path / "broker") as running:
        yield running


@pytest.mark.parametrize("qos", [1, 2])
def test_a_broker_that_restarts_and_remembers(tmp_path: Path, qos: int) -> None:
    """With persistence, what was taken but not durable, and what came meanwhile, comes after the
    restart; old acknowledgements are let go."""
    with (
        mosquitto(tmp_path / "broker", persistence=True) as broker,
        reading(broker.url, qos=qos) as reader,
    ):
        with publisher(broker) as send:
            send(0, 30, qos=qos)
            reader.until(lambda: len(reader.numbers) >= 20, acknowledge=False)
        old = list(reader.tokens)
        broker.restart()
        reader.source.acknowledge(old)
        with publisher(broker) as send:
            send(30, 10, qos=qos)
        reader.until(lambda: set(reader.numbers) >= set(range(40)))
        assert reader.state["stale_acks"] == len(old)
        assert list(dict.fromkeys(reader.numbers)) == list(range(40))


@pytest.mark.parametrize("version", ["3.1.1", "5"])
@pytest.mark.parametrize("qos", [1, 2])
def test_a_network_that_is_gone_for_longer_than_keepalive(
    broker: Mosquitto, version: str, qos: int
) -> None:
    """Nobody is told of a stalled network; both sides notice by their keepalive, and what was
    published meanwhile comes afterwards, in order."""
    options: dict[str, Any] = {"version": version, "qos": qos, "keepalive": 1}
    with (
        proxy(broker.port) as between,
        reading(f"mqtt://localhost:{between.port}", **options) as reader,
        publisher(broker) as send,
    ):
        send(0, 10, qos=qos)
        reader.until(lambda: len(reader.numbers) == 10)
        between.stall()
        send(10, 100, qos=qos)
        reader.until(lambda: not reader.state["connected"])
        assert "lost" in reader.state["why"]
        wait_for(lambda: "exceeded timeout" in broker.log or "reader disconnected" in broker.log)
        between.cut()
        between.resume()
        reader.until(lambda: set(reader.numbers) >= set(range(110)))
        assert list(dict.fromkeys(reader.numbers)) == list(range(110))
        assert reader.state["reconnects"] >= 1


def test_a_slow_consumer_loses_nothing(broker: Mosquitto) -> None:
    """A worker that stands still for many keepalives, then goes on, gets every message in order,
    with no more than the queue in memory."""
    with reading(broker.url, queue=10, keepalive=1) as reader, publisher(broker) as send:
        send(0, 300)
        wait_for(lambda: reader.state["severed"] >= 2)
        assert reader.state["queued"] <= 10
        reader.until(lambda: set(reader.numbers) == set(range(300)))
        assert list(dict.fromkeys(reader.numbers)) == list(range(300))


def test_qos_0_losses_are_counted(broker: Mosquitto) -> None:
    """Every QoS 0 message either comes or is counted as dropped for want of room."""
    with reading(broker.url, qos=0, queue=20) as reader, publisher(broker) as send:
        send(0, 500, qos=0)
        reader.until(lambda: len(reader.numbers) + reader.state["dropped_qos0"] >= 500)
        assert len(reader.numbers) + reader.state["dropped_qos0"] == 500
        assert reader.numbers == sorted(reader.numbers)


# The thread that is made to die leaves its socket pair to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_client_whose_thread_died_is_revived(broker: Mosquitto, monkeypatch: Any) -> None:
    """A client without its thread still says that it is connected; the watchdog starts it again,
    says so, and nothing is lost."""
    with reading(broker.url) as reader, publisher(broker) as send:
        client = reader.source._client  # type: ignore[attr-defined]  # as a fault within it would
        dead = threading.Event()

        def fail() -> None:
            monkeypatch.undo()
            dead.set()
            raise RuntimeError("a fault in the library")

        monkeypatch.setattr(client, "_packet_read", fail)
        send(0, 5)
        assert dead.wait(10)
        wait_for(lambda: not client.running)
        assert client.is_connected()
        reader.until(lambda: set(reader.numbers) == set(range(5)) and reader.state["ok"])
        assert reader.state["revived"] == 1
        assert reader.state["reconnects"] == 1


def test_a_connection_on_which_nothing_comes_is_made_anew(broker: Mosquitto) -> None:
    """Silence for longer than `silent_after` costs one reconnect for each such while, is counted
    and told, and traffic ends it."""
    with reading(broker.url, silent_after="700ms") as reader, publisher(broker) as send:
        said: list[str] = []

        def twice() -> bool:
            said.append(reader.state["why"])
            return bool(reader.state["silences"] == 2)

        reader.until(twice)
        reader.until(lambda: reader.state["ok"] and reader.state["reconnects"] >= 2)
        assert any("nothing came for 0.7 s (silent_after)" in why for why in said)
        send(1)
        reader.until(lambda: reader.numbers == [1])
