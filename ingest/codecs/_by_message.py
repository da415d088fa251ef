"""A codec made of a function from one message to its readings."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ingest.codecs._origins import channel_path, own_or_origin
from ingest.codecs._reading import Message, Parse, Reading, bounded_bytes, message_at
from ingest.codecs._rows import Rows
from ingest.codecs._units import Units
from ingest.rejects import Rejects
from ingest.source import Codec
from ingest.times import zone_named
from streamgauge.batch import Batch
from streamgauge.delivery import Delivery
from streamgauge.devices import Devices
from streamgauge.schema import Channel, Schema

__all__ = ["by_message"]


def by_message(
    parse: Parse,
    schema: Schema,
    devices: Devices,
    *,
    device: str,
    time: str,
    zone: str,
    sequence: str = "",
    units: Mapping[str, str] | None = None,
    max_bytes: int = 1_000_000,
    path_to: Callable[[Channel], tuple[str, ...]] = channel_path,
    memory: Any = None,
) -> Codec:
    """The codec that reads each message with `parse`.

    - `device`, `time`, `sequence`: where they stand, as for JSON; "" is what `parse` says: the
      reading's own device, its own time or else our clock, its own count if it has one
    - `zone`: time zone of clocks that name none
    - `units`: by channel, the unit that the devices use where a message names none; values are
      converted to the channel's own
    - `max_bytes`: longer messages are rejected unread
    - `path_to`: the names that lead to a channel's value: `channel_path` where values lie in each
      other, `channel_name` where names are whole, dots and slashes and all
    - `memory`: what has `snapshot` and `restore` (`Remembering`), or `requests` (`Asking`), where
      `parse` needs them

    Rejects whatever `parse` says, and too_large, no_device, bad_device, topic_mismatch, no_time,
    bad_time, device_limit; unit_mismatch is counted for a value whose unit does not fit, which is
    then absent from its reading. ValueError on options that mean nothing.
    """
    if max_bytes < 1:
        raise ValueError(f"max_bytes = {max_bytes}: no message is that short; give at least 1")
    whole = path_to is not channel_path
    rows = Rows(
        schema, devices,
        device=own_or_origin(device, "device", whole=whole),
        time=own_or_origin(time, "time", received=True, whole=whole),
        sequence=own_or_origin(sequence, "sequence", whole=whole),
        zone=zone_named(zone), units=Units(schema, units or {}), path_to=path_to,
    )  # fmt: skip
    return _ByMessage(bounded_bytes(parse, max_bytes), rows, memory)


class _ByMessage:
    def __init__(self, parse: Parse, rows: Rows, memory: Any) -> None:
        self._parse, self._rows = parse, rows
        # A codec has these methods only where it remembers or asks: that is how it is told.
        for name in ("snapshot", "restore", "requests"):
            if hasattr(memory, name):
                setattr(self, name, getattr(memory, name))

    def decode(self, delivery: Delivery, batch: Batch, rejects: Rejects) -> None:
        """Fill the batch from row 0; see `ingest.source.Codec`."""
        batch.n = 0
        batch.reserve(len(delivery.payloads))
        for i in range(len(delivery.payloads)):
            self._rows.append(self._parse, message_at(delivery, i), batch, rejects)

    def show(
        self, payload: bytes, topic: str
    ) -> Iterator[tuple[str | int | None, Any, Mapping[str, Any], Mapping[str, str]]]:
        """See `ingest.source.Showing`."""
        for reading in self._parse(Message(payload, topic)):
            if isinstance(reading, Reading):
                time = reading.time if reading.at is None else reading.at
                yield reading.device, time, {**reading.around, **reading.values}, reading.units
