"""Recorded readings from CSV, Parquet or JSON lines, gzipped or not, as columns.

A row is a reading: a device, a time and a value per channel; other columns are not read. The log
clock of a recording is its own time, so that a replay gives the same result on any day:
`received` is the row's time, except where that is more than five minutes ahead of all rows before
and of the eight that follow; then it is where the clock stood before. One wrong clock moves nobody
else's, and is refused as FUTURE, as it would be live.
"""

import time as wall
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from ingest.codecs._origins import device_name
from ingest.rejects import Rejects
from ingest.sources._tables import FORMATS, format_of, tables
from ingest.times import Zone, instant, instants, zone_named
from streamgauge.arrays import Floats, Ints
from streamgauge.delivery import Delivery, Position, Readings
from streamgauge.schema import Channel, Kind, Schema

__all__ = ["FORMATS", "RecordedFile", "frame", "numeric_columns", "numeric_names", "open"]

AHEAD = 5 * 60 * 10**6
"""Microseconds that a row's clock may be ahead of its neighbours': what `devices.max_ahead` is
unless set."""
LOOK_AHEAD = 8
NEVER = -(2**62)
NEVER_CHANNELS = frozenset({"label", "split"})
"""What recordings call their ground truth and their parts; never a measurement."""
ABSENT = ("", "nan", "NaN", "NAN", "NA", "N/A", "n/a", "null", "NULL", "None", "none", "-")
"""What people write where a number is missing."""
_TRUE = {"true": 1.0, "false": 0.0, "True": 1.0, "False": 0.0}


def open(  # noqa: A001 - the name that every source has; files are opened by their path
    schema: Schema,
    source_index: int,
    clock: Callable[[], int],
    rejects: Rejects,
    *,
    path: Path,
    device: str = "device",
    time: str = "time",
    zone: str = "UTC",
    chunk: int = 4_096,
    speed: float = 0.0,
) -> "RecordedFile":
    """A recording as a source: `device` and `time` name its columns, `zone` is that of times
    without one, `chunk` the rows of a delivery. `speed` 1 replays as it was recorded, 0 flat out.

    Raises ValueError for a file that is missing or of no known format, or an option out of bounds.
    """
    format_of(Path(path))
    if not Path(path).is_file():
        raise ValueError(f"path {str(path)!r}: there is no such file; give the path of a recording")
    if chunk < 1 or speed < 0.0:
        raise ValueError(f"chunk is {chunk} and speed {speed}; give at least 1 row and 0 times")
    columns = _Columns(schema, device, time, zone_named(zone))
    return RecordedFile(columns, source_index, rejects, Path(path), chunk, speed)


class RecordedFile:
    """Delivers the readings of one file, in its order, in pieces of `chunk` rows."""

    def __init__(
        self,
        columns: "_Columns",
        source_index: int,
        rejects: Rejects,
        path: Path,
        chunk: int,
        speed: float,
        sleep: Callable[[float], None] = wall.sleep,
    ) -> None:
        self._source = source_index
        self._columns = columns
        self._rejects = rejects
        self._path = path
        self._chunk = chunk
        self._speed = speed
        self._sleep = sleep
        self._size = max(1, path.stat().st_size)
        self._raw: IO[bytes] | None = None
        self._pieces: Iterator[Readings] = iter(())
        self._rows = self._skip = 0
        self._last: int | None = None
        self.finished = False

    def resume(self, position: Position) -> None:
        """Before `start`: go on after the rows that were delivered."""
        self._skip = int(position["rows"])

    def start(self) -> None:
        """Open the file; reading begins with the first `take`."""
        self._raw = self._path.open("rb")
        read = tables(self._path, self._raw, self._chunk, self._columns.texts)
        self._pieces = _with_clock(_skip(self._columns.readings(read, self._rejects), self._skip))
        self._rows = self._skip

    def take(self, limit: int, timeout: float) -> Delivery | None:
        """The next piece; `limit` is for sources of messages, a piece is `chunk` rows."""
        if self.finished or self._raw is None:
            self._sleep(timeout)
            return None
        readings = next(self._pieces, None)
        if readings is None:
            self.finished = True
            return None
        self._rows += len(readings)
        self._wait(int(readings.received[-1]))
        return Delivery(self._source, readings=readings, position={"rows": self._rows})

    def _wait(self, received: int) -> None:
        if self._speed and self._last is not None:
            self._sleep(max(0, received - self._last) / 1e6 / self._speed)
        self._last = received

    @property
    def progress(self) -> float:
        """Share of the file's bytes that was read, 0 to 1."""
        if self.finished:
            return 1.0
        return 0.0 if self._raw is None else min(1.0, self._raw.tell() / self._size)

    def acknowledge(self, tokens: list[Any]) -> None:
        """Nothing to do: a file keeps its rows."""

    def state(self) -> dict[str, Any]:
        """How far it is."""
        return {"ok": True, "why": "", "rows_total": self._rows, "progress": self.progress}

    def stop(self) -> None:
        """Close the file."""
        if self._raw is not None:
            self._raw.close()
        self.finished = True


