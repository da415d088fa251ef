"""Where rows are gathered, by table and day, into the Parquet files of one round."""

import os
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from monitoring.sinks._parquet_columns import TABLES, tables
from monitoring.sinks._spill import sync_folder
from streamgauge.output import Output

__all__ = ["write"]

GROUP = 100_000
"""Rows of a row group: what is gathered in memory of one table and day."""


def write(
    root: Path, stream: str, compression: str, name: str, outputs: Iterable[Output]
) -> list[int]:
    """Write `root/TABLE/day=2026-03-01/STREAM-NAME.parquet` for every table and day that the
    outputs have rows of; the rows of each file. They have their names once all are whole and on
    the disk; what a file of that name held is replaced. OSError where the disk refuses.
    """
    begun = _Round(root, f"{stream}-{name}", compression)
    try:
        for output in outputs:
            for table, days, rows in tables(output):
                for day in np.unique(days).tolist():
                    begun.add(table, day, rows.filter(pa.array(days == day)))
        begun.finish()
    except BaseException:
        begun.discard()
        raise
    return begun.publish()


class _Round:
    """Files under names that readers of the folders pass over."""

    def __init__(self, root: Path, name: str, compression: str) -> None:
        self._root, self._name, self._compression = root, name, compression
        self._waiting: dict[tuple[str, int], list[pa.Table]] = defaultdict(list)
        self._writers: dict[tuple[str, int], Any] = {}
        self._rows: dict[tuple[str, int], int] = defaultdict(int)

    def add(self, table: str, day: int, rows: pa.Table) -> None:
        key = (table, day)
        self._waiting[key].append(rows)
        self._rows[key] += len(rows)
        if sum(map(len, self._waiting[key])) >= GROUP:
            self._write(key)

    def _write(self, key: tuple[str, int]) -> None:
        if key not in self._writers:
            path = self._begun(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writers[key] = pq.ParquetWriter(
                path, TABLES[key[0]], compression=self._compression
            )
        self._writers[key].write_table(pa.concat_tables(self._waiting.pop(key)).combine_chunks())

    def finish(self) -> None:
        """All rows in the files, all files on the disk."""
        for key in list(self._waiting):
            self._write(key)
        for key, writer in self._writers.items():
            writer.close()
            with self._begun(key).open("rb") as file:
                os.fsync(file.fileno())

    def discard(self) -> None:
        for key, writer in self._writers.items():
            with suppress(OSError):
                writer.close()
                self._begun(key).unlink(missing_ok=True)

    def publish(self) -> list[int]:
        """Give the files their names."""
        for key in self._writers:
            path = self._path(key)
            self._begun(key).rename(path)
            for folder in (path.parent, path.parent.parent, self._root):
                sync_folder(folder)
        return [self._rows[key] for key in self._writers]

    def _path(self, key: tuple[str, int]) -> Path:
        table, day = key
        return self._root / table / f"day={np.datetime64(day, 'D')}" / f"{self._name}.parquet"

    def _begun(self, key: tuple[str, int]) -> Path:
        path = self._path(key)
        return path.with_name(f".{path.name}.part")
