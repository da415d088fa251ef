"""A running MQTT source and a publisher of numbered messages, for tests against a real broker."""

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from ingest.rejects import Rejects
from ingest.source import Source
from ingest.sources import mqtt
from streamgauge.brokers import address_of, let_in
from streamgauge.schema import Channel, Schema
from tests.services.mosquitto import Mosquitto
from tests.services.ports import wait_for

__all__ = ["TOPIC", "Reader", "publisher", "reading"]

TOPIC = "pumps/p1/telemetry"


class Reader:
    """A running source and everything that was taken from it."""

    def __init__(self, url: str, **options: Any) -> None:
        self.rejects = Rejects()
        ticks = itertools.count(1_000_000)
        options = {"topics": ["pumps/+/telemetry"], "client_id": "reader"} | options
        schema = Schema([Channel("n")])
        self.source: Source = mqtt.open(
            schema, 3, lambda: next(ticks), self.rejects, url=url, **options
        )
        self.numbers: list[int] = []
        self.tokens: list[Any] = []
        self.retained: list[int] = []

    @property
    def state(self) -> dict[str, Any]:
        return self.source.state()

    def take(self, *, acknowledge: bool = True, limit: int = 1_000) -> int:
        """Take once; how many messages came."""
        delivery = self.source.take(limit, 0.05)
        if delivery is None:
            return 0
        assert delivery.source == 3
        assert len(delivery.payloads) == len(delivery.topics) == len(delivery.received)
        assert delivery.received == sorted(delivery.received)
        assert all(topic.startswith("pumps/") for topic in delivery.topics)
        numbers = [json.loads(payload)["n"] for payload in delivery.payloads]
        self.numbers += numbers
        self.retained += numbers if delivery.retained else []
        self.tokens += delivery.tokens
        if acknowledge:
            self.source.acknowledge(delivery.tokens)
        return len(delivery.payloads)

    def until(self, condition: Callable[[], object], *, acknowledge: bool = True) -> None:
        """Take until the condition holds."""
        wait_for(lambda: (self.take(acknowledge=acknowledge), condition())[1], what=str(self.state))


@contextmanager
def reading(url: str, *, connected: bool = True, **options: Any) -> Iterator[Reader]:
    """A source that is running and, unless told otherwise, connected."""
    reader = Reader(url, **options)
    reader.source.start()
    try:
        if connected:
            reader.until(lambda: reader.state["ok"])
        yield reader
    finally:
        reader.source.stop()


@contextmanager
def publisher(broker: Mosquitto, **login: str) -> Iterator[Callable[..., None]]:
    """`send(first, n, qos=..., retain=..., topic=...)` publishes numbered messages, and waits until
    the broker has them."""
    address = address_of(broker.url, tls=None)
    client = Client(CallbackAPIVersion.VERSION2, client_id="publisher", transport=address.transport)
    ca = broker.ca if address.tls else None
    names = (login.get("username", ""), login.get("password", ""))
    let_in(client, address, names, (ca, None, None, False))
    client.connect(address.host, address.port)
    client.loop_start()

    def send(
        first: int, n: int = 1, *, qos: int = 1, retain: bool = False, topic: str = TOPIC
    ) -> None:
        sent = [
            client.publish(topic, b'{"n":%d}' % i, qos, retain) for i in range(first, first + n)
        ]
        for message in sent:
            message.wait_for_publish(10)
            assert message.is_published()

    try:
        yield send
    finally:
        client.disconnect()
        client.loop_stop()
