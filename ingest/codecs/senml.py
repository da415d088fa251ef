"""SenML (RFC 8428), JSON and CBOR alike: base values resolved, records grouped into readings.

[{"bn":"urn:dev:mac:0024befffe804ff1:","bt":1.7e9,"n":"temp","u":"Cel","v":21.5},
{"n":"hum","u":"%RH","v":41}]
"""

from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ingest.codecs._by_message import by_message
from ingest.codecs._cbor import decoded
from ingest.codecs._maps import plain
from ingest.codecs._origins import channel_name
from ingest.codecs._reading import DecodeError, Message, Reading
from ingest.codecs._tolerant import number
from ingest.codecs._tolerant import parse as parse_json
from ingest.source import Codec
from streamgauge.devices import Devices
from streamgauge.schema import Schema

__all__ = ["MEDIA_TYPES", "build"]

MEDIA_TYPES = ("application/senml+json", "application/senml+cbor")
"""What a body of such messages is called over HTTP."""

_LABELS: Mapping[Any, str] = {
    "-1": "bver", "-2": "bn", "-3": "bt", "-4": "bu", "-5": "bv", "-6": "bs",
    "0": "n", "1": "u", "2": "v", "3": "vs", "4": "vb", "5": "s", "6": "t", "7": "ut", "8": "vd",
}  # fmt: skip
_NEWEST_VERSION = 10
_RELATIVE_BELOW = 2**28
"""Seconds: a smaller time counts from now (RFC 8428, section 4.5.3)."""
_FARTHEST = 10**11
_MOST_RECORDS = 50_000
_DEEP = 4
"""A pack is an array of records of values, which extensions may make objects."""
_SEPARATORS = ":/._-"


def build(
    schema: Schema,
    devices: Devices,
    *,
    device: str = "",
    time: str = "",
    zone: str = "UTC",
    units: dict[str, str] | None = None,
    max_bytes: int = 1_000_000,
) -> Codec:
    """Codec for SenML packs; a pack that begins like CBOR is read as CBOR.

    - `device`: left out, the base name without a separator at its end, or where there is none the
      name up to its last ":" or "/"; else "topic:N", "key" or "header:NAME"
    - `time`: left out, the record's time, relative ones counted from when the message was received;
      else as `device`, "message" or "received"
    - `zone`: time zone of times that name none
    - `units`: by channel, the unit of values whose records name none
    - `max_bytes`: longer messages are rejected unread

    A channel's `path`, or else its name, is a record's own name or the whole one, base included; a
    sum is the same with ":sum". Binary data (`vd`) fits no channel. Records of one device and time
    are one reading. Rejects: malformed, unsupported (a version or a field that must be understood
    and is not), bad_time, and those of every codec. ValueError on options that mean nothing.
    """

    def parse(message: Message) -> Iterator[Reading]:
        return _grouped(_records(message.payload), message.received, by_device=not device)

    return by_message(
        parse, schema, devices,
        device=device, time=time, zone=zone, units=units, max_bytes=max_bytes,
        path_to=channel_name,
    )  # fmt: skip


def _records(payload: bytes) -> list[Any]:
    """The pack as JSON would write it."""
    if payload[:1].isascii() or payload.startswith(BOM_UTF8):
        try:
            pack = parse_json(payload, _DEEP)
        except ValueError as wrong:
            raise DecodeError("malformed", f"not readable as JSON: {wrong}") from None
    else:
        pack = plain(decoded(payload, _DEEP), _DEEP)
    if not isinstance(pack, list):
        raise DecodeError("malformed", f"{type(pack).__name__} where an array of records belongs")
    if len(pack) > _MOST_RECORDS:
        raise DecodeError("too_large", f"{len(pack):,} records, more than {_MOST_RECORDS:,}")
    return pack


