"""Ways to read a broker: certificates, websockets, wills, groups, several connections."""

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from ingest.sources import mqtt
from streamgauge.brokers import address_of, meet
from tests.mqtt_traffic import Reader, publisher, reading
from tests.services.mosquitto import Mosquitto, mosquitto
from tests.services.ports import wait_for

SPLIT: dict[str, Any] = {"topics": ["pumps/a/#", "pumps/b/#", "pumps/c/#"], "connections": 2}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that keeps sessions in memory."""
    with mosquitto(tmp_path / "broker") as running:
        yield running


# The client leaves the socket of a handshake that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_that_wants_a_certificate(tmp_path: Path) -> None:
    """With a certificate of its authority the source gets in, without one it does not."""
    with mosquitto(tmp_path / "broker", tls=True, require_certificate=True) as broker:
        ours: dict[str, Any] = {
            "cert": str(broker.folder / "client.pem"),
            "key": str(broker.folder / "client.key"),
        }
        with reading(broker.url, ca=str(broker.ca), **ours) as reader:
            assert reader.state["ok"]
        with reading(broker.url, connected=False, ca=str(broker.ca)) as reader:
            wait_for(lambda: "certificate required" in broker.log or "peer did not" in broker.log)
            assert not reader.state["ok"]


@pytest.mark.parametrize("tls", [False, True])
def test_websockets(tmp_path: Path, tls: bool) -> None:
    """A broker behind a websocket is read as any other, more than a window of messages of it."""
    with mosquitto(tmp_path / "broker", websockets=True, tls=tls) as broker:
        options: dict[str, Any] = {"ca": str(broker.ca)} if tls else {}
        with reading(broker.url, **options) as reader, publisher(broker) as send:
            send(0, 100)
            reader.until(lambda: len(reader.numbers) == 100)
            assert reader.numbers == list(range(100))
            reader.source._cut("a test")  # type: ignore[attr-defined]  # one's own doing
            wait_for(lambda: reader.state["reconnects"] == 1 and reader.state["ok"])


@contextmanager
def watching(broker: Mosquitto, topic: str) -> Iterator["queue.Queue[tuple[str, bool]]"]:
    """What is published on a topic, and whether it was retained."""
    said: queue.Queue[tuple[str, bool]] = queue.Queue()
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _, __, message: said.put((message.payload.decode(), message.retain))
    client.on_connect = lambda one, *_: one.subscribe(topic, 1)
    subscribed = threading.Event()
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        assert subscribed.wait(10)
        yield said
    finally:
        client.disconnect()
        client.loop_stop()


def test_the_last_will(broker: Mosquitto) -> None:
    """Others see that the source is there, that it stopped, and that it was cut off; who comes
    later sees how it stands."""
    will = {"topic": "gauges/one", "payload": "gone"}
    with watching(broker, "gauges/one") as said:
        with reading(broker.url, will=will) as reader:
            assert said.get(timeout=10) == ("online", False)
            reader.source._cut("a test")  # type: ignore[attr-defined]  # as a network would
            assert said.get(timeout=10) == ("gone", False)
            assert said.get(timeout=10) == ("online", False)
        assert said.get(timeout=10) == ("gone", False)
    with watching(broker, "gauges/one") as said:
        assert said.get(timeout=10) == ("gone", True)


@pytest.mark.parametrize("options", [{}, SPLIT])
def test_a_device_can_be_asked(broker: Mosquitto, options: dict[str, Any]) -> None:
    """What a codec wants to be sent goes to the broker by the same connection; a topic that is none
    stops nothing."""
    with watching(broker, "ask/#") as said, reading(broker.url, **options) as reader:
        source: Any = reader.source
        source.send("ask/#", b"nobody")
        source.send("ask/pump", b"again")
        assert said.get(timeout=10) == ("again", False)


ORPHANS = """
import sys, time
from ingest.rejects import Rejects
from ingest.sources import mqtt
source = mqtt.open(None, 0, lambda: 0, Rejects(), url=sys.argv[1], topics=["a", "b"], connections=2)
source.start()
while not source.state()["ok"]:
    source.take(1, 0.1)
