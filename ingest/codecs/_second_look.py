"""Messages that no typed parser takes: read value by value, refused with a named reason."""

from typing import Any

from ingest.codecs._origins import (
    OUR_MICROSECONDS,
    Origin,
    beside,
    channel_path,
    device_name,
    lookup,
)
from ingest.codecs._row import write_row
from ingest.codecs._tolerant import parse, reader
from ingest.rejects import Rejects
from ingest.times import Zone, instant
from streamgauge.batch import Batch
from streamgauge.delivery import Delivery
from streamgauge.devices import Devices
from streamgauge.schema import Schema

__all__ = ["SecondLook"]

MOST_READINGS = 10_000
"""Readings that one message may hold: more is a mistake or an attack."""


class _Refused(Exception):
    """A message or reading that cannot be admitted: reason and detail."""


class SecondLook:
    """Appends the readings of one message to a batch, whatever its bytes are.

    `readings` is the path of an array of readings inside the message, () where the message is one
    reading or itself an array.
    """

    def __init__(
        self,
        schema: Schema,
        devices: Devices,
        *,
        device: Origin,
        time: Origin,
        zone: Zone,
        readings: tuple[str, ...],
        max_depth: int,
    ) -> None:
        self._devices = devices
        self._device, self._time, self._zone = device, time, zone
        self._readings, self._max_depth = readings, max_depth
        self._channels = [
            (
                channel_path(channel),
                reader(channel.kind),
            )
            for channel in schema.channels
        ]

    def append(self, delivery: Delivery, i: int, batch: Batch, rejects: Rejects) -> None:
        """Append every reading of the i-th message that can be admitted; reject the others."""
        payload, topic, received = delivery.payloads[i], delivery.topics[i], delivery.received[i]
        try:
            found, around = self._parts(payload)
        except _Refused as refused:
            rejects.add(*refused.args, received=received, topic=topic, payload=payload)
            return
        for reading in found:
            try:
                self._append_reading(reading, around, delivery, i, batch)
            except _Refused as refused:
                rejects.add(*refused.args, received=received, topic=topic, payload=payload)

    def _parts(self, payload: bytes) -> tuple[list[Any], dict[str, Any]]:
        """The readings of a message and what stands around them."""
        try:
            message = parse(payload, self._max_depth)
        except ValueError as wrong:
            raise _Refused("malformed", f"not readable as JSON: {wrong}") from None
        if isinstance(message, list):
            found, around = message, {}
        elif not isinstance(message, dict):
            raise _Refused("malformed", f"{type(message).__name__} where an object is expected")
        elif not self._readings:
            return [message], {}
        else:
            found, around = lookup(message, self._readings), message
        if not isinstance(found, list):
            raise _Refused("malformed", f"no array of readings at {'.'.join(self._readings)!r}")
        if len(found) > MOST_READINGS:
            raise _Refused("too_large", f"{len(found):,} readings, more than {MOST_READINGS:,}")
        return found, around

    def _append_reading(
        self, reading: Any, around: dict[str, Any], delivery: Delivery, i: int, batch: Batch
    ) -> None:
        if not isinstance(reading, dict):
            raise _Refused("malformed", f"{type(reading).__name__} where a reading is expected")
        device = self._device_of(reading, around, delivery, i)
        time = self._time_of(reading, around, delivery, i)
        row = self._devices.row(device)
        if row < 0:
            limit = f"devices.limit = {self._devices.limit:,}"
            raise _Refused(
                "device_limit", f"device {device!r} is beyond {limit}; raise it if it is yours"
            )
        pairs = [read(lookup(reading, path)) for path, read in self._channels]
        values, flags = zip(*pairs, strict=True) if pairs else ((), ())
        write_row(batch, row, time, delivery.received[i], values, flags)

    def _device_of(
        self, reading: dict[str, Any], around: dict[str, Any], delivery: Delivery, i: int
    ) -> str:
        found = _found(self._device, reading, around, delivery, i)
        device = device_name(found)
        if not device:
            raise _Refused(*_missing_or_bad(self._device, found, delivery.topics[i], "device"))
        return device

    def _time_of(
        self, reading: dict[str, Any], around: dict[str, Any], delivery: Delivery, i: int
    ) -> int:
        found = _found(self._time, reading, around, delivery, i)
        if self._time.where in OUR_MICROSECONDS and found is not None:
            return int(found)
        time = instant(found, self._zone)
        if time is None:
            raise _Refused(*_missing_or_bad(self._time, found, delivery.topics[i], "time"))
        return time


def _found(
    origin: Origin, reading: dict[str, Any], around: dict[str, Any], delivery: Delivery, i: int
) -> Any:
    if origin.where == "field":
        return _here_or_around(reading, around, origin.path)
    return beside(origin, delivery, i, i + 1)[0]


def _here_or_around(reading: dict[str, Any], around: dict[str, Any], path: tuple[str, ...]) -> Any:
    found = lookup(reading, path)
    return lookup(around, path) if found is None else found


_WANTED = {
    "device": "a device id: 1 to 256 printable characters or an integer",
    "time": "a time: ISO 8601 text or a number since 1970",
}


def _missing_or_bad(origin: Origin, found: Any, topic: str, what: str) -> tuple[str, str]:
    if found is not None and (found or origin.where != "key"):
        shown = repr(found) if isinstance(found, str | int | float) else type(found).__name__
        return f"bad_{what}", f"{shown[:80]} is not {_WANTED[what]}"
    if origin.where == "topic":
        return "topic_mismatch", f"topic {topic[:80]!r} has no level {origin.level} for the {what}"
    place = {"key": "the message has no key", "message": "the message has no time of its own"}
    return f"no_{what}", place.get(origin.where, f"nothing at {'.'.join(origin.path)!r}")
