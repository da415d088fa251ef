"""Predictions, outcomes and events to Kafka, as JSON with the device for a key; at least once.

Written by an idempotent producer that waits for all replicas, and again where that failed, so that
a record may come twice: its `id` (also a header) is that of the prediction. What is written: see
`_messages.encoded`.
"""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError
from kafka.net.compat import KafkaNetClient
from kafka.net.inet import KafkaNetSocket

from monitoring.sinks._messages import KINDS, Encoded, encoded
from monitoring.sinks._outbox import GaveUp, Outbox
from streamgauge.kafka_access import access, addresses, close_what_fails, notes_of, obstacle
from streamgauge.output import Output
from streamgauge.schedule import Lane

__all__ = ["Kafka", "comes_back", "notes", "open"]

close_what_fails(KafkaNetSocket)

TOPIC = "streamgauge.{stream}.{kind}"
LONGEST_TOPIC = 249
BATCH = 2_000
"""Records handed to the producer before their answers are waited for."""
TRY_MS = 2_000
WAIT = 0.2
PATIENCE = 25
"""Waits for an answer before we say that there is none."""
RETRY = 1.0
"""Seconds between two tries to reach Kafka."""
_UNFIT = re.compile(r"[^a-zA-Z0-9._-]")


def open(  # noqa: A001  # the contract of a sink's file
    lanes: Sequence[Lane],
    stream: str,
    folder: Path,
    clock: Callable[[], int],
    *,
    bootstrap_servers: str = "localhost:9092",
    topic: str = TOPIC,
    kinds: list[str] | None = None,
    tls: bool | None = None,
    ca: str = "",
    cert: str = "",
    key: str = "",
    insecure: bool = False,
    sasl: str = "SCRAM-SHA-512",
    username: str = "",
    password: str = "",
    buffer_bytes: int = 100_000_000,
) -> "Kafka":
    """Write to Kafka. It need not be there: what it cannot take waits.

    - `topic`: {stream} and {kind} (prediction, outcome or event) are replaced; characters that no
      topic may have become "_". The topics must be there, unless the brokers make them.
    - `kinds`: which of the three; left out, all
    - `bootstrap_servers`, `tls`, `ca`, `cert`, `key`, `insecure`, `sasl`, `username`, `password`:
      as of the source
    - `buffer_bytes`: what may wait, at about 100 bytes per record; beyond it the oldest is dropped
      and counted

    ValueError on options that mean nothing.
    """
    reach = access(
        bootstrap_servers, tls=tls, ca=ca, cert=cert, key=key, insecure=insecure,
        sasl=sasl, username=username, password=password,
    )  # fmt: skip
    wanted = KINDS if kinds is None else tuple(kinds)
    if not wanted or set(wanted) - set(KINDS):
        raise ValueError(f"kinds = {list(wanted)}; name some of {', '.join(KINDS)}")
    topics = {kind: _topic(topic, stream, kind) for kind in wanted}
    return Kafka(_Writing(reach, topics), clock, buffer_bytes)


def notes(options: Mapping[str, Any]) -> list[str]:
    """What is allowed but may surprise."""
    return notes_of(options, "written")


def comes_back(stream: str, options: Mapping[str, Any], source: Mapping[str, Any]) -> str:
    """Why these options would make a source of the same name read what this sink writes; "" where
    it would not."""
    default, wanted = "localhost:9092", options.get("kinds") or KINDS
    ours = addresses(options.get("bootstrap_servers", default))
    if not set(ours) & set(addresses(source.get("bootstrap_servers", default))):
        return ""
    topic = options.get("topic", TOPIC)
    both = {_topic(topic, stream, kind) for kind in wanted} & set(source.get("topics", []))
    if not both:
        return ""
    return f"{', '.join(sorted(both))} is read again by the source; choose another topic"


def _topic(template: str, stream: str, kind: str) -> str:
    try:
        filled = _UNFIT.sub("_", template.format(stream=stream, kind=kind))
    except (KeyError, IndexError, ValueError, AttributeError) as wrong:
        raise ValueError(
            f"topic = {template!r} cannot be filled in; its places are {{stream}} and {{kind}}"
        ) from wrong
    if not filled.strip(".") or len(filled) > LONGEST_TOPIC:
        raise ValueError(f"topic = {template!r} is no topic; write 1 to {LONGEST_TOPIC} characters")
    return filled


