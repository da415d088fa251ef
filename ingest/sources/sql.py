"""Readings from a table or query of any database that SQLAlchemy knows, as they are added.

New rows are found by a column that grows, such as an id or the time of insertion. Tested with
SQLite and PostgreSQL (driver pg8000, which the extra `sql` brings); others need their own driver.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ingest.columns import Columns
from ingest.rejects import Rejects
from ingest.source import Source
from ingest.sources._sql_rows import CursorRows, first_rows, lag_of, selected
from ingest.sources._table_reader import TableReader, rows_at_once
from ingest.times import zone_named
from streamgauge import durations
from streamgauge.database import engine, notes_of
from streamgauge.schema import Schema

__all__ = ["READS", "notes", "open", "sample"]

READS = ("url", "table", "query", "cursor")
"""Options that say what is read: a position holds for these rows."""


def open(  # noqa: A001 - the name that every source has
    schema: Schema,
    source_index: int,
    clock: Callable[[], int],
    rejects: Rejects,
    *,
    url: str,
    password: str = "",
    table: str = "",
    query: str = "",
    cursor: str = "id",
    lag: int | str = 0,
    id: str = "",
    every: str = "10s",
    once: bool = False,
    fetch: int = 0,
    device: str = "device",
    device_id: str = "",
    time: str = "time",
    zone: str = "UTC",
    tls: bool | None = None,
    ca: Path | None = None,
) -> Source:
    """Read the rows of a table or query in the order of a column, and those that are added.

    - `url`: dialect://user@host/name; `password` is put in, and belongs in the environment
    - `table` (or schema.table), or `query`: a select without order or limit
    - `cursor`: a column that grows with every row: numbers or times. Rows where it is NULL are
      not read.
    - `lag`: transactions that run side by side commit out of order, and a row with a smaller id
      appears after a larger one was read: it is missed, unless `lag` reaches back to it. 1000
      looks at the last thousand ids again each time, "30s" at the last 30 seconds of a column of
      times; rows that were read already are told by `id`, or else by all their content. What the
      window holds is part of every position: keep it as short as your longest transaction.
    - `every`: how often to look; `once`: read what there is, then be finished
    - `fetch`: rows at a time; 0 = 4096, fewer where there are many channels
    - `device`, `time`: names of the columns; `device_id`: the one device of all rows instead
    - `zone`: of times without one
    - `tls`, `ca`: a PostgreSQL elsewhere is read with TLS and its certificate checked, against the
      file `ca` or what this machine trusts; `tls = false` allows it without. Of other databases
      the url says so.

    ValueError on options that mean nothing, or a package that is missing.
    """
    found = engine(url, password, tls=tls, ca=ca)
    source = selected(table, query)
    if not cursor:
        raise ValueError("cursor names no column; name one that grows with every row")
    if fetch < 0:
        raise ValueError(f"fetch = {fetch} reads nothing; write at least 1, or 0")
    most = rows_at_once(schema)
    columns = Columns(schema, device, time, zone_named(zone), device_id)
    rows = CursorRows(
        found, source, columns,
        cursor=cursor, identity=id, lag=lag_of(lag), rows=min(fetch or most, most),
    )  # fmt: skip
    wait = None if once else durations.microseconds(every) / 1e6
    return TableReader(rows, columns.none(), source_index, clock, rejects, every=wait)


def notes(options: Mapping[str, Any]) -> list[str]:
    """What is allowed but may surprise."""
    return notes_of("sql", options)


def sample(
    *,
    rows: int = 1_000,
    url: str,
    password: str = "",
    table: str = "",
    query: str = "",
    tls: bool | None = None,
    ca: Path | None = None,
) -> pd.DataFrame:
    """The first rows, as they are."""
    found = engine(url, password, tls=tls, ca=ca)
    try:
        return first_rows(found, selected(table, query), rows)
    finally:
        found.dispose()
