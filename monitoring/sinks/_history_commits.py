"""Transactions of the history: each is in the file exactly once or not at all."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import duckdb

from monitoring.sinks._history_file import HistoryFile, StoreDamaged, StoreInUse

__all__ = ["Commits"]

INSERT = {
    "predictions": "insert into predictions by name select * from incoming",
    "outcomes": "insert into outcomes by name select * from incoming",
    "events": "insert into events by name select * from incoming",
    "scores": "insert into scores by name select * from incoming",
    "answers": "insert into answers by name select * from incoming",
    "devices": "insert into devices by name select * from incoming",
}
DELETE = (
    "delete from predictions where written < ?",
    "delete from outcomes where written < ?",
    "delete from events where written < ?",
    "delete from scores where written < ?",
    "delete from answers where written < ?",
)
MARK = "update watermark set position = ?, transactions = ?"
USED = "select (used_blocks * block_size)::bigint from pragma_database_size()"
COUNTED = "select transactions from watermark"


class Commits:
    """Writes to the file, in the writer's thread. `why` tells what the file refused, "" if nothing.

    What the file refuses may be tried again: a full disk fails a commit harmlessly, but a
    checkpoint fatally, after which the file is opened anew.
    """

    def __init__(self, file: HistoryFile) -> None:
        self._file = file
        [(position, count)] = file.writer.execute("select * from watermark").fetchall()
        self.position: int = position
        """Place in the log that the file named when it was opened."""
        self._count: int = count
        self.why = ""

    def commit(self, content: Mapping[str, Any], position: int) -> bool:
        """Insert columns by table, and name the place in the log; False when nothing was kept."""
        number = self._count + 1
        try:
            self._insert(content, position, number)
        except duckdb.Error as refused:
            # A commit whose checkpoint failed reports an error, but may have been kept.
            if not self._recovered(refused) or self._counted() != number:
                return False
        self._count = number
        self.why = ""
        return True

    def _insert(self, content: Mapping[str, Any], position: int, number: int) -> None:
        cursor = self._file.writer
        cursor.execute("begin")
        for name, columns in content.items():
            cursor.register("incoming", columns)
            cursor.execute(INSERT[name])
            cursor.unregister("incoming")
        cursor.execute(MARK, [position, number])
        cursor.execute("commit")

    def _counted(self) -> int:
        """Transactions that the file has; -1 where it does not answer."""
        try:
            [(count,)] = self._file.writer.execute(COUNTED).fetchall()
        except duckdb.Error:
            return -1
        return int(count)

    def size(self) -> int:
        """Bytes that the history takes, without what a deletion has freed; 0 where unknown."""
        try:
            [(used,)] = self._file.writer.execute(USED).fetchall()
        except duckdb.Error as refused:
            self._recovered(refused)
            return 0
        log = self._file.path.with_name(self._file.path.name + ".wal")
        with suppress(FileNotFoundError):
            used += log.stat().st_size
        return int(used)

    def delete(self, before: int) -> bool:
        """Delete the rows written before; their room is used again. False where refused."""
        cursor = self._file.writer
        try:
            cursor.execute("begin")
            counts = [cursor.execute(each, [before]).fetchall()[0][0] for each in DELETE]
            cursor.execute("commit")
            if sum(counts):
                # Without it the freed blocks would wait for the log to fill up.
                cursor.execute("checkpoint").fetchall()
        except duckdb.Error as refused:
            self._recovered(refused)
            return False
        return True

    def _recovered(self, refused: duckdb.Error) -> bool:
        """Note why the file refuses and make it usable again; False where it is not."""
        self.why = f"{self._file.path}: {refused}"
        try:
            # Fails without a transaction, which is well, or fatally.
            with suppress(duckdb.TransactionException):
                self._file.writer.execute("rollback")
        except duckdb.Error:
            try:
                self._file.reopen()
            except (duckdb.Error, OSError, StoreDamaged, StoreInUse) as still:
                self.why = str(still)
                return False
        return True
