"""Home Assistant statestream: one entity's state per topic, `BASE/DOMAIN/ENTITY/state`."""

from collections.abc import Iterator, Mapping
from typing import Any

from ingest.codecs._by_message import by_message
from ingest.codecs._documents import no_reading
from ingest.codecs._origins import channel_name
from ingest.codecs._reading import DecodeError, Message, Reading
from ingest.codecs._text import decoded
from ingest.codecs._tolerant import parse
from ingest.source import Codec
from streamgauge.devices import Devices
from streamgauge.schema import Schema

__all__ = ["build"]

_UNIT = "unit_of_measurement"
_NOTHING = ("unavailable", "unknown", "None", "")
MOST_ENTITIES = 10_000
"""Entities whose unit is remembered."""
_LONGEST = 256


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
    """A state is the value `state` and a value named after its entity, such as
    `kitchen_temperature`; on and off are booleans.

    The device is `DOMAIN.ENTITY`. Where a home is one device, say `device = "topic:0"`, and name
    the channels after entities; `devices.assemble` makes whole rows of them. The time is our clock.
    Units come from the topic `.../unit_of_measurement` (`publish_attributes: true`).

    - `device`, `time`, `sequence`: overrule where they are taken from, as for JSON
    - `zone`: time zone of clocks that name none
    - `units`: by channel, the unit that the devices use; values convert to the channel's own
    - `max_bytes`: longer messages are rejected

    Source: the MQTT statestream integration of the Home Assistant documentation.
    """
    entities = _Entities()
    return by_message(
        entities.readings, schema, devices,
        device=device, time=time, sequence=sequence, zone=zone, units=units, max_bytes=max_bytes,
        path_to=channel_name, memory=entities,
    )  # fmt: skip


class _Entities:
    """The entities' units."""

    def __init__(self) -> None:
        self._units: dict[str, str] = {}

    def readings(self, message: Message) -> Iterator[Reading]:
        """The reading of a state, and none of an attribute."""
        try:
            *_, domain, entity, kind = message.topic.split("/")
        except ValueError:
            raise DecodeError("malformed", "topic is no DOMAIN/ENTITY/state") from None
        if kind not in ("state", _UNIT):
            raise no_reading(f"{message.topic[:80]!r} is an attribute, no state")
        text, name = decoded(message.payload), f"{domain}.{entity}"
        if len(text) > _LONGEST:
            raise DecodeError("malformed", f"a state of {len(text):,} characters")
        if kind == _UNIT:
            self._learn(name, text)
        if kind != "state" or text in _NOTHING:
            raise no_reading(f"{message.topic[:80]!r} is {text[:40]!r}: no state")
        unit = self._units.get(name, "")
        units = {"state": unit, entity: unit} if unit else {}
        yield Reading({"state": text, entity: text}, device=name, units=units)

    def _learn(self, name: str, text: str) -> None:
        # Attributes are JSON, which may escape a unit's signs: "\\u00b0C".
        try:
            unit = parse(text.encode(), 1)
        except ValueError:
            unit = text.strip()
        known = name in self._units or len(self._units) < MOST_ENTITIES
        if known and isinstance(unit, str) and unit.isprintable():
            self._units[name] = unit

    def snapshot(self) -> dict[str, Any]:
        """See `ingest.source.Remembering`."""
        return dict(self._units)

    def restore(self, saved: Mapping[str, Any]) -> None:
        """See `ingest.source.Remembering`."""
        self._units = {str(name): str(unit) for name, unit in saved.items()}
