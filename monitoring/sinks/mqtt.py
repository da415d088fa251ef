"""Predictions, outcomes and events to an MQTT broker, as JSON on a topic for each device and task.

Published with QoS 1 and again after a reconnect until the broker has it, so that a message may come
twice: its `id` is that of the prediction. What is written: see `_messages.encoded`.
"""

import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from monitoring.sinks._buffered import Buffered
from monitoring.sinks._delivery import MALFORMED, Refused
from monitoring.sinks._messages import KINDS, encoded
from monitoring.sinks._spill import place_of
from streamgauge.brokers import (
    address_of,
    checked_topic,
    lasting_id,
    let_in,
    meet,
)
from streamgauge.output import Output
from streamgauge.schedule import Lane

__all__ = ["Mqtt", "comes_back", "notes", "open"]

TOPIC = "streamgauge/{stream}/{device}/{task}/{kind}"
NOBODY = "_"
"""Level of a topic for what concerns no single device or task."""
WINDOW = 1_000
"""Messages under way to the broker."""
PATIENCE = 0.5
AGAIN = 0.05
"""Seconds that acknowledgements are waited for at a time, and between two times."""

Message = tuple[str, bytes]
"""Topic, payload."""

_PLACES = ("stream", "device", "task", "kind")
_WRITABLE = {ord(c): f"%{ord(c):02X}" for c in "%/+#"}


def open(  # noqa: A001  # the contract of a sink's file
    lanes: Sequence[Lane],
    stream: str,
    folder: Path,
    clock: Callable[[], int],
    *,
    url: str = "mqtt://localhost:1883",
    topic: str = TOPIC,
    kinds: list[str] | None = None,
    retain: bool = False,
    tls: bool | None = None,
    client_id: str = "",
    username: str = "",
    password: str = "",
    ca: Path | None = None,
    cert: Path | None = None,
    key: Path | None = None,
    insecure: bool = False,
    keepalive: int = 30,
    buffer_bytes: int = 100_000_000,
    spill_bytes: int = 1_000_000_000,
) -> "Mqtt":
    """Publish to an MQTT broker. It need not be there: what it cannot take waits.

    - `topic`: {stream}, {device}, {task} and {kind} (prediction, outcome or event) are replaced; a
      device's / + # and % are written %2F and so on, and "_" is what has no device or task
    - `kinds`: which of the three; left out, all
    - `retain`: true = the broker keeps the newest of each topic for those who come later
    - `url`, `tls`, `ca`, `cert`, `key`, `insecure`, `username`, `password`: as of the source
    - `client_id`: left out, derived from this machine's name, the stream and the topic
    - `buffer_bytes`: what may wait in memory, at about 100 bytes per record; from half of it on the
      oldest goes to the disk
    - `spill_bytes`: what may wait on the disk, at about 40 bytes per record; beyond it the oldest
      is dropped and counted. 0 keeps everything in memory.

    What cannot be published at all is appended to `dead.jsonl`, beside what waits on the disk.
    ValueError on options that mean nothing.
    """
    address = address_of(url, tls=tls)
    wanted = KINDS if kinds is None else tuple(kinds)
    if not wanted or set(wanted) - set(KINDS):
        raise ValueError(f"kinds = {list(wanted)}; name some of {', '.join(KINDS)}")
    if keepalive < 1 or keepalive > 65_535:
        raise ValueError(f"keepalive = {keepalive}; write seconds from 1 to 65535")
    checked_topic(_filled(topic, stream, dict.fromkeys(_PLACES, "x")), "topic")
    name = client_id or lasting_id(f"{socket.gethostname()} {stream} {url} {topic}")
    client = Client(CallbackAPIVersion.VERSION2, client_id=name, transport=address.transport)
    client.suppress_exceptions = True
    let_in(client, address, (username, password), (ca, cert, key, insecure))
    client.reconnect_delay_set(1, 30)
    client.max_inflight_messages_set(WINDOW)
    client.connect_async(address.host, address.port, keepalive)
    topics = _Topics(stream, topic, frozenset(wanted))
    broker = _Broker(client, address.url, retain=retain)
    place = folder / "mqtt" / place_of(address.host, str(address.port), topic, *wanted)
    return Mqtt(topics, broker, clock, buffer_bytes, place, spill_bytes)


def notes(options: Mapping[str, Any]) -> list[str]:
    """What is allowed but may surprise."""
    address = address_of(options.get("url", "mqtt://localhost"), tls=options.get("tls"))
    if options.get("tls") is False:
        return [f"mqtt: tls = false: {address.url} is written unencrypted, passwords included"]
    return []


def comes_back(stream: str, options: Mapping[str, Any], source: Mapping[str, Any]) -> str:
    """Why these options would make a source of the same name read what this sink writes; "" where
    it would not."""
    default = "mqtt://localhost:1883"
    ours = address_of(options.get("url", default), tls=options.get("tls"))
    theirs = address_of(source.get("url", default), tls=source.get("tls"))
    if ours.broker != theirs.broker:
        return ""
    topic = options.get("topic", TOPIC)
    levels = [
        "+" if any(f"{{{place}}}" in level for place in _PLACES[1:]) else level
        for level in topic.replace("{stream}", stream).split("/")
    ]
    for one in source.get("topics", []):
        if meet(one, "/".join(levels)):
            return (
                f"{topic!r} is read again by the source's topics {one!r}; "
                "choose a topic that no source reads"
            )
    return ""


