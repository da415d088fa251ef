"""InfluxDB line protocol, as Telegraf and InfluxDB clients send it:

    weather,station=p-17 temperature=21.5,rain=t 1772366400000000000

A line is a reading; fields are its values, under their own name and as MEASUREMENT.FIELD, and tags
stand beside them.
"""

import re
from collections.abc import Iterator
from typing import Any, Literal

from ingest.codecs._by_message import by_message
from ingest.codecs._origins import channel_name
from ingest.codecs._reading import DecodeError, Message, Reading
from ingest.codecs._text import decoded
from ingest.source import Codec
from streamgauge.devices import Devices
from streamgauge.schema import Schema

__all__ = ["MEDIA_TYPES", "build"]

MEDIA_TYPES = ("text/plain",)
"""What a body of such messages is called over HTTP."""

Precision = Literal["ns", "us", "ms", "s"]
_MICROSECONDS = {"us": 1, "ms": 1_000, "s": 1_000_000}

# Possessive, so that what does not match is not tried again a byte shorter.
_MEASUREMENT = re.compile(r"(?:\\.|[^\\, \n])++")
_KEY = r"((?:\\.|[^\\,= \n])++)="
_TAG = re.compile(rf",{_KEY}((?:\\.|[^\\,= \n])++)")
_STRING = r'"((?:\\.|[^\\"])*+)"'
_NUMBER = r"([-+]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][-+]?\d++)?)([iu]?)"
_BOOLEAN = "([tT]|[fF]|true|True|TRUE|false|False|FALSE)"
_FIELD = re.compile(rf"{_KEY}(?:{_STRING}|{_NUMBER}|{_BOOLEAN})(?=[, \n]|$)", re.ASCII | re.DOTALL)
_END = re.compile(r" *+(-?\d{1,19})?+ *+(?:\n|$)", re.ASCII)
_ESCAPED = re.compile(r"\\([,= ])")
_ESCAPED_TEXT = re.compile(r'\\(["\\])')
_LONGEST_NUMBER = 64


def build(
    schema: Schema,
    devices: Devices,
    *,
    device: str = "",
    precision: Precision = "ns",
    time: str = "",
    zone: str = "UTC",
    sequence: str = "",
    units: dict[str, str] | None = None,
    max_bytes: int = 1_000_000,
) -> Codec:
    """Codec for InfluxDB line protocol.

    - `device`, which must be given: "field:NAME" (a tag or a field, such as "field:host"),
      "topic:N", "key" or "header:NAME"
    - `precision`: unit of the lines' timestamps
    - `time`: left out, the line's timestamp, or our clock where it has none; else as `device`, or
      "message" or "received"
    - `zone`: time zone of times that name none
    - `sequence`: where the device's own count stands, as `device`
    - `units`: by channel, the unit that the devices use; values are converted to the channel's own
    - `max_bytes`: longer messages are rejected unread

    A malformed line costs only itself. Rejects: malformed, and those of every codec. ValueError on
    options that mean nothing.
    """
    if not device:
        raise ValueError('device is missing: name the tag that does, such as device = "field:host"')

    def parse(message: Message) -> Iterator[Reading | DecodeError]:
        text = decoded(message.payload).replace("\r\n", "\n")
        at = 0
        while at < len(text):
            found, at = _line(text, at, precision)
            if found is not None:
                yield found

    return by_message(
        parse, schema, devices,
        device=device, time=time, zone=zone, sequence=sequence, units=units, max_bytes=max_bytes,
        path_to=channel_name,
    )  # fmt: skip


def _line(text: str, start: int, precision: Precision) -> tuple[Reading | DecodeError | None, int]:
    """The reading that begins at `start`, None for a blank line or a comment, and where the next
    line begins."""
    newline = text.find("\n", start)
    following = len(text) if newline < 0 else newline + 1
    line = text[start:following].strip()
    if not line or line.startswith("#"):
        return None, following
    try:
        return _reading(text, start + text[start:following].index(line[0]), precision)
    except _NotALine as wrong:
        place = f"line {text.count(chr(10), 0, start) + 1}: {line[:60]!r}"
        return DecodeError("malformed", f"{place} has no {wrong} where one belongs"), following


class _NotALine(Exception):
    """What is missing."""


def _reading(text: str, at: int, precision: Precision) -> tuple[Reading, int]:
    name = _MEASUREMENT.match(text, at)
    if name is None:
        raise _NotALine("measurement")
    at = name.end()
    values: dict[str, Any] = {}
    while tag := _TAG.match(text, at):
        values[_plain(tag[1])] = _plain(tag[2])
        at = tag.end()
    if text[at : at + 1] != " ":
        raise _NotALine("tag or space")
    while text[at : at + 1] == " ":
        at += 1
    at = _fields(text, at, _plain(name[0]), values)
    end = _END.match(text, at)
    if end is None:
        raise _NotALine("timestamp")
    return Reading(values, at=_instant(end[1], precision)), end.end()


def _fields(text: str, at: int, measurement: str, values: dict[str, Any]) -> int:
    """Read the fields into `values`; where they end."""
    while True:
        field = _FIELD.match(text, at)
        if field is None:
            raise _NotALine("field")
        name = _plain(field[1])
        values[name] = values[f"{measurement}.{name}"] = _value(field)
        at = field.end()
        if text[at : at + 1] != ",":
            return at
        at += 1


def _value(field: re.Match[str]) -> float | int | bool | str:
    _, string, number, whole, boolean = field.groups()
    if string is not None:
        return _ESCAPED_TEXT.sub(r"\1", string)
    if boolean is not None:
        return boolean[0] in "tT"
    if whole and (len(number) > _LONGEST_NUMBER or not number.lstrip("+-").isdigit()):
        raise _NotALine("integer")
    return int(number) if whole else float(number)


def _instant(timestamp: str | None, precision: Precision) -> int | None:
    if timestamp is None:
        return None
    count = int(timestamp)
    return count // 1_000 if precision == "ns" else count * _MICROSECONDS[precision]


def _plain(escaped: str) -> str:
    return _ESCAPED.sub(r"\1", escaped) if "\\" in escaped else escaped
