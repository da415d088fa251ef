"""Outputs on their way through a sink, in bounded memory: any thread puts, one takes."""

import threading
from collections import Counter, deque
from collections.abc import Callable

from streamgauge.output import Output

__all__ = ["Waiting", "records_of"]

RECENT = 60 * 10**6
"""Microseconds for which a drop is reported as the present condition."""
OVERHEAD = 1_000
"""Bytes that an output takes beside its records: objects and array headers."""


class Waiting:
    """A queue that drops its oldest where it would become larger than `limit` bytes.

    What is taken is in hand until it is released as safe, or given back; `records` and `bytes`
    count it. `news` guards everything and is notified of every change.
    """

    def __init__(self, limit: int, clock: Callable[[], int]) -> None:
        if limit < 1:
            raise ValueError(f"buffer_bytes = {limit} holds nothing; 100000000 work well")
        self.news = threading.Condition()
        self.records = self.bytes = 0
        self.dropped_by: Counter[str] = Counter()
        """Records by why they were dropped: `memory` was full, or the sink `ended` before."""
        self.closing = False
        """What is put from now on is dropped."""
        self.failure = ""
        """Why nobody takes any more, "" where somebody does or had no more to take."""
        self._limit, self._clock = limit, clock
        self._queue: deque[tuple[int, Output]] = deque()
        self._hand: list[tuple[int, Output]] = []
        self._count = self._asked = 0
        self._dropped_at: int | None = None

    def put(self, output: Output) -> None:
        """Queue it; returns at once."""
        with self.news:
            self._count += 1
            self._queue.append((self._count, output))
            self._hold(output, 1)
            while self._queue and (self.closing or self.bytes > self._limit):
                self._drop(self._queue.popleft()[1], "ended" if self.closing else "memory")
            self.news.notify_all()

    def flush(self, timeout: float) -> bool:
        """Ask for all that was put so far, and wait until it is safe; False when time ran out."""
        with self.news:
            wanted = self._asked = self._count
            self.news.notify_all()
            return self.news.wait_for(lambda: self._oldest() > wanted, timeout)

    def _oldest(self) -> int:
        """Number of the oldest output that is not safe."""
        if self._hand:
            return self._hand[0][0]
        return self._queue[0][0] if self._queue else self._count + 1

    @property
    def asked(self) -> bool:
        """Whether somebody asked for what is not safe yet."""
        return self._asked >= self._oldest()

    @property
    def any(self) -> bool:
        """Whether something is not in hand."""
        return bool(self._queue)

    @property
    def in_hand(self) -> bool:
        """Whether something was taken."""
        return bool(self._hand)

    @property
    def half_full(self) -> bool:
        return 2 * self.bytes > self._limit

    def take(self, most: int, *, whole: bool = False) -> list[Output]:
        """The oldest, up to about so many records, beside what is in hand already; `whole`: not the
        first pieces of a position of which more follow."""
        with self.news:
            records = 0
            while self._queue and records < most:
                self._hand.append(self._queue.popleft())
                records += records_of(self._hand[-1][1])
            while whole and self._queue and self._hand and self._hand[-1][1].more:
                self._hand.append(self._queue.popleft())
            while whole and self._hand and self._hand[-1][1].more:
                self._queue.appendleft(self._hand.pop())
            return [output for _, output in self._hand]

    def release(self) -> None:
        """What is in hand is safe."""
        with self.news:
            for _, output in self._hand:
                self._hold(output, -1)
            self._hand.clear()
            self.news.notify_all()

    def give_back(self) -> None:
        """What is in hand waits on."""
        with self.news:
            self._queue.extendleft(reversed(self._hand))
            self._hand.clear()

    def taken_by(self, name: str, once: Callable[[], bool]) -> threading.Thread:
        """A thread that calls `once` until that is False, or fails; what is not safe then is
        dropped."""

        def run() -> None:
            try:
                while once():
                    pass
            except Exception as failed:
                self.failure = f"the sink's thread ended: {type(failed).__name__}: {failed}"
                raise
            finally:
                self.end()

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread

    def end(self) -> None:
        """All that is not safe is dropped."""
        with self.news:
            self.closing = True
            for _, output in (*self._hand, *self._queue):
                self._drop(output, "ended")
            self._hand.clear()
            self._queue.clear()
            self.news.notify_all()

    @property
    def dropped(self) -> int:
        """Records that were."""
        return self.dropped_by.total()

    def note_drop(self) -> None:
        """Something was dropped elsewhere."""
        self._dropped_at = self._clock()

    @property
    def dropped_lately(self) -> bool:
        return self._dropped_at is not None and self._clock() - self._dropped_at < RECENT

    def _drop(self, output: Output, why: str) -> None:
        self._hold(output, -1)
        self.dropped_by[why] += records_of(output)
        self.note_drop()

    def _hold(self, output: Output, sign: int) -> None:
        self.bytes += sign * _size(output)
        self.records += sign * records_of(output)


def records_of(output: Output) -> int:
    """Predictions, outcomes, events and scores of an output."""
    scores = sum(len(one.lane) for one in output.scores)
    return len(output.predictions) + len(output.events) + scores


def _size(output: Output) -> int:
    records = output.predictions
    scores = sum(one.numbers.nbytes for one in output.scores)
    columns = records.codes.nbytes + records.numbers.nbytes + records.parts.nbytes
    return columns + scores + OVERHEAD
