"""Files that grow: what was appended since, line by line.

A file is known by its inode and its first bytes, so that a renamed one goes on where it was and a
new one under the old name is read from its beginning.
"""

import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pandas as pd

from ingest.columns import Columns
from ingest.rejects import Rejects
from ingest.sources._folder_files import Folder, Found
from ingest.sources._table_reader import Piece
from ingest.sources._tables import tables
from streamgauge.delivery import Position

__all__ = ["GROWING", "GrowingFiles"]

GROWING = (".csv", ".jsonl", ".ndjson", ".json")
LINES = 1 << 20
"""Bytes that are read together; no line is longer."""
KNOWN_BY = 256
"""Bytes at a file's beginning that tell it from others."""
SHOWN = 200

_Place = tuple[int, int, int]
"""Bytes that were read, bytes that it is known by, and their checksum."""


class GrowingFiles:
    """The complete lines of all files that match, at most `rows` at a time."""

    waiting = False

    def __init__(self, folder: Folder, columns: Columns, rows: int) -> None:
        self._folder, self._columns, self._rows = folder, columns, rows
        self._bad: dict[str, str] = {}
        self._files = self._begun_anew = 0

    def state(self) -> dict[str, Any]:
        """`files` that are followed; `begun_anew_total`: became shorter, or were replaced;
        `unreadable_total` now, of which `unreadable` names one."""
        bad = list(self._bad.values())
        return {
            "files": self._files,
            "begun_anew_total": self._begun_anew,
            "unreadable_total": len(bad),
            "unreadable": bad[-1] if bad else "",
        }

    def close(self) -> None:
        """Nothing is kept open between two looks."""

    def pieces(self, after: Position, rejects: Rejects) -> Iterator[Piece]:
        """See `_table_reader.Tables`."""
        files = self._folder.files()
        known = {
            int(inode): (int(place[0]), int(place[1]), int(place[2]))
            for inode, place in after.get("files", {}).items()
        }
        places = {found.inode: known[found.inode] for found in files if found.inode in known}
        self._files = len(files)
        for found in files:
            try:
                for table, place in self._appended(found, places.get(found.inode), rejects):
                    readings = self._columns.piece(table, rejects)
                    places[found.inode] = place
                    written = {str(inode): list(one) for inode, one in places.items()}
                    yield readings, {"files": written}
                self._bad.pop(found.path.name, None)
            except (OSError, ValueError) as broken:
                self._note(found, str(broken), rejects)

    def _note(self, found: Found, why: str, rejects: Rejects) -> None:
        name = found.path.name
        if name not in self._bad:
            rejects.add("unreadable_file", f"{name}: {why}", received=0)
        self._bad[name] = f"{name}: {why}"[:300]

    def _appended(
        self, found: Found, place: _Place | None, rejects: Rejects
    ) -> Iterator[tuple[pd.DataFrame, _Place]]:
        """Tables of the lines behind a place, each with the place behind it."""
        kind = found.path.suffix.lower()
        if kind not in GROWING:
            raise ValueError(f"no format that grows; name files {', '.join(GROWING)}")
        with found.path.open("rb") as raw:
            offset = self._offset(raw, place)
            header = b""
            if kind == ".csv":
                header = raw.readline(LINES)
                if not header.endswith(b"\n"):
                    return
                offset = max(offset, len(header))
            while lines := self._lines(raw, offset):
                offset += sum(map(len, lines))
                yield self._table(found.path, header, lines, rejects), _place(raw, offset)

    def _offset(self, raw: IO[bytes], place: _Place | None) -> int:
        """Where to go on: at 0 where it is not the file that it was."""
        if place is None:
            return 0
        offset, length, checksum = place
        same = zlib.crc32(raw.read(length)) == checksum
        raw.seek(0)
        if same and os.fstat(raw.fileno()).st_size >= offset:
            return offset
        self._begun_anew += 1
        return 0

    def _lines(self, raw: IO[bytes], offset: int) -> list[bytes]:
        raw.seek(offset)
        data = raw.read(LINES)
        if len(data) == LINES and b"\n" not in data:
            raise ValueError(f"the line at byte {offset} is longer than {LINES:,} bytes")
        whole = data[: data.rfind(b"\n") + 1]
        return [line + b"\n" for line in whole.split(b"\n")[:-1]][: self._rows]

    def _table(
        self, path: Path, header: bytes, lines: list[bytes], rejects: Rejects
    ) -> pd.DataFrame:
        """The lines as one table; a line that is no row is rejected."""
        try:
            return self._read(path, header + b"".join(lines))
        except ValueError:
            good: list[pd.DataFrame] = []
            for line in lines:
                try:
                    good.append(self._read(path, header + line))
                except ValueError as wrong:
                    detail = f"{path.name}: {wrong}"
                    rejects.add("malformed", detail, received=0, payload=line[:SHOWN])
            return pd.concat(good) if good else self._read(path, header)

    def _read(self, path: Path, data: bytes) -> pd.DataFrame:
        parts = tables(Path(path.name), io.BytesIO(data), self._rows + 1, self._columns.texts)
        table = pd.concat(parts)
        # Lines of JSON that lack what a reading needs are rejected one by one.
        missing = [name for name in self._columns.wanted if name not in table.columns]
        return (
            table
            if path.suffix.lower() == ".csv"
            else table.reindex(columns=[*table.columns, *missing])
        )


def _place(raw: IO[bytes], offset: int) -> _Place:
    raw.seek(0)
    length = min(offset, KNOWN_BY)
    return offset, length, zlib.crc32(raw.read(length))
