"""The quarantine of a running service: what was refused is kept on the disk, in its own thread."""

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from ingest.quarantine_file import Kept, connected, insert, mark

__all__ = ["Quarantine"]

INTERVAL = 0.5
"""Seconds in which rows gather to be committed together."""
WAITING = 100_000
"""Records that may wait for the disk; what comes beyond is dropped and counted."""
RETRY = 0.5
USED = """
select (page_count - freelist_count) * page_size
from pragma_page_count, pragma_freelist_count, pragma_page_size
"""

Rows = Callable[[], list[Kept]]


class Quarantine:
    """Keeps what was refused, up to `keep` microseconds and `max_size` bytes: whichever is reached
    first, the oldest goes.

    A sink, so that a checkpoint waits for it: what the journal has forgotten is in the file. What
    the walk repeats after a restart is there already and is not kept twice.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], int],
        *,
        keep: int,
        max_size: int,
        waiting: int = WAITING,
    ) -> None:
        self.path = path
        self._clock, self._keep, self._max_size, self._limit = clock, keep, max_size, waiting
        self._news = threading.Condition()
        self._queue: deque[tuple[int, Rows | tuple[list[int], int]]] = deque()
        self._queued = self._taken = self._safe = self._asked = 0
        self._closing, self._why = False, ""
        self.counts = {"written_total": 0, "dropped_total": 0, "bytes": 0}
        with ExitStack() as opened:
            self._file = opened.enter_context(connected(path))
            self._opened = opened.pop_all()
        self._thread = threading.Thread(target=self._run, name="quarantine", daemon=True)
        self._thread.start()

    def resume(self, position: int) -> None:
        """The log goes on from here: what it gives from now on is new, even where a log that lost
        its end, or was begun anew, gives positions again. Before anything new is kept."""
        self.flush(60.0)
        with connected(self.path) as file:
            file.execute("update kept set place = null where place > ?", [position])

    def keep(self, n: int, rows: Rows) -> None:
        """Keep `n` records, which `rows` makes in the thread that writes; returns at once."""
        with self._news:
            if self._closing or self._queued + n > self._limit:
                self.counts["dropped_total"] += n
                return
            self._put(n, rows)

    def replayed(self, numbers: list[int], at: int) -> None:
        """These records were sent again."""
        with self._news:
            self._put(0, (numbers, at))

    def _put(self, n: int, what: Rows | tuple[list[int], int]) -> None:
        self._queue.append((n, what))
        self._queued += n
        self._taken += 1
        if len(self._queue) == 1:
            # While rows gather the writer need not be woken for each.
            self._news.notify_all()

    def write(self, output: Any) -> None:
        """Results are no business of it."""

    def flush(self, timeout: float) -> bool:
        """Wait until all that was kept so far is on the disk; False when time ran out."""
        with self._news:
            wanted = self._taken
            self._asked = max(self._asked, wanted)
            self._news.notify_all()
            return self._news.wait_for(lambda: self._safe >= wanted, timeout)

    def state(self) -> dict[str, Any]:
        """`ok` and `why`; records in the `backlog`, `written_total`, `dropped_total` (the disk was
        too slow); `bytes` of the file in use."""
        with self._news:
            return {"ok": not self._why, "why": self._why, "backlog": self._queued, **self.counts}

    def close(self, timeout: float = 10.0) -> None:
        """Keep what waits, then close the file; may be called more than once."""
        with self._news:
            self._closing = True
            self._news.notify_all()
        self._thread.join(timeout)
        if not self._thread.is_alive():
            self._opened.close()

    # What follows runs in the writer's thread.

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._queue or self._closing)
                # Many rows cost one wait for the disk; who waits for it waits no longer.
                self._news.wait_for(lambda: self._closing or self._asked > self._safe, INTERVAL)
                work = list(self._queue)
            if not work:
                return
            while not self._commit(work):
                with self._news:
                    if self._news.wait_for(lambda: self._closing, RETRY):
                        return
            with self._news:
                for n, _ in work:
                    self._queue.popleft()
                    self._queued -= n
                self._safe += len(work)
                self._news.notify_all()

    def _commit(self, work: Sequence[tuple[int, Any]]) -> bool:
        """All of it in one transaction; False, with the reason in `why`, where the file refuses."""
        now = self._clock()
        try:
            self._file.execute("begin immediate")
            before = self._file.total_changes
            rows = [row for _, make in work if callable(make) for row in make()]
            insert(self._file, rows, now)
            written = self._file.total_changes - before
            for numbers, at in (what for _, what in work if not callable(what)):
                mark(self._file, "replayed", numbers, at)
            self._forget(now)
            self._file.execute("commit")
        except sqlite3.Error as refused:
            with suppress(sqlite3.Error):
                self._file.execute("rollback")
            self._why = f"{self.path}: {refused}; what is refused waits in memory meanwhile"
            return False
        self._why = ""
        self.counts["written_total"] += written
        return True

    def _forget(self, now: int) -> None:
        """Delete what is older than `keep`, then the oldest tenth while the file is too large."""
        self._file.execute("delete from kept where kept < ?", [now - self._keep])
        while self._used() > self._max_size:
            [(n,)] = self._file.execute("select count(*) from kept").fetchall()
            if n == 0:
                break
            self._file.execute(
                "delete from kept where number in "
                "(select number from kept order by number limit ?)",
                [n // 10 + 1],
            )

    def _used(self) -> int:
        [(used,)] = self._file.execute(USED).fetchall()
        self.counts["bytes"] = used
        return int(used)