def _filled(template: str, stream: str, words: Mapping[str, str]) -> str:
    try:
        return template.format(**{**words, "stream": stream})
    except (KeyError, IndexError, ValueError, AttributeError) as wrong:
        raise ValueError(
            f"topic = {template!r} cannot be filled in; its places are "
            f"{', '.join(f'{{{place}}}' for place in _PLACES)}"
        ) from wrong


class _Messages:
    """Topic and payload of each message of some outputs."""

    def __init__(self, messages: list[Message]) -> None:
        self._messages = messages

    def __len__(self) -> int:
        return len(self._messages)

    def part(self, start: int, stop: int) -> list[Message]:
        """Those from one place to another."""
        return self._messages[start:stop]

    def shown(self, k: int) -> str:
        """One of them."""
        topic, payload = self._messages[k]
        return f"{topic} {payload.decode()}"


class _Topics:
    """Outputs to messages: under each topic what belongs there."""

    def __init__(self, stream: str, topic: str, kinds: frozenset[str]) -> None:
        self._stream, self._topic, self._kinds = stream, topic, kinds

    def encode(self, outputs: Sequence[Output]) -> _Messages:
        """All messages of these outputs, in order."""
        return _Messages(
            [
                (self._place(kind, device, task), payload)
                for output in outputs
                for kind, device, task, _, payload in encoded(output)
                if kind in self._kinds
            ]
        )

    def _place(self, kind: str, device: str, task: str) -> str:
        words = {"kind": kind, "device": device or NOBODY, "task": task or NOBODY}
        fit = {name: word.translate(_WRITABLE) for name, word in words.items()}
        return self._topic.format(**fit, stream=self._stream)


class _Broker:
    """Takes messages and has them once all are acknowledged. What is under way is sent again by the
    client after a reconnect, so a part that is tried again is only waited for."""

    def __init__(self, client: Client, url: str, *, retain: bool) -> None:
        self._client, self.why = client, f"not connected to {url} yet"
        self._url, self._retain = url, retain
        self._part: list[Message] | None = None
        self._under_way: deque[int] = deque()
        self._acknowledged: set[int] = set()
        """Message numbers: those of the part, and which of them the broker has."""
        self._answers = threading.Condition()
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_connect_fail, client.on_publish = self._on_connect_fail, self._on_publish
        client.loop_start()

    def __call__(self, part: list[Message]) -> None:
        """See `_buffered.Server`. A broker that is slow is waited for; one that acknowledges
        nothing for a while is away."""
        if part is not self._part:
            self._part = part
            # What an earlier part has under way is acknowledged by numbers of its own.
            self._acknowledged.clear()
            self._under_way = deque(self._published(topic, payload) for topic, payload in part)
        while self._under_way:
            with self._answers:
                if not self._answers.wait_for(self._is_next_there, PATIENCE):
                    raise Refused(self.why or f"{self._url} does not answer", wait=AGAIN)
            self._under_way.popleft()
        self._part = None

    def _is_next_there(self) -> bool:
        return self._under_way[0] in self._acknowledged

    def _published(self, topic: str, payload: bytes) -> int:
        try:
            return self._client.publish(topic, payload, 1, self._retain).mid
        except ValueError as never:
            self._part = None
            raise Refused(f"no message: {never}", status=MALFORMED[0]) from None

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_publish(self, client: Any, data: Any, number: int, reason: Any, more: Any) -> None:
        with self._answers:
            self._acknowledged.add(number)
            self._answers.notify_all()

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, more: Any) -> None:
        refused = f"{self._url} refuses us: {reason}; check username, password and certificate"
        self.why = refused if reason.is_failure else ""

    def _on_disconnect(self, client: Any, data: Any, flags: Any, reason: Any, more: Any) -> None:
        self.why = self.why or f"connection to {self._url} lost: {reason}"

    def _on_connect_fail(self, client: Any, data: Any) -> None:
        self.why = f"cannot connect to {self._url}: {sys.exception()}; is the broker running?"


class Mqtt(Buffered[list[Message]]):
    """Outputs wait in a bounded buffer; a thread of its own publishes them in order."""

    def __init__(
        self, topics: _Topics, broker: _Broker, clock: Callable[[], int], buffer_bytes: int,
        place: Path, spill_bytes: int,
    ) -> None:  # fmt: skip
        super().__init__(
            topics.encode, broker, clock, name="mqtt sink", batch=WINDOW, buffer_bytes=buffer_bytes,
            place=place, spill_bytes=spill_bytes,
        )  # fmt: skip
        self._broker = broker

    def state(self) -> dict[str, Any]:
        """As `Buffered.state`; not ok either while there is no connection."""
        found = super().state()
        why = found["why"] or self._broker.why
        return {**found, "ok": not why, "why": why}