def frame(
    data: pd.DataFrame,
    schema: Schema,
    rejects: Rejects,
    zone: str = "UTC",
    clock: int | None = None,
) -> Readings:
    """The readings of a data frame with the columns `device`, `time` and the channels'. `clock` is
    where the log clock stands, None at the beginning."""
    columns = _Columns(schema, "device", "time", zone_named(zone))
    pieces = list(_with_clock(columns.readings(iter([data]), rejects), clock))
    return _join(pieces) if pieces else columns.none()


def numeric_columns(path: Path, device: str = "device", time: str = "time") -> list[str]:
    """Columns of a recording that hold numbers, as its first rows tell: its channels, where none
    are declared. Neither labels nor the parts of a split are channels."""
    format_of(path)
    with path.open("rb") as raw:
        first = next(tables(path, raw, 10_000, (device, time)), pd.DataFrame())
    return numeric_names(first, device, time)


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


class _Columns:
    """Takes the columns of a schema out of tables."""

    def __init__(self, schema: Schema, device: str, time: str, zone: Zone) -> None:
        self._schema = schema
        self.texts = (device, time)
        self._device = device
        self._time = time
        self._zone = zone

    def none(self) -> Readings:
        """No readings."""
        nothing = np.zeros(0, np.int64)
        labels = np.zeros((0, len(self._schema.labels))) if self._schema.labels else None
        return Readings([], nothing, nothing, np.zeros((0, len(self._schema))), labels)

    def readings(self, tables: Iterator[pd.DataFrame], rejects: Rejects) -> Iterator[Readings]:
        """One piece per table; rows without device or time are rejected."""
        for table in tables:
            for name in (self._device, self._time):
                if name not in table.columns:
                    there = ", ".join(map(str, table.columns))
                    raise ValueError(f"no column {name!r} in the recording; there are: {there}")
            yield self._piece(table, rejects)

    def _piece(self, table: pd.DataFrame, rejects: Rejects) -> Readings:
        time, known = _times(table[self._time], self._zone)
        names = table[self._device]
        texts = ["" if pd.isna(name) else str(name) for name in names]
        fit = {text: device_name(text) for text in set(texts)}
        devices = [fit[text] for text in texts]
        keep = known & np.array([bool(device) for device in devices], np.bool_)
        for k in np.flatnonzero(~keep).tolist():
            reason = "bad_time" if devices[k] else "bad_device" if texts[k] else "no_device"
            detail = f"device {texts[k][:80]!r}, time {str(table[self._time].iloc[k])[:80]!r}"
            rejects.add(reason, detail, received=0)
        values = np.column_stack(
            [_values(table, channel) for channel in self._schema.channels]
            or [np.zeros((len(table), 0))]
        )
        kept = [device for device, good in zip(devices, keep.tolist(), strict=True) if good]
        labels = self._labels(table)
        if labels is not None:
            labels = labels[keep]
        return Readings(kept, time[keep], time[keep].copy(), values[keep], labels)

    def _labels(self, table: pd.DataFrame) -> Floats | None:
        """The columns that hold labels, None where none is asked for; ValueError without one."""
        names = self._schema.labels
        for name in names:
            if name not in table.columns:
                there = ", ".join(map(str, table.columns))
                raise ValueError(
                    f"no column {name!r} for labels in the recording; there are: {there}"
                )
        columns = [_values(table, Channel(name)) for name in names]
        return np.column_stack(columns) if columns else None


