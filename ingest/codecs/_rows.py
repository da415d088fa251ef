"""Readings become rows of a batch: device, time, sequence, channels and flags; or a reason."""

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from ingest.codecs._origins import (
    OUR_MICROSECONDS,
    Origin,
    channel_path,
    device_name,
    lookup,
    topic_level,
)
from ingest.codecs._reading import DecodeError, Message, Parse, Reading
from ingest.codecs._row import sequence_number, write_row
from ingest.codecs._tokens import tokens
from ingest.codecs._tolerant import reader
from ingest.codecs._units import Units
from ingest.rejects import Rejects
from ingest.times import Zone, instant
from streamgauge.batch import Batch
from streamgauge.devices import Devices
from streamgauge.schema import Channel, Kind, Schema
from streamgauge.words import Flag

__all__ = ["MOST_READINGS", "Rows"]

MOST_READINGS = 10_000
"""Readings that one message may hold: more is a mistake or an attack."""
_FARTHEST = 10**17
"""Microseconds from 1970 to the year 5138: a time beyond is none."""
_WANTED = {
    "device": "a device id: 1 to 256 printable characters or an integer",
    "time": "a time: ISO 8601 text or a number since 1970",
}


class Rows:
    """Appends readings to batches, for one codec.

    `device`, `time` and `sequence` are where these stand; Origin("reading") takes what the reading
    itself says. `units` converts what the message or the configuration says is in another unit than
    the channel's. `path_to` gives the names that lead to a channel's value in `Reading.values`.
    """

    def __init__(
        self,
        schema: Schema,
        devices: Devices,
        *,
        device: Origin,
        time: Origin,
        sequence: Origin,
        zone: Zone,
        units: Units,
        path_to: Callable[[Channel], tuple[str, ...]] = channel_path,
    ) -> None:
        self._devices = devices
        self._device, self._time, self._sequence, self._zone = device, time, sequence, zone
        self._channels = [(path_to(channel), reader(channel)) for channel in schema.channels]
        self._tokens = [
            (column, path_to(channel), tokens(channel)) for column, channel in schema.worded
        ]
        self._units = units
        # Only numbers have a unit.
        self._measured = [
            (column, ".".join(path_to(channel)), channel.name)
            for column, channel in enumerate(schema.channels)
            if channel.kind is Kind.NUMBER
        ]

    def append(
        self,
        parse: Parse,
        message: Message,
        batch: Batch,
        rejects: Rejects,
    ) -> None:
        """Append what `parse` finds in a message and can be admitted; reject the rest."""
        found = _bounded(parse, message)
        for reading in found:
            try:
                if isinstance(reading, DecodeError):
                    raise reading
                self._append(reading, message, batch, rejects, alone=len(found) == 1)
            except DecodeError as wrong:
                _reject(wrong, message, rejects)

    def _append(
        self, reading: Reading, message: Message, batch: Batch, rejects: Rejects, *, alone: bool
    ) -> None:
        device = self._device_of(reading, message)
        time = self._time_of(reading, message)
        row = self._devices.row(device)
        if row < 0:
            limit = f"devices.limit = {self._devices.limit:,}"
            raise DecodeError(
                "device_limit", f"device {device!r} is beyond {limit}; raise it if it is yours"
            )
        sequence = sequence_number(self._sequence_of(reading, message, alone=alone))
        pairs = [read(lookup(reading.values, path)) for path, read in self._channels]
        if reading.units or self._units.declared:
            self._convert(pairs, reading.units, message, rejects)
        values, flags = zip(*pairs, strict=True) if pairs else ((), ())
        for column, path, tokens_of in self._tokens:
            words = tokens_of(lookup(reading.values, path))
            values, flags = (*values, *words), (*flags, *[flags[column]] * len(words))
        write_row(batch, row, time, message.received, sequence, values, flags)

    def _convert(
        self,
        pairs: list[tuple[float, int]],
        units: Mapping[str, str],
        message: Message,
        rejects: Rejects,
    ) -> None:
        """Bring the values to their channels' units; what cannot be is absent, flagged, counted."""
        for column, name, channel in self._measured:
            value, flag = pairs[column]
            unit = units.get(name, "")
            converted, wrong = self._units.convert(column, value, unit)
            pairs[column] = converted, flag | wrong
            if wrong & Flag.UNIT:
                detail = f"channel {channel!r}: {unit[:40]!r} cannot be converted to its unit"
                _reject(DecodeError("unit_mismatch", detail), message, rejects)

    def _sequence_of(self, reading: Reading, message: Message, *, alone: bool) -> object:
        if self._sequence.where == "reading":
            return reading.sequence
        # A message's number belongs to its reading only where it has no other.
        own = alone or self._sequence.where == "field"
        return _found(self._sequence, reading.values, {}, message) if own else None

    def _device_of(self, reading: Reading, message: Message) -> str:
        if self._device.where == "reading":
            found: Any = reading.device
        else:
            found = _found(self._device, reading.values, reading.around, message)
        device = device_name(found)
        if not device:
            raise DecodeError(*_missing_or_bad(self._device, found, message, "device"))
        return device

    def _time_of(self, reading: Reading, message: Message) -> int:
        if self._time.where == "reading":
            return self._time_told(reading, message)
        found = _found(self._time, reading.values, reading.around, message)
        ours = self._time.where in OUR_MICROSECONDS
        time = found if ours else instant(found, self._zone)
        if time is None:
            raise DecodeError(*_missing_or_bad(self._time, found, message, "time"))
        return int(time)

    def _time_told(self, reading: Reading, message: Message) -> int:
        if reading.at is not None:
            time: int | None = reading.at if abs(reading.at) < _FARTHEST else None
        elif reading.time is not None:
            time = instant(reading.time, self._zone)
        else:
            time = message.received
        if time is None:
            found = reading.time if reading.at is None else reading.at
            raise DecodeError(*_missing_or_bad(self._time, found, message, "time"))
        return time


