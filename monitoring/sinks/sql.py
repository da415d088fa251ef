"""Results to the tables of any database that SQLAlchemy knows: predictions, events and scores.

A prediction is one row, which its outcome completes; what is sent twice overwrites itself. Tested
with SQLite and PostgreSQL (driver pg8000, which the extra `sql` brings). MySQL's and MariaDB's own
statement is written but was not run; any other database gets a delete and an insert.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from monitoring.sinks._buffered import Buffered
from monitoring.sinks._sql_rows import Row, RowsEncoder
from streamgauge.database import engine
from streamgauge.output import Sink
from streamgauge.schedule import Lane

__all__ = ["open"]

MOST_ROWS = 1_000
"""Rows of a request: databases take some ten thousand parameters."""
_PREFIX = re.compile(r"([A-Za-z_]\w*\.)?[A-Za-z_]\w*", re.ASCII)


def open(  # noqa: A001 - what opens a plug-in has one name in every folder
    lanes: Sequence[Lane],
    stream: str,
    folder: Path,
    clock: Callable[[], int],
    *,
    url: str,
    password: str = "",
    prefix: str = "streamgauge_",
    batch: int = 500,
    buffer_bytes: int = 100_000_000,
) -> Sink:
    """A sink that writes to a database, which need not be there: what it cannot take waits.

    - `url`: dialect://user@host/name; `password` is put in, and belongs in the environment
    - `prefix`: of the tables' names, "streamgauge_predictions"; with a dot, of another schema:
      "plant.streamgauge_". Tables that are missing are made.
    - `batch`: rows per transaction, at most 1000
    - `buffer_bytes`: what may wait, at about 100 bytes per record; beyond it the oldest is dropped
      and counted

    A prediction's row is told by stream, id and the time it was made: a device that was forgotten
    and counts its readings anew overwrites nothing. ValueError on options that mean nothing, or a
    package that is missing.
    """
    if not 1 <= batch <= MOST_ROWS:
        raise ValueError(f"batch = {batch}; write 1 to {MOST_ROWS} rows per transaction")
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(f'prefix = {prefix!r} begins no table\'s name; write one like "plant_"')
    found = engine(url, password)
    from monitoring.sinks._sql_server import Upserts

    sink: Buffered[list[Row]] = Buffered(
        RowsEncoder(lanes, stream).encode, Upserts(found, prefix), clock,
        name="sql", batch=batch, buffer_bytes=buffer_bytes,
    )  # fmt: skip
    return sink
