"""One value per message: 21.5, "21.5 °C", ON or true, its channel named by the topic.

    home/kitchen/temperature   21.5

A value becomes a reading with that one channel. The channels of a device are brought together by
the stream's assembly, not here.
"""

from collections.abc import Iterator

from ingest.codecs._by_message import by_message
from ingest.codecs._origins import channel_name, origin_of, topic_level
from ingest.codecs._reading import DecodeError, Message, Reading
from ingest.codecs._text import decoded, readers
from ingest.source import Codec
from streamgauge.devices import Devices
from streamgauge.schema import Schema

__all__ = ["MEDIA_TYPES", "build"]

MEDIA_TYPES = ("text/plain",)
"""What a body of such messages is called over HTTP."""


def build(
    schema: Schema,
    devices: Devices,
    *,
    device: str = "topic:-2",
    channel: str = "topic:-1",
    time: str = "received",
    zone: str = "UTC",
    units: dict[str, str] | None = None,
    max_bytes: int = 1_024,
) -> Codec:
    """Codec for messages that are one value.

    - `channel`: the level of the topic that names the channel ("topic:-1" is the last); compared
      with the channels' `path`, or else their names
    - `device`: "topic:N", "key" or "header:NAME"
    - `time`: the same, "message" for the time that Kafka gives the message, or "received"
    - `zone`: time zone of times that name none
    - `units`: by channel, the unit of values that are sent without one
    - `max_bytes`: longer messages are rejected unread

    Numbers may be followed by their unit. ON, OFF, true, false, yes, no, open, closed, online and
    offline are for boolean channels; null, unknown, unavailable and the like are an absent value.
    Rejects: malformed, unknown_channel, and those of every codec. ValueError on options that mean
    nothing.
    """
    level = origin_of(channel, "channel")
    if level.where != "topic":
        raise ValueError(f'channel = {channel!r}: only a topic names it; write "topic:N"')
    read = readers(schema)

    def parse(message: Message) -> Iterator[Reading]:
        name = topic_level(message.topic, level.level)
        if name is None or name not in read:
            where = f"level {level.level} of topic {message.topic[:80]!r}"
            raise DecodeError("unknown_channel", f"{where} names no channel: {str(name)[:80]!r}")
        value, unit = read[name](decoded(message.payload))
        yield Reading({name: value}, units={name: unit} if unit else {})

    return by_message(
        parse, schema, devices,
        device=device, time=time, zone=zone, units=units, max_bytes=max_bytes,
        path_to=channel_name,
    )  # fmt: skip
