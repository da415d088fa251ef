"""Results as Parquet files by day, for DuckDB, pandas, Spark and whatever else reads them.

`PATH/TABLE/day=2026-03-01/STREAM-NUMBER.parquet` for the tables predictions, outcomes, events and
scores (columns: `_parquet_columns.TABLES`); a day is one of event time, UTC. A Parquet file cannot
grow: results are kept on the disk as they come, and become files every so often. Each result is in
one file once, after a kill as well.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from monitoring.sinks._parquet_files import write
from monitoring.sinks._spill import CHUNK, Spill, place_of, write_whole
from monitoring.sinks._waiting import Waiting, records_of
from streamgauge import durations
from streamgauge.output import Output
from streamgauge.schedule import Lane

__all__ = ["Parquet", "open"]

RETRY = 10.0
"""Seconds after which a disk that refused files is tried again."""
LOOK = 1.0
"""Seconds between two looks at the clock."""
PAUSE = 0.05


def open(  # noqa: A001 - what opens a plug-in has one name in every folder
    lanes: Sequence[Lane],
    stream: str,
    folder: Path,
    clock: Callable[[], int],
    *,
    path: Path,
    every: str = "1h",
    rows: int = 1_000_000,
    compression: Literal["zstd", "snappy", "gzip", "none"] = "zstd",
    buffer_bytes: int = 100_000_000,
    spill_bytes: int = 1_000_000_000,
) -> "Parquet":
    """A sink that writes files below `path`, which is made if it is not there.

    - `every`, `rows`: files are written when the oldest result that is in none is so old, or when
      there are so many, and when the service stops
    - `compression`: of the files
    - `buffer_bytes`: what may wait in memory; beyond it the oldest is dropped and counted
    - `spill_bytes`: what may wait in the state folder, at about 40 bytes per record, for its file;
      beyond it the oldest is dropped and counted

    ValueError for a path that is a file, and for numbers that mean nothing.
    """
    if path.exists() and not path.is_dir():
        raise ValueError(f"path = {str(path)!r} is a file; name a folder")
    if rows < 1:
        raise ValueError(f"rows = {rows} makes no file; a million work well")
    waits = durations.microseconds(every)
    spill = Spill(folder / "parquet" / place_of(*path.absolute().parts), spill_bytes)
    files = partial(write, path, place_of(stream), compression)
    return Parquet(files, spill, Waiting(buffer_bytes, clock), clock, every=waits, rows=rows)


class Parquet:
    """The files of one stream. What `flush` has seen is on the disk, if not yet in a file.

    A result is told from its repetition by its place in the log, which is kept beside what waits.
    """

    name = "parquet"

    def __init__(
        self,
        write: Callable[[str, Iterable[Output]], Sequence[int]],
        spill: Spill,
        waiting: Waiting,
        clock: Callable[[], int],
        *,
        every: int,
        rows: int,
    ) -> None:
        self._write, self._spill, self._waiting, self._clock = write, spill, waiting, clock
        self._every, self._rows, self._mark = every, rows, spill.folder / "position"
        self._counts = {"written_total": 0, "files_total": 0, "repeated_total": 0}
        self._unwritten = ""
        self._again = 0.0
        self._resumed = False
        self._rewound: int | None = None
        spill.open()
        self._position = max([_read(self._mark), *map(_place, spill.newest())])
        """Place in the log up to which results are safe."""
        self._known = self._position
        self._since: int | None = clock() if spill.bytes else None
        """Our clock when the oldest result came that is in no file."""
        self._thread = waiting.taken_by(self.name, self._round)

    def resume(self, position: int) -> None:
        """The log goes on from here: what is written from now on is new, whatever its position, as
        a log that lost its end gives positions again."""
        with self._waiting.news:
            if position < self._position:
                self._rewound = position
            self._known, self._resumed = min(self._known, position), True
            self._waiting.news.notify_all()

    def write(self, output: Output) -> None:
        """Queue it, dropping the oldest where too much waits; returns at once."""
        if 0 < output.position <= self._known:
            self._counts["repeated_total"] += records_of(output)
        else:
            self._waiting.put(output)

    def flush(self, timeout: float) -> bool:
        """Wait until all written so far is on the disk; False when time ran out."""
        return self._waiting.flush(timeout)

    def state(self) -> dict[str, Any]:
        """`ok` and `why`; `backlog` (records) and `backlog_bytes`, in memory; what is on the disk
        but in no file, `spilled` and `spilled_bytes`; rows `written_total` into `files_total`;
        records `repeated_total`, known already, and `dropped_total`, by reason in `lost`."""
        with self._waiting.news:
            dropped = self._waiting.dropped + self._spill.lost
            why = "; ".join(filter(None, (self._waiting.failure, self._spill.why, self._unwritten)))
            if not why and self._waiting.dropped_lately:
                why = f"{dropped:,} records were dropped: the buffer was full"
            return {
                "ok": not why,
                "why": why,
                "backlog": self._waiting.records,
                "backlog_bytes": self._waiting.bytes,
                "spilled": self._spill.records,
                "spilled_bytes": self._spill.bytes,
                "dropped_total": dropped,
                "lost": {"dropped": self._waiting.dropped_by + self._spill.lost_by},
                **self._counts,
            }

    def close(self) -> None:
        """Write what waits into files, then end."""
        with self._waiting.news:
            self._waiting.closing = True
            self._waiting.news.notify_all()
        self._thread.join()

    # What follows runs in the sink's thread.

    def _round(self) -> bool:
        """To the disk and into files what is due; False when closed and done."""
        waiting = self._waiting
        with waiting.news:
            waiting.news.wait_for(self._is_due, LOOK)
            ending = waiting.closing
        if self._rewound is not None:
            # What is known by the old places becomes files before anything new joins it.
            self._compact()
        self._keep()
        if self._is_file_due() or (ending and self._resumed):
            self._compact()
        with waiting.news:
            # A disk that refuses, or a position of which more comes, is not asked without pause.
            if self._is_due() and not waiting.closing:
                waiting.news.wait(PAUSE)
        return not ending

    def _is_due(self) -> bool:
        waiting = self._waiting
        much = waiting.records >= CHUNK or waiting.half_full
        return much or waiting.asked or waiting.closing or self._is_file_due()

    def _is_file_due(self) -> bool:
        """Whether what is on the disk is to go into files."""
        if not self._resumed or time.monotonic() < self._again:
            return False
        since = self._clock() if self._since is None else self._since
        old, many = self._clock() - since >= self._every, self._spill.records >= self._rows
        return self._rewound is not None or (self._spill.bytes > 0 and (old or many))

    def _keep(self) -> None:
        """To the disk what waits: whole positions, since after a kill only those are told from
        their repetition."""
        while outputs := self._waiting.take(CHUNK, whole=True):
            if not self._spill.keep(self._waiting, outputs):
                return
            self._position = max(self._position, *map(_place, outputs))
            self._since = self._clock() if self._since is None else self._since

    def _compact(self) -> None:
        """What is on the disk into files. Their name is that of the oldest part: what a kill
        interrupts is written again in their place."""
        done: list[Path] = []

        def kept() -> Iterator[Output]:
            for path, outputs in self._spill.all():
                done.append(path)
                yield from outputs

        try:
            if self._spill.first is not None:
                number, _, token = self._spill.first.stem.split("-")
                rows = self._write(f"{number}-{token}", kept())
                self._counts["files_total"] += len(rows)
                self._counts["written_total"] += sum(rows)
            if self._rewound is not None:
                self._position, self._rewound = self._rewound, None
            if self._position:
                write_whole(self._mark, str(self._position).encode())
        except OSError as refused:
            self._unwritten = f"cannot write the files: {refused}"
            self._again = time.monotonic() + RETRY
            return
        for path in done:
            self._spill.remove(path)
        self._since, self._unwritten = None, ""


def _read(mark: Path) -> int:
    try:
        return int(mark.read_text())
    except (FileNotFoundError, ValueError):
        return 0


def _place(output: Output) -> int:
    """Place in the log that is safe once this output is."""
    return 0 if output.more else output.position
