"""The MQTT source against a real Mosquitto: versions, QoS, TLS, logins, outages, redelivery."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ingest.sources._inbox import Inbox, PassedOver
from ingest.sources._turns import Turns
from tests.mqtt_traffic import TOPIC, Reader, publisher, reading
from tests.services.mosquitto import Mosquitto, mosquitto
from tests.services.ports import wait_for


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that keeps sessions in memory."""
    with mosquitto(tmp_path / "broker") as running:
        yield running


@pytest.mark.parametrize("version", ["3.1.1", "5"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_every_message_once_and_in_order(broker: Mosquitto, version: str, qos: int) -> None:
    """Far more messages than the broker's window arrive, in order, with topic and arrival time."""
    with reading(broker.url, version=version, qos=qos) as reader, publisher(broker) as send:
        send(0, 500, qos=qos)
        reader.until(lambda: len(reader.numbers) >= 500)
        assert reader.numbers == list(range(500))
        assert reader.state["received"] == 500
        assert reader.state["queued"] == 0


def test_take_never_waits_to_fill(broker: Mosquitto) -> None:
    """What is there is given at once, no more than the limit, and nothing is None."""
    with reading(broker.url) as reader, publisher(broker) as send:
        assert reader.source.take(10, 0.0) is None
        send(0, 5)
        wait_for(lambda: reader.state["queued"] == 5)
        assert reader.take(limit=3) == 3
        assert reader.take(limit=3) == 2
        assert not reader.source.finished


# The client leaves the socket of a handshake that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_checks_the_certificate(tmp_path: Path) -> None:
    """A known authority is accepted, an unknown one refused, unless told to accept anything."""
    with mosquitto(tmp_path / "broker", tls=True) as broker:
        with reading(broker.url, ca=str(broker.ca)) as reader, publisher(broker) as send:
            send(1)
            reader.until(lambda: reader.numbers == [1])
        with reading(broker.url, connected=False) as reader:
            wait_for(lambda: "certificate verify failed" in reader.state["why"])
            assert not reader.state["ok"]
        with reading(broker.url, insecure=True) as reader:
            assert reader.state["connected"]


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_login_is_needed(tmp_path: Path, version: str) -> None:
    """The right password connects; a wrong one leaves a reason to read and the source running."""
    with mosquitto(tmp_path / "broker", passwords={"gauge": "secret"}) as broker:
        login: dict[str, Any] = {"username": "gauge", "password": "secret"}
        with reading(broker.url, version=version, **login) as reader:
            with publisher(broker, **login) as send:
                send(1)
            reader.until(lambda: reader.numbers == [1])
        login["password"] = "wrong"
        with reading(broker.url, version=version, connected=False, **login) as reader:
            wait_for(lambda: "refuses us" in reader.state["why"])
            assert not reader.state["ok"]
            assert reader.source.take(1, 0.0) is None


def test_a_broker_that_comes_later(tmp_path: Path) -> None:
    """Absent at the start, the broker is found once it is there."""
    broker = Mosquitto(tmp_path / "broker")
    with reading(broker.url, connected=False) as reader:
        wait_for(lambda: "is the broker running?" in reader.state["why"])
        broker.start()
        try:
            wait_for(lambda: reader.state["ok"])
            with publisher(broker) as send:
                send(7)
                reader.until(lambda: reader.numbers == [7])
        finally:
            broker.stop()


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_broker_that_restarts_and_forgets(broker: Mosquitto, version: str) -> None:
    """After a restart without memory the source subscribes again, and acknowledgements of the old
    connection do not touch the new one's messages, whose ids are the same."""
    with reading(broker.url, version=version) as reader:
        with publisher(broker) as send:
            send(0, 3)
            reader.until(lambda: len(reader.numbers) == 3, acknowledge=False)
        old, reader.tokens = reader.tokens, []
        broker.restart()
        wait_for(lambda: reader.state["reconnects"] == 1 and reader.state["ok"])
        with publisher(broker) as send:
            wait_for(lambda: (send(10), reader.state["queued"])[1], what="a new subscription")
            reader.until(lambda: 10 in reader.numbers, acknowledge=False)
        assert {mid for _, mid, _ in old} & {mid for _, mid, _ in reader.tokens}
        reader.source.acknowledge(old)
        assert reader.state["stale_acks"] == 3
        waiting = len(reader.tokens)
    with reading(broker.url, version=version) as again:
        again.until(lambda: len(again.numbers) >= waiting)
        assert set(again.numbers) == {10}


def settled(broker: Mosquitto, messages: int) -> bool:
    """Whether the broker has seen so many messages through."""
    answers = [broker.log.count(f"Received {word} from reader") for word in ("PUBACK", "PUBCOMP")]
    return sum(answers) >= messages


@pytest.mark.parametrize("version", ["3.1.1", "5"])
@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_not_acknowledged_comes_again(broker: Mosquitto, version: str, qos: int) -> None:
    """A crash between taking and acknowledging loses nothing: the next source with the same client
    id gets exactly those messages, and what came meanwhile."""
    options: dict[str, Any] = {"version": version, "qos": qos}
    with publisher(broker) as send:
        with reading(broker.url, **options) as first:
            send(0, 10, qos=qos)
            first.until(lambda: len(first.numbers) == 10, acknowledge=False)
            first.source.acknowledge(first.tokens[:4])
            # A broker that sends to a closed connection lets go of what it has not read.
            wait_for(lambda: settled(broker, 4))
        send(10, 5, qos=qos)
        with reading(broker.url, **options) as second:
            second.until(lambda: len(second.numbers) >= 11)
            assert second.numbers == list(range(4, 15))
            wait_for(lambda: settled(broker, 15))
        with reading(broker.url, **options) as third:
            send(99, qos=qos)
            third.until(lambda: third.numbers)
            assert third.numbers == [99]


def test_a_clean_session_keeps_nothing(broker: Mosquitto) -> None:
    """With clean = true what came while away is not waited for."""
    with publisher(broker) as send:
        with reading(broker.url, clean=True, client_id=""):
            pass
        send(1)
        with reading(broker.url, clean=True, client_id="") as reader:
            send(2)
            reader.until(lambda: reader.numbers)
            assert reader.numbers == [2]


def test_the_derived_client_id_lasts(broker: Mosquitto) -> None:
    """Without a client id, a restarted source still gets what came meanwhile."""
    with publisher(broker) as send:
        with reading(broker.url, client_id=""):
            pass
        send(1)
        with reading(broker.url, client_id="") as reader:
            reader.until(lambda: reader.numbers == [1])


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_retained_messages_come_in_deliveries_of_their_own(broker: Mosquitto, version: str) -> None:
    """What the broker repeats on subscribing is marked as such, however much of it there is, and a
    delivery ends where news begin."""
    with publisher(broker) as send:
        for k in range(60):
            send(k, retain=True, topic=f"pumps/p{k}/telemetry")
        with reading(broker.url, version=version) as reader:
            reader.until(lambda: reader.state["retained"] == 60)
            send(100, 5, retain=True)
            reader.until(lambda: len(reader.numbers) == 65)
            assert set(reader.retained) == set(range(60))
            assert sorted(reader.numbers)[60:] == list(range(100, 105))


def test_a_delivery_ends_where_retained_messages_begin_or_end() -> None:
    """Whatever waits together is cut at each border, in order, and every token comes once."""
    inbox = Inbox(100, 10_000)
    for k, kind in enumerate("nnrrrnprpn"):
        if kind == "p":
            inbox.pass_over(PassedOver(k, "t", "malformed", "", b""), k)
        else:
            put = inbox.put_retained if kind == "r" else inbox.put
            put("t", b"%d" % k, k, k)
    taken = [inbox.take(100, 0.0) for _ in range(5)]
    assert [[entry[2] for entry in one.messages] for one in taken] == [
        [0, 1], [2, 3, 4], [5], [7], [9],
    ]  # fmt: skip
    assert [one.retained for one in taken] == [False, True, False, True, False]
    assert [token for one in taken for token in one.tokens] == list(range(10))
    assert not inbox.full
    assert inbox.take(100, 0.0).tokens == []


def test_long_messages_are_rejected_without_a_stall(broker: Mosquitto) -> None:
    """More oversized messages than the window holds are rejected, acknowledged and passed."""
    with reading(broker.url, max_bytes=50) as reader, publisher(broker) as send:
        for k in range(40):
            send(int(f"1{k:060d}"))
        send(5)
        reader.until(lambda: reader.numbers == [5])
        assert reader.rejects.counts == {"too_large": 40}
        assert "more than max_bytes = 50" in reader.rejects.newest[0].detail
        wait_for(lambda: settled(broker, 41))
    with reading(broker.url) as again, publisher(broker) as send:
        send(6)
        again.until(lambda: again.numbers)
        assert again.numbers == [6]


def test_a_full_queue_drops_qos_0_and_counts(broker: Mosquitto) -> None:
    """The queue stays within its bound; the oldest messages are kept."""
    with reading(broker.url, qos=0, queue=10) as reader, publisher(broker) as send:
        send(0, 50, qos=0)
        wait_for(lambda: reader.state["dropped_qos0"] == 40)
        assert reader.state["queued"] == 10
        reader.until(lambda: len(reader.numbers) == 10)
        assert reader.numbers == list(range(10))


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_full_queue_leaves_qos_1_with_the_broker(broker: Mosquitto, version: str) -> None:
    """When the worker stands still memory stays bounded, and every message comes, in order, once
    the worker goes on."""
    with (
        reading(broker.url, version=version, queue=5, keepalive=1) as reader,
        publisher(broker) as send,
    ):
        send(0, 60)
        # An MQTT 5 broker is told how much we hold and sends no more; another one is cut off.
        full = {"3.1.1": "severed", "5": "queued"}[version]
        wait_for(lambda: reader.state[full] >= {"severed": 1, "queued": 5}[full])
        assert reader.state["queued"] <= 5
        reader.until(lambda: set(reader.numbers) == set(range(60)))
        assert reader.state["dropped_clean"] == 0
        first_seen = list(dict.fromkeys(reader.numbers))
        assert first_seen == list(range(60))


def test_a_topic_that_is_not_text(broker: Mosquitto) -> None:
    """A client that hands over a broken topic is survived, and its message rejected in its turn."""
    with reading(broker.url) as reader:
        message = MQTTMessage(mid=1, topic=b"pumps/\xff/telemetry")
        message.payload = b"{}"
        reader.source._on_message(None, None, message)  # type: ignore[attr-defined]  # as paho would
        assert reader.source.take(1, 0.0) is None
        assert reader.rejects.counts == {"malformed": 1}


def test_a_refused_subscription_is_told(broker: Mosquitto) -> None:
    """A broker that lets us in but does not let us subscribe leaves a reason to read."""
    with reading(broker.url) as reader:
        refusal = ReasonCode(PacketTypes.SUBACK, "Not authorized")
        reader.source._on_subscribe(None, None, 1, [refusal], None)  # type: ignore[attr-defined]  # as paho would
        assert "refuses the subscription to pumps/+/telemetry" in reader.state["why"]
        assert not reader.state["ok"]


def test_acknowledgements_follow_arrival() -> None:
    """Undelivered messages wait for delivered ones before them; none is acknowledged twice."""
    sent: list[int] = []
    turns = Turns(lambda mid, _: sent.append(mid))
    turns.new_connection()
    first = turns.with_delivery([turns.token(1, 1)])
    turns.without_delivery([turns.token(2, 1)])
    assert sent == []
    second = turns.with_delivery([turns.token(3, 1)])
    turns.acknowledge(first)
    assert sent == [1]
    turns.acknowledge(second)
    turns.without_delivery([turns.token(4, 1), turns.token(0, 0)])
    assert sent == [1, 2, 3, 4]
    turns.new_connection()
    turns.acknowledge(turns.with_delivery([(1, 5, 1)]))
    assert (sent, turns.stale) == ([1, 2, 3, 4], 1)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"url": "localhost:1883"}, "mqtt://host:1883"), ({"url": "mqtt://"}, "mqtt://host"),
        ({"url": "mqtt://u:p@h"}, "MQTT_PASSWORD"),
        ({"url": "mqtt://h:99999", "tls": False}, "no broker"),
        ({"url": "mqtt://h/path", "tls": False}, "no broker"), ({"topics": []}, "at least one"),
        ({"topics": ["a/#/b"]}, "topic filter"), ({"topics": ["a+/b"]}, "topic filter"),
        ({"topics": [""]}, "topic filter"), ({"version": "4"}, "3.1.1"), ({"qos": 3}, "0, 1 or 2"),
        ({"queue": 0}, "at least 1"), ({"ca": "x.pem"}, "mqtts://"),
        ({"url": "mqtt://h"}, "tls = false"), ({"url": "ws://h/mqtt"}, "wss://h"),
        ({"url": "mqtt://localhost", "tls": True}, "mqtts://"),
        ({"url": "mqtts://h", "tls": False}, "contradicts"),
        ({"url": "ws://h/mqtt?token=hunter2"}, "no broker"),
        ({"topics": ["$share//a"]}, "no group"), ({"topics": ["$share/g"]}, "no group"),
        ({"topics": ["a\x00b"]}, "topic filter"),
        ({"will": {"topic": "a/#"}}, "will.topic"), ({"will": {"text": "x"}}, "write will"),
        ({"will": {"topic": "pumps/p1/telemetry"}}, "topic outside"),
        ({"silent_after": "long"}, "duration"), ({"connections": 0}, "filter of its own"),
        ({"connections": 2}, "sensors/a/#"),
        ({"connections": 2, "topics": ["a/#", "a/+/b"]}, "overlap"),
        ({"url": "mqtts://h", "ca": "/no/such.pem"}, "readable PEM"),
    ],
)  # fmt: skip
def test_options_that_mean_nothing(options: dict[str, Any], match: str) -> None:
    """A wrong option is refused before anything is connected, with what to write instead."""
    with pytest.raises(ValueError, match=match):
        Reader(**({"url": "mqtt://localhost"} | options))


