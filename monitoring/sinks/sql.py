"""Results to the tables of any database that SQLAlchemy knows: predictions, events and scores.

A prediction is one row, which its outcome completes; what is sent twice overwrites itself. Tested
with SQLite and PostgreSQL (driver pg8000, which the extra `sql` brings). MySQL's and MariaDB's own
statement is written but was not run; any other database gets a delete and an insert.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monitoring.sinks._buffered import Buffered
from monitoring.sinks._spill import place_of
from monitoring.sinks._sql_rows import Row, RowsEncoder
from streamgauge.database import engine, notes_of
from streamgauge.output import Sink
from streamgauge.schedule import Lane

__all__ = ["comes_back", "notes", "open"]

TABLES = ("predictions", "events", "scores")
MOST_ROWS = 1_000
"""Rows of a request: databases take some ten thousand parameters."""
PREFIX = "streamgauge_"
_PREFIX = re.compile(r"([A-Za-z_]\w*\.)?[A-Za-z_]\w*", re.ASCII)


def open(  # noqa: A001 - what opens a plug-in has one name in every folder
    lanes: Sequence[Lane],
    stream: str,
    folder: Path,
    clock: Callable[[], int],
    *,
    url: str,
    password: str = "",
    prefix: str = PREFIX,
    batch: int = 500,
    buffer_bytes: int = 100_000_000,
    spill_bytes: int = 1_000_000_000,
    tls: bool | None = None,
    ca: Path | None = None,
) -> Sink:
    """A sink that writes to a database, which need not be there: what it cannot take waits.

    - `url`: dialect://user@host/name; `password` is put in, and belongs in the environment
    - `prefix`: of the tables' names, "streamgauge_predictions"; with a dot, of another schema:
      "plant.streamgauge_". Tables that are missing are made.
    - `batch`: rows per transaction, at most 1000
    - `buffer_bytes`: what may wait in memory, at about 100 bytes per record; from half of it on the
      oldest goes to the disk
    - `spill_bytes`: what may wait on the disk, at about 40 bytes per record; beyond it the oldest
      is dropped and counted. 0 keeps everything in memory.
    - `tls`, `ca`: a PostgreSQL elsewhere is asked with TLS and its certificate checked, against the
      file `ca` or what this machine trusts; `tls = false` allows it without. Of other databases
      the url says so.

    A prediction's row is told by stream, id and the time it was made: a device that was forgotten
    and counts its readings anew overwrites nothing. What the database refuses for good is appended
    to `dead.jsonl`, beside what waits on the disk. ValueError on options that mean nothing, or a
    package that is missing.
    """
    if not 1 <= batch <= MOST_ROWS:
        raise ValueError(f"batch = {batch}; write 1 to {MOST_ROWS} rows per transaction")
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(f'prefix = {prefix!r} begins no table\'s name; write one like "plant_"')
    found = engine(url, password, tls=tls, ca=ca)
    from monitoring.sinks._sql_server import Upserts

    sink: Buffered[list[Row]] = Buffered(
        RowsEncoder(lanes, stream).encode, Upserts(found, prefix), clock,
        name="sql", batch=batch, buffer_bytes=buffer_bytes,
        place=folder / "sql" / _place(found.url, prefix), spill_bytes=spill_bytes,
    )  # fmt: skip
    return sink


def _place(url: Any, prefix: str) -> str:
    """A folder's name for this target: no user and no password is in it."""
    host = url.host or "", str(url.port or "")
    return place_of(url.get_backend_name(), *host, url.database or "", prefix)


def notes(options: Mapping[str, Any]) -> list[str]:
    """What is allowed but may surprise."""
    return notes_of("sql", options)


def comes_back(_: str, options: Mapping[str, Any], source: Mapping[str, Any]) -> str:
    """Why these options would make a source of the same name read what this sink writes; "" where
    it would not."""
    prefix, table = options.get("prefix", PREFIX), source.get("table", "")
    if options["url"] != source["url"] or table not in {prefix + name for name in TABLES}:
        return ""
    return f"{table} is read again by the source; choose another prefix, or another table to read"
