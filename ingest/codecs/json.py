"""JSON messages: one reading per object, or an array of readings.

    {"device": "p-17", "time": "2026-03-01T12:00:00Z", "temperature": 21.5, "running": true}

Each payload is decoded by itself: first by a parser typed after the schema; a message which that
refuses gets a second look, value by value, so that one bad value costs only itself. null is an
absent value. Unknown fields are skipped.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.codecs._origins import (
    OUR_MICROSECONDS,
    Origin,
    TopicDevices,
    beside,
    channel_path,
    device_name,
    origin_of,
    own_or_origin,
    path_of,
)
from ingest.codecs._reading import Message, bounded_bytes, message_at
from ingest.codecs._row import NO_SEQUENCE, sequence_number, write_row
from ingest.codecs._rows import Rows
from ingest.codecs._second_look import second_look
from ingest.codecs._typed import DEVICE, SEQUENCE, TIME, Leaf, TypedParser, channel_type
from ingest.codecs._units import Units, convert
from ingest.rejects import Rejects
from ingest.source import Codec
from ingest.times import Zone, instant, instants, zone_named
from streamgauge.batch import Batch
from streamgauge.delivery import Delivery
from streamgauge.devices import Devices
from streamgauge.schema import Schema

__all__ = ["build"]


def build(
    schema: Schema,
    devices: Devices,
    *,
    device: str = "field:device",
    time: str = "field:time",
    zone: str = "UTC",
    readings: str = "",
    sequence: str = "",
    units: dict[str, str] | None = None,
    max_bytes: int = 1_000_000,
    max_depth: int = 32,
) -> Codec:
    """Codec for JSON messages.

    - `device`: "topic:N" (N-th level of the topic, from 0), "field:NAME" (a dotted path), "key" or
      "header:NAME"
    - `time`: the same, "message" for the time that Kafka gives the message, or "received" for our
      own clock; forms: see `ingest.times`
    - `zone`: time zone of clocks that name none
    - `readings`: dotted path to an array of readings inside the message; device and time may stand
      in each of them or beside the array. A message that is itself an array needs no path.
    - `sequence`: where the device's own count of its readings stands, like `device`: what is sent
      twice is known by it. A reading whose number is absent or not whole has none.
    - `units`: by channel, the unit that the devices use (`{ temperature = "degF" }`); values are
      converted to the channel's own
    - `max_bytes`: longer messages are rejected unread
    - `max_depth`: messages that need the second look are rejected when nested deeper

    Rejects: malformed, too_large, no_device, bad_device, topic_mismatch, no_time, bad_time,
    device_limit. ValueError on options that mean nothing.
    """
    if max_bytes < 2 or max_depth < 1:
        raise ValueError("max_bytes must be at least 2 and max_depth at least 1")
    at, when = origin_of(device, "device"), origin_of(time, "time", received=True)
    count = own_or_origin(sequence, "sequence")
    array = path_of(readings, "readings") if readings else ()
    clock_zone = zone_named(zone)
    conversion = Units(schema, units or {})
    rows = Rows(
        schema, devices,
        device=at, time=when, sequence=count, zone=clock_zone, units=conversion,
    )  # fmt: skip
    look = bounded_bytes(partial(second_look, readings=array, max_depth=max_depth), max_bytes)
    typed = None if array else _typed_parser(schema, at, when, count)
    return _JsonCodec(
        devices, device=at, time=when, sequence=count, zone=clock_zone, units=conversion,
        typed=typed, second_look=partial(rows.append, look), max_bytes=max_bytes,
    )  # fmt: skip


class _JsonCodec:
    def __init__(
        self,
        devices: Devices,
        *,
        device: Origin,
        time: Origin,
        sequence: Origin,
        zone: Zone,
        units: Units,
        typed: TypedParser | None,
        second_look: Callable[[Message, Batch, Rejects], None],
        max_bytes: int,
    ) -> None:
        self._devices, self._topic_devices = devices, TopicDevices(device.level)
        self._device, self._device_by_field = device, device.where == "field"
        self._time, self._zone, self._sequence = time, zone, sequence
        self._conversions = list(units.declared.items())
        self._head = [device.where, time.where, sequence.where].count("field")
        self._typed, self._second_look = typed, second_look
        self._max_bytes = max_bytes

    def decode(self, delivery: Delivery, batch: Batch, rejects: Rejects) -> None:
        """Fill the batch from row 0; see `ingest.source.Codec`."""
        payloads = delivery.payloads
        batch.n = 0
        batch.reserve(len(payloads))
        self._topic_devices.forget_if_full()
        if len(payloads) == 1:
            self._one(delivery, 0, batch, rejects)
        elif payloads and self._typed is not None and max(map(len, payloads)) <= self._max_bytes:
            self._many(self._typed, delivery, batch, rejects)
        else:
            self._each(delivery, 0, len(payloads), batch, rejects)

    def _each(
        self, delivery: Delivery, start: int, stop: int, batch: Batch, rejects: Rejects
    ) -> None:
        for i in range(start, stop):
            self._one(delivery, i, batch, rejects)

    def _many(self, typed: TypedParser, delivery: Delivery, batch: Batch, rejects: Rejects) -> None:
        """Runs of messages that the typed parser takes become columns; the others go one by one."""
        start, n = 0, len(delivery.payloads)
        while start < n:
            columns, stop = _columns(typed, delivery.payloads, start)
            if stop > start and not self._fill(columns, delivery, start, stop, batch):
                self._each(delivery, start, stop, batch, rejects)
            if stop < n:
                self._second_look(message_at(delivery, stop), batch, rejects)
            start = stop + 1

    def _fill(
        self,
        columns: Sequence[Sequence[Any]],
        delivery: Delivery,
        first: int,
        last: int,
        batch: Batch,
    ) -> bool:
        """Append the decoded messages `first` to `last`; False, with nothing written, where one
        needs a look."""
        times = self._times(columns, delivery, first, last)
        if times is None:
            return False
        ids = columns[0] if self._device_by_field else self._ids(delivery, first, last)
        rows = self._rows(ids)
        if rows is None:
            return False
        received = delivery.received[first:last]
        start, stop = batch.n, batch.n + len(rows)
        batch.reserve(stop)
        batch.row[start:stop] = rows
        batch.time[start:stop] = times
        batch.received[start:stop] = received
        batch.sequence[start:stop] = self._sequences(columns, delivery, first, last)
        values = batch.values[start:stop].T
        for channel, column in enumerate(columns[self._head :]):
            values[channel] = column
        batch.flags[start:stop] = 0
        for channel, conversion in self._conversions:
            convert(values[channel], batch.flags[start:stop, channel], conversion)
        batch.verdict[start:stop] = 0
        batch.n = stop
        return True

    def _ids(self, delivery: Delivery, start: int, stop: int) -> Sequence[Any]:
        """The devices of messages that name them outside their payloads, "" or None for unfit."""
        if self._device.where == "topic":
            return list(map(self._topic_devices.__getitem__, delivery.topics[start:stop]))
        return beside(self._device, delivery, start, stop)

    def _times(
        self, columns: Sequence[Sequence[Any]], delivery: Delivery, start: int, stop: int
    ) -> NDArray[np.int64] | Sequence[Any] | None:
        if self._time.where == "field":
            return instants(columns[self._device_by_field], self._zone)
        times = beside(self._time, delivery, start, stop)
        if self._time.where in OUR_MICROSECONDS:
            return None if None in times else times
        return instants(times, self._zone)

    def _sequences(
        self, columns: Sequence[Sequence[Any]], delivery: Delivery, start: int, stop: int
    ) -> list[int] | int:
        if self._sequence.where == "reading":
            return NO_SEQUENCE
        if self._sequence.where == "field":
            return list(map(sequence_number, columns[self._head - 1]))
        return list(map(sequence_number, beside(self._sequence, delivery, start, stop)))

    def _rows(self, ids: Sequence[str | int]) -> list[int] | None:
        """Rows of these devices, new ones included; None where one is unfit or beyond the limit."""
        known = self._devices.row_of
        try:
            return list(map(known.__getitem__, ids))  # type: ignore[arg-type]  # integers miss
        except KeyError:
            names = list(map(device_name, ids))
        if "" in names:
            return None
        rows = self._devices.rows(names)
        return None if -1 in rows else rows

    def _one(self, delivery: Delivery, i: int, batch: Batch, rejects: Rejects) -> None:
        short = len(delivery.payloads[i]) <= self._max_bytes
        if not (short and self._typed and self._one_typed(self._typed, delivery, i, batch)):
            self._second_look(message_at(delivery, i), batch, rejects)

    def _one_typed(self, typed: TypedParser, delivery: Delivery, i: int, batch: Batch) -> bool:
        """Append the one reading of a message that is as it should be; False if it is not."""
        try:
            leaves = typed.leaves(typed.decode(delivery.payloads[i]))
        except (ValueError, RecursionError):
            return False
        device = leaves[0] if self._device_by_field else self._ids(delivery, i, i + 1)[0]
        if self._time.where == "field":
            time = instant(leaves[self._device_by_field], self._zone)
        else:
            found = beside(self._time, delivery, i, i + 1)[0]
            ours = self._time.where in OUR_MICROSECONDS
            time = found if ours else instant(found, self._zone)
        if time is None:
            return False
        row = self._devices.row_of.get(device)
        if row is None:
            rows = self._rows([device])
            if rows is None:
                return False
            row = rows[0]
        sequence = self._sequences([(leaf,) for leaf in leaves[: self._head]], delivery, i, i + 1)
        number = sequence[0] if isinstance(sequence, list) else sequence
        write_row(batch, row, time, delivery.received[i], number, leaves[self._head :], 0)
        last = slice(batch.n - 1, batch.n)
        for channel, conversion in self._conversions:
            convert(batch.values[last, channel], batch.flags[last, channel], conversion)
        return True


def _columns(
    typed: TypedParser, payloads: Sequence[bytes], start: int
) -> tuple[list[tuple[Any, ...]], int]:
    """The leaves, as columns, of the messages from `start` on that the parser takes, and where it
    stopped."""
    decode = typed.decode
    decoded: list[Any] = []
    # A loop keeps what was decoded before the message that is refused; map and extend need not.
    with suppress(ValueError, RecursionError):
        for i in range(start, len(payloads)):
            decoded.append(decode(payloads[i]))  # noqa: PERF401  # see above
    return list(zip(*map(typed.leaves, decoded), strict=True)), start + len(decoded)


def _typed_parser(
    schema: Schema, device: Origin, time: Origin, sequence: Origin
) -> TypedParser | None:
    """None where two of device, time, sequence and channels are read from one place: no type fits
    that."""
    leaves: list[Leaf] = [(device.path, DEVICE, "")] if device.where == "field" else []
    leaves += [(time.path, TIME, None)] if time.where == "field" else []
    leaves += [(sequence.path, SEQUENCE, None)] if sequence.where == "field" else []
    for channel in schema.channels:
        leaves.append((channel_path(channel), channel_type(channel.kind), math.nan))
    try:
        return TypedParser(leaves)
    except ValueError:
        return None
