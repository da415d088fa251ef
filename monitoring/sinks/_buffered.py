"""A sink behind a bounded buffer: what the worker writes waits there for a thread of its own."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from monitoring.sinks._dead_letters import DeadLetters
from monitoring.sinks._delivery import Delivery, GaveUp, Lot
from monitoring.sinks._spill import Spill
from streamgauge.output import Output

__all__ = ["Buffered", "Server"]

RECENT = 60 * 10**6
"""Microseconds for which a drop is reported as the present condition."""
OVERHEAD = 1_000
"""Bytes that an output takes beside its records: objects and array headers."""
CHUNK = 20_000
"""Records of a file on the disk, about: what is read back at once."""
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

    With a `spill` the older half of a full buffer goes to the disk, all of it where somebody asks
    for what was written to be safe while the server is away, or at the end. What is there is
    delivered first. `dead` keeps what the server never takes.
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
        spill: Spill | None = None,
        dead: DeadLetters | None = None,
    ) -> None:
        self.name = name
        self._encode = encode
        self._server = server
        self._clock = clock
        self._limit = buffer_bytes
        self._spill, self._dead = spill, dead
        self._news = threading.Condition()
        self._stop = threading.Event()
        self._waiting: deque[tuple[int, Output]] = deque()
        self._sending: list[tuple[int, Output]] = []
        self._count = 0
        self._asked = 0
        self._records = 0
        self._bytes = 0
        self._dropped = 0
        self._dropped_at: int | None = None
        self._failure = self._disk_failure = ""
        self._disk_again = 0.0
        self._resumed = self._closing = False
        aside = dead.add if dead is not None else None
        self.delivery: Delivery[Part] = Delivery(server, batch, self._sleep, aside=aside)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def resume(self, position: int) -> None:
        """The log goes on from there; deliver what an earlier life left on the disk."""
        with self._news:
            self._resumed = self._spill is not None
            self._news.notify_all()

    def write(self, output: Output) -> None:
        """Queue it, dropping the oldest where too much waits; returns at once."""
        with self._news:
            if self._closing:
                self._drop(len(output.predictions))
                return
            self._count += 1
            self._waiting.append((self._count, output))
            self._hold(output, 1)
            while self._bytes > self._limit and self._waiting:
                _, oldest = self._waiting.popleft()
                self._hold(oldest, -1)
                self._drop(len(oldest.predictions))
            self._news.notify_all()

    def _hold(self, output: Output, sign: int) -> None:
        self._bytes += sign * _size(output)
        self._records += sign * len(output.predictions)

    def _drop(self, records: int) -> None:
        self._dropped += records
        self._dropped_at = self._clock()

    def flush(self, timeout: float) -> bool:
        """Wait until all written so far is delivered, on the disk or dropped; False when time ran
        out."""
        with self._news:
            wanted = self._count
            self._asked = max(self._asked, wanted)
            self._news.notify_all()
            return self._news.wait_for(lambda: self._oldest() > wanted, timeout)

    def _oldest(self) -> int:
        """Number of the oldest output that is neither delivered nor on the disk."""
        if self._sending:
            return self._sending[0][0]
        return self._waiting[0][0] if self._waiting else self._count + 1

    def state(self) -> dict[str, Any]:
        """`ok` and `why`; `backlog` (records) and `backlog_bytes`, in memory; with a spill what is
        `spilled`, and `spilled_bytes`; what was `sent_total` and `dead_total` (refused for good:
        see `delivery.dead`), `retries_total`; records `dropped_total`, for want of room."""
        with self._news:
            why, spill = self._failure or self.delivery.why, self._spill
            dropped = self._dropped + (spill.lost if spill else 0)
            if not why and self._has_dropped():
                why = f"{dropped:,} records were dropped: the buffer was full"
            unkept = self._dead.why if self._dead is not None else ""
            why = "; ".join(filter(None, (why, self._disk_failure, unkept)))
            kept = {"spilled": spill.records, "spilled_bytes": spill.bytes} if spill else {}
            return {
                "ok": not why,
                "why": why,
                "backlog": self._records,
                "backlog_bytes": self._bytes,
                **kept,
                "dropped_total": dropped,
                **self.delivery.counts,
            }

    def _has_dropped(self) -> bool:
        """Whether it did lately."""
        return self._dropped_at is not None and self._clock() - self._dropped_at < RECENT

    def close(self, timeout: float = 5.0) -> None:
        """Deliver what waits if the server takes it, then end; the rest stays on the disk, or is
        dropped and counted."""
        with self._news:
            self._closing = True
            self._news.notify_all()
        deadline = time.monotonic() + timeout
        while self._thread.is_alive() and not self.delivery.why and time.monotonic() < deadline:
            self._thread.join(0.02)
        with self._news:
            self._stop.set()
            self._news.notify_all()
        self._thread.join()
        self._server.close()

    def _run(self) -> None:
        try:
            while self._round():
                pass
            if self._spill is not None:
                self._keep_all()
            self._end()
        except Exception as failure:
            self._failure = f"the sender ended: {type(failure).__name__}: {failure}"
            self._end()
            raise

    def _round(self) -> bool:
        """Deliver what waits, up to about a batch; False when closed and done."""
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._closing or self._on_disk())
            if self._stop.is_set() or not (self._waiting or self._on_disk()):
                return False
        self._make_room()
        found = self._spill.oldest() if self._spill is not None and self._on_disk() else None
        try:
            if found is not None and self._spill is not None:
                self.delivery.send(self._encode(found[1]))
                self._spill.remove(found[0])
            elif self._take(self.delivery.batch):
                self.delivery.send(self._encode([output for _, output in self._sending]))
                self._release()
        except GaveUp:
            return False
        except _Postponed:
            self._keep()
        return True

    def _on_disk(self) -> bool:
        """Whether something is to be delivered from there."""
        if self._resumed and self._spill is not None:
            self._resumed = False
            self._spill.open()
        return self._spill is not None and self._spill.bytes > 0

    def _take(self, most: int) -> bool:
        """Take the oldest of what waits in hand; False where nothing does."""
        with self._news:
            records = 0
            while self._waiting and records < most:
                self._sending.append(self._waiting.popleft())
                records += len(self._sending[-1][1].predictions)
            return bool(self._sending)

    def _release(self) -> None:
        """What is in hand is safe."""
        with self._news:
            for _, output in self._sending:
                self._hold(output, -1)
            self._sending.clear()
            self._news.notify_all()

    def _is_due(self, *, behind: bool) -> bool:
        """Whether something has to go to the disk: the buffer is half full, or somebody asks for
        what waits, which stands `behind` something that takes long."""
        if self._spill is None or time.monotonic() < self._disk_again:
            return False
        return 2 * self._bytes > self._limit or (behind and self._asked >= self._oldest())

    def _make_room(self) -> None:
        """To the disk what is due."""
        while self._is_due(behind=self._on_disk()) and self._take(CHUNK):
            self._keep()

    def _keep(self) -> None:
        """To the disk what is in hand; a disk that refuses is noted, and it waits on."""
        assert self._spill is not None
        lost = self._spill.lost
        try:
            self._spill.put([output for _, output in self._sending])
            self._disk_failure = ""
        except OSError as refused:
            with self._news:
                self._disk_failure = f"cannot write {self._spill.folder}: {refused}"
                self._disk_again = time.monotonic() + DISK_RETRY
                self._waiting.extendleft(reversed(self._sending))
                self._sending.clear()
            return
        if self._spill.lost > lost:
            self._dropped_at = self._clock()
        self._release()

    def _keep_all(self) -> None:
        """To the disk all that waits, as far as it takes it."""
        self._disk_again = 0.0
        while time.monotonic() >= self._disk_again and self._take(CHUNK):
            self._keep()

    def _sleep(self, seconds: float) -> bool:
        """Wait between two tries, while the disk takes what is due; True when told to stop."""
        deadline = time.monotonic() + seconds
        while True:
            with self._news:
                self._news.wait_for(
                    lambda: self._stop.is_set() or self._is_due(behind=True),
                    max(0.0, deadline - time.monotonic()),
                )
                if self._stop.is_set() or not self._is_due(behind=True):
                    return self._stop.is_set()
                if self._sending:
                    raise _Postponed
            if self._take(CHUNK):
                self._keep()

    def _end(self) -> None:
        """What still waits is dropped."""
        with self._news:
            self._closing = True
            for _, output in (*self._sending, *self._waiting):
                self._hold(output, -1)
                self._drop(len(output.predictions))
            self._sending.clear()
            self._waiting.clear()
            self._news.notify_all()


def _size(output: Output) -> int:
    records = output.predictions
    scores = sum(one.numbers.nbytes for one in output.scores)
    columns = records.codes.nbytes + records.numbers.nbytes + records.parts.nbytes
    return columns + scores + OVERHEAD