@dataclass(slots=True)
class _Base:
    """What the base fields so far say about the records that follow."""

    name: str = ""
    time: float = 0.0
    unit: str = ""
    value: float | None = None
    sum: float | None = None

    def take(self, record: Mapping[str, Any]) -> None:
        """Read a record's base fields."""
        version = record.get("bver", _NEWEST_VERSION)
        unknown = [name for name in record if str(name).endswith("_")]
        if unknown or not isinstance(version, int) or version > _NEWEST_VERSION:
            what = f"field {unknown[0][:40]!r}" if unknown else f"version {str(version)[:40]}"
            raise DecodeError("unsupported", f"{what} must be understood and is not")
        self.name = _text(record, "bn", self.name)
        self.unit = _text(record, "bu", self.unit)
        self.time = _finite(record, "bt", self.time)
        if "bv" in record:
            self.value = _finite(record, "bv", 0.0)
        if "bs" in record:
            self.sum = _finite(record, "bs", 0.0)


@dataclass(slots=True)
class _Group:
    values: dict[str, Any] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)


def _grouped(records: list[Any], received: int, *, by_device: bool) -> Iterator[Reading]:
    base = _Base()
    groups: dict[tuple[str, int], _Group] = {}
    for record in records:
        if not isinstance(record, dict):
            wrong = f"{type(record).__name__} where a record belongs"
            raise DecodeError("malformed", wrong)
        named = {_LABELS.get(key, key): found for key, found in record.items()}
        base.take(named)
        own = _text(named, "n", "")
        device, name = _split(base.name, own)
        at = _instant(base.time + _finite(named, "t", 0.0), received)
        group = groups.setdefault((device if by_device else "", at), _Group())
        _fill(group, {name, base.name + own}, named, base)
    for (device, at), group in groups.items():
        if group.values:
            yield Reading(group.values, device or None, at=at, units=group.units)


def _fill(group: _Group, names: set[str], record: Mapping[str, Any], base: _Base) -> None:
    """Put a record's value under its names: base and own are added, and either may be absent
    (RFC 8428, section 4.3)."""
    unit = _text(record, "u", base.unit)
    found: dict[str, Any] = {}
    if "v" in record:
        value = number(record["v"])[0] if type(record["v"]) in {int, float} else record["v"]
        found[""] = value + (base.value or 0.0) if isinstance(value, float) else value
    elif base.value is not None and not {"vb", "vs", "vd"} & record.keys():
        found[""] = base.value
    for label in ("vb", "vs"):
        if label in record:
            found[""] = record[label]
    if "s" in record or base.sum is not None:
        found[":sum"] = _finite(record, "s", 0.0) + (base.sum or 0.0)
    for ending, value in found.items():
        for name in names:
            group.values[name + ending] = value
            if unit and not ending:
                group.units[name] = unit


def _split(base: str, own: str) -> tuple[str, str]:
    """The device and the channel that a record is about."""
    if base:
        return base.rstrip(_SEPARATORS), own
    cut = max(own.rfind(":"), own.rfind("/"))
    return (own[:cut], own[cut + 1 :]) if cut > 0 else ("", own)


def _instant(seconds: float, received: int) -> int:
    if abs(seconds) >= _FARTHEST:
        raise DecodeError("bad_time", f"{seconds:g} seconds since 1970 is no time of a sensor")
    if seconds < _RELATIVE_BELOW:
        return received + round(seconds * 1e6)
    return round(seconds * 1e6)


def _text(record: Mapping[str, Any], name: str, absent: str) -> str:
    found = record.get(name, absent)
    if not isinstance(found, str):
        wrong = f"{name!r} is {type(found).__name__}, not text"
        raise DecodeError("malformed", wrong)
    return found


def _finite(record: Mapping[str, Any], name: str, absent: float) -> float:
    found, wrong = number(record.get(name, absent))
    if wrong or found != found or isinstance(record.get(name), str):
        raise DecodeError("malformed", f"{name!r} is not a finite number")
    return found