class _Writing:
    """Brings outputs to Kafka; `send` returns once it has them all."""

    def __init__(self, settings: dict[str, Any], topics: Mapping[str, str]) -> None:
        self.stop = threading.Event()
        self.why = ""
        self.counts = {"sent_total": 0, "dead_total": 0}
        self._settings, self._topics = settings, topics
        self._producer: Any = None

    def send(self, outputs: Sequence[Output]) -> None:
        """Write all of them; GaveUp when told to stop before Kafka has them."""
        waiting: list[Encoded] = []
        for output in outputs:
            for one in encoded(output):
                if one[0] in self._topics:
                    waiting.append(one)
                if len(waiting) >= BATCH:
                    self._until_there(waiting)
                    waiting = []
        self._until_there(waiting)

    def close(self) -> None:
        """End the producer; what it was not able to write is given up."""
        if self._producer is not None:
            self._producer.close(timeout=0)

    def _until_there(self, waiting: list[Encoded]) -> None:
        while waiting:
            try:
                waiting = self._try(waiting)
                self.why = ""
            except KafkaError as failed:
                self.why = f"cannot write to Kafka: {failed or type(failed).__name__}"
            if waiting and self.stop.wait(RETRY):
                raise GaveUp

    def _try(self, waiting: list[Encoded]) -> list[Encoded]:
        """Write these; those that must be written again."""
        if self._producer is None:
            self._producer = _producer(self._settings)
        sent = [(one, self._producer.send(**self._record(one))) for one in waiting]
        self._answered()
        again = []
        for one, answer in sent:
            if answer.succeeded():
                self.counts["sent_total"] += 1
            elif isinstance(answer.exception, MessageSizeTooLargeError):
                self.counts["dead_total"] += 1
            else:
                again.append(one)
        return again

    def _record(self, one: Encoded) -> dict[str, Any]:
        kind, device, _, name, payload = one
        headers = [("id", name.encode()), ("kind", kind.encode())]
        key = device.encode() or None
        return {"topic": self._topics[kind], "value": payload, "key": key, "headers": headers}

    def _answered(self) -> None:
        """Wait until every record was answered for; GaveUp when told to stop before."""
        waits = 0
        while True:
            try:
                self._producer.flush(timeout=WAIT)
            except KafkaTimeoutError:
                if self.stop.is_set():
                    raise GaveUp from None
                waits += 1
                if waits % PATIENCE == 0:
                    self.why = f"no answer from Kafka: {obstacle(self._settings)}"
            else:
                return


def _producer(settings: dict[str, Any]) -> Any:
    clients: list[Any] = []

    def client(**given: Any) -> Any:
        clients.append(KafkaNetClient(**given))
        return clients[-1]

    try:
        return KafkaProducer(
            client_id="streamgauge",
            kafka_client=client,
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            bootstrap_timeout_ms=TRY_MS,
            max_block_ms=TRY_MS,
            reconnect_backoff_max_ms=TRY_MS,
            metrics_enabled=False,
            **settings,
        )
    except (KafkaError, OSError) as failed:
        for one in clients:
            one.close()
        raise KafkaError(obstacle(settings)) from failed


class Kafka:
    """Outputs wait in a bounded buffer; a thread of its own writes them in order."""

    def __init__(self, writing: _Writing, clock: Callable[[], int], buffer_bytes: int) -> None:
        self._writing = writing
        self._outbox = Outbox(
            "kafka sink", writing, writing.stop, clock, batch=BATCH, buffer_bytes=buffer_bytes
        )
        self.write, self.flush = self._outbox.write, self._outbox.flush

    def state(self) -> dict[str, Any]:
        """As `Outbox.state`; also records `sent_total`, and `dead_total` that were too large."""
        return {**self._outbox.state(), **self._writing.counts}

    def close(self, timeout: float = 5.0) -> None:
        """Write what waits if Kafka takes it, then end; the rest is dropped and counted."""
        self._outbox.close(timeout)
        self._writing.close()
