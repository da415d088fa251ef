"""What a Kafka source has fetched, and how far each partition was fetched, taken and journaled.

One lock for both: giving a partition up drops what waits of it and settles what was taken of it.
"""

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from ingest.sources._kafka_chunks import Chunk
from streamgauge.delivery import Position

__all__ = ["Arrivals", "Partition", "Taken", "Token"]

Partition = tuple[str, int]
"""Topic and number; equal to kafka-python's TopicPartition."""
Taken = tuple[Chunk, int]
"""Records and when they came, microseconds UTC."""
Token = dict[Partition, int]
"""For each partition of a delivery, the offset after its last record."""


class Arrivals:
    """At most about `limit` records and `most_bytes` of payload wait.

    `instance` names us in the commits of the group, so that we tell our own from those of others.
    The client's threads call `put`, `drop`, `settle` and `begin`, the worker's the rest.
    """

    def __init__(self, limit: int, most_bytes: int, instance: str) -> None:
        self.instance = instance
        self.tombstones = 0
        self._limit, self._most_bytes = limit, most_bytes
        self._waiting: deque[Taken] = deque()
        self._count = self._bytes = 0
        self._taken: Token = {}
        self._journaled: Token = {}
        self._committed: Token = {}
        self._news = threading.Condition()

    def __len__(self) -> int:
        return self._count

    @property
    def full(self) -> bool:
        return self._count >= self._limit or self._bytes >= self._most_bytes

    @property
    def eased(self) -> bool:
        """Whether it is worth while to fetch again after it was full."""
        return 2 * self._count <= self._limit and 2 * self._bytes <= self._most_bytes

    def put(self, chunks: Iterable[Chunk], received: int) -> None:
        """Add what came at that time."""
        with self._news:
            for chunk in chunks:
                self.tombstones += chunk.tombstones
                if len(chunk):
                    self._waiting.append((chunk, received))
                    self._count += len(chunk)
                    self._bytes += chunk.size
            self._news.notify_all()

    def take(self, limit: int, timeout: float) -> tuple[list[Taken], Token]:
        """The oldest records, at most `limit`, and the token of their delivery.

        Waits up to `timeout` seconds for the first.
        """
        with self._news:
            if not self._waiting and timeout > 0.0:
                self._news.wait(timeout)
            taken: list[Taken] = []
            while self._waiting and limit > 0:
                chunk, received = self._waiting.popleft()
                if len(chunk) > limit:
                    self._waiting.appendleft((chunk.part(limit, len(chunk)), received))
                    chunk = chunk.part(0, limit)
                taken.append((chunk, received))
                limit -= len(chunk)
                self._forget(chunk)
            token = {(c.topic, c.partition): c.offset + 1 for c, _ in taken}
            self._taken |= token
            return taken, token

    def _forget(self, chunk: Chunk) -> None:
        self._count -= len(chunk)
        self._bytes -= chunk.size

    def acknowledge(self, token: Token) -> None:
        """This delivery is durable."""
        with self._news:
            self._journaled |= token
            self._news.notify_all()

    def drop(self, partitions: Iterable[Partition]) -> None:
        """Forget what waits of these partitions: others read it from now on, or we again."""
        gone = set(partitions)
        with self._news:
            kept: deque[Taken] = deque()
            for chunk, received in self._waiting:
                if (chunk.topic, chunk.partition) in gone:
                    self._forget(chunk)
                else:
                    kept.append((chunk, received))
            self._waiting = kept

    def settle(self, partitions: Iterable[Partition], timeout: float) -> bool:
        """Wait until what was taken of these partitions is durable; False: it is not by then."""
        asked = list(partitions)
        with self._news:
            return self._news.wait_for(
                lambda: all(self._journaled.get(p) == self._taken.get(p) for p in asked), timeout
            )

    def begin(self, partition: Partition, committed: int | None, by: str) -> int | None:
        """The offset to read a partition from, None where nobody has read it.

        Our own place counts, unless another member of the group (`by`) has read on since.
        """
        with self._news:
            own = self._taken.get(partition)
        if own is None or committed is None or by == self.instance:
            return committed if own is None else own
        return max(own, committed)

    def stand(self, partition: Partition, offset: int) -> None:
        """Take it that everything before this offset is durable."""
        with self._news:
            self._taken[partition] = self._journaled[partition] = offset

    def due(self, partitions: Iterable[Partition]) -> Token:
        """What to commit of these partitions: durable, and not committed yet."""
        with self._news:
            durable = {p: self._journaled[p] for p in partitions if p in self._journaled}
        return {p: offset for p, offset in durable.items() if self._committed.get(p) != offset}

    def committed(self, token: Token) -> None:
        """The group knows this now."""
        self._committed |= token

    def position(self) -> Position:
        """Where we stand after everything that was taken."""
        offsets: dict[str, dict[str, int]] = {}
        with self._news:
            for (topic, partition), offset in self._taken.items():
                offsets.setdefault(topic, {})[str(partition)] = offset
        return {"instance": self.instance, "offsets": offsets}

    def resume(self, position: Mapping[str, Any]) -> None:
        """Stand where a position says, all of which is durable."""
        self.instance = position["instance"]
        with self._news:
            self._taken = {
                (topic, int(partition)): int(offset)
                for topic, partitions in position["offsets"].items()
                for partition, offset in partitions.items()
            }
            self._journaled = dict(self._taken)
