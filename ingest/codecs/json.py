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

from ingest.codecs._columns import ColumnRows
from ingest.codecs._origins import (
    Origin,
    channel_path,
    origin_of,
    own_or_origin,
    path_of,
)
from ingest.codecs._reading import Message, bounded_bytes, message_at
from ingest.codecs._rows import Rows
from ingest.codecs._second_look import second_look
from ingest.codecs._typed import (
    DEVICE,
    SEQUENCE,
    TIME,
    GroupedParser,
    Leaf,
    TypedParser,
    channel_type,
)
from ingest.codecs._units import Units
from ingest.rejects import Rejects
from ingest.source import Codec
from ingest.times import zone_named
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

RUN_BYTES = 150_000
"""Payloads that are decoded before their columns are filled: more would leave the processor's
cache before they are read again."""


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
      twice is known by it. A reading whose number is absent or not whole has none, and so has one
      of several in a message whose number stands outside of it.
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
    columns = ColumnRows(
        schema, devices, device=at, time=when, sequence=count, zone=clock_zone, units=conversion
    )
    typed = _typed_parser(schema, at, when, count, array)
    return _JsonCodec(columns, typed, partial(rows.append, look), max_bytes)


class _JsonCodec:
    def __init__(
        self,
        columns: ColumnRows,
        typed: TypedParser | GroupedParser | None,
        second_look: Callable[[Message, Batch, Rejects], None],
        max_bytes: int,
    ) -> None:
        self._columns, self._typed = columns, typed
        self._second_look, self._max_bytes = second_look, max_bytes

    def decode(self, delivery: Delivery, batch: Batch, rejects: Rejects) -> None:
        """Fill the batch from row 0; see `ingest.source.Codec`."""
        payloads = delivery.payloads
        batch.n = 0
        batch.reserve(len(payloads))
        self._columns.forget_if_full()
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

    def _many(
        self,
        typed: TypedParser | GroupedParser,
        delivery: Delivery,
        batch: Batch,
        rejects: Rejects,
    ) -> None:
        """Runs of messages that the typed parser takes become columns; the others go one by one."""
        payloads = delivery.payloads
        start, n = 0, len(payloads)
        longest = 1 + n * RUN_BYTES // (1 + sum(map(len, payloads)))
        while start < n:
            end = min(n, start + longest)
            decoded = _run(typed.decode, payloads, start, end)
            stop = start + len(decoded)
            if decoded:
                columns = typed.columns(decoded)
                if columns is None or not self._columns.fill(columns, delivery, start, stop, batch):
                    self._each(delivery, start, stop, batch, rejects)
            if stop < end:
                self._second_look(message_at(delivery, stop), batch, rejects)
                stop += 1
            start = stop

    def _one(self, delivery: Delivery, i: int, batch: Batch, rejects: Rejects) -> None:
        short = len(delivery.payloads[i]) <= self._max_bytes
        if not (short and self._typed and self._one_typed(self._typed, delivery, i, batch)):
            self._second_look(message_at(delivery, i), batch, rejects)

    def _one_typed(
        self, typed: TypedParser | GroupedParser, delivery: Delivery, i: int, batch: Batch
    ) -> bool:
        """Append the readings of a message that is as it should be; False if it is not."""
        try:
            decoded = typed.decode(delivery.payloads[i])
        except (ValueError, RecursionError):
            return False
        if type(decoded) is typed.reading:
            return self._columns.one(typed.leaves(decoded), delivery, i, batch)
        columns = typed.columns([decoded])
        return columns is not None and self._columns.fill(columns, delivery, i, i + 1, batch)


def _run(
    decode: Callable[[bytes], Any], payloads: Sequence[bytes], start: int, end: int
) -> list[Any]:
    """The messages `start` to `end` up to the first that the parser refuses."""
    decoded: list[Any] = []
    with suppress(ValueError, RecursionError):
        for i in range(start, end):
            decoded.append(decode(payloads[i]))  # noqa: PERF401  # extend need not keep what came before a refusal
    return decoded


def _typed_parser(
    schema: Schema, device: Origin, time: Origin, sequence: Origin, array: tuple[str, ...]
) -> TypedParser | GroupedParser | None:
    """None where two of device, time, sequence, array and channels are read from one place: no type
    fits that."""
    leaves: list[Leaf] = [(device.path, DEVICE, "")] if device.where == "field" else []
    leaves += [(time.path, TIME, None)] if time.where == "field" else []
    shared = len(leaves)
    leaves += [(sequence.path, SEQUENCE, None)] if sequence.where == "field" else []
    for channel in schema.channels:
        leaves.append((channel_path(channel), channel_type(channel), math.nan))
    try:
        return GroupedParser(array, leaves, shared) if array else TypedParser(leaves)
    except ValueError:
        return None
