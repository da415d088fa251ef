"""Predictions, outcomes and events to Kafka, as JSON with the device for a key; at least once.

Written by an idempotent producer that waits for all replicas, and again where that failed, so that
a record may come twice: its `id` (also a header) is that of the prediction. What is written: see
`_messages.encoded`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError
from kafka.net.compat import KafkaNetClient
from kafka.net.inet import KafkaNetSocket

from monitoring.sinks._buffered import Buffered
from monitoring.sinks._delivery import MALFORMED, Refused
from monitoring.sinks._messages import KINDS, Encoded, encoded
from monitoring.sinks._spill import place_of
from streamgauge.kafka_access import access, addresses, close_what_fails, notes_of, obstacle
from streamgauge.output import Output
from streamgauge.schedule import Lane

__all__ = ["comes_back", "notes", "open"]

close_what_fails(KafkaNetSocket)

TOPIC = "streamgauge.{stream}.{kind}"
LONGEST_TOPIC = 249
BATCH = 2_000
"""Records handed to the producer before their answers are waited for."""
TRY_MS = 2_000
PATIENCE = 5.0
"""Seconds that answers are waited for before we say that there are none."""
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
    ca: Path | None = None,
    cert: Path | None = None,
    key: Path | None = None,
    insecure: bool = False,
    sasl: str = "SCRAM-SHA-512",
    username: str = "",
    password: str = "",
    buffer_bytes: int = 100_000_000,
    spill_bytes: int = 1_000_000_000,
) -> Buffered[list[Encoded]]:
    """Write to Kafka. It need not be there: what it cannot take waits.

    - `topic`: {stream} and {kind} (prediction, outcome or event) are replaced; characters that no
      topic may have become "_". The topics must be there, unless the brokers make them.
    - `kinds`: which of the three; left out, all
    - `bootstrap_servers`, `tls`, `ca`, `cert`, `key`, `insecure`, `sasl`, `username`, `password`:
      as of the source
    - `buffer_bytes`: what may wait in memory, at about 100 bytes per record; from half of it on the
      oldest goes to the disk
    - `spill_bytes`: what may wait on the disk, at about 40 bytes per record; beyond it the oldest
      is dropped and counted. 0 keeps everything in memory.

    What Kafka never takes is appended to `dead.jsonl`, beside what waits on the disk. ValueError on
    options that mean nothing.
    """
    reach = access(
        bootstrap_servers, tls=tls, ca=ca, cert=cert, key=key, insecure=insecure,
        sasl=sasl, username=username, password=password,
    )  # fmt: skip
    wanted = KINDS if kinds is None else tuple(kinds)
    if not wanted or set(wanted) - set(KINDS):
        raise ValueError(f"kinds = {list(wanted)}; name some of {', '.join(KINDS)}")
    topics = {kind: _topic(topic, stream, kind) for kind in wanted}
    brokers = _Brokers(reach, topics)
    place = folder / "kafka" / place_of(*addresses(bootstrap_servers), topic, *wanted)
    return Buffered(
        brokers.encode, brokers, clock, name="kafka sink", batch=BATCH, buffer_bytes=buffer_bytes,
        place=place, spill_bytes=spill_bytes,
    )  # fmt: skip


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


class _Records:
    """The records of some outputs, in order."""

    def __init__(self, records: list[Encoded]) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def part(self, start: int, stop: int) -> list[Encoded]:
        """Those from one place to another."""
        return self._records[start:stop]

    def shown(self, k: int) -> str:
        """The JSON of one of them."""
        return self._records[k][-1].decode()


class _Brokers:
    """Takes records and has them once all are acknowledged. Of a part that is tried again, whole or
    cut, only what failed is sent again: what is written is, and what is under way may yet be."""

    def __init__(self, settings: dict[str, Any], topics: Mapping[str, str]) -> None:
        self._settings, self._topics = settings, topics
        self._sent: dict[int, tuple[Encoded, Any]] = {}
        """By identity a record and its answer, while others of the same part have none."""
        self._producer: Any = None

    def encode(self, outputs: Sequence[Output]) -> _Records:
        """The records of these outputs; of those before them nothing is sent again."""
        self._sent.clear()
        every = (one for output in outputs for one in encoded(output))
        return _Records([one for one in every if one[0] in self._topics])

    def __call__(self, part: list[Encoded]) -> None:
        """See `_buffered.Server`."""
        try:
            too_large = self._write(part)
        except KafkaError as failed:
            why = f"cannot write to Kafka: {failed or type(failed).__name__}"
            raise Refused(why, wait=RETRY) from failed
        if too_large:
            raise Refused(f"too large for Kafka: {too_large}", status=MALFORMED[0])
        for one in part:
            self._sent.pop(id(one), None)

    def close(self) -> None:
        """End the producer; what it was not able to write is given up."""
        if self._producer is None:
            return
        with suppress(KafkaTimeoutError):
            self._producer.close(timeout=0)
            return
        # What nobody answered for keeps the producer from closing, until its sender gives it up.
        sender = self._producer._sender  # noqa: SLF001 - there is no other way to end it
        sender.force_close()
        sender.join()
        self._producer.close(timeout=0)

    def _write(self, records: list[Encoded]) -> str:
        """Write these; why one of them is too large, "" where none is. KafkaError where some were
        not written for another reason."""
        if self._producer is None:
            self._producer = _producer(self._settings)
        failed: list[Exception] = []
        for one in records:
            if id(one) in self._sent:
                continue
            try:
                self._sent[id(one)] = (one, self._producer.send(**self._record(one)))
            except MessageSizeTooLargeError as refused:
                failed.append(refused)
        self._answered()
        for one in records:
            _, answer = self._sent.get(id(one), (one, None))
            if answer is not None and not answer.succeeded():
                failed.append(answer.exception)
                del self._sent[id(one)]
        others = [one for one in failed if not isinstance(one, MessageSizeTooLargeError)]
        if others:
            raise KafkaError(str(others[0])) from others[0]
        return str(failed[0]) if failed else ""

    def _record(self, one: Encoded) -> dict[str, Any]:
        kind, device, _, name, payload = one
        headers = [("id", name.encode()), ("kind", kind.encode())]
        key = device.encode() or None
        return {"topic": self._topics[kind], "value": payload, "key": key, "headers": headers}

    def _answered(self) -> None:
        """Wait until every record was answered for."""
        try:
            self._producer.flush(timeout=PATIENCE)
        except KafkaTimeoutError:
            raise KafkaError(f"no answer: {obstacle(self._settings)}") from None


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
