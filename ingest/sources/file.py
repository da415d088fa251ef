"""Recorded readings from CSV, Parquet or JSON lines, gzipped or not, as columns.

The log clock of a recording is its own time (`ingest.log_clock`), so that a replay gives the same
result on any day. A file keeps its rows: the journal has only which ones were read when.
"""

import time as wall
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pandas as pd

from ingest.columns import Columns
from ingest.frames import join, numeric_names
from ingest.log_clock import with_clock
from ingest.rejects import Rejects
from ingest.sources._tables import FORMATS, format_of, tables
from ingest.times import zone_named
from streamgauge.delivery import Delivery, Position, Readings
from streamgauge.schema import Schema

__all__ = ["FORMATS", "READS", "RecordedFile", "numeric_columns", "open", "sample"]

READS = ("path",)
"""Options that say what is read: a position holds for these rows."""


def open(  # noqa: A001 - the name that every source has; files are opened by their path
    schema: Schema,
    source_index: int,
    clock: Callable[[], int],
    rejects: Rejects,
    *,
    path: Path,
    device: str = "device",
    device_id: str = "",
    time: str = "time",
    zone: str = "UTC",
    chunk: int = 4_096,
    speed: float = 0.0,
) -> "RecordedFile":
    """A recording as a source.

    - `device`, `time`: names of its columns; `device_id`: the one device of all rows instead
    - `zone`: of times without one
    - `chunk`: rows of a delivery
    - `speed`: 1 replays as it was recorded, 0 flat out

    Raises ValueError for a file that is missing or of no known format, or an option out of bounds.
    """
    format_of(Path(path))
    if not Path(path).is_file():
        raise ValueError(f"path {str(path)!r}: there is no such file; give the path of a recording")
    if chunk < 1 or speed < 0.0:
        raise ValueError(f"chunk is {chunk} and speed {speed}; give at least 1 row and 0 times")
    columns = Columns(schema, device, time, zone_named(zone), device_id)
    return RecordedFile(columns, source_index, rejects, Path(path), chunk, speed)


class RecordedFile:
    """Delivers the readings of one file, in its order, in pieces of `chunk` rows."""

    def __init__(
        self,
        columns: Columns,
        source_index: int,
        rejects: Rejects,
        path: Path,
        chunk: int,
        speed: float,
        sleep: Callable[[float], None] = wall.sleep,
    ) -> None:
        self._source = source_index
        self._columns = columns
        self._rejects = rejects
        self._path = path
        self._chunk = chunk
        self._speed = speed
        self._sleep = sleep
        self._size = max(1, path.stat().st_size)
        self._raw: IO[bytes] | None = None
        self._ahead = _Ahead(iter(()))
        self._rows = 0
        self._last: int | None = None
        self.finished = False

    def resume(self, position: Position) -> None:
        """Before `start`: go on after the rows that were delivered."""
        self._rows = int(position["rows"])

    def reread(self, delivery: Delivery) -> Delivery:
        """The delivery with the rows that its run names; OSError where the file lacks them."""
        ((_, _, first, count),) = delivery.runs
        if self._raw is None:
            self._open(first)
        readings = self._ahead.take(count)
        if readings is None:
            raise OSError(
                f"{self._path} no longer has rows {first} to {first + count}, which were read from "
                "it; restore the file, or move the state folder away to start anew"
            )
        return replace(delivery, readings=readings)

    def start(self) -> None:
        """Open the file; reading begins with the first `take`."""
        if self._raw is None:
            self._open(self._rows)

    def _open(self, skipped: int) -> None:
        self._raw = self._path.open("rb")
        read = tables(self._path, self._raw, self._chunk, self._columns.texts)
        pieces = _skip(self._columns.readings(read, self._rejects), skipped)
        self._ahead = _Ahead(with_clock(pieces))

    def take(self, limit: int, timeout: float) -> Delivery | None:
        """The next piece; `limit` is for sources of messages, a piece is `chunk` rows."""
        if self.finished or self._raw is None:
            self._sleep(timeout)
            return None
        readings = self._ahead.next()
        if readings is None:
            self.finished = True
            return None
        run = (self._path.name, 0, self._rows, len(readings))
        self._rows += len(readings)
        self._wait(int(readings.received[-1]))
        position = {"rows": self._rows}
        return Delivery(self._source, readings=readings, position=position, runs=[run])

    def _wait(self, received: int) -> None:
        if self._speed and self._last is not None:
            self._sleep(max(0, received - self._last) / 1e6 / self._speed)
        self._last = received

    @property
    def progress(self) -> float:
        """Share of the file's bytes that was read, 0 to 1."""
        if self.finished:
            return 1.0
        return 0.0 if self._raw is None else min(1.0, self._raw.tell() / self._size)

    def acknowledge(self, tokens: list[Any]) -> None:
        """Nothing to do: a file keeps its rows."""

    def state(self) -> dict[str, Any]:
        """How far it is."""
        return {"ok": True, "why": "", "rows_total": self._rows, "progress": self.progress}

    def stop(self) -> None:
        """Close the file."""
        if self._raw is not None:
            self._raw.close()
        self.finished = True


class _Ahead:
    """Recorded readings as they come, or any number of them."""

    def __init__(self, pieces: Iterator[Readings]) -> None:
        self._pieces = pieces
        self._left: Readings | None = None

    def next(self) -> Readings | None:
        """The rest of the piece that was cut last, or the next; None at the end."""
        left, self._left = self._left, None
        return next(self._pieces, None) if left is None else left

    def take(self, count: int) -> Readings | None:
        """So many rows; None where there are fewer."""
        parts: list[Readings] = []
        while count:
            piece = self.next()
            if piece is None:
                return None
            if len(piece) > count:
                self._left = piece.part(count, len(piece))
                piece = piece.part(0, count)
            parts.append(piece)
            count -= len(piece)
        return join(parts)


def sample(
    *, rows: int = 10_000, path: Path, device: str = "device", time: str = "time"
) -> pd.DataFrame:
    """The first rows of a recording, as they are."""
    format_of(Path(path))
    with Path(path).open("rb") as raw:
        return next(tables(Path(path), raw, rows, (device, time)), pd.DataFrame())


def numeric_columns(path: Path, device: str = "device", time: str = "time") -> list[str]:
    """Columns of a recording that hold numbers, as its first rows tell: its channels, where none
    are declared. Neither labels nor the parts of a split are channels."""
    return numeric_names(sample(path=path, device=device, time=time), device, time)


def _skip(pieces: Iterator[Readings], rows: int) -> Iterator[Readings]:
    """Everything after the first `rows` readings."""
    for piece in pieces:
        if rows >= len(piece):
            rows -= len(piece)
        else:
            yield piece.part(rows, len(piece))
            rows = 0
