"""Tables whose rows are readings, taken into the columns of a schema.

A row is a device, a time and a value per channel; other columns are not read.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from ingest.codecs._origins import device_name
from ingest.codecs._tokens import tokens
from ingest.codecs._tolerant import reader
from ingest.rejects import Rejects
from ingest.times import Zone, instant, instants
from streamgauge.arrays import Floats, Ints
from streamgauge.delivery import Readings
from streamgauge.schema import Channel, Kind, Schema

__all__ = ["Columns"]


class Columns:
    """Takes the columns of a schema out of tables.

    `device` and `time` name their columns, `zone` is that of times without one. With `device_id`
    there is no column of devices: all rows are of this one. ValueError where it is no device's id.
    """

    def __init__(
        self, schema: Schema, device: str, time: str, zone: Zone, device_id: str = ""
    ) -> None:
        if device_id and not device_name(device_id):
            raise ValueError(
                f"device_id = {device_id!r} is no device's id; write up to 256 printable characters"
            )
        self._schema = schema
        self.texts = (device, time)
        self._device = device
        self._device_id = device_id
        self._time = time
        self._zone = zone

    @property
    def wanted(self) -> tuple[str, ...]:
        """Columns without which there are no readings."""
        return (self._time,) if self._device_id else self.texts

    def _devices(self, table: pd.DataFrame) -> list[str]:
        if self._device_id:
            return [self._device_id] * len(table)
        return ["" if pd.isna(name) else str(name) for name in table[self._device]]

    def none(self) -> Readings:
        """No readings."""
        nothing = np.zeros(0, np.int64)
        labels = np.zeros((0, len(self._schema.labels))) if self._schema.labels else None
        return Readings([], nothing, nothing, np.zeros((0, self._schema.width)), labels)

    def readings(self, tables: Iterator[pd.DataFrame], rejects: Rejects) -> Iterator[Readings]:
        """One piece per table; rows without device or time are rejected. ValueError where a column
        of labels is missing."""
        for table in tables:
            for name in (label.name for label in self._schema.labels):
                if name not in table.columns:
                    there = ", ".join(map(str, table.columns))
                    raise ValueError(
                        f"no column {name!r} for labels in the recording; there are: {there}"
                    )
            yield self.piece(table, rejects)

    def piece(self, table: pd.DataFrame, rejects: Rejects) -> Readings:
        """The readings of one table; ValueError where it lacks the columns of device or time."""
        for name in self.wanted:
            if name not in table.columns:
                there = ", ".join(map(str, table.columns))
                raise ValueError(f"no column {name!r} in the recording; there are: {there}")
        time, known = _times(table[self._time], self._zone)
        texts = self._devices(table)
        fit = {text: device_name(text) for text in set(texts)}
        devices = [fit[text] for text in texts]
        keep = known & np.array([bool(device) for device in devices], np.bool_)
        for k in np.flatnonzero(~keep).tolist():
            reason = "bad_time" if devices[k] else "bad_device" if texts[k] else "no_device"
            detail = f"device {texts[k][:80]!r}, time {str(table[self._time].iloc[k])[:80]!r}"
            rejects.add(reason, detail, received=0)
        values = np.column_stack(
            [_values(table, channel) for channel in self._schema.channels]
            + [_words(table, channel) for _, channel in self._schema.worded]
            or [np.zeros((len(table), 0))]
        )
        kept = [device for device, good in zip(devices, keep.tolist(), strict=True) if good]
        labels = [_values(table, label) for label in self._schema.labels]
        columns = np.column_stack(labels)[keep] if labels else None
        return Readings(kept, time[keep], time[keep].copy(), values[keep], columns)


def _values(table: pd.DataFrame, channel: Channel) -> Floats:
    name = channel.path or channel.name
    if name not in table.columns:
        return np.full(len(table), np.nan)
    column = table[name]
    if channel.kind in (Kind.CATEGORY, Kind.TEXT) or channel.decimal != ".":
        return _read_one_by_one(column, channel)
    boolean = channel.kind is Kind.BOOLEAN
    if not boolean and pd.api.types.is_bool_dtype(column):
        return np.full(len(table), np.nan)
    if boolean and not pd.api.types.is_numeric_dtype(column):
        return _read_one_by_one(column, channel)
    numbers: Floats = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return np.where((numbers == 0) | (numbers == 1), numbers, np.nan) if boolean else numbers


def _words(table: pd.DataFrame, channel: Channel) -> Floats:
    """float64[n, w]: the words of a channel's texts."""
    name = channel.path or channel.name
    column = table[name] if name in table.columns else pd.Series([None] * len(table))
    return _read_once(column, tokens(channel))


def _read_one_by_one(column: "pd.Series[Any]", channel: Channel) -> Floats:
    """As a codec reads the channel."""
    return _read_once(column, reader(channel))[:, 0]


def _read_once(column: "pd.Series[Any]", read: Callable[[Any], tuple[float, ...]]) -> Floats:
    """float64[n, w]: what is read in each value, each different one once."""
    places, different = pd.factorize(column.astype(object))
    found = [read(value.item() if isinstance(value, np.generic) else value) for value in different]
    return np.array([*found, read(None)], np.float64)[places]


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
    if column.dtype == object:
        texts = list(map(_plain, texts))
    whole = instants(texts, zone)
    if whole is not None:
        return whole, np.ones(len(texts), np.bool_)
    each = [instant(_plain(text), zone) for text in texts]
    known = np.array([value is not None for value in each], np.bool_)
    return np.array([value or 0 for value in each], np.int64), known


def _plain(value: object) -> object:
    """A time is told by its type: what databases and numpy have of their own, as Python writes
    it."""
    if value is pd.NaT:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    return value.item() if isinstance(value, np.generic) else value
