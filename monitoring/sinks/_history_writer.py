"""The thread that writes the history: gathers rows, commits them, deletes what is too old."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monitoring.sinks._history_commits import Commits
from monitoring.sinks._history_file import ROWS, HistoryFile
from monitoring.sinks._history_rows import OUTCOMES, PREDICTIONS, Columns, Staged
from streamgauge.output import Output

__all__ = ["WAITING", "Writer"]

Tables = Sequence[int]

WAITING = 2_000_000
"""Records that may wait for the file, at about 100 bytes each; what comes beyond is dropped."""
INTERVAL = 1.0
"""Seconds after which rows are committed however few they are."""
RETRY = 1.0
"""Seconds between two tries to write to a file that refuses."""
RECENT = 60 * 10**6
"""Microseconds for which a drop is reported as the present condition."""
RETAIN_EVERY = 60 * 10**6
RETAIN_ROWS = 1_000_000
"""Old rows are looked for after so many microseconds or new rows."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The end of an output among the rows: how many rows of each table came up to here."""

    rows: tuple[int, int]
    records: int
    position: int
    """Place in the log that is safe once these rows are; 0 where the output names none."""


class GaveUp(Exception):
    """The store is closing and the file still refuses."""


class Writer:
    """Takes outputs from any thread without waiting and writes them in a thread of its own."""

    def __init__(
        self,
        file: HistoryFile,
        staged: Staged,
        clock: Callable[[], int],
        *,
        keep: int,
        max_size: int,
        waiting: int = WAITING,
    ) -> None:
        self._file = file
        self._staged = staged
        self._clock = clock
        self._keep = keep
        self._max_size = max_size
        self._limit = waiting
        self._commits = Commits(file)
        self.watermark = self._commits.position
        """Place in the log up to which everything is in the file."""
        self._rewound: int | None = None
        [(oldest,)] = file.writer.execute(
            "select min(written) from (select written from predictions union all "
            "select written from outcomes)"
        ).fetchall()
        self.oldest: int | None = oldest
        """No row was written before: microseconds UTC; None while there is no row."""
        self._news = threading.Condition()
        self._queue: deque[Output] = deque()
        self._taken = self._safe = self._asked = 0
        self._queued = 0
        self._closing = False
        self._failure = ""
        self._dropped_at: int | None = None
        self.counts = {"written_total": 0, "dropped_total": 0, "commits_total": 0, "bytes": 0}
        self._marks: deque[Mark] = deque()
        self._came = np.zeros(2, np.int64)
        self._kept = np.zeros(2, np.int64)
        self._since: list[float | None] = [None, None, None]
        self._retained = clock()
        self._new_rows = 0
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    def write(self, output: Output) -> None:
        """Queue it; drop it, counted, where too much waits already."""
        records = len(output.predictions)
        with self._news:
            if self._closing or self._queued + records > self._limit:
                self.counts["dropped_total"] += records
                self._dropped_at = self._clock()
                return
            self._queue.append(output)
            self._queued += records
            self._taken += 1
            self._news.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until all that was queued so far is committed."""
        with self._news:
            wanted = self._taken
            self._asked = max(self._asked, wanted)
            self._news.notify_all()
            return self._news.wait_for(lambda: self._safe >= wanted, timeout)

    def rewind(self, position: int) -> None:
        """Positions go on from here, even if the file has seen greater ones."""
        with self._news:
            if position < self.watermark:
                self._rewound = position

    def close(self, timeout: float) -> None:
        """Commit what waits, then end; what the file refuses until then is dropped and counted."""
        with self._news:
            self._closing = True
            self._news.notify_all()
        self._thread.join(timeout)
        while self._thread.is_alive():
            self._file.writer.interrupt()
            self._thread.join(0.1)

    def state(self) -> dict[str, Any]:
        """See `Store.state`."""
        with self._news:
            why = self._failure or self._commits.why
            lately = self._dropped_at is not None and self._clock() - self._dropped_at < RECENT
            if not why and lately:
                why = (
                    f"the disk is slower than the stream: {self.counts['dropped_total']:,} records "
                    "were not kept; use a faster disk or fewer tasks and horizons"
                )
            return {"ok": not why, "why": why, "backlog": self._queued, **self.counts}

    # What follows runs in the writer's thread.

    def _run(self) -> None:
        try:
            while self._round():
                pass
        except GaveUp:
            with self._news:
                self.counts["dropped_total"] += self._queued
                self._queued = 0
        except Exception as failure:
            with self._news:
                self._failure = f"the writer ended: {type(failure).__name__}: {failure}"
                self._closing = True
            raise

    def _round(self) -> bool:
        """Take what there is, commit what is due; False when closed and done."""
        with self._news:
            self._news.wait_for(self._wanted, self._pause())
            outputs, ending, asked = list(self._queue), self._closing, self._asked
            self._queue.clear()
        for output in outputs:
            self._stage(output)
        if ending or asked > self._safe:
            self._commit((PREDICTIONS, OUTCOMES))
        elif self._pause() == 0.0:
            now = time.monotonic()
            waited = [now - since if since is not None else 0.0 for since in self._since]
            self._commit([k for k in (PREDICTIONS, OUTCOMES) if waited[k] >= INTERVAL])
        if not ending:
            self._retain()
        return not ending

    def _wanted(self) -> bool:
        return bool(self._queue) or self._closing or self._asked > self._safe

    def _pause(self) -> float:
        """Seconds until rows have waited for `INTERVAL`."""
        since = min((since for since in self._since if since is not None), default=None)
        return INTERVAL if since is None else max(0.0, since + INTERVAL - time.monotonic())

    def _stage(self, output: Output) -> None:
        """Into the columns; each table that fills up is committed at its exact size."""
        written = self._clock()
        if self.oldest is None or written < self.oldest:
            self.oldest = written
        done, n = 0, len(output.predictions)
        while True:
            before = self._staged.filled.copy()
            done = self._staged.records(output, done, written)
            self._came += self._staged.filled - before
            full = [k for k in (PREDICTIONS, OUTCOMES) if self._staged.filled[k] == ROWS]
            if done == n:
                break
            self._commit(full)
        self._staged.rest(output, written)
        self._begin_waiting(bool(output.events or output.scores))
        came = (int(self._came[PREDICTIONS]), int(self._came[OUTCOMES]))
        self._marks.append(Mark(came, n, 0 if output.more else output.position))
        if full:
            self._commit(full)

    def _begin_waiting(self, rest: bool) -> None:
        now = time.monotonic()
        for k, there in enumerate((*self._staged.filled, rest)):
            if there and self._since[k] is None:
                self._since[k] = now

    def _commit(self, tables: Tables) -> None:
        """One transaction with all rows of these tables; tries again until the file takes it."""
        filled = self._staged.filled.copy()
        filled[[k for k in (PREDICTIONS, OUTCOMES) if k not in tables]] = 0
        kept = self._kept + filled
        covered = [mark for mark in self._marks if np.all(np.array(mark.rows) <= kept)]
        with self._news:
            start, self._rewound = self._rewound, None
        start = self.watermark if start is None else start
        position = max([start, *(mark.position for mark in covered)])
        content = self._content(tables)
        while not self._commits.commit(content, position):
            with self._news:
                if self._news.wait_for(lambda: self._closing, RETRY):
                    raise GaveUp
        self._kept, self.watermark = kept, position
        self._staged.forget(tables)
        for k in (*tables, 2):
            self._since[k] = None
        self._new_rows += int(filled.sum())
        for _ in covered:
            self._marks.popleft()
        with self._news:
            self._safe += len(covered)
            self._queued -= sum(mark.records for mark in covered)
            self.counts["written_total"] += int(filled.sum())
            self.counts["commits_total"] += 1
            self._news.notify_all()

    def _content(self, tables: Tables) -> dict[str, Columns | dict[str, Any]]:
        staged, devices = self._staged, self._staged.devices
        content: dict[str, Columns | dict[str, Any]] = {}
        if devices.fresh:
            # A lone surrogate in an id is no text that a file could hold.
            known = [devices.ids[code].encode(errors="replace").decode() for code in devices.fresh]
            fresh, ids = np.array(devices.fresh), np.array(known, object)
            content["devices"] = {"device": fresh, "id": ids}
        for name, table in (("predictions", PREDICTIONS), ("outcomes", OUTCOMES)):
            if table in tables and staged.filled[table]:
                content[name] = staged.columns(table)
        content |= {"events": staged.events(), "scores": staged.scores()}
        content = {name: columns for name, columns in content.items() if columns}
        answers = staged.answers()
        return content if answers is None else content | {"answers": answers}

    def _retain(self) -> None:
        """Delete what is older than `keep`, then the oldest quarter while the file is too large."""
        now = self._clock()
        if abs(now - self._retained) < RETAIN_EVERY and self._new_rows < RETAIN_ROWS:
            return
        self._retained, self._new_rows = now, 0
        self._delete(now - self._keep)
        for _ in range(4):
            self.counts["bytes"] = self._commits.size()
            if self.counts["bytes"] <= self._max_size or self.oldest is None:
                break
            self._delete(self.oldest + max(1, (now - self.oldest) // 4))

    def _delete(self, before: int) -> None:
        if self._commits.delete(before) and self.oldest is not None:
            self.oldest = max(self.oldest, before)
