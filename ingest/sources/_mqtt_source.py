"""One connection to an MQTT broker as a source."""

import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.reasoncodes import ReasonCode

from ingest.rejects import Rejects
from ingest.sources._inbox import Inbox, PassedOver
from ingest.sources._mqtt_client import DurableClient, make_client, protocol_of, subscription
from ingest.sources._turns import Turns
from streamgauge.brokers import Address, Will
from streamgauge.delivery import Delivery, Position

__all__ = ["MqttSource", "Options"]

QUEUE_BYTES = 256_000_000
"""Payload bytes that may wait, whatever their number."""
SHOWN = 1_024
LOOK_EVERY = 0.5
"""Seconds between two looks of the watchdog."""


@dataclass(frozen=True, slots=True)
class Options:
    """What one connection is made of."""

    address: Address
    topics: list[str]
    client_id: str
    login: tuple[str, str] = field(repr=False)
    tls: tuple[Path | None, Path | None, Path | None, bool]
    version: str
    qos: int
    clean: bool
    keepalive: int
    will: Will | None
    silent_after: float
    """Seconds; 0 = for ever."""
    queue: int
    max_bytes: int


class MqttSource:
    """The client's thread puts messages into the inbox, the worker's thread takes them, and looks
    after the client meanwhile."""

    finished = False

    def __init__(
        self, options: Options, source_index: int, clock: Callable[[], int], rejects: Rejects
    ) -> None:
        protocol = protocol_of(options.version)
        client = make_client(
            options.address,
            client_id=options.client_id,
            protocol=protocol,
            clean=options.clean,
            keepalive=options.keepalive,
            window=options.queue,
            login=options.login,
            tls=options.tls,
            will=options.will,
        )
        self._client: DurableClient = client
        self._options, self._url = options, options.address.url
        self._wanted: Any = subscription(options.topics, options.qos, protocol)
        self._source, self._clock, self._rejects = source_index, clock, rejects
        self._patience, self._max_bytes = options.keepalive / 4, options.max_bytes
        self._inbox, self._stopping = Inbox(options.queue, QUEUE_BYTES), threading.Event()
        self._turns = Turns(client.ack)
        self._traces: dict[int, str] = {}
        """By identity of payloads that are in the inbox."""
        self._deaf = False
        self._heard = self._looked = time.monotonic()
        self._connected, self._why = False, f"not connected to {self._url} yet"
        self._connections, self._cut_for = 0, ""
        words = ("received", "dropped_qos0", "dropped_clean", "retained", "severed")
        self._counts = dict.fromkeys((*words, "silences", "revived"), 0)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_connect_fail, client.on_subscribe = self._on_connect_fail, self._on_subscribe
        client.on_message = self._on_message

    def start(self) -> None:
        self._client.loop_start()

    def resume(self, position: Position) -> None:
        """MQTT has no positions: the broker keeps what was never acknowledged."""

    def stop(self) -> None:
        self._stopping.set()
        will = self._options.will
        if will is not None and self._connected:
            # A broker tells the last will only of those who go without a word.
            self._client.publish(will.topic, will.payload, 1, will.retain)
        self._client.disconnect()
        self._client.loop_stop()
        self._connected, self._why = False, "stopped"

    def take(self, limit: int, timeout: float) -> Delivery | None:
        """See `ingest.source.Source`."""
        now = time.monotonic()
        if now - self._looked > LOOK_EVERY:
            self._looked = now
            self._look_after(now)
        taken = self._inbox.take(limit, timeout)
        for it in taken.passed_over:
            self._rejects.add(
                it.reason, it.detail, received=it.received, topic=it.topic, payload=it.payload
            )
        if not taken.messages:
            self._turns.without_delivery(taken.tokens)
            return None
        topics, payloads, received, *_ = map(list, zip(*taken.messages, strict=True))
        tokens = self._turns.with_delivery(taken.tokens)
        known = self._traces
        traces = [known.pop(id(one)) for one in payloads if id(one) in known] if known else []
        return Delivery(
            self._source, payloads, topics, received, tokens=tokens, retained=taken.retained,
            traces=traces,
        )  # fmt: skip

    def acknowledge(self, tokens: list[Any]) -> None:
        """See `ingest.source.Source`; tokens of a connection that is gone are let go."""
        self._turns.acknowledge(tokens)

    def send(self, topic: str, payload: bytes) -> None:
        """See `ingest.source.Replying`; with QoS 0: who does not hear it is asked again."""
        with suppress(ValueError):
            self._client.publish(topic, payload, 0)

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

    def _look_after(self, now: float) -> None:
        """Revive a client whose thread died, and connect anew where nothing comes any more."""
        if self._stopping.is_set():
            return
        if not self._client.running:
            self._counts["revived"] += 1
            self._cut("its network thread had died")
            self._client.loop_stop()
            self._client.loop_start()
        silent = self._options.silent_after
        if self._connected and silent and now - self._heard > silent:
            self._heard = now
            self._counts["silences"] += 1
            self._cut(f"nothing came for {silent:g} s (silent_after)")

    def _cut(self, why: str) -> None:
        """Cut the connection, so that the client connects anew."""
        self._cut_for = why
        connection: Any = self._client.socket()
        # A websocket wraps the socket that is meant.
        connection = getattr(connection, "_socket", connection)
        if isinstance(connection, socket.socket):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    # What follows runs in the client's thread.

    def _on_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        payload, inbox = bytes(message.payload), self._inbox
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        if (
            self._deaf
            or not topic.isprintable()
            or not topic
            or len(payload) > self._max_bytes
            or inbox.full
        ):
            self._unusual(client, message, topic)
            return
        self._counts["received"] += 1
        put = inbox.put
        if message.retain:
            self._counts["retained"] += 1
            put = inbox.put_retained
        self._heard = time.monotonic()
        if trace := _trace_of(message):
            self._traces[id(payload)] = trace
        put(topic, payload, self._clock(), self._turns.token(message.mid, message.qos))

    def _unusual(self, client: Client, message: MQTTMessage, topic: str) -> None:
        if self._deaf or (self._inbox.full and not self._room_for(message)):
            return
        size = len(message.payload)
        if not topic or not topic.isprintable():
            reason = "malformed"
            detail = "the topic is not UTF-8, or has control characters"
        elif size > self._max_bytes:
            reason = "too_large"
            detail = f"{size:,} bytes, more than max_bytes = {self._max_bytes:,}"
        else:
            self._on_message(client, None, message)
            return
        shown = topic if topic.isprintable() else repr(topic)
        why = PassedOver(self._clock(), shown, reason, detail, bytes(message.payload[:SHOWN]))
        self._inbox.pass_over(why, self._turns.token(message.mid, message.qos))

    def _room_for(self, message: MQTTMessage) -> bool:
        """Whether room came. QoS 0 is dropped at once; what the broker keeps waits, then its
        connection is cut, so that the broker sends it again."""
        if message.qos == 0:
            self._counts["dropped_qos0"] += 1
            return False
        if self._inbox.wait_for_room(self._patience, self._stopping):
            return True
        self._counts["severed"] += 1
        self._counts["dropped_clean"] += self._options.clean
        self._deaf = True
        self._cut("the queue was full for too long")
        return False

    def _on_connect(
        self, client: Client, userdata: Any, flags: ConnectFlags, reason: ReasonCode, more: Any
    ) -> None:
        if reason.is_failure:
            advice = "check username, password, certificate and client_id"
            self._why = f"{self._url} refuses us: {reason}; {advice}"
            return
        self._turns.new_connection()
        self._connections += 1
        self._deaf, self._cut_for, self._heard = False, "", time.monotonic()
        self._connected, self._why = True, "waiting for the subscription"
        client.subscribe(self._wanted)
        will = self._options.will
        if will is not None:
            client.publish(will.topic, will.online, 1, will.retain)

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
            why = self._cut_for or str(reason)
            self._connected, self._why = False, f"connection to {self._url} lost: {why}"

    def _on_connect_fail(self, client: Client, userdata: Any) -> None:
        # The client calls this while it handles the error, which it tells nobody.
        self._why = f"cannot connect to {self._url}: {sys.exception()}; is the broker running?"


def _trace_of(message: MQTTMessage) -> str:
    """The `traceparent` among the user properties of MQTT 5; "" where there is none."""
    given = getattr(message.properties, "UserProperty", ())
    return next((str(value) for name, value in given if name == "traceparent"), "")
