"""Outputs on their way out: a bounded buffer, and a thread of its own that delivers it in order."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from streamgauge.output import Output

__all__ = ["Delivery", "GaveUp", "Outbox"]

RECENT = 60 * 10**6
"""Microseconds for which a drop is reported as the present condition."""
OVERHEAD = 1_000
"""Bytes that an output takes beside its records: objects and array headers."""


class GaveUp(Exception):
    """Told to stop while something was not delivered."""


class Delivery(Protocol):
    """What brings outputs to their target."""

    @property
    def why(self) -> str:
        """Why the target does not take anything now; "" while it does."""
        ...

    def send(self, outputs: Sequence[Output]) -> None:
        """Deliver all of them, however long it takes; GaveUp when told to stop before."""
        ...


class Outbox:
    """`write` returns at once; beyond `buffer_bytes` the oldest output is dropped and counted.

    `batch`: records handed to the delivery at a time, about. `stop` is set when the delivery must
    give up; `clock` gives microseconds UTC.
    """

    def __init__(
        self,
        name: str,
        delivery: Delivery,
        stop: threading.Event,
        clock: Callable[[], int],
        *,
        batch: int,
        buffer_bytes: int,
    ) -> None:
        self._delivery, self._stop, self._clock = delivery, stop, clock
        self._batch, self._limit = batch, buffer_bytes
        self._news = threading.Condition()
        self._waiting: deque[tuple[int, Output]] = deque()
        self._sending: list[tuple[int, Output]] = []
        self._count = self._records = self._bytes = self._dropped = 0
        self._dropped_at: int | None = None
        self._failure = ""
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def write(self, output: Output) -> None:
        """Queue it, dropping the oldest where too much waits."""
        with self._news:
            if self._closing:
                self._drop(output)
                return
            self._count += 1
            self._waiting.append((self._count, output))
            self._hold(output, 1)
            while self._bytes > self._limit and self._waiting:
                _, oldest = self._waiting.popleft()
                self._hold(oldest, -1)
                self._drop(oldest)
            self._news.notify_all()

    def _hold(self, output: Output, sign: int) -> None:
        self._bytes += sign * _size(output)
        self._records += sign * len(output.predictions)

    def _drop(self, output: Output) -> None:
        self._dropped += len(output.predictions)
        self._dropped_at = self._clock()

    def flush(self, timeout: float) -> bool:
        """Wait until all written so far is delivered or dropped; False when time ran out."""
        with self._news:
            wanted = self._count
            return self._news.wait_for(lambda: self._oldest() > wanted, timeout)

    def _oldest(self) -> int:
        """Number of the oldest output not yet delivered."""
        if self._sending:
            return self._sending[0][0]
        return self._waiting[0][0] if self._waiting else self._count + 1

    def state(self) -> dict[str, Any]:
        """`ok` and `why`; `backlog` (records) and `backlog_bytes`; records `dropped_total`, for
        want of room."""
        with self._news:
            why = self._failure or self._delivery.why
            if (
                not why
                and self._dropped_at is not None
                and self._clock() - self._dropped_at < RECENT
            ):
                why = f"{self._dropped:,} records were dropped: the buffer was full"
            return {
                "ok": not why,
                "why": why,
                "backlog": self._records,
                "backlog_bytes": self._bytes,
                "dropped_total": self._dropped,
            }

    def close(self, timeout: float = 5.0) -> None:
        """Deliver what waits if the target takes it, then end; the rest is dropped and counted."""
        with self._news:
            self._closing = True
            self._news.notify_all()
        deadline = time.monotonic() + timeout
        while self._thread.is_alive() and not self._delivery.why and time.monotonic() < deadline:
            self._thread.join(0.02)
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._round():
                pass
        except Exception as failure:
            with self._news:
                self._failure = f"the sender ended: {type(failure).__name__}: {failure}"
                self._end()
            raise

    def _round(self) -> bool:
        """Deliver what waits, up to about a batch; False when closed and done."""
        with self._news:
            self._news.wait_for(lambda: bool(self._waiting) or self._closing)
            if not self._waiting or self._stop.is_set():
                self._end()
                return False
            records = 0
            while self._waiting and records < self._batch:
                self._sending.append(self._waiting.popleft())
                records += len(self._sending[-1][1].predictions)
        try:
            self._delivery.send([output for _, output in self._sending])
        except GaveUp:
            with self._news:
                self._end()
            return False
        with self._news:
            for _, output in self._sending:
                self._hold(output, -1)
            self._sending.clear()
            self._news.notify_all()
        return True

    def _end(self) -> None:
        """What still waits is dropped."""
        self._closing = True
        for _, output in (*self._sending, *self._waiting):
            self._hold(output, -1)
            self._drop(output)
        self._sending.clear()
        self._waiting.clear()
        self._news.notify_all()


def _size(output: Output) -> int:
    records = output.predictions
    scores = sum(one.numbers.nbytes for one in output.scores)
    return records.codes.nbytes + records.numbers.nbytes + scores + OVERHEAD
