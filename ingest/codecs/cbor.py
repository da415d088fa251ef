"""CBOR maps (RFC 8949), like JSON objects: one reading per map, or an array of readings."""

from collections.abc import Iterator

from ingest.codecs._by_message import by_message
from ingest.codecs._cbor import decoded
from ingest.codecs._maps import plain
from ingest.codecs._origins import path_of
from ingest.codecs._reading import DecodeError, Message, Reading
from ingest.codecs._second_look import readings_of
from ingest.source import Codec
from streamgauge.devices import Devices
from streamgauge.schema import Schema

__all__ = ["MEDIA_TYPES", "build"]

MEDIA_TYPES = ("application/cbor",)
"""What a body of such messages is called over HTTP."""


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
    """Codec for CBOR messages.

    - `device`, `sequence`: "field:NAME" (a dotted path), "topic:N", "key" or "header:NAME"
    - `time`: the same, "message" for the time that Kafka gives the message, or "received"; dates
      (tags 0 and 1) are times too
    - `zone`: time zone of clocks that name none
    - `readings`: dotted path to an array of readings inside the message, as for JSON
    - `units`: by channel, the unit that the devices use; values are converted to the channel's own
    - `max_bytes`: longer messages are rejected unread
    - `max_depth`: messages that are nested deeper are rejected

    Integers as names are their decimal text. Decimal fractions and big numbers are read, other tags
    that stand for objects are refused. Rejects: malformed, and those of every codec. ValueError on
    options that mean nothing.
    """
    if max_depth < 1:
        raise ValueError(f"max_depth = {max_depth}: a map has a depth of 1; give at least that")
    array = path_of(readings, "readings") if readings else ()

    def parse(message: Message) -> Iterator[Reading | DecodeError]:
        found = decoded(message.payload, max_depth)
        return readings_of(plain(found, max_depth), array)

    return by_message(
        parse, schema, devices,
        device=device, time=time, zone=zone, sequence=sequence, units=units, max_bytes=max_bytes,
    )  # fmt: skip