print(*[reader.pid for reader in source._readers], flush=True)
time.sleep(600)
"""


def running(pid: int) -> bool:
    """Whether the process runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_readers_do_not_outlive_their_owner(broker: Mosquitto) -> None:
    """When the service is killed its readers end, and the broker is free to send to the next."""
    command = [sys.executable, "-c", ORPHANS, broker.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pids = [int(text) for text in owner.stdout.readline().split()]
        owner.kill()
    assert len(pids) == 2
    wait_for(lambda: not any(map(running, pids)))


def test_a_group_shares_the_messages(broker: Mosquitto) -> None:
    """Two sources of one group get every message once between them, each a part."""
    options: dict[str, Any] = {"topics": ["$share/g/pumps/+/telemetry"]}
    with (
        reading(broker.url, client_id="one", **options) as one,
        reading(broker.url, client_id="two", **options) as two,
        publisher(broker) as send,
    ):
        send(0, 200)
        one.until(lambda: (two.take(), len(one.numbers) + len(two.numbers))[1] >= 200)
        assert sorted(one.numbers + two.numbers) == list(range(200))
        assert one.numbers
        assert two.numbers
    assert any("overtake" in note for note in mqtt.notes(options))


def test_notes_say_what_may_surprise() -> None:
    """Plain text beyond this machine, any certificate and groups each have their sentence."""
    plain = {"url": "mqtt://broker", "tls": False, "topics": ["a"]}
    assert ["unencrypted" in note for note in mqtt.notes(plain)] == [True]
    accepted = {"url": "mqtts://broker", "insecure": True, "topics": ["a"]}
    assert ["believed" in note for note in mqtt.notes(accepted)] == [True]
    assert mqtt.notes({"topics": ["a"]}) == []


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    """Neither state, errors, options nor the broker's refusal repeat it."""
    with mosquitto(tmp_path / "broker", passwords={"gauge": "secret"}) as broker:
        login: dict[str, Any] = {"username": "gauge", "password": "hunter2"}
        with reading(broker.url, connected=False, **login) as reader:
            wait_for(lambda: "refuses us" in reader.state["why"])
            options = reader.source._options  # type: ignore[attr-defined]  # what a traceback shows
            assert "hunter2" not in f"{reader.state} {options}"
    with pytest.raises(ValueError, match="password in the url") as refused:
        address_of("mqtt://gauge:hunter2@broker", tls=None)
    assert "hunter2" not in str(refused.value)


def test_a_look_at_a_broker_leaves_nothing_behind(broker: Mosquitto) -> None:
    """Everything for some seconds, at QoS 0 in a throw-away session: what a first look needs."""
    options: dict[str, Any] = {"clean": True, "qos": 0, "topics": ["#"], "client_id": ""}
    with publisher(broker) as send:
        send(1, retain=True, topic="pumps/old/telemetry")
        with reading(broker.url, **options) as reader:
            send(2, qos=0)
            reader.until(lambda: len(reader.numbers) == 2)
            assert (reader.numbers, reader.retained) == ([1, 2], [1])
        send(3)
        with reading(broker.url, **options) as again:
            send(4)
            again.until(lambda: 4 in again.numbers)
            assert 3 not in again.numbers


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("a/b", "a/b", True), ("a/b", "a/c", False), ("a/+", "a/c", True), ("a/#", "a", True),
        ("a/#", "a/b/c", True), ("a/+", "a/b/c", False), ("#", "a/b", True), ("+/b", "a/+", True),
        ("+/b", "a/c", False), ("#", "$SYS/x", False), ("$SYS/#", "$SYS/x", True),
        ("$share/g/a/#", "a/b", True), ("$share/g/a/#", "b", False), ("a/b/#", "a/+/c", True),
        ("a", "a/b", False), ("+", "a/b", False), ("a/+/c", "+/b/#", True),
    ],
)  # fmt: skip
def test_filters_that_meet(one: str, other: str, together: bool) -> None:
    """Whether some topic matches both, whichever way round they are asked."""
    assert meet(one, other) is together
    assert meet(other, one) is together


def test_two_readers_keep_the_order_of_each_topic(broker: Mosquitto) -> None:
    """Two processes bring every message of three filters, each topic's in order, and what is
    rejected is counted here."""
    topics = [f"pumps/{k}/telemetry" for k in "abc"]
    with reading(broker.url, max_bytes=20, **SPLIT) as reader, publisher(broker) as send:
        for k in range(0, 600, 3):
            for j, topic in enumerate(topics):
                send(k + j, topic=topic)
        send(10**30)
        reader.until(lambda: len(reader.numbers) == 600 and reader.state["queued"] == 0)
        for j in range(3):
            assert [n for n in reader.numbers if n % 3 == j] == list(range(j, 600, 3))
        send(10**30, topic=topics[0])
        reader.until(lambda: reader.rejects.counts == {"too_large": 1})
        assert reader.state["connections"] == 2
        assert reader.state["received"] == 600


def test_a_reader_that_dies_loses_nothing(broker: Mosquitto) -> None:
    """What a killed process had not got acknowledged comes again from the one started after it;
    acknowledgements for the dead one are let go."""
    with reading(broker.url, **SPLIT) as reader, publisher(broker) as send:
        send(0, 10, topic="pumps/a/x")
        reader.until(lambda: len(reader.numbers) == 10, acknowledge=False)
        old, reader.numbers = list(reader.tokens), []
        os.kill(reader.source._readers[0].pid, signal.SIGKILL)  # type: ignore[attr-defined]  # its process
        reader.until(lambda: reader.state["readers_died"] == 1)
        assert "started again" in reader.state["why"]
        send(10, 5, topic="pumps/a/x")
        reader.until(lambda: reader.state["ok"] and len(reader.numbers) >= 15)
        assert reader.numbers == list(range(15))
        reader.source.acknowledge(old)
        assert reader.state["stale_deliveries"] == len(old)


def test_a_reader_waits_where_nobody_takes(broker: Mosquitto) -> None:
    """Readers hold no more than their queues and what they were given credit for; no message is
    lost, and a delivery is never larger than asked for."""
    with (
        reading(broker.url, queue=5, keepalive=1, **SPLIT) as reader,
        publisher(broker) as send,
    ):
        send(0, 100, topic="pumps/a/x")
        wait_for(lambda: "reader-1 disconnected" in broker.log or "reader-1 closed" in broker.log)
        while len(set(reader.numbers)) < 100:
            assert reader.take(limit=3) <= 3
        assert list(dict.fromkeys(reader.numbers)) == list(range(100))


def test_a_group_is_read_by_every_connection(broker: Mosquitto) -> None:
    """A shared filter needs no dividing: all connections are members of the group."""
    options: dict[str, Any] = {"topics": ["$share/g/pumps/+/x"], "connections": 2}
    with reading(broker.url, **options) as reader, publisher(broker) as send:
        for k in range(100):
            send(k, topic=f"pumps/{k}/x")
        reader.until(lambda: len(reader.numbers) >= 100)
        assert sorted(reader.numbers) == list(range(100))
        assert "reader-2" in broker.log


def test_readers_that_were_never_started_end() -> None:
    """A source that is only checked starts no process."""
    reader = Reader("mqtt://localhost", **SPLIT)
    assert reader.source.take(1, 0.0) is None
    assert not reader.state["ok"]
    reader.source.stop()
