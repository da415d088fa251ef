"""AWS IoT device shadows: documents on `$aws/things/THING/shadow/.../update/documents`."""

from collections.abc import Iterator
from typing import Any

from ingest.codecs._by_message import by_message
from ingest.codecs._documents import document, inner, no_reading, plain
from ingest.codecs._reading import Message, Reading
from ingest.source import Codec
from streamgauge.devices import Devices
from streamgauge.schema import Schema

__all__ = ["build"]


def build(
    schema: Schema,
    devices: Devices,
    *,
    device: str = "",
    time: str = "",
    sequence: str = "",
    zone: str = "UTC",
    units: dict[str, str] | None = None,
    max_bytes: int = 1_000_000,
) -> Codec:
    """Values that the thing reported; `update/documents`, `update/accepted` and `get/accepted`.

    The device is the thing, the time that of the document (of `get/accepted` when the newest value
    was reported), the count its version. Documents whose
    reported state is not new (only a wish changed) are no readings. AWS advises against
    subscribing to `shadow/#`, and `#` alone never matches its topics.

    - `device`, `time`, `sequence`: overrule where they are taken from, as for JSON
    - `zone`: time zone of clocks that name none
    - `units`: by channel, the unit that the devices use; values convert to the channel's own
    - `max_bytes`: longer messages are rejected

    Source: the device shadow service documents and topics of the AWS IoT developer guide.
    """
    return by_message(
        _readings, schema, devices,
        device=device, time=time, sequence=sequence, zone=zone, units=units, max_bytes=max_bytes,
    )  # fmt: skip


_KINDS = ("documents", "accepted")


def _readings(message: Message) -> Iterator[Reading]:
    levels = message.topic.split("/")
    if levels[:2] != ["$aws", "things"] or "shadow" not in levels or levels[-1] not in _KINDS:
        raise no_reading(f"topic {message.topic[:80]!r} is no document of a shadow")
    event = document(message)
    now = inner(event, "current") or event
    reported = inner(inner(now, "state"), "reported")
    if not reported or _stamps(now) == _stamps(inner(event, "previous")) != {}:
        raise no_reading("the thing reported nothing new")
    yield Reading(
        plain(reported),
        device=levels[2],
        time=_newest(_stamps(now)) if levels[-2] == "get" else event.get("timestamp"),
        sequence=now.get("version"),
    )


def _stamps(part: dict[str, Any]) -> dict[str, Any]:
    """When each value was reported, as the metadata say."""
    return inner(inner(part, "metadata"), "reported")


def _newest(stamps: dict[str, Any]) -> int | None:
    """The latest of the times; an answer's own is when somebody asked."""
    found: list[int] = []
    level: list[Any] = [stamps]
    while level:
        one = level.pop()
        if isinstance(one, dict):
            level += one.values()
        elif isinstance(one, list):
            level += one
        elif isinstance(one, int):
            found.append(one)
    return max(found, default=None)
