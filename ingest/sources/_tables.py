"""CSV, Parquet and JSON lines, gzipped or not, as a sequence of tables of bounded size."""

import gzip
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pyarrow.parquet

from ingest.codecs._tolerant import parse

__all__ = ["FORMATS", "format_of", "tables"]

FORMATS = (".csv", ".parquet", ".jsonl", ".ndjson", ".json")
MOST_NESTED = 32


def format_of(path: Path) -> str:
    """The format that a file's name tells, ".gz" aside; ValueError lists those there are."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    if not suffixes or suffixes[-1] not in FORMATS:
        known = ", ".join(FORMATS)
        raise ValueError(
            f"path {str(path)!r}: no known format; name a file {known}, or one of these .gz"
        )
    return suffixes[-1]


def tables(
    path: Path, raw: IO[bytes], chunk: int, texts: tuple[str, str]
) -> Iterator[pd.DataFrame]:
    """The file's rows, `chunk` at a time, the columns `texts` of a CSV file as text; ValueError
    names a damaged file."""
    kind = format_of(path)
    opened: Any = gzip.GzipFile(fileobj=raw) if path.suffix.lower() == ".gz" else raw
    try:
        if kind == ".parquet":
            for batch in pyarrow.parquet.ParquetFile(opened).iter_batches(chunk):
                yield batch.to_pandas()
        elif kind == ".csv":
            read = pd.read_csv(
                opened, chunksize=chunk, dtype=dict.fromkeys(texts, str),
                keep_default_na=False, na_values=[""], low_memory=False,
            )  # fmt: skip
            yield from map(_unshifted, read)
        else:
            yield from _json_lines(opened, chunk)
    except pd.errors.EmptyDataError:
        return
    except (ValueError, OSError, EOFError, pyarrow.ArrowException) as broken:
        raise ValueError(
            f"{path}: cannot be read ({broken}); repair or replace the file"
        ) from broken


def _unshifted(table: pd.DataFrame) -> pd.DataFrame:
    """The table itself. Where rows have more cells than the header, pandas takes the first ones for
    their names, and every cell would count as its neighbour's."""
    if not isinstance(table.index, pd.RangeIndex):
        raise ValueError("rows have more cells than the header")  # noqa: TRY004 - of a file
    return table


def _json_lines(opened: IO[bytes], chunk: int) -> Iterator[pd.DataFrame]:
    """One row per line; a line that is no JSON object is a row without a device.

    pandas reads JSON numbers only nearly: a replay must see the very values that went live.
    """
    while lines := list(islice(opened, chunk)):
        yield pd.DataFrame([_line(line) for line in lines if line.strip()], dtype=object)


def _line(line: bytes) -> dict[str, Any]:
    try:
        found = parse(line, MOST_NESTED)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