def _values(table: pd.DataFrame, channel: Channel) -> Floats:
    name = channel.path or channel.name
    if name not in table.columns:
        return np.full(len(table), np.nan)
    column = table[name]
    boolean = channel.kind is Kind.BOOLEAN
    if not boolean and pd.api.types.is_bool_dtype(column):
        return np.full(len(table), np.nan)
    if boolean and not pd.api.types.is_numeric_dtype(column):
        column = column.astype(object).map(lambda value: _TRUE.get(value, value))
    numbers: Floats = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return np.where((numbers == 0) | (numbers == 1), numbers, np.nan) if boolean else numbers


def _times(
    column: "pd.Series[Any]", zone: Zone
) -> tuple[Ints, np.ndarray[Any, np.dtype[np.bool_]]]:
    """int64[n] microseconds UTC, and which of them are times."""
    if pd.api.types.is_datetime64_any_dtype(column):
        stamps = pd.DatetimeIndex(column)
        stamps = stamps.tz_localize(str(zone), ambiguous=True) if stamps.tz is None else stamps
        known = np.asarray(stamps.notna())
        return np.where(known, stamps.tz_convert("UTC").as_unit("us").asi8, 0), known
    texts: Sequence[object] = column.tolist()
    whole = instants(texts, zone)
    if whole is not None:
        return whole, np.ones(len(texts), np.bool_)
    each = [instant(_number(text), zone) for text in texts]
    known = np.array([value is not None for value in each], np.bool_)
    return np.array([value or 0 for value in each], np.int64), known


def _number(text: object) -> object:
    """numpy's scalars as Python's: a time is told by its type."""
    return text.item() if isinstance(text, np.generic) else text


def _skip(pieces: Iterator[Readings], rows: int) -> Iterator[Readings]:
    """Everything after the first `rows` readings."""
    for piece in pieces:
        if rows >= len(piece):
            rows -= len(piece)
        else:
            yield piece.part(rows, len(piece))
            rows = 0


def _with_clock(pieces: Iterator[Readings], clock: int | None = None) -> Iterator[Readings]:
    """Set `received`; a piece waits until the rows that follow it are known. `clock` is where the
    log clock stood before, None where nothing was."""
    waiting: list[Readings] = []
    for piece in pieces:
        if len(piece):
            waiting.append(piece)
        while sum(map(len, waiting[1:])) >= LOOK_AHEAD:
            clock = _set_clock(waiting[0], clock, waiting[1:])
            yield waiting.pop(0)
    while waiting:
        clock = _set_clock(waiting[0], clock, waiting[1:])
        yield waiting.pop(0)


def _set_clock(readings: Readings, clock: int | None, later: list[Readings]) -> int:
    """Set `received` of one piece, which the pieces `later` follow; the log clock behind it."""
    time, n = readings.time, len(readings)
    # Rows behind the last count as in step with it: it has no neighbour to prove it wrong.
    beyond = np.concatenate([time[1:], *(piece.time for piece in later)])[: n + LOOK_AHEAD - 1]
    ending = np.full(n + LOOK_AHEAD - 1 - len(beyond), NEVER)
    following = sliding_window_view(np.concatenate([beyond, ending]), LOOK_AHEAD).max(axis=1)
    following = np.where(following == NEVER, time, following)
    suspect = time - following > AHEAD
    before = np.where(suspect, NEVER, time)
    start = NEVER if clock is None else clock
    before = np.maximum.accumulate(np.concatenate([[start], before]))
    for k in np.flatnonzero(suspect & (before[:-1] < time - AHEAD)).tolist():
        readings.received[k] = following[k] if before[k] == NEVER else before[k]
    return int(before[-1])


def _join(pieces: list[Readings]) -> Readings:
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