def test_stop_ends_the_thread(broker: Mosquitto) -> None:
    """A stopped source leaves no thread behind and says so."""
    before = set(threading.enumerate())
    with reading(broker.url) as reader:
        assert set(threading.enumerate()) - before
    wait_for(lambda: not set(threading.enumerate()) - before)
    assert reader.state["why"] == "stopped"


def test_who_sent_a_message_is_told_by_its_trace(broker: Mosquitto) -> None:
    """The context among MQTT 5's user properties goes with the delivery that the message is in."""
    context = f"00-{7:032x}-{8:016x}-01"
    given = Properties(PacketTypes.PUBLISH)
    given.UserProperty = [("other", "x"), ("traceparent", context)]
    with reading(broker.url, version="5") as reader:
        client = Client(CallbackAPIVersion.VERSION2, client_id="sender", protocol=MQTTv5)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        client.publish(TOPIC, b'{"n":1}', 1, properties=given).wait_for_publish(10)
        client.publish(TOPIC, b'{"n":2}', 1).wait_for_publish(10)
        traces: list[str] = []
        came: list[bytes] = []

        def both() -> bool:
            delivery = reader.source.take(10, 0.05)
            if delivery is not None:
                traces.extend(delivery.traces)
                came.extend(delivery.payloads)
                reader.source.acknowledge(delivery.tokens)
            return len(came) == 2

        wait_for(both)
        assert traces == [context]
        client.disconnect()
        client.loop_stop()
