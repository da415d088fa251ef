"""Files that arrive in a folder: CSV, Parquet or JSON lines, gzipped or not.

Each file is read once, when it is whole; how far that is, is in the journal with the readings, so a
crash neither repeats nor leaves out a row. With `tail` the files grow instead, as logs do.
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from ingest.columns import Columns
from ingest.rejects import Rejects
from ingest.source import Source
from ingest.sources import file
from ingest.sources._folder_files import Complete, Folder, Order
from ingest.sources._growing_files import GrowingFiles
from ingest.sources._table_reader import TableReader, Tables, rows_at_once
from ingest.sources._whole_files import WholeFiles
from ingest.times import zone_named
from streamgauge import durations
from streamgauge.schema import Schema

__all__ = ["READS", "open", "sample"]

READS = ("path", "pattern")
"""Options that say what is read: a position holds for these rows."""


def open(  # noqa: A001 - the name that every source has
    schema: Schema,
    source_index: int,
    clock: Callable[[], int],
    rejects: Rejects,
    *,
    path: Path,
    pattern: str = "*.csv",
    complete: Complete = "settle",
    settle: str = "5s",
    marker: str = ".done",
    order: Order = "name",
    tail: bool = False,
    every: str = "1s",
    once: bool = False,
    device: str = "device",
    device_id: str = "",
    time: str = "time",
    zone: str = "UTC",
) -> Source:
    """Read the files of a folder, and those that come.

    - `path`, `pattern`: the folder (not those in it) and the names, as in "*.csv.gz"
    - `complete`: when a file is whole. "settle": its size and time have not changed for `settle`;
      "rename": at once, because it is written under another name and then renamed; "marker": when
      an empty file of its name and `marker` lies beside it
    - `order`: by "name" or "mtime", of those that are whole; one that is not holds up no other
    - `tail`: files grow; complete lines of CSV (no line breaks within a cell) and JSON lines are
      read as they are appended. `complete` has no meaning then. Let the pattern match the names
      that a rotation gives, or what was written last before it is missed.
    - `every`: how often to look; `once`: read what there is, then be finished
    - `device`, `time`: names of the columns; `device_id`: the one device of all rows instead
    - `zone`: of times without one

    A file that changes after it was read counts as a new one. One that cannot be read is counted
    and named in the state, and stops no other. At most 10,000 files that were read may stay in the
    folder. ValueError on options that mean nothing.
    """
    if not Path(path).is_dir():
        raise ValueError(f"path {str(path)!r}: there is no such folder; make it, or give another")
    if not pattern or "/" in pattern:
        raise ValueError(f'pattern = {pattern!r} matches no file name; write one like "*.csv"')
    if not marker:
        raise ValueError('marker is empty; write what follows the file\'s name, such as ".done"')
    folder = Folder(
        Path(path), pattern, order=order, complete=complete, marker=marker,
        settle=durations.microseconds(settle) / 1e6,
    )  # fmt: skip
    columns = Columns(schema, device, time, zone_named(zone), device_id)
    kind: Callable[[Folder, Columns, int], Tables] = GrowingFiles if tail else WholeFiles
    files = kind(folder, columns, rows_at_once(schema))
    wait = None if once else durations.microseconds(every) / 1e6
    return TableReader(files, columns.none(), source_index, clock, rejects, every=wait)


def sample(
    *,
    rows: int = 1_000,
    path: Path,
    pattern: str = "*.csv",
    device: str = "device",
    time: str = "time",
) -> pd.DataFrame:
    """The first rows of the first file, as they are; empty where there is none."""
    folder = Folder(
        Path(path), pattern, order="name", complete="rename", settle=0.0, marker=".done"
    )
    first = next(iter(folder.files()), None)
    if first is None:
        return pd.DataFrame()
    return file.sample(rows=rows, path=first.path, device=device, time=time)
