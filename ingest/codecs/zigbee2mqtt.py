"""Zigbee2MQTT: JSON per device on `zigbee2mqtt/NAME`, where NAME may have slashes."""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from ingest.codecs._by_message import by_message
from ingest.codecs._documents import document, no_reading, plain
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
    base: str = "zigbee2mqtt",
    max_bytes: int = 1_000_000,
) -> Codec:
    """Values under the names that Zigbee2MQTT exposes.

    The device is the friendly name, the time `last_seen` where the bridge sends it (its option
    `advanced.last_seen`), else our clock.

    - `device`, `time`, `sequence`: overrule where they are taken from, as for JSON
    - `zone`: time zone of clocks that name none
    - `units`: by channel, the unit that the devices use; values convert to the channel's own
    - `base`: the bridge's base topic
    - `max_bytes`: longer messages are rejected

    Source: the MQTT topics and messages of the Zigbee2MQTT manual.
    """
    return by_message(
        partial(_readings, base), schema, devices,
        device=device, time=time, sequence=sequence, zone=zone, units=units, max_bytes=max_bytes,
    )  # fmt: skip


_NOT_STATES = re.compile(r"bridge(/.*)?|.*/(availability|action|[sg]et(/[^/]*)?)", re.DOTALL)
"""The bridge itself; and beside a device's state what is asked of it, whole or by attribute, and
its actions as plain words."""


def _readings(base: str, message: Message) -> Iterator[Reading]:
    name = message.topic.removeprefix(f"{base}/")
    if name == message.topic or _NOT_STATES.fullmatch(name):
        raise no_reading(f"topic {message.topic[:80]!r} is no state of a device")
    state = document(message)
    yield Reading(plain(state), device=name, time=_last_seen(state.get("last_seen")))


def _last_seen(value: Any) -> Any:
    # "disable" is how some versions say that they do not know.
    return None if value in ("", "disable", None) else value
