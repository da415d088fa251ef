"""Kinds of values in a configuration: durations, sizes, time zones, spans, and how each is read.

A reader raises ValueError("what is wrong; what to write instead").
"""

import math
import re
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field

from streamgauge import durations
from streamgauge.durations import DAY, WEEK

__all__ = [
    "Alarms",
    "AtLeastOne",
    "Bind",
    "Duration",
    "Ever",
    "Horizon",
    "Host",
    "JournalSize",
    "LabelPlace",
    "Limits",
    "Match",
    "Name",
    "Port",
    "Rate",
    "Raw",
    "Scope",
    "Size",
    "Span",
    "Steps",
    "Zone",
    "check_name",
]

_SIZES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|TB)\s*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_HOST = re.compile(r"[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]+\]")
_ALARMS = re.compile(r"\s*(\d+(?:\.\d+)?) per device per (hour|day|week|month)\s*")
_PERIODS = {"hour": 3_600 * 10**6, "day": DAY, "week": WEEK, "month": 30 * DAY}
LEAST_JOURNAL = 16 * 10**6
"""Bytes: a burst between two checkpoints has to fit."""
LONGEST = 36_525 * DAY
"""A century: beyond it, times in microseconds come near the end of int64."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of event time, or a number of readings of one device: one of the two is 0."""

    text: str
    """As people write it: "10m", "1 reading", "10 readings"."""
    duration: int
    """Microseconds."""
    readings: int

    @property
    def written(self) -> str | dict[str, int]:
        """As it stands in the file, in its shortest form."""
        return {"readings": self.readings} if self.readings else self.text


def _duration(value: Any) -> int:
    try:
        duration = durations.microseconds(value if isinstance(value, str) else repr(value))
    except OverflowError:
        duration = LONGEST + 1
    if not 0 < duration <= LONGEST:
        raise ValueError(f"{value!r} is out of bounds; write a duration above 0, at most 36525d")
    return duration


def _ever(value: Any) -> int | None:
    return None if value == "never" else _duration(value)


def _span(value: Any) -> Span:
    if not isinstance(value, dict):
        duration = _duration(value)
        return Span(durations.text(duration), duration, 0)
    readings = value.get("readings")
    if set(value) != {"readings"} or type(readings) is not int:
        raise ValueError('neither time nor readings; write "10m" or { readings = 10 }')
    if not 0 < readings <= 1_000_000:
        raise ValueError(f"{readings} readings are out of bounds; write a number from 1 to 1000000")
    return Span(f"{readings} reading{'s' if readings > 1 else ''}", 0, readings)


def _scope(value: Any) -> Any:
    named = isinstance(value, str) and value.startswith("tag:") and value != "tag:"
    if not named and value not in ("device", "fleet"):
        raise ValueError(
            f'{value!r} is no scope; write "device" for one model each, "fleet" for one that all '
            'devices share, or "tag:NAME" for one for each value of a tag of devices.tags'
        )
    return value


def _label_place(value: Any) -> str:
    kind, colon, rest = value.partition(":") if isinstance(value, str) else ("", "", "")
    if value == "http" or (kind in ("topic", "column") and colon and rest):
        return str(value)
    raise ValueError(
        f'{value!r} is no place of labels; write "topic:labels/+" (a filter of topics), "http" or, '
        'for a replay, "column:NAME"'
    )


def _match(value: Any) -> int | None:
    if value == "id":
        return None
    if isinstance(value, dict) and set(value) == {"time_within"}:
        return _duration(value["time_within"])
    raise ValueError(
        'not a way to find the prediction of a label; write "id" or { time_within = "5m" }'
    )


def _alarms(value: Any) -> float:
    if value == "none":
        return 0.0
    match = _ALARMS.fullmatch(value) if isinstance(value, str) else None
    if match is None or not 0.0 < float(match[1]) <= 1_000.0:
        raise ValueError(
            f'{value!r} is no budget of alarms; write for example "2 per device per week" (or per '
            'hour, day, month; at most 1000), or "none"'
        )
    return _PERIODS[match[2]] / float(match[1])


def _size(value: Any) -> int:
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None or float(match[1]) == 0:
        raise ValueError(
            'not a size; write a number and one of B, KB, MB, GB, TB, for example "5GB"'
        )
    return round(float(match[1]) * _SIZES[match[2]])


def _zone(value: Any) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise ValueError(
            f'{value!r} is no time zone; write an IANA name such as "UTC" or "Europe/Berlin"'
        ) from None
    return str(value)


