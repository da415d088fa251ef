"""MQTT 3.1.1 and 5, QoS 0 and 1, over TCP or TLS.

Messages of QoS 1 are acknowledged when the pipeline says that they are durable, in the order in
which they arrived. A broker that is absent, restarts or refuses is tried again for ever. Retained
messages repeat something old without saying how old: they are counted, not read.
"""

import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.reasoncodes import ReasonCode

from ingest.rejects import Rejects
from ingest.source import Source
from ingest.sources._inbox import Inbox, PassedOver
from ingest.sources._mqtt_client import (
    address_of,
    checked_topics,
    make_client,
    protocol_of,
    subscription,
)
from ingest.sources._turns import Turns
from streamgauge.delivery import Delivery, Position
from streamgauge.schema import Schema

__all__ = ["open"]

CODEC = "json"
"""What reads the messages where the configuration names nothing else."""

QUEUE_BYTES = 256_000_000
"""Payload bytes that may wait, whatever their number."""
SHOWN = 1_024


def open(  # noqa: A001  # the contract of a source's file
    schema: Schema,
    source_index: int,
    clock: Callable[[], int],
    rejects: Rejects,
    *,
    topics: list[str],
    url: str = "mqtt://localhost:1883",
    client_id: str = "",
    username: str = "",
    password: str = "",
    ca: str = "",
    cert: str = "",
    key: str = "",
    insecure: bool = False,
    version: str = "3.1.1",
    qos: int = 1,
    clean: bool = False,
    keepalive: int = 30,
    queue: int = 20_000,
    max_bytes: int = 1_000_000,
) -> Source:
    """Subscribe to an MQTT broker.

    - `topics`: filters; + is one level, # all the rest
    - `url`: mqtt://host:port, or mqtts://host:port for TLS with `ca`, `cert`, `key` (PEM files);
      `insecure` = true accepts any certificate
    - `client_id`: two running instances need two; left out, it is derived from this machine's
      name, url and topics, and stays the same over restarts
    - `qos`: 0 or 1
    - `clean`: false = the broker keeps what comes while we are away
    - `queue`: messages that may wait for the pipeline. When it is full, QoS 0 messages are dropped
      and counted; QoS 1 messages wait with the broker.
    - `max_bytes`: longer messages are rejected

    ValueError on options that mean nothing.
    """
    if qos not in (0, 1):
        raise ValueError(f"qos = {qos}; write 0 or 1 (QoS 2 does not outlive a crash, 1 does)")
    if min(keepalive, queue, max_bytes) < 1 or keepalive > 65_535:
        raise ValueError("keepalive (seconds, to 65535), queue and max_bytes must be at least 1")
    address, protocol = address_of(url), protocol_of(version)
    filters = checked_topics(topics)
    client = make_client(
        address,
        client_id=client_id,
        identity=f"{socket.gethostname()} {url} {sorted(filters)} {source_index}",
        protocol=protocol,
        clean=clean,
        keepalive=keepalive,
        window=queue,
        login=(username, password),
        tls=(ca, cert, key, insecure),
    )
    return _MqttSource(
        client, source_index, clock, rejects,
        url=url, wanted=subscription(filters, qos, protocol), persistent=not clean,
        patience=keepalive / 4, queue=queue, max_bytes=max_bytes,
    )  # fmt: skip


