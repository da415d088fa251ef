"""New files of a folder, each read once, from its beginning to its end."""

from collections.abc import Iterator
from typing import Any

from ingest.columns import Columns
from ingest.rejects import Rejects
from ingest.sources._folder_files import Folder, Found
from ingest.sources._table_reader import Piece
from ingest.sources._tables import tables
from streamgauge.delivery import Position

__all__ = ["MOST_FILES", "WholeFiles"]

MOST_FILES = 10_000
"""Files that were read and still lie in the folder: every position names them."""


class WholeFiles:
    """`rows` at a time of each file that is whole. A file that cannot be read to its end is left
    behind where it broke; one that cannot be opened is tried again with every look."""

    def __init__(self, folder: Folder, columns: Columns, rows: int) -> None:
        self._folder, self._columns, self._rows = folder, columns, rows
        self._closed: set[str] = set()
        self._incomplete = self._files = self._unreadable = 0
        self._newest = ""

    @property
    def waiting(self) -> bool:
        """Whether there are files that are not whole yet."""
        return self._incomplete > 0

    def state(self) -> dict[str, Any]:
        """`files_total` read to their end and `unreadable_total`, of which `unreadable` names the
        newest; `incomplete` files are not whole yet."""
        return {
            "files_total": self._files,
            "unreadable_total": self._unreadable,
            "unreadable": self._newest,
            "incomplete": self._incomplete,
        }

    def close(self) -> None:
        """Nothing is kept open between two looks."""

    def pieces(self, after: Position, rejects: Rejects) -> Iterator[Piece]:
        """See `_table_reader.Tables`."""
        done = dict.fromkeys(after.get("done", ()))
        current, row = after.get("file", ""), int(after.get("row", 0))
        passed: set[str] = set()
        while True:
            files, incomplete = self._folder.whole()
            self._incomplete = len(incomplete)
            present = {found.identity for found in (*files, *incomplete)}
            done = {identity: None for identity in done if identity in present}
            if len(done) >= MOST_FILES:
                raise ValueError(
                    f"path: {len(done):,} files that were read lie in {self._folder.path}; move "
                    "them to another folder, or delete them"
                )
            new = [found for found in files if found.identity not in done.keys() | passed]
            if not new:
                return
            found = next((found for found in new if found.identity == current), new[0])
            passed.add(found.identity)
            start = row if found.identity == current else 0
            yield from self._file(found, start, list(done), rejects)
            if found.identity not in self._closed:
                done[found.identity] = None
            current = ""

    def _file(self, found: Found, start: int, done: list[str], rejects: Rejects) -> Iterator[Piece]:
        """The rest of one file. Its last piece says that it is done."""
        last: Position = {"done": [*done, found.identity]}
        waiting, row = self._columns.none(), start
        try:
            raw = found.path.open("rb")
        except OSError as refused:
            if found.identity not in self._closed:
                self._note(found, str(refused), rejects)
            self._closed.add(found.identity)
            return
        self._closed.discard(found.identity)
        with raw:
            try:
                for table in tables(found.path, raw, self._rows, self._columns.texts):
                    skipped, start = min(start, len(table)), max(0, start - len(table))
                    if skipped == len(table):
                        continue
                    readings = self._columns.piece(table.iloc[skipped:], rejects)
                    if len(waiting):
                        yield waiting, {"done": done, "file": found.identity, "row": row}
                    waiting, row = readings, row + len(table) - skipped
                self._files += 1
            except ValueError as broken:
                self._note(found, str(broken), rejects)
        yield waiting, last

    def _note(self, found: Found, why: str, rejects: Rejects) -> None:
        self._unreadable += 1
        self._newest = f"{found.path.name}: {why}"[:300]
        rejects.add("unreadable_file", self._newest, received=0)
