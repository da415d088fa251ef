"""A kafka-python consumer that gives chunks, made so that a failure leaves no thread behind."""

import time
from collections.abc import Callable
from typing import Any

from kafka import KafkaConsumer
from kafka.errors import KafkaConnectionError, KafkaError
from kafka.net.compat import KafkaNetClient
from kafka.net.inet import KafkaNetSocket

from ingest.sources._kafka_chunks import ChunkRecords
from streamgauge.kafka_access import close_what_fails, obstacle

__all__ = ["CLOSE_MS", "Consumer", "close", "connected", "consumer", "patiently"]

close_what_fails(KafkaNetSocket)

Consumer = Any
"""A `KafkaConsumer`, for which there are no types."""
TRY_MS = 2_000
"""How long one try to reach a broker lasts, milliseconds."""
CLOSE_MS = 2_000
FETCH_BYTES = 2_000_000
"""Asked of a partition at a time."""
FETCH_MOST_BYTES = 16_000_000
"""Asked of a broker at a time."""
RECONNECT_MS = 2_000
"""Longest wait between two tries to connect, milliseconds."""
CHUNKS = 256
"""Chunks that one poll gives at most."""
METADATA_MS = 30_000
"""After that time at the latest a new partition is noticed, milliseconds."""


def consumer(settings: dict[str, Any]) -> Consumer:
    """A consumer with these settings beside ours; KafkaError where no broker answers."""
    clients: list[Any] = []

    def client(**given: Any) -> Any:
        clients.append(KafkaNetClient(**given))
        return clients[-1]

    try:
        made = KafkaConsumer(
            client_id="streamgauge",
            kafka_client=client,
            enable_auto_commit=False,
            auto_offset_reset="none",
            allow_auto_create_topics=False,
            bootstrap_timeout_ms=TRY_MS,
            fetch_max_bytes=FETCH_MOST_BYTES,
            max_partition_fetch_bytes=FETCH_BYTES,
            max_poll_records=CHUNKS,
            metadata_max_age_ms=METADATA_MS,
            metrics_enabled=False,
            reconnect_backoff_max_ms=RECONNECT_MS,
            **settings,
        )
    except (KafkaError, OSError) as failed:
        for client_made in clients:
            client_made.close()
        raise KafkaConnectionError(obstacle(settings)) from failed
    made._fetcher.PartitionRecords = ChunkRecords  # noqa: SLF001  # it has no option for this
    return made


def close(made: Consumer) -> None:
    """Leave the group as far as it answers; KafkaError where that failed. The thread and the
    connections end in any case: the client by itself keeps them where its group does not answer."""
    try:
        made.close(timeout_ms=CLOSE_MS)
    finally:
        made._client.close()  # noqa: SLF001  # see above


def connected(made: Consumer) -> bool:
    """Whether any connection to a broker stands."""
    connections = list(made._manager._conns.values())  # noqa: SLF001  # it says so nowhere else
    return any(connection.connected for connection in connections)


def patiently(work: Callable[[], Any], seconds: float) -> Any:
    """What the work gives, tried again while no broker answers; its last KafkaError after that
    time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return work()
        except KafkaError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