class _MqttSource:
    """The client's thread puts messages into the inbox, the worker's thread takes them."""

    finished = False

    def __init__(
        self,
        client: Client,
        source_index: int,
        clock: Callable[[], int],
        rejects: Rejects,
        *,
        url: str,
        wanted: Any,
        persistent: bool,
        patience: float,
        queue: int,
        max_bytes: int,
    ) -> None:
        self._client, self._source, self._clock = client, source_index, clock
        self._rejects, self._url, self._wanted = rejects, url, wanted
        self._persistent, self._patience, self._max_bytes = persistent, patience, max_bytes
        self._inbox, self._stopping = Inbox(queue, QUEUE_BYTES), threading.Event()
        self._turns = Turns(client.ack)
        self._deaf = False
        self._connected, self._why, self._connections = False, f"not connected to {url} yet", 0
        self._counts = dict.fromkeys(
            ("received", "dropped_qos0", "dropped_clean", "retained", "severed"), 0
        )
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_connect_fail, client.on_subscribe = self._on_connect_fail, self._on_subscribe
        client.on_message = self._on_message

    def start(self) -> None:
        self._client.loop_start()

    def resume(self, position: Position) -> None:
        """MQTT has no positions: the broker keeps what was never acknowledged."""

    def stop(self) -> None:
        self._stopping.set()
        self._client.disconnect()
        self._client.loop_stop()
        self._connected, self._why = False, "stopped"

    def take(self, limit: int, timeout: float) -> Delivery | None:
        """See `ingest.source.Source`."""
        messages, passed_over, tokens = self._inbox.take(limit, timeout)
        for it in passed_over:
            if it.reason:
                self._rejects.add(
                    it.reason, it.detail, received=it.received, topic=it.topic, payload=it.payload
                )
        if not messages:
            self._turns.without_delivery(tokens)
            return None
        topics, payloads, received, _ = map(list, zip(*messages, strict=True))
        tokens = self._turns.with_delivery(tokens)
        return Delivery(self._source, payloads, topics, received, tokens=tokens)

    def acknowledge(self, tokens: list[Any]) -> None:
        """See `ingest.source.Source`; tokens of a connection that is gone are let go."""
        self._turns.acknowledge(tokens)

    def state(self) -> dict[str, Any]:
        """See `ingest.source.Source`."""
        return {
            "ok": self._connected and not self._why,
            "why": self._why,
            "connected": self._connected,
            "queued": len(self._inbox),
            "reconnects": max(0, self._connections - 1),
            "stale_acks": self._turns.stale,
            **self._counts,
        }

    # What follows runs in the client's thread.

    def _on_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        payload, inbox = bytes(message.payload), self._inbox
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        if (
            message.retain
            or not topic
            or self._deaf
            or len(payload) > self._max_bytes
            or inbox.full
        ):
            self._unusual(client, message, topic)
            return
        self._counts["received"] += 1
        inbox.put(topic, payload, self._clock(), self._turns.token(message.mid, message.qos))

    def _unusual(self, client: Client, message: MQTTMessage, topic: str) -> None:
        if self._deaf or (self._inbox.full and not self._room_for(client, message)):
            return
        size, detail = len(message.payload), ""
        if message.retain:
            self._counts["retained"] += 1
            reason = ""
        elif not topic:
            reason, detail = "malformed", "the topic is not UTF-8"
        elif size > self._max_bytes:
            reason = "too_large"
            detail = f"{size:,} bytes, more than max_bytes = {self._max_bytes:,}"
        else:
            self._on_message(client, None, message)
            return
        why = PassedOver(self._clock(), topic, reason, detail, bytes(message.payload[:SHOWN]))
        self._inbox.pass_over(why, self._turns.token(message.mid, message.qos))

    def _room_for(self, client: Client, message: MQTTMessage) -> bool:
        """Whether room came. QoS 0 is dropped at once; QoS 1 waits, then its connection is cut, so
        that the broker keeps it and sends it again."""
        if message.qos == 0:
            self._counts["dropped_qos0"] += 1
            return False
        if self._inbox.wait_for_room(self._patience, self._stopping):
            return True
        self._counts["severed"] += 1
        self._counts["dropped_clean"] += not self._persistent
        self._deaf = True
        connection = client.socket()
        if isinstance(connection, socket.socket):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        return False

    def _on_connect(
        self, client: Client, userdata: Any, flags: ConnectFlags, reason: ReasonCode, more: Any
    ) -> None:
        if reason.is_failure:
            advice = "check username, password and client_id"
            self._why = f"{self._url} refuses us: {reason}; {advice}"
            return
        self._turns.new_connection()
        self._connections += 1
        self._deaf = False
        self._connected, self._why = True, "waiting for the subscription"
        client.subscribe(self._wanted)

    def _on_subscribe(
        self, client: Client, userdata: Any, mid: int, reasons: list[ReasonCode], more: Any
    ) -> None:
        refused = [
            f"{wanted[0]} ({reason})"
            for wanted, reason in zip(self._wanted, reasons, strict=False)
            if reason.is_failure
        ]
        problem = f"{self._url} refuses the subscription to {', '.join(refused)}"
        self._why = problem if refused else ""

    def _on_disconnect(
        self, client: Client, userdata: Any, flags: DisconnectFlags, reason: ReasonCode, more: Any
    ) -> None:
        self._turns.new_connection()
        if self._connected:
            self._connected, self._why = False, f"connection to {self._url} lost: {reason}"

    def _on_connect_fail(self, client: Client, userdata: Any) -> None:
        # The client calls this while it handles the error, which it tells nobody.
        self._why = f"cannot connect to {self._url}: {sys.exception()}; is the broker running?"
