"""CSV: a line or several in a message, columns declared or named by the first line.

p-17,2026-03-01T12:00:00Z,21.5,ON
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from typing import Any

from ingest.codecs._by_message import by_message
from ingest.codecs._origins import channel_name
from ingest.codecs._reading import DecodeError, Message, Reading
from ingest.codecs._text import Read, decoded, quantity, readers
from ingest.source import Codec
from streamgauge.devices import Devices
from streamgauge.schema import Schema

__all__ = ["MEDIA_TYPES", "build"]

MEDIA_TYPES = ("text/csv",)
"""What a body of such messages is called over HTTP."""


def build(
    schema: Schema,
    devices: Devices,
    *,
    columns: list[str] | None = None,
    separator: str = ",",
    device: str = "field:device",
    time: str = "field:time",
    zone: str = "UTC",
    sequence: str = "",
    units: dict[str, str] | None = None,
    max_bytes: int = 1_000_000,
) -> Codec:
    """Codec for lines of comma-separated values.

    - `columns`: their names, in order; "" for one to be skipped. Left out, the first line of each
      message names them.
    - `separator`: what stands between two values; a tab as well
    - `device`, `sequence`: "field:NAME" (a column), "topic:N", "key" or "header:NAME"
    - `time`: the same, "message" for the time that Kafka gives the message, or "received"
    - `zone`: time zone of times that name none
    - `units`: by channel, the unit that the devices use; values are converted to the channel's own
    - `max_bytes`: longer messages are rejected unread

    An empty cell is an absent value, a unit behind a number is heeded. Rejects: malformed (also a
    single line whose cells are not as many as the columns), and those of every codec. ValueError on
    options that mean nothing.
    """
    if len(separator) != 1 or separator in '"\r\n':
        raise ValueError(f"separator = {separator!r}; give the one character between two values")
    names = columns or []
    if len(set(names) - {""}) != len([name for name in names if name]):
        raise ValueError(f"columns names one twice: {', '.join(names)}; give each its own name")
    texts = frozenset(
        origin.removeprefix("field:") for origin in (device, time, sequence) if "field:" in origin
    )

    read = readers(schema) | dict.fromkeys(texts, _bare)

    def parse(message: Message) -> Iterator[Reading | DecodeError]:
        text = decoded(message.payload)
        lines = csv.reader(StringIO(text, newline=""), delimiter=separator, strict=True)
        try:
            yield from _readings(lines, names, read)
        except csv.Error as wrong:
            raise DecodeError("malformed", f"line {lines.line_num}: {wrong}") from None

    return by_message(
        parse, schema, devices,
        device=device, time=time, zone=zone, sequence=sequence, units=units, max_bytes=max_bytes,
        path_to=channel_name,
    )  # fmt: skip


def _readings(
    lines: Any, columns: Sequence[str], read: Mapping[str, Read]
) -> Iterator[Reading | DecodeError]:
    plan = _plan(columns, read)
    for cells in lines:
        if not cells:
            continue
        if not plan:
            plan = _plan([name.strip() for name in cells], read)
        elif len(cells) == len(plan):
            yield _reading(plan, cells)
        else:
            found = f"line {lines.line_num}: {len(cells)} cells, not {len(plan)}"
            yield DecodeError("malformed", f"{found} as there are columns")


def _plan(columns: Sequence[str], read: Mapping[str, Read]) -> list[tuple[str, Read]]:
    """Name of each column and how its cells are read."""
    return [(name, read.get(name, quantity)) for name in columns]


def _reading(plan: Sequence[tuple[str, Read]], cells: Sequence[str]) -> Reading:
    values: dict[str, float | str | None] = {}
    units: dict[str, str] = {}
    for (name, read), cell in zip(plan, cells, strict=True):
        if name:
            values[name], unit = read(cell)
            if unit:
                units[name] = unit
    return Reading(values, units=units)


def _bare(cell: str) -> tuple[str | None, str]:
    """Where the device and the time stand: text, whatever it looks like."""
    return cell.strip() or None, ""
