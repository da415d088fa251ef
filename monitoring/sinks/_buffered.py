"""A sink behind a bounded buffer: what the worker writes waits there for a thread of its own."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from monitoring.sinks._dead_letters import DeadLetters
from monitoring.sinks._delivery import Delivery, GaveUp, Lot
from monitoring.sinks._spill import CHUNK, Spill
from monitoring.sinks._waiting import Waiting
from streamgauge.output import Output

__all__ = ["Buffered", "Server"]

DISK_RETRY = 10.0
"""Seconds after which a disk that refused is tried again."""

Part = TypeVar("Part")
Sent_contra = TypeVar("Sent_contra", contravariant=True)


class Server(Protocol[Sent_contra]):
    """Where results go. A call takes all of a part, or raises `Refused`; one thread calls it."""

    def __call__(self, part: Sent_contra, /) -> None: ...

    def close(self) -> None: ...


class _Postponed(Exception):
    """What is being delivered goes to the disk instead."""


class Buffered(Generic[Part]):
    """Outputs wait in a bounded buffer; a thread of its own encodes and delivers them in order.

    With `spill_bytes` the older half of a full buffer goes to the folder `place`, all of it where
    somebody asks for what was written to be safe while the server is away, or at the end. What is
    there is delivered first. `dead.jsonl` beside it keeps what the server never takes. Without a
    place there is neither. Without `predictions` an output's are left out before it waits: only its
    events and scores are for this server. ValueError for sizes that hold nothing.
    """

    def __init__(
        self,
        encode: Callable[[Sequence[Output]], Lot[Part]],
        server: Server[Part],
        clock: Callable[[], int],
        *,
        name: str,
        batch: int,
        buffer_bytes: int,
        place: Path | None = None,
        spill_bytes: int = 0,
        predictions: bool = True,
    ) -> None:
        self.name = name
        self._encode = encode
        self._server = server
        self._predictions = predictions
        self._spill = Spill(place, spill_bytes) if place is not None and spill_bytes else None
        self._dead = DeadLetters(place / "dead.jsonl", clock) if place is not None else None
        self._waiting = Waiting(buffer_bytes, clock)
        self._stop = threading.Event()
        self._disk_again = 0.0
        self._resumed = False
        aside = self._dead.add if self._dead is not None else None
        self.delivery: Delivery[Part] = Delivery(server, batch, self._sleep, aside=aside)
        self._thread = self._waiting.taken_by(name, self._round)

    def resume(self, position: int) -> None:
        """The log goes on from there; deliver what an earlier life left on the disk."""
        with self._waiting.news:
            self._resumed = self._spill is not None
            self._waiting.news.notify_all()

    def write(self, output: Output) -> None:
        """Queue it, dropping the oldest where too much waits; returns at once."""
        if self._predictions:
            self._waiting.put(output)
        elif output.events or output.scores:
            self._waiting.put(replace(output, predictions=output.predictions.emptied()))

    def flush(self, timeout: float) -> bool:
        """Wait until all written so far is delivered, on the disk or dropped; False when time ran
        out."""
        return self._waiting.flush(timeout)

    def state(self) -> dict[str, Any]:
        """`ok` and `why`; `backlog` (records) and `backlog_bytes`, in memory; with a spill what is
        `spilled`, and `spilled_bytes`; what was `sent_total` and `dead_total` (refused for good:
        see `delivery.dead`), `retries_total`; records `dropped_total`; both by reason in `lost`."""
        with self._waiting.news:
            why, spill = self._waiting.failure or self.delivery.why, self._spill
            dropped = self._waiting.dropped + (spill.lost if spill else 0)
            if not why and self._waiting.dropped_lately:
                why = f"{dropped:,} records were dropped: the buffer was full"
            unkept = self._dead.why if self._dead is not None else ""
            why = "; ".join(filter(None, (why, spill.why if spill else "", unkept)))
            kept = {"spilled": spill.records, "spilled_bytes": spill.bytes} if spill else {}
            return {
                "ok": not why,
                "why": why,
                "backlog": self._waiting.records,
                "backlog_bytes": self._waiting.bytes,
                **kept,
                "dropped_total": dropped,
                **self.delivery.counts,
                "lost": {
                    "dropped": self._waiting.dropped_by + (spill.lost_by if spill else Counter()),
                    "dead": self.delivery.dead_by.copy(),
                },
            }

    def close(self, timeout: float = 5.0) -> None:
        """Deliver what waits if the server takes it, then end; the rest stays on the disk, or is
        dropped and counted."""
        with self._waiting.news:
            self._waiting.closing = True
            self._waiting.news.notify_all()
        deadline = time.monotonic() + timeout
        while self._thread.is_alive() and not self.delivery.why and time.monotonic() < deadline:
            self._thread.join(0.02)
        with self._waiting.news:
            self._stop.set()
            self._waiting.news.notify_all()
        self._thread.join()
        self._server.close()

    # What follows runs in the sink's thread.

    def _round(self) -> bool:
        """Deliver what waits, up to about a batch; False when closed and done, and the rest is on
        the disk."""
        more = self._delivered()
        if not more and self._spill is not None:
            self._keep_all(self._spill)
        return more

    def _delivered(self) -> bool:
        waiting = self._waiting
        with waiting.news:
            waiting.news.wait_for(lambda: waiting.any or waiting.closing or self._on_disk())
            if self._stop.is_set() or not (waiting.any or self._on_disk()):
                return False
        try:
            if self._spill is None:
                self._deliver_from_memory()
            else:
                self._make_room(self._spill)
                if not self._deliver_from_disk(self._spill):
                    self._deliver_from_memory()
        except GaveUp:
            return False
        return True

    def _deliver_from_memory(self) -> None:
        outputs = self._waiting.take(self.delivery.batch)
        if not outputs:
            return
        try:
            self.delivery.send(self._encode(outputs))
            self._waiting.release()
        except _Postponed:
            if self._spill is not None:
                self._keep(self._spill, outputs)

    def _deliver_from_disk(self, spill: Spill) -> bool:
        """Deliver the oldest file; False where there is none."""
        found = spill.oldest() if self._on_disk() else None
        if found is None:
            return False
        path, outputs = found
        self.delivery.send(self._encode(outputs))
        spill.remove(path)
        return True

    def _on_disk(self) -> bool:
        """Whether something is to be delivered from there."""
        if self._resumed and self._spill is not None:
            self._resumed = False
            self._spill.open()
        return self._spill is not None and self._spill.bytes > 0

    def _is_due(self, *, behind: bool) -> bool:
        """Whether something has to go to the disk: the buffer is half full, or somebody asks for
        what waits, which stands `behind` something that takes long."""
        if self._spill is None or time.monotonic() < self._disk_again:
            return False
        return self._waiting.half_full or (behind and self._waiting.asked)

    def _make_room(self, spill: Spill) -> None:
        """To the disk what is due."""
        while self._is_due(behind=self._on_disk()) and (outputs := self._waiting.take(CHUNK)):
            self._keep(spill, outputs)

    def _keep_all(self, spill: Spill) -> None:
        """To the disk all that waits, as far as it takes it."""
        self._disk_again = 0.0
        while time.monotonic() >= self._disk_again and (outputs := self._waiting.take(CHUNK)):
            self._keep(spill, outputs)

    def _keep(self, spill: Spill, outputs: Sequence[Output]) -> None:
        """To the disk what is in hand; one that refuses is asked again later."""
        if not spill.keep(self._waiting, outputs):
            self._disk_again = time.monotonic() + DISK_RETRY

    def _sleep(self, seconds: float) -> bool:
        """Wait between two tries, while the disk takes what is due; True when told to stop."""
        deadline, waiting = time.monotonic() + seconds, self._waiting
        while True:
            with waiting.news:
                waiting.news.wait_for(
                    lambda: self._stop.is_set() or self._is_due(behind=True),
                    max(0.0, deadline - time.monotonic()),
                )
                if self._stop.is_set() or not self._is_due(behind=True):
                    return self._stop.is_set()
                if waiting.in_hand:
                    raise _Postponed
            if self._spill is not None:
                self._make_room(self._spill)
