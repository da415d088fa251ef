"""A Kafka source that is running, with everything that was taken from it, and what writes to it."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaProducer

from ingest.rejects import Rejects
from ingest.sources import kafka
from streamgauge.delivery import Delivery
from streamgauge.schema import Channel, Schema
from tests.services.ports import wait_for

__all__ = ["Reader", "produce", "reading"]


class Reader:
    """A source and the deliveries that were taken from it."""

    def __init__(self, bootstrap: str, topic: str, **options: Any) -> None:
        ticks = itertools.count(1_000_000)
        given = {"topics": [topic], "bootstrap_servers": bootstrap, "group": topic} | options
        self.source: Any = kafka.open(
            Schema([Channel("n")]), 3, lambda: next(ticks), Rejects(), **given
        )
        self.deliveries: list[Delivery] = []

    @property
    def state(self) -> dict[str, Any]:
        return dict(self.source.state())

    @property
    def payloads(self) -> list[bytes]:
        return [payload for delivery in self.deliveries for payload in delivery.payloads]

    @property
    def places(self) -> list[tuple[int, int]]:
        """Partition and offset of each record."""
        return [
            (partition, offset)
            for delivery in self.deliveries
            for _, partition, first, count in delivery.runs
            for offset in range(first, first + count)
        ]

    def take(self, *, acknowledge: bool = True, limit: int = 1_000) -> int:
        """Take once; how many messages came."""
        delivery: Delivery | None = self.source.take(limit, 0.05)
        if delivery is None:
            return 0
        assert delivery.source == 3
        n = len(delivery.payloads)
        columns = (delivery.topics, delivery.keys, delivery.headers, delivery.stamps)
        assert {len(column) for column in (*columns, delivery.received)} == {n}
        assert sum(count for *_, count in delivery.runs) == n <= limit
        assert delivery.received == sorted(delivery.received)
        self.deliveries.append(delivery)
        if acknowledge:
            self.source.acknowledge(delivery.tokens)
        return n

    def until(
        self, condition: Callable[[], object], *, acknowledge: bool = True, seconds: float = 30.0
    ) -> None:
        """Take until the condition holds."""
        wait_for(
            lambda: (self.take(acknowledge=acknowledge), condition())[1],
            seconds,
            what=f"{condition}, {self.state}",
        )


@contextmanager
def reading(bootstrap: str, topic: str, *, ready: bool = True, **options: Any) -> Iterator[Reader]:
    """A source that is running and, unless told otherwise, has its partitions."""
    reader = Reader(bootstrap, topic, **options)
    reader.source.start()
    try:
        if ready:
            wait_for(lambda: reader.state["ok"], 30.0, what="partitions")
        yield reader
    finally:
        reader.source.stop()


def produce(
    bootstrap: str, topic: str, payloads: Iterable[bytes | None], *, partitions: int = 1
) -> None:
    """Write these to the topic's partitions in turn, of two devices each by their keys; returns
    once the broker has them all."""
    with KafkaProducer(bootstrap_servers=bootstrap, linger_ms=5) as producer:
        sent = [
            producer.send(
                topic, payload, key=b"d%d" % (k % (2 * partitions)), partition=k % partitions
            )
            for k, payload in enumerate(payloads)
        ]
        for one in sent:
            one.get(30)
