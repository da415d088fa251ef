"""Readings from a data frame, and which of its columns hold numbers."""

from typing import Any

import numpy as np
import pandas as pd

from ingest.columns import Columns
from ingest.log_clock import with_clock
from ingest.rejects import Rejects
from ingest.times import zone_named
from streamgauge.delivery import Readings
from streamgauge.schema import Schema

__all__ = ["frame", "join", "numeric_names"]

NEVER_CHANNELS = frozenset({"label", "split"})
"""What recordings call their ground truth and their parts; never a measurement."""
ABSENT = ("", "nan", "NaN", "NAN", "NA", "N/A", "n/a", "null", "NULL", "None", "none", "-")
"""What people write where a number is missing."""


def frame(
    data: pd.DataFrame,
    schema: Schema,
    rejects: Rejects,
    zone: str = "UTC",
    clock: int | None = None,
) -> Readings:
    """The readings of a data frame with the columns `device`, `time` and the channels'. `clock` is
    where the log clock stands, None at the beginning."""
    columns = Columns(schema, "device", "time", zone_named(zone))
    pieces = list(with_clock(columns.readings(iter([data]), rejects), clock))
    return join(pieces) if pieces else columns.none()


def numeric_names(first: pd.DataFrame, device: str = "device", time: str = "time") -> list[str]:
    """Columns that hold numbers and what stands for missing ones; ValueError where none does."""
    never = NEVER_CHANNELS | {device, time}
    names = [str(n) for n in first.columns if n not in never and _is_numeric(first[n])]
    if not names:
        there = ", ".join(map(str, first.columns)) or "none"
        raise ValueError(f"no column of the recording holds numbers; there are: {there}")
    return names


def _is_numeric(column: "pd.Series[Any]") -> bool:
    values = column.dropna()
    kinds = set(map(type, values)) if values.dtype == object else {values.dtype.type}
    if not kinds or not all(issubclass(kind, str | int | float | np.number) for kind in kinds):
        return False
    if kinds & {bool, np.bool_}:
        return False
    written = values[~values.isin(ABSENT)]
    return bool(len(written)) and bool(pd.to_numeric(written, errors="coerce").notna().all())


def join(pieces: list[Readings]) -> Readings:
    """At least one piece as one."""
    if len(pieces) == 1:
        return pieces[0]
    return Readings(
        [device for piece in pieces for device in piece.devices],
        np.concatenate([piece.time for piece in pieces]),
        np.concatenate([piece.received for piece in pieces]),
        np.concatenate([piece.values for piece in pieces]),
        None
        if pieces[0].labels is None
        else np.concatenate([piece.labels for piece in pieces if piece.labels is not None]),
    )
