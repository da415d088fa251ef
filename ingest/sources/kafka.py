"""Kafka topics, read as a member of a consumer group; exactly once, whatever fails.

The journal does not keep the messages but where they stand in their topics, in the order in which
they came; a restart reads them again in that order and goes on. Offsets are part of the checkpoint.
The group is told of them as well, once they are in the journal, for tools that show lag and for
other members; they decide only where a partition begins of which we know nothing.

Several members of one group share the partitions, and each has models of its own: it learns the
devices of its partitions, and what it learned stays with it when a partition moves. So let the
device be the key of the messages, or whatever keeps all messages of a device in one partition.
"""

import hashlib
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ingest.rejects import Rejects
from ingest.source import Source
from ingest.sources._kafka_arrivals import Arrivals
from ingest.sources._kafka_columns import filled, runs_of
from ingest.sources._kafka_member import Member
from ingest.sources._kafka_reread import Rereader
from streamgauge.delivery import Delivery, Position
from streamgauge.durations import microseconds
from streamgauge.kafka_access import access, notes_of
from streamgauge.schema import Schema

__all__ = ["notes", "open"]

CODEC = "json"
"""What reads the messages where the configuration names nothing else."""

QUEUE_BYTES = 64_000_000
"""Payload bytes that may wait, whatever their number."""
LEAST_SESSION_MS = 1_000
LEAST_ANSWER_MS, MOST_ANSWER_MS = 5_000, 30_000
"""How long a broker has for an answer: as long as the group waits for us, within these bounds. A
network that is gone, which nobody tells, is noticed by nothing else."""
HEARTBEATS = 3
"""Per session timeout at least."""


def open(  # noqa: A001  # the contract of a source's file
    schema: Schema,
    source_index: int,
    clock: Callable[[], int],
    rejects: Rejects,
    *,
    topics: list[str],
    bootstrap_servers: str = "localhost:9092",
    group: str = "streamgauge",
    instance: str = "",
    start: str = "earliest",
    isolation_level: str = "read_committed",
    session_timeout: str = "45s",
    tls: bool | None = None,
    ca: Path | None = None,
    cert: Path | None = None,
    key: Path | None = None,
    insecure: bool = False,
    sasl: str = "SCRAM-SHA-512",
    username: str = "",
    password: str = "",
    queue: int = 50_000,
) -> Source:
    """Read topics of Kafka.

    - `topics`: their names
    - `bootstrap_servers`: host:port of one broker or, with commas between them, several
    - `group`: the consumer group
    - `instance`: our name in the group; two running instances need two. Left out, it is derived
      from this machine's name, group and topics, and stays the same over restarts, so that a
      restart keeps its partitions.
    - `start`: "earliest" or "latest", for a partition that the group has never read
    - `isolation_level`: "read_committed" leaves out transactions that were aborted, and waits for
      open ones; "read_uncommitted" does neither
    - `session_timeout`: an instance that is silent for so long loses its partitions to others
    - `tls`: left out, TLS is used unless all brokers are on this machine; write false for brokers
      elsewhere that do without. `ca`, `cert`, `key`: PEM files; `insecure` = true accepts any
      certificate.
    - `sasl`: "SCRAM-SHA-512", "SCRAM-SHA-256" or "PLAIN", for `username` and `password`
    - `queue`: messages that may wait for the pipeline; when it is full, fetching pauses

    ValueError on options that mean nothing.
    """
    if not topics or not all(topics):
        raise ValueError('topics is empty; name at least one topic, such as "readings"')
    if start not in {"earliest", "latest"}:
        raise ValueError(f'start = {start!r}; write "earliest" or "latest"')
    if isolation_level not in {"read_committed", "read_uncommitted"}:
        raise ValueError(
            f'isolation_level = {isolation_level!r}; write "read_committed" or "read_uncommitted"'
        )
    session = microseconds(session_timeout) // 1_000
    if session < LEAST_SESSION_MS or queue < 1 or not group:
        raise ValueError("session_timeout must be at least 1s, queue at least 1, group a name")
    reach = access(
        bootstrap_servers, tls=tls, ca=ca, cert=cert, key=key, insecure=insecure,
        sasl=sasl, username=username, password=password,
    )  # fmt: skip
    identity = f"{socket.gethostname()} {group} {sorted(topics)} {source_index}"
    digest = hashlib.blake2b(identity.encode(), digest_size=5).hexdigest()
    answer = min(max(session, LEAST_ANSWER_MS), MOST_ANSWER_MS)
    reading = reach | {"isolation_level": isolation_level, "request_timeout_ms": answer}
    member = reading | {
        "group_id": group,
        "group_instance_id": instance or f"streamgauge-{digest}",
        "session_timeout_ms": session,
        "heartbeat_interval_ms": min(3_000, session // HEARTBEATS),
    }
    arrivals = Arrivals(queue, QUEUE_BYTES, member["group_instance_id"])
    return _KafkaSource(
        source_index, arrivals, Member(member, topics, arrivals, clock, start), Rereader(reading)
    )


def notes(options: Mapping[str, Any]) -> list[str]:
    """What is allowed but may surprise."""
    return notes_of(options, "read")


class _KafkaSource:
    """The member's thread puts records into the arrivals, the worker's thread takes them."""

    finished = False

    def __init__(
        self, source_index: int, arrivals: Arrivals, member: Member, rereader: Rereader
    ) -> None:
        self._source, self._arrivals = source_index, arrivals
        self._member, self._rereader = member, rereader

    def start(self) -> None:
        self._rereader.close()
        self._member.start()

    def resume(self, position: Position) -> None:
        """See `ingest.source.Source`."""
        self._arrivals.resume(position)

    def reread(self, delivery: Delivery) -> Delivery:
        """See `ingest.source.Rereading`."""
        return filled(delivery, self._rereader.read(delivery.runs))

    def take(self, limit: int, timeout: float) -> Delivery | None:
        """See `ingest.source.Source`."""
        taken, token = self._arrivals.take(limit, timeout)
        if not taken:
            return None
        chunks = [chunk for chunk, _ in taken]
        received = [at for chunk, at in taken for _ in range(len(chunk))]
        delivery = Delivery(
            self._source,
            received=received,
            position=self._arrivals.position(),
            tokens=[token],
            runs=runs_of(chunks),
        )
        return filled(delivery, chunks)

    def acknowledge(self, tokens: list[Any]) -> None:
        """See `ingest.source.Source`."""
        for token in tokens:
            self._arrivals.acknowledge(token)

    def state(self) -> dict[str, Any]:
        """See `ingest.source.Source`. `lag` is what the topics hold and we have not fetched, `lost`
        what retention removed before we read it."""
        why = self._rereader.why or self._member.why
        return {
            "ok": not why,
            "why": why,
            "queued": len(self._arrivals),
            "paused": self._member.paused,
            "partitions": self._member.partitions,
            "lag": self._member.lag,
            "tombstones": self._arrivals.tombstones,
            **self._member.counts,
        }

    def stop(self) -> None:
        self._rereader.close()
        self._member.stop()
