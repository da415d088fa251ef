"""The file of the history: its tables, who may open it, and connections for many threads."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from streamgauge.output import SCORE_COLUMNS

__all__ = ["FORMAT", "ROWS", "HistoryFile", "StoreClosed", "StoreDamaged", "StoreInUse"]

FORMAT = 1
"""Raised whenever a table changes its meaning; a program refuses what is newer than itself."""
ROWS = 122_880
"""DuckDB's row group. A transaction of exactly so many rows of a table goes straight to the file:
half the work of one that passes through the write-ahead log, and nothing left for a checkpoint."""
READERS = 4
"""Questions answered at the same time."""

CONFIG = {
    "threads": "1",
    "memory_limit": "256MB",
    "checkpoint_threshold": "64MB",
    "write_buffer_row_group_count": "1",
}

TABLES = {
    "about": "format integer, stream varchar",
    "watermark": "position bigint, transactions bigint",
    "lanes": "lane smallint, task varchar, horizon varchar",
    "devices": "device integer, id varchar",
    "predictions": """lane smallint, device integer, sequence bigint, made bigint, due bigint,
        value double, base double, status utinyint, version bigint, written bigint,
        half double""",
    "outcomes": """lane smallint, device integer, sequence bigint, made bigint, due bigint,
        label double, residual double, status utinyint, written bigint""",
    "events": """kind utinyint, device integer, lane smallint, time bigint, before double,
        after double, size double, written bigint, channel varchar, signal varchar, since bigint,
        magnitude double, detector varchar, version integer""",
    "answers": """lane smallint, device integer, sequence bigint, made bigint, written bigint,
        predicted_class varchar, label_class varchar, probabilities map(varchar, double),
        distance double""",
    "scores": f"""lane smallint, device integer, time bigint, written bigint,
        {", ".join(f"{name} double" for name in SCORE_COLUMNS)}""",
}

LATER = {"answers"}
"""Tables that a file of an earlier version may lack."""
ADDED = (
    *(
        f"events add column if not exists {column}"
        for column in (
            "channel varchar",
            "signal varchar",
            "since bigint",
            "magnitude double",
            "detector varchar",
            "version integer",
        )
    ),
    *(f"scores add column if not exists {name} double" for name in SCORE_COLUMNS),
    "predictions add column if not exists half double",
)
"""Columns that a file of an earlier version may lack."""


class StoreDamaged(Exception):
    """The file cannot be read: damaged, of a newer format, or no history at all."""


class StoreInUse(Exception):
    """Another process has the file open."""


class StoreClosed(RuntimeError):
    """The store was closed before or while it answered."""


class HistoryFile:
    """`history.duckdb`: one writer, up to `READERS` questions at a time, from any thread.

    Raises StoreInUse, StoreDamaged, or OSError where the folder cannot be used.
    """

    def __init__(self, path: Path, stream: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._free = threading.Semaphore(READERS)
        self._reading: list[duckdb.DuckDBPyConnection] = []
        self._closed = False
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.open("r+b").close()
        self._connection = self._connect()
        try:
            self._prepare(stream)
        except duckdb.Error as refused:
            self._connection.close()
            raise self.damaged(refused) from None
        except BaseException:
            self._connection.close()
            raise
        self.writer = self._connection.cursor()

    def _connect(self) -> duckdb.DuckDBPyConnection:
        try:
            return duckdb.connect(str(self.path), config=CONFIG)
        except duckdb.Error as refused:
            if "Could not set lock" in str(refused):
                raise StoreInUse(
                    f"{self.path} is open in another process ({refused}); stop it, or give "
                    "[state] another dir"
                ) from None
            raise self.damaged(refused) from None

    def damaged(self, refused: duckdb.Error) -> StoreDamaged:
        """What to say where DuckDB cannot read its own file."""
        return StoreDamaged(
            f"{self.path} cannot be read as a history ({refused}); restore it from a backup, "
            "or move it and its .wal away: a new history is begun, and nothing but past "
            "results is lost"
        )

    def _prepare(self, stream: str) -> None:
        """Create the tables of an empty file, or refuse those of a stranger."""
        cursor = self._connection
        tables = cursor.execute("select table_name from duckdb_tables()").fetchall()
        found = {name for (name,) in tables}
        if not found:
            cursor.execute("begin")
            for name, columns in TABLES.items():
                cursor.execute(f"create table {name}({columns})")
            cursor.execute("insert into about values (?, ?)", [FORMAT, stream])
            cursor.execute("insert into watermark values (0, 0)")
            cursor.execute("commit")
            return
        if found >= TABLES.keys() - LATER:
            for name in LATER - found:
                cursor.execute(f"create table {name}({TABLES[name]})")
            found |= LATER
        missing = TABLES.keys() - found
        if missing:
            raise StoreDamaged(
                f"{self.path} is no history of streamgauge: it has no table "
                f"{', '.join(sorted(missing))}; move it away, a new one is begun"
            )
        known = cursor.execute("select format from about").fetchall()
        if known != [(FORMAT,)]:
            raise StoreDamaged(
                f"{self.path} has format {', '.join(str(f) for (f,) in known) or 'none'}, this "
                f"program writes format {FORMAT}; run the version that wrote it, or move it away: "
                "a new history is begun"
            )
        for column in ADDED:
            cursor.execute(f"alter table {column}")

    @contextmanager
    def reader(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor of the calling thread's own; StoreClosed when the store is closed meanwhile."""
        with self._free:
            with self._lock:
                if self._closed:
                    raise StoreClosed(f"{self.path} is closed")
                cursor = self._connection.cursor()
                self._reading.append(cursor)
            try:
                yield cursor
            except duckdb.InterruptException:
                raise StoreClosed(f"{self.path} was closed") from None
            finally:
                with self._lock:
                    self._reading.remove(cursor)
                cursor.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No reader is active within: those that are get interrupted when the store is closing."""
        taken = 0
        while taken < READERS:
            with self._lock:
                for cursor in self._reading if self._closed else ():
                    cursor.interrupt()
            taken += self._free.acquire(timeout=0.05)
        try:
            yield
        finally:
            self._free.release(READERS)

    def reopen(self) -> None:
        """Start again after a fatal error, such as a disk that was full during a checkpoint."""
        with self._alone():
            self.writer.close()
            self._connection.close()
            self._connection = self._connect()
            self.writer = self._connection.cursor()

    def close(self) -> None:
        """Interrupt who still reads, then close. The writer's thread must have ended."""
        with self._lock:
            self._closed = True
        with self._alone():
            self.writer.close()
            self._connection.close()
