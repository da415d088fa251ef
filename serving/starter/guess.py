"""Which of the values is the device, which the time, and what the others measure."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from statistics import median
from typing import Any, NamedTuple

from ingest.codecs._origins import device_name, topic_level
from ingest.codecs._tolerant import boolean, number
from ingest.times import instant
from serving.starter.seen import BETWEEN, Row, Seen, shown
from streamgauge.schema import Kind

__all__ = ["MOST", "Guess", "Measured", "Worded", "guess", "is_device", "is_state"]

MOST = 0.9
"""Share of the rows in which something must be to count as always there."""
FEW = 20
"""Values that may all be different and still name devices; of more, each names its own row."""
LONGEST_WORD, LINE = 40, 3
"""Characters of a word at most; words from which on a text is a line."""
DEVICE = (
    *("device", "deviceid", "devicename", "device_name", "dev", "devid", "deveui", "thing"),
    *("sensor", "sensorid", "station", "stationid", "node", "nodeid", "mote", "moteid"),
    *("machine", "machineid", "meter", "meterid", "asset", "assetid", "unit", "id", "mac"),
    *("serial", "serialnumber", "name", "host", "source", "room", "location", "site"),
)
TIME = (
    *("time", "timestamp", "ts", "datetime", "date", "eventtime", "measuredat", "recordedat"),
    *("createdat", "observedat", "at", "t", "timeutc", "utc", "lastseen", "sentat", "dt"),
)
NEVER = (
    *("seq", "sequence", "fcnt", "counter", "msgid", "messageid", "bdseq", "label", "split"),
    *("id", "rowid", "index", "rssi", "snr", "fport", "linkquality", "lqi"),
)
"""Numbers that measure nothing, or are ground truth."""
_UNITS = {
    "c": "degC", "degc": "degC", "celsius": "degC", "f": "degF", "degf": "degF", "k": "K",
    "w": "W", "kw": "kW", "mw": "MW", "wh": "Wh", "kwh": "kWh", "v": "V", "mv": "mV", "a": "A",
    "ma": "mA", "pct": "percent", "percent": "percent", "pa": "Pa", "hpa": "hPa", "kpa": "kPa",
    "bar": "bar", "mbar": "mbar", "mm": "mm", "hz": "Hz", "rpm": "rpm", "ppm": "ppm", "ppb": "ppb",
    "lux": "lux", "lpm": "l/min", "mps": "m/s", "kmh": "km/h",
}  # fmt: skip
"""Last words of channel names, and the unit that they mean."""
_EARLIEST = 631_152_000_000_000
"""1990, microseconds UTC: a number that means an earlier time is no time."""
_AHEAD = 2 * 86_400 * 10**6


@dataclass(slots=True)
class Measured:
    """One quantity."""

    path: str
    kind: Kind
    unit: str
    share: float
    """Of the rows that have it."""
    low: float
    high: float
    distinct: int
    name: str = ""
    limits: tuple[float, float] | None = None
    """The range to declare; None: a guess by name and by what was seen."""
    cleaning: dict[str, Any] = field(default_factory=dict)
    """Further keys of its table."""
    note: str = ""

    @property
    def varies(self) -> bool:
        return self.kind is Kind.NUMBER and self.distinct > 2 and self.high > self.low


class Worded(NamedTuple):
    """A field of words: no channel by itself, since what they tell is for the user to say."""

    path: str
    values: list[str]
    """All that were seen where they are few; none where each is a line of its own."""
    several: bool
    """Lines of several words, not names or codes."""


@dataclass(slots=True)
class Guess:
    """What the rows mean."""

    device: str
    """"field:NAME", "topic:N", "key"; "" where the codec finds it, or nothing does."""
    time: str
    """"field:NAME", "received"; "" where the codec finds it."""
    devices: list[str]
    channels: list[Measured]
    others: dict[str, str]
    """Fields that are none of these, with an example."""
    worded: list[Worded]
    """Those of them that hold words."""
    interval: int
    """Median microseconds between two readings of a device; 0 where nobody can tell."""
    rows: int = 0
    zoneless: bool = False
    """Times are text without a zone."""
    notes: list[str] = field(default_factory=list)


def guess(seen: Seen, now: int, device: str = "", time: str = "") -> Guess:
    """The meaning of the rows; ValueError where they hold no number. `device` and `time` are where
    these stand, if that is known."""
    rows = seen.rows
    device = device or ("" if seen.own_device else _device(rows))
    time = time or ("" if seen.own_time else _time(rows, now))
    taken = {origin.removeprefix("field:") for origin in (device, time)}
    channels, others, worded = _channels(rows, taken)
    if not channels:
        there = ", ".join(f"{k} = {v}" for k, v in list(others.items())[:5]) or "nothing"
        raise ValueError(f"nothing in what came is a number or a boolean; there is {there}")
    names = [_device_of(row, device) for row in rows]
    times = [_time_of(row, time) for row in rows]
    return Guess(
        device, time, sorted({name for name in names if name}), channels, others, worded,
        _interval(names, times), len(rows), _zoneless(rows, time),
    )  # fmt: skip


def _plain(path: str) -> str:
    return re.sub(r"[^a-z0-9]", "", path.rpartition(BETWEEN)[2].lower())


def is_device(path: str) -> bool:
    """Whether people call devices so."""
    return _plain(path) in DEVICE


def _present(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """The values of each path, absent ones left out."""
    found: dict[str, list[Any]] = {}
    for row in rows:
        for path, value in row.values.items():
            if value is not None and value == value:
                found.setdefault(path, []).append(value)
    return found


def _device(rows: Sequence[Row]) -> str:
    """Where the device stands."""
    always = {
        path: values
        for path, values in _present(rows).items()
        if len(values) >= MOST * len(rows)
        and all(device_name(value) for value in values)
        and (len(values) < FEW or len(set(values)) <= len(values) / 2)
    }
    named = [path for path in always if is_device(path)]
    if named:
        return f"field:{min(named, key=lambda path: DEVICE.index(_plain(path)))}"
    if rows[0].key and all(row.key for row in rows):
        return "key"
    return _topic_level({row.topic for row in rows if row.topic})


def _topic_level(topics: set[str]) -> str:
    """The level in which topics differ most; of one topic, the one with a digit, else the last but
    one."""
    if not topics:
        return ""
    depth = min(topic.count("/") + 1 for topic in topics)
    distinct = [len({topic_level(topic, level) for topic in topics}) for level in range(depth)]
    if max(distinct) > 1:
        return f"topic:{distinct.index(max(distinct))}"
    levels = next(iter(topics)).split("/")
    digits = [k for k, level in enumerate(levels) if re.search(r"\d", level)]
    return f"topic:{digits[-1] if digits else max(0, len(levels) - 2)}"


def _time(rows: Sequence[Row], now: int) -> str:
    """Where the time stands; "received" where nothing is one."""
    for path in sorted(_present(rows), key=_time_rank):
        if _time_rank(path) == len(TIME):
            break
        times = [instant(row.values.get(path), UTC) for row in rows[:1_000]]
        good = [t for t in times if t is not None and _EARLIEST < t < now + _AHEAD]
        if len(good) >= MOST * len(times):
            return f"field:{path}"
    return "received"


def _time_rank(path: str) -> int:
    name = _plain(path)
    return TIME.index(name) if name in TIME else len(TIME)


def _channels(
    rows: Sequence[Row], taken: set[str]
) -> tuple[list[Measured], dict[str, str], list[Worded]]:
    units: dict[str, str] = {}
    for row in rows:
        units |= row.units
    channels: list[Measured] = []
    others: dict[str, str] = {}
    worded: list[Worded] = []
    present = _present(rows)
    for path, values in present.items():
        if path in taken or _repeats(path, present):
            continue
        measured = None if _plain(path) in NEVER else _measured(path, values, len(rows))
        if measured is None:
            others[shown(path)] = repr(values[0])[:40]
            worded += [] if _plain(path) in NEVER else _words(path, values)
        else:
            measured.unit = units.get(shown(path), measured.unit)
            channels.append(measured)
    _name(channels)
    return channels, others, worded


def _words(path: str, values: list[Any]) -> list[Worded]:
    """The field where its values are words that come again, or lines of several."""
    texts = [value.strip() for value in values if isinstance(value, str) and value.strip()]
    if not texts or len(texts) < MOST * len(values):
        return []
    distinct = sorted(set(texts))
    again = len(texts) >= 2 * len(distinct)
    if again and len(distinct) <= FEW and max(map(len, distinct)) <= LONGEST_WORD:
        return [Worded(path, distinct, several=False)]
    several = median(len(text.split()) for text in distinct) >= LINE
    return [Worded(path, [], several)] if several or again else []


def _repeats(path: str, present: Mapping[str, list[Any]]) -> bool:
    """Whether a shorter name, with which this one ends, has the same values: a codec gives some
    under both."""
    shorter = [name for name in present if name != path and path.endswith(name)]
    return any(present[name] == present[path] for name in shorter)


def _measured(path: str, values: list[Any], rows: int) -> Measured | None:
    """What a field measures; None where it is text, or a time, or anything else."""
    share = len(values) / rows
    if all(is_state(value) for value in values):
        return Measured(path, Kind.BOOLEAN, "", share, 0.0, 1.0, len(set(values)))
    numbers = [number(value)[0] for value in values if not isinstance(value, bool)]
    good = [value for value in numbers if math.isfinite(value)]
    if not good or len(good) < MOST * len(values):
        return None
    return Measured(path, Kind.NUMBER, _unit(path), share, min(good), max(good), len(set(good)))


def is_state(value: Any) -> bool:
    """Whether it is true or false, or a word for it."""
    if isinstance(value, str):
        return not boolean(value)[1] and bool(value.strip()) and bool(number(value)[1])
    return isinstance(value, bool)


def _unit(path: str) -> str:
    """The unit that a name ends with: temp_C, Usage_kWh, "power (kW)"."""
    words = re.split(r"[^A-Za-z0-9%/]+", path.rpartition(BETWEEN)[2].strip(" )]"))
    return _UNITS.get(words[-1].lower(), "") if len(words) > 1 else ""


def _name(channels: list[Measured]) -> None:
    """The last part of the path where it is the only one of that name, else all of it."""
    last = Counter(channel.path.rpartition(BETWEEN)[2] for channel in channels)
    for channel in channels:
        short = channel.path.rpartition(BETWEEN)[2]
        nested = BETWEEN in channel.path and (last[short] > 1 or short.isdigit())
        channel.name = channel.path.replace(BETWEEN, "_") if nested else short


def _device_of(row: Row, origin: str) -> str:
    if origin.startswith("topic:"):
        found: Any = topic_level(row.topic, int(origin.removeprefix("topic:")))
    elif origin == "key":
        found = row.key
    else:
        found = row.values.get(origin.removeprefix("field:")) if origin else row.device
    return device_name(found)


def _time_of(row: Row, origin: str) -> int | None:
    if origin == "received":
        return row.received
    found = row.values.get(origin.removeprefix("field:")) if origin else row.time
    time = instant(found, UTC)
    return row.received if time is None and not origin else time


def _interval(devices: Sequence[str], times: Sequence[int | None]) -> int:
    newest: dict[str, int] = {}
    steps: list[int] = []
    for device, time in zip(devices, times, strict=True):
        if time is not None:
            if device in newest and time > newest[device]:
                steps.append(time - newest[device])
            newest[device] = time
    return round(median(steps)) if steps else 0


def _zoneless(rows: Sequence[Row], origin: str) -> bool:
    value = rows[0].values.get(origin.removeprefix("field:"))
    return isinstance(value, str) and not re.search(r"(Z|[+-]\d\d:?\d\d)$|^[\d.]+$", value.strip())