def _bounded(parse: Parse, message: Message) -> list[Reading | DecodeError]:
    """What a message holds, or the one reason why it holds nothing that can be used."""
    try:
        found = list(islice(parse(message), MOST_READINGS + 1))
    except DecodeError as wrong:
        return [wrong]
    except Exception as bug:  # noqa: BLE001  # one message must not stop the stream, come what may
        return [DecodeError("codec_failed", f"{type(bug).__name__}: {bug}; please report it")]
    if len(found) > MOST_READINGS:
        return [DecodeError("too_large", f"more than {MOST_READINGS:,} readings")]
    return found


def _reject(wrong: DecodeError, message: Message, rejects: Rejects) -> None:
    rejects.add(
        wrong.reason, wrong.detail,
        received=message.received, topic=message.topic, payload=message.payload,
    )  # fmt: skip


def _found(
    origin: Origin, values: Mapping[str, Any], around: Mapping[str, Any], message: Message
) -> Any:
    """What stands at an origin outside of what the codec made of the message."""
    if origin.where == "field":
        found = lookup(values, origin.path)
        return lookup(around, origin.path) if found is None else found
    if origin.where == "topic":
        return topic_level(message.topic, origin.level)
    if origin.where == "header":
        return message.headers.get(origin.path[0])
    if origin.where == "key":
        return message.key or None
    return message.stamp if origin.where == "message" else message.received


def _missing_or_bad(origin: Origin, found: Any, message: Message, what: str) -> tuple[str, str]:
    if found is not None:
        shown = repr(found) if isinstance(found, str | int | float) else type(found).__name__
        return f"bad_{what}", f"{shown[:80]} is not {_WANTED[what]}"
    if origin.where == "topic":
        level = f"level {origin.level} for the {what}"
        return "topic_mismatch", f"topic {message.topic[:80]!r} has no {level}"
    places = {
        "field": f"nothing at {'.'.join(origin.path)!r}",
        "header": f"no header {'.'.join(origin.path)!r}",
        "key": "the message has no key",
        "message": "the message has no time of its own",
        "reading": f"the message names no {what}; say where it stands: {what} = ...",
    }
    return f"no_{what}", places[origin.where]