def _limits(value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2 or not all(map(_is_number, value)):
        raise ValueError("not a range; write [lowest, highest], for example [-40, 125]")
    # Whole numbers that no float holds raise OverflowError, which the reader reports.
    low, high = map(float, value)
    if math.isnan(low) or math.isnan(high) or low >= high:
        raise ValueError(f"{low:g} is not below {high:g}; write the lowest value, then the highest")
    return low, high


def check_name(value: str) -> str:
    """The name itself, if it may stand in a path, a topic and a metric label."""
    if _NAME.fullmatch(value) is None:
        raise ValueError(
            f"{value!r} is no name; write letters, digits, '_', '.' and '-', at most 100"
        )
    return value


def _host(value: str) -> str:
    if _HOST.fullmatch(value) is None:
        raise ValueError(
            f"{value!r} is no host; write its name as browsers show it, without https:// and port, "
            'for example "gauge.example.com"'
        )
    return value


def _bind(value: str) -> str:
    with suppress(ValueError):
        ip_address(value)
        return value
    labels = value.removesuffix(".").split(".")
    # A name's last part is never a number: that is an address with a mistake in it.
    named = all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit()
    if not named or len(value) > 253:
        raise ValueError(
            f"{value!r} is neither an address nor a host name; write for example "
            '"127.0.0.1" for this machine alone, "0.0.0.0" or "::" for all its addresses'
        )
    return value


def _journal(value: int) -> int:
    if value < LEAST_JOURNAL:
        raise ValueError('too small for a journal; write "16MB" or more, "5GB" is the default')
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _raw(value: Any) -> Any:
    if isinstance(value, bool):
        return None if value else ()
    return tuple(value) if isinstance(value, list) else value


def _steps(value: Any) -> str | tuple[str | dict[str, Any], ...]:
    steps = value if isinstance(value, list) else [value]
    if not steps:
        raise ValueError('no steps; write for example ["linear_model.LinearRegression"]')
    for step in steps:
        if not _is_step(step):
            raise ValueError(
                f'{step!r} is not a step; write its name or {{ use = "its name", ... }}'
            )
    first = steps[0]
    alone = len(steps) == 1 and isinstance(first, str) and ":" in first
    return first if alone else tuple(steps)


def _is_step(step: Any) -> bool:
    return isinstance(step.get("use") if isinstance(step, dict) else step, str)


Alarms = Annotated[float, BeforeValidator(_alarms)]
"""Microseconds in which a device may have one alarm; 0: none at all."""
Duration = Annotated[int, BeforeValidator(_duration)]
"""Microseconds; written "10m"."""
Ever = Annotated[int | None, BeforeValidator(_ever)]
"""Microseconds, or None; written "30d" or "never"."""
Horizon = Annotated[Span, BeforeValidator(_span)]
"""A span; written "10m" or { readings = 10 }."""
Size = Annotated[int, BeforeValidator(_size)]
"""Bytes; written "5GB"."""
JournalSize = Annotated[Size, AfterValidator(_journal)]
"""Bytes, as `Size`; at least 16 MB."""
Zone = Annotated[str, BeforeValidator(_zone)]
"""IANA name of a time zone."""
Limits = Annotated[tuple[float, float], BeforeValidator(_limits)]
"""Lowest and highest allowed value; written [-40, 125]."""
Raw = Annotated[tuple[str, ...] | None, BeforeValidator(_raw)]
"""Names of channels, or None for all of them; written true, false or a list."""
Steps = Annotated[str | tuple[str | dict[str, Any], ...], BeforeValidator(_steps)]
"""Steps of a River pipeline, or "module:function", as `models.spec.build` takes them."""
AtLeastOne = Annotated[int, Field(ge=1, le=2**53)]
Rate = Annotated[float, Field(gt=0, le=1e6)]
"""How many in a day."""
Port = Annotated[int, Field(ge=0, le=65_535)]
Scope = Annotated[str, BeforeValidator(_scope)]
"""Who shares a model; written "device", "fleet" or "tag:NAME"."""
LabelPlace = Annotated[str, BeforeValidator(_label_place)]
"""Where labels come from: "topic:FILTER", "http" or "column:NAME"."""
Match = Annotated[int | None, BeforeValidator(_match)]
"""How a label finds its prediction: None = by id, else microseconds that times may be apart;
written "id" or { time_within = "5m" }."""
Name = Annotated[str, AfterValidator(check_name)]
"""What may stand in a path, a topic and a metric label."""
Host = Annotated[str, AfterValidator(_host)]
"""Name or address of a host as it stands in a Host header, without a port."""
Bind = Annotated[str, AfterValidator(_bind)]
"""Address, or name of a host, to listen on."""
