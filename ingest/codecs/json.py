"""JSON messages: one reading per object, or an array of readings.

    {"device": "p-17", "time": "2026-03-01T12:00:00Z", "temperature": 21.5, "running": true}

Each payload is decoded by itself: first by a parser typed after the schema; a message which that
refuses gets a second look, value by value, so that one bad value costs only itself. null is an
absent value. Unknown fields are skipped.
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.codecs._origins import (
    Origin,
    TopicDevices,
    channel_path,
    device_name,
    origin_of,
    path_of,
    topic_level,
)
from ingest.codecs._row import write_row
from ingest.codecs._second_look import SecondLook
from ingest.codecs._typed import DEVICE, TIME, Leaf, TypedParser, channel_type
from ingest.rejects import Rejects
from ingest.source import Codec
from ingest.times import Zone, instant, instants, zone_named
from streamgauge.batch import Batch
from streamgauge.delivery import Delivery
from streamgauge.devices import Devices
from streamgauge.schema import Schema

__all__ = ["MEDIA_TYPES", "build"]

MEDIA_TYPES = (
    "application/json",
    "application/x-ndjson",
    "application/jsonl",
    "application/x-jsonlines",
)
"""What a body of such messages is called over HTTP."""


def build(
    schema: Schema,
    devices: Devices,
    *,
    device: str = "field:device",
    time: str = "field:time",
    zone: str = "UTC",
    readings: str = "",
    max_bytes: int = 1_000_000,
    max_depth: int = 32,
) -> Codec:
    """Codec for JSON messages.

    - `device`: "topic:N" (N-th level of the topic, from 0) or "field:NAME" (a dotted path)
    - `time`: the same, or "received" for our own clock; forms: see `ingest.times`
    - `zone`: time zone of clocks that name none
    - `readings`: dotted path to an array of readings inside the message; device and time may stand
      in each of them or beside the array. A message that is itself an array needs no path.
    - `max_bytes`: longer messages are rejected unread
    - `max_depth`: messages that need the second look are rejected when nested deeper

    Rejects: malformed, too_large, no_device, bad_device, topic_mismatch, no_time, bad_time,
    device_limit. ValueError on options that mean nothing.
    """
    if max_bytes < 2 or max_depth < 1:
        raise ValueError("max_bytes must be at least 2 and max_depth at least 1")
    at, when = origin_of(device, "device"), origin_of(time, "time", received=True)
    array = path_of(readings, "readings") if readings else ()
    clock_zone = zone_named(zone)
    topic_devices = TopicDevices(at.level)
    second_look = SecondLook(
        schema, devices, topic_devices,
        device=at, time=when, zone=clock_zone, readings=array, max_depth=max_depth,
    )  # fmt: skip
    typed = None if array else _typed_parser(schema, at, when)
    return _JsonCodec(
        devices, device=at, time=when, zone=clock_zone, topic_devices=topic_devices,
        typed=typed, second_look=second_look, max_bytes=max_bytes,
    )  # fmt: skip


class _JsonCodec:
    def __init__(
        self,
        devices: Devices,
        *,
        device: Origin,
        time: Origin,
        zone: Zone,
        topic_devices: TopicDevices,
        typed: TypedParser | None,
        second_look: SecondLook,
        max_bytes: int,
    ) -> None:
        self._devices, self._topic_devices = devices, topic_devices
        self._device_by_field = device.where == "field"
        self._time, self._zone = time, zone
        self._head = self._device_by_field + (time.where == "field")
        self._typed, self._second_look = typed, second_look
        self._max_bytes = max_bytes

    def decode(self, delivery: Delivery, batch: Batch, rejects: Rejects) -> None:
        """Fill the batch from row 0; see `ingest.source.Codec`."""
        payloads = delivery.payloads
        batch.n = 0
        batch.reserve(len(payloads))
        self._topic_devices.forget_if_full()
        if len(payloads) == 1:
            self._one(payloads[0], delivery.topics[0], delivery.received[0], batch, rejects)
        elif payloads and self._typed is not None and max(map(len, payloads)) <= self._max_bytes:
            self._many(self._typed, delivery, batch, rejects)
        else:
            self._each(delivery, 0, len(payloads), batch, rejects)

    def _each(
        self, delivery: Delivery, start: int, stop: int, batch: Batch, rejects: Rejects
    ) -> None:
        for i in range(start, stop):
            self._one(
                delivery.payloads[i], delivery.topics[i], delivery.received[i], batch, rejects
            )

    def _many(self, typed: TypedParser, delivery: Delivery, batch: Batch, rejects: Rejects) -> None:
        """Runs of messages that the typed parser takes become columns; the others go one by one."""
        start, n = 0, len(delivery.payloads)
        while start < n:
            columns, stop = _columns(typed, delivery.payloads, start)
            topics, received = delivery.topics[start:stop], delivery.received[start:stop]
            if stop > start and not self._fill(columns, topics, received, batch):
                self._each(delivery, start, stop, batch, rejects)
            if stop < n:
                refused = (delivery.payloads[stop], delivery.topics[stop], delivery.received[stop])
                self._second_look.append(*refused, batch, rejects)
            start = stop + 1

    def _fill(
        self, columns: Sequence[Sequence[Any]], topics: list[str], received: list[int], batch: Batch
    ) -> bool:
        """Append a run of decoded messages; False, with nothing written, where one needs a look."""
        times = self._times(columns, topics, received)
        if times is None:
            return False
        topic_device = self._topic_devices.__getitem__
        rows = self._rows(columns[0] if self._device_by_field else list(map(topic_device, topics)))
        if rows is None:
            return False
        start, stop = batch.n, batch.n + len(rows)
        batch.reserve(stop)
        batch.row[start:stop] = rows
        batch.time[start:stop] = times
        batch.received[start:stop] = received
        values = batch.values[start:stop].T
        for channel, column in enumerate(columns[self._head :]):
            values[channel] = column
        batch.flags[start:stop] = 0
        batch.verdict[start:stop] = 0
        batch.n = stop
        return True

    def _times(
        self, columns: Sequence[Sequence[Any]], topics: list[str], received: list[int]
    ) -> NDArray[np.int64] | list[int] | None:
        if self._time.where == "field":
            return instants(columns[self._device_by_field], self._zone)
        if self._time.where == "received":
            return received
        return instants([topic_level(topic, self._time.level) for topic in topics], self._zone)

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

    def _one(
        self, payload: bytes, topic: str, received: int, batch: Batch, rejects: Rejects
    ) -> None:
        if len(payload) > self._max_bytes:
            detail = f"{len(payload):,} bytes, more than max_bytes = {self._max_bytes:,}"
            rejects.add("too_large", detail, received=received, topic=topic, payload=payload)
        elif self._typed is None or not self._one_typed(
            self._typed, payload, topic, received, batch
        ):
            self._second_look.append(payload, topic, received, batch, rejects)

    def _one_typed(
        self, typed: TypedParser, payload: bytes, topic: str, received: int, batch: Batch
    ) -> bool:
        """Append the one reading of a message that is as it should be; False if it is not."""
        try:
            leaves = typed.leaves(typed.decode(payload))
        except (ValueError, RecursionError):
            return False
        device = leaves[0] if self._device_by_field else self._topic_devices[topic]
        if self._time.where == "field":
            time = instant(leaves[self._device_by_field], self._zone)
        elif self._time.where == "received":
            time = received
        else:
            time = instant(topic_level(topic, self._time.level), self._zone)
        if time is None:
            return False
        row = self._devices.row_of.get(device)
        if row is None:
            rows = self._rows([device])
            if rows is None:
                return False
            row = rows[0]
        write_row(batch, row, time, received, leaves[self._head :], 0)
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


def _typed_parser(schema: Schema, device: Origin, time: Origin) -> TypedParser | None:
    """None where two of device, time and channels are read from one place: no type fits that."""
    leaves: list[Leaf] = [(device.path, DEVICE, "")] if device.where == "field" else []
    leaves += [(time.path, TIME, None)] if time.where == "field" else []
    for channel in schema.channels:
        leaves.append((channel_path(channel), channel_type(channel.kind), math.nan))
    try:
        return TypedParser(leaves)
    except ValueError:
        return None
