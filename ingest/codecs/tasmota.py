"""Tasmota: sensors of flashed plugs and switches, `tele/NAME/SENSOR` and the like."""

from collections.abc import Iterator, Mapping
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
    """Values under the path that Tasmota gives them: `DS18B20.Temperature`, `ENERGY.Power`.

    The device is the topic between prefix and kind, the time `Time`, which has no zone: name the
    devices' `zone`. `TempUnit`, `PressureUnit` and `SpeedUnit` of the message are heeded; the
    elements of an array, one per phase or switch, are `ENERGY.Power.0`, `ENERGY.Power.1`.

    - `device`, `time`, `sequence`: overrule where they are taken from, as for JSON
    - `zone`: time zone of clocks that name none
    - `units`: by channel, the unit that the devices use; values convert to the channel's own
    - `max_bytes`: longer messages are rejected

    Source: the MQTT and JSON status responses of the Tasmota documentation.
    """
    return by_message(
        _readings, schema, devices,
        device=device, time=time, sequence=sequence, zone=zone, units=units, max_bytes=max_bytes,
    )  # fmt: skip


_KINDS = ("SENSOR", "STATE", "STATUS8", "STATUS10", "STATUS11")
_PREFIXES = ("tele", "stat")
_WRAPPED = ("StatusSNS", "StatusSTS")
_UNITS = {
    "TempUnit": ("Temperature", "DewPoint", "HeatIndex"),
    "PressureUnit": ("Pressure", "SeaPressure"),
    "SpeedUnit": ("Speed",),
}
"""Which values of a sensor each unit of the message is for."""


def _readings(message: Message) -> Iterator[Reading]:
    *place, kind = message.topic.split("/")
    if kind not in _KINDS:
        raise no_reading(f"topic {message.topic[:80]!r} carries no values")
    state = document(message)
    for name in _WRAPPED:
        state = inner(state, name) or state
    device = "/".join(part for part in place if part not in _PREFIXES)
    values = plain(state)
    yield Reading(values, device=device, time=state.get("Time"), units=_units(values))


def _units(state: dict[str, Any]) -> dict[str, str]:
    """Units by the path of the value."""
    said = {name: state[key] for key, names in _UNITS.items() if key in state for name in names}
    units = {name: unit for name, unit in said.items() if isinstance(unit, str)}
    return dict(_measured(state, units, "", "")) if units else {}


def _measured(
    values: dict[str, Any], units: Mapping[str, str], path: str, unit: str
) -> Iterator[tuple[str, str]]:
    """Path and unit of each value that has one, however deep it lies: sensors number their inputs
    (`Temperature1`), list them, and say least and most of a quantity below its name."""
    for name, value in values.items():
        own = unit or units.get(name.rstrip("0123456789"), "")
        if isinstance(value, dict):
            yield from _measured(value, units, f"{path}{name}.", own)
        elif own:
            yield f"{path}{name}", own
