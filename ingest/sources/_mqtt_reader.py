"""A process that reads one MQTT connection and hands what came over a pipe.

The owner gives credit, one delivery each, and acknowledges deliveries by their number; how many
messages wait here without credit is bounded by the queue, as in the owner's own process.
"""

import signal
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

import msgspec

from ingest.rejects import Reject, Rejects
from ingest.sources._mqtt_source import MqttSource, Options
from streamgauge.delivery import Delivery

__all__ = ["ACKNOWLEDGE", "CREDIT", "LIMIT", "SEND", "STOP", "Report", "serve"]

ACKNOWLEDGE, CREDIT, SEND, STOP = range(4)
"""Orders: with the number of a delivery, None, topic and payload, None."""
LIMIT = 4_096
"""Messages of one delivery at most."""
WAIT = 0.02
BREATH = 0.004
"""Seconds between two deliveries: the pipe is for batches, and a lone message goes at once."""
TELL_EVERY = 0.2
"""Seconds between two reports where nothing comes."""


class Report(msgspec.Struct, array_like=True, gc=False):
    """What the process tells its owner: a delivery, unless `number` is 0, its state, and what it
    rejected: received, reason, detail, topic, payload."""

    number: int
    payloads: list[bytes]
    topics: list[str]
    received: list[int]
    retained: bool
    state: dict[str, bool | int | str]
    rejected: list[tuple[int, str, str, str, bytes]]


def serve(pipe: Connection, options: Options) -> None:
    """Read until told to stop, or until the owner is gone. Receives are stamped with this
    machine's clock, microseconds UTC."""
    # A terminal tells the whole group; the owner decides what happens to us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    reader = _Reader(pipe, options)
    orders = threading.Thread(target=reader.obey, daemon=True)
    reader.source.start()
    orders.start()
    try:
        reader.report()
    except OSError:
        # The owner is gone: what it did not acknowledge comes again.
        pass
    finally:
        reader.source.stop()


class _Reader:
    def __init__(self, pipe: Connection, options: Options) -> None:
        self._pipe = pipe
        self._rejected: list[Reject] = []
        rejects = Rejects(self._rejected.append)
        self.source = MqttSource(options, 0, lambda: time.time_ns() // 1_000, rejects)
        self._credit = threading.Semaphore(0)
        self._stopping = threading.Event()
        self._tokens: dict[int, list[Any]] = {}

    def obey(self) -> None:
        """Take the owner's orders; in a thread, so that an acknowledgement waits for nothing."""
        while not self._stopping.is_set():
            try:
                order, about = msgspec.msgpack.decode(self._pipe.recv_bytes())
            except (EOFError, OSError):
                order, about = STOP, None
            if order == ACKNOWLEDGE:
                self.source.acknowledge(self._tokens.pop(about))
            elif order == SEND:
                self.source.send(*about)
            elif order == CREDIT:
                self._credit.release()
            else:
                self._stopping.set()

    def report(self) -> None:
        """Hand over what comes, as the owner gives credit."""
        number, told = 0, time.monotonic()
        said: dict[str, Any] = {}
        while not self._stopping.is_set():
            delivery = None
            if self._credit.acquire(timeout=WAIT):
                delivery = self.source.take(LIMIT, WAIT)
                if delivery is None:
                    self._credit.release()
            now, state = time.monotonic(), self.source.state()
            if delivery is not None:
                number += 1
                self._tokens[number] = delivery.tokens
            elif not self._rejected and (now - told < TELL_EVERY or state == said):
                continue
            said, told = state, now
            self._tell(number if delivery else 0, delivery or Delivery(), state)
            if delivery is not None:
                self._stopping.wait(BREATH)

    def _tell(self, number: int, delivery: Delivery, state: dict[str, Any]) -> None:
        rejected = [(r.received, r.reason, r.detail, r.topic, r.payload) for r in self._rejected]
        self._rejected.clear()
        report = Report(
            number, delivery.payloads, delivery.topics, delivery.received, delivery.retained,
            state, rejected,
        )  # fmt: skip
        self._pipe.send_bytes(msgspec.msgpack.encode(report))
