"""Several MQTT connections, each read by a process of its own, as one source."""

import multiprocessing
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any

import msgspec

from ingest.rejects import Rejects
from ingest.sources._mqtt_reader import ACKNOWLEDGE, CREDIT, SEND, STOP, Report, serve
from ingest.sources._mqtt_source import Options
from streamgauge.delivery import Delivery, Position

__all__ = ["Readers"]

AHEAD = 2
"""Deliveries that a reader may send before the first of them is taken."""
AGAIN_AFTER = 1.0
"""Seconds before a reader that died is started again."""
STOP_SECONDS = 5.0

Token = tuple[int, int, int]
"""Reader, which of its processes, number of its delivery."""

_decode = msgspec.msgpack.Decoder(Report).decode


class Readers:
    """Needs no thread: what waits in the pipes is taken by the worker. A reader that dies is
    started again, and the broker sends again what it had not acknowledged."""

    finished = False

    def __init__(self, parts: Sequence[Options], source_index: int, rejects: Rejects) -> None:
        self._source, self._rejects = source_index, rejects
        self._readers = [_Process(options, k) for k, options in enumerate(parts)]
        self._parts: deque[Delivery] = deque()
        self._turn = 0
        self._stale = 0

    def start(self) -> None:
        for reader in self._readers:
            reader.start()

    def resume(self, position: Position) -> None:
        """See `_mqtt_source`."""

    def take(self, limit: int, timeout: float) -> Delivery | None:
        """See `ingest.source.Source`."""
        if not self._parts:
            self._receive(timeout)
        if not self._parts:
            return None
        whole = self._parts.popleft()
        if len(whole.payloads) <= limit:
            return whole
        # What a reader reads at once is acknowledged at once, with its last part.
        self._parts.appendleft(_part(whole, limit, len(whole.payloads), whole.tokens))
        return _part(whole, 0, limit, [])

    def _receive(self, timeout: float) -> None:
        pipes = {reader.pipe: reader for reader in self._readers if reader.pipe is not None}
        if not pipes:
            time.sleep(timeout)
        ready = [pipes[pipe] for pipe in wait(list(pipes), timeout)]  # type: ignore[index]  # pipes only
        for reader in self._readers:
            reader.revive()
        for reader in ready:
            report = reader.receive()
            if report is None:
                continue
            for received, reason, detail, topic, payload in report.rejected:
                self._rejects.add(reason, detail, received=received, topic=topic, payload=payload)
            if report.number:
                reader.order(CREDIT)
                self._parts.append(self._delivery(reader, report))

    def _delivery(self, reader: "_Process", report: Report) -> Delivery:
        token: Token = (reader.place, reader.generation, report.number)
        return Delivery(
            self._source,
            report.payloads,
            report.topics,
            report.received,
            tokens=[token],
            retained=report.retained,
        )

    def acknowledge(self, tokens: list[Token]) -> None:
        """See `ingest.source.Source`; tokens of a process that is gone are let go."""
        for place, generation, number in tokens:
            reader = self._readers[place]
            if generation == reader.generation:
                reader.order(ACKNOWLEDGE, number)
            else:
                self._stale += 1

    def send(self, topic: str, payload: bytes) -> None:
        """See `ingest.source.Replying`."""
        self._readers[0].order(SEND, (topic, payload))

    def state(self) -> dict[str, Any]:
        """The connections' numbers together, `readers_died`, and the first reason not to be ok."""
        states = [reader.state for reader in self._readers]
        numbers = {key for state in states for key, value in state.items() if type(value) is int}
        return {
            "ok": all(state["ok"] for state in states),
            "why": next((str(state["why"]) for state in states if state["why"]), ""),
            "connected": all(state["connected"] for state in states),
            "connections": len(states),
            "readers_died": sum(reader.died for reader in self._readers),
            **{key: sum(int(state.get(key, 0)) for state in states) for key in sorted(numbers)},
            "stale_deliveries": self._stale,
        }

    def stop(self) -> None:
        for reader in self._readers:
            reader.order(STOP)
        for reader in self._readers:
            reader.end()


class _Process:
    """One reader and its pipe."""

    def __init__(self, options: Options, place: int) -> None:
        self.place, self.generation, self.died = place, 0, 0
        self.pipe: Connection | None = None
        self.state: dict[str, Any] = {}
        self._options = options
        self._process: Any = None
        self._again = 0.0
        self._condition("not started yet")

    def _condition(self, why: str) -> None:
        self.state = {**self.state, "ok": False, "why": why, "connected": False}

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        name = f"mqtt reader {self.place + 1}"
        self._process = context.Process(
            target=serve, args=(theirs, self._options), name=name, daemon=True
        )
        self._process.start()
        theirs.close()
        self.generation += 1
        for _ in range(AHEAD):
            self.order(CREDIT)

    @property
    def pid(self) -> int:
        """The process, 0 where there is none."""
        return self._process.pid if self._process is not None else 0

    def receive(self) -> Report | None:
        """What it says, None where it died."""
        if self.pipe is None:
            return None
        try:
            report = _decode(self.pipe.recv_bytes())
        except (EOFError, OSError):
            self.died += 1
            self._condition(f"{self._process.name} ended and is started again")
            self._again = time.monotonic() + AGAIN_AFTER
            self.end()
            return None
        self.state = report.state
        return report

    def revive(self) -> None:
        """Start it again where it died and it is time."""
        if self._again and time.monotonic() > self._again:
            self._again = 0.0
            self.start()

    def order(self, word: int, about: Any = None) -> None:
        """Tell it something; nothing where it is gone."""
        if self.pipe is not None:
            try:
                self.pipe.send_bytes(msgspec.msgpack.encode((word, about)))
            except OSError:
                return

    def end(self) -> None:
        """Wait for its end, then end it."""
        if self._process is not None:
            self._process.join(STOP_SECONDS)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
            self._process.close()
            self._process = None
        if self.pipe is not None:
            self.pipe.close()
            self.pipe = None
            self._condition("stopped" if not self._again else str(self.state["why"]))


def _part(whole: Delivery, start: int, stop: int, tokens: list[Any]) -> Delivery:
    cut = slice(start, stop)
    return replace(
        whole,
        payloads=whole.payloads[cut],
        topics=whole.topics[cut],
        received=whole.received[cut],
        tokens=tokens,
    )
