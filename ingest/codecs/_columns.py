"""Columns of many readings become rows of a batch at once, as they would one by one."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.codecs._origins import (
    OUR_MICROSECONDS,
    Origin,
    TopicDevices,
    beside,
    device_name,
)
from ingest.codecs._row import NO_SEQUENCE, sequence_number, write_row
from ingest.codecs._tokens import tokens
from ingest.codecs._typed import Columns, repeated
from ingest.codecs._units import Units, convert
from ingest.codecs._words import codes, longest, text
from ingest.times import Zone, instant, instants
from streamgauge.batch import Batch
from streamgauge.delivery import Delivery
from streamgauge.devices import Devices
from streamgauge.schema import Channel, Kind, Schema

__all__ = ["ColumnRows"]


def _code_of(channel: Channel) -> Callable[[Any], float]:
    """The number of a word that the typed parser let through."""
    if channel.kind is Kind.CATEGORY:
        return codes(channel).__getitem__
    most = longest(channel)
    return lambda value: text(value, most)[0]


class ColumnRows:
    """Appends what a typed parser read: device, time and sequence where they are fields, then the
    channels."""

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
    ) -> None:
        self._devices, self._topic_devices = devices, TopicDevices(device.level)
        self._device, self._device_by_field = device, device.where == "field"
        self._time, self._zone, self._sequence = time, zone, sequence
        self._worded = [
            (column, _code_of(channel))
            for column, channel in enumerate(schema.channels)
            if channel.kind in (Kind.CATEGORY, Kind.TEXT)
        ]
        self._tokens = [(column, tokens(channel)) for column, channel in schema.worded]
        self._conversions = list(units.declared.items())
        self._head = [device.where, time.where, sequence.where].count("field")

    def forget_if_full(self) -> None:
        """Bound what topics can make it remember; between deliveries."""
        self._topic_devices.forget_if_full()

    def fill(
        self, columns: Columns, delivery: Delivery, first: int, last: int, batch: Batch
    ) -> bool:
        """Append the readings of the messages `first` to `last`; False, with nothing written, where
        one needs a second look."""
        leaves, counts = columns
        if not leaves:
            return True
        times = self._times(leaves, counts, delivery, first, last)
        if times is None:
            return False
        ids = leaves[0] if self._device_by_field else self._ids(delivery, first, last)
        rows = self._rows(ids if self._device_by_field else repeated(ids, counts))
        if rows is None:
            return False
        start, stop = batch.n, batch.n + len(rows)
        batch.reserve(stop)
        batch.row[start:stop] = rows
        batch.time[start:stop] = times
        batch.received[start:stop] = repeated(delivery.received[first:last], counts)
        batch.sequence[start:stop] = self._sequences(leaves, counts, delivery, first, last)
        values = batch.values[start:stop].T
        for channel, column in enumerate(self._coded(leaves[self._head :])):
            values[channel] = column
        batch.flags[start:stop] = 0
        for channel, conversion in self._conversions:
            convert(values[channel], batch.flags[start:stop, channel], conversion)
        batch.verdict[start:stop] = 0
        batch.n = stop
        return True

    def one(self, leaves: tuple[Any, ...], delivery: Delivery, i: int, batch: Batch) -> bool:
        """The same for the one reading of the i-th message, without arrays."""
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
        head = [(leaf,) for leaf in leaves[: self._head]]
        sequence = self._sequences(head, None, delivery, i, i + 1)
        number = sequence if isinstance(sequence, int) else sequence[0]
        values = leaves[self._head :]
        if self._worded:
            values = tuple(column[0] for column in self._coded([(one,) for one in values]))
        write_row(batch, row, time, delivery.received[i], number, values, 0)
        last = slice(batch.n - 1, batch.n)
        for channel, conversion in self._conversions:
            convert(batch.values[last, channel], batch.flags[last, channel], conversion)
        return True

    def _coded(self, columns: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
        """The channels' columns, with numbers in place of words, and the words of texts behind
        them."""
        if not self._worded:
            return columns
        coded = list(columns)
        for channel, code_of in self._worded:
            coded[channel] = list(map(code_of, columns[channel]))
        for channel, tokens_of in self._tokens:
            coded += zip(*map(tokens_of, columns[channel]), strict=True)
        return coded

    def _ids(self, delivery: Delivery, start: int, stop: int) -> Sequence[Any]:
        """The devices of messages that name them outside their payloads, "" or None for unfit."""
        if self._device.where == "topic":
            return list(map(self._topic_devices.__getitem__, delivery.topics[start:stop]))
        return beside(self._device, delivery, start, stop)

    def _times(
        self,
        leaves: Sequence[Sequence[Any]],
        counts: list[int] | None,
        delivery: Delivery,
        start: int,
        stop: int,
    ) -> NDArray[np.int64] | Sequence[Any] | None:
        if self._time.where == "field":
            return instants(leaves[self._device_by_field], self._zone)
        times = repeated(beside(self._time, delivery, start, stop), counts)
        if self._time.where in OUR_MICROSECONDS:
            return None if None in times else times
        return instants(times, self._zone)

    def _sequences(
        self,
        leaves: Sequence[Sequence[Any]],
        counts: list[int] | None,
        delivery: Delivery,
        start: int,
        stop: int,
    ) -> Sequence[int] | int:
        if self._sequence.where == "reading":
            return NO_SEQUENCE
        if self._sequence.where == "field":
            return list(map(sequence_number, leaves[self._head - 1]))
        numbers = list(map(sequence_number, beside(self._sequence, delivery, start, stop)))
        if counts is not None:
            # A message's number belongs to its reading only where it has no other.
            pairs = zip(numbers, counts, strict=True)
            numbers = [number if count == 1 else NO_SEQUENCE for number, count in pairs]
        return repeated(numbers, counts)

    def _rows(self, ids: Sequence[Any]) -> list[int] | None:
        """Rows of these devices, new ones included; None where one is unfit or beyond the limit."""
        try:
            return list(map(self._devices.row_of.__getitem__, ids))
        except KeyError:
            names = list(map(device_name, ids))
        if "" in names:
            return None
        rows = self._devices.rows(names)
        return None if -1 in rows else rows
