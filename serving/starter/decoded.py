"""Which codec reads the messages, told by trying all of them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any

from ingest.codecs._origins import topic_level
from ingest.codecs._tolerant import number, parse
from serving.starter.guess import is_state
from serving.starter.seen import Row, Sample, Seen, flat
from streamgauge import plugins
from streamgauge.devices import Devices
from streamgauge.schema import Channel, Schema

__all__ = ["decoded"]

MOST_NESTED = 32
ENOUGH = 0.5
"""Share of the messages that a codec must be able to read: topics carry other things as well."""

MOST_CHANNELS = 1_000

Shown = tuple[str | int | None, Any, dict[str, Any], dict[str, str]]
Show = Callable[[bytes, str], Any]


def decoded(samples: Sequence[Sample]) -> Seen:
    """The samples as the codec that reads most of them sees them; ValueError where none does."""
    found = [seen for seen in _every(samples) if seen.messages >= ENOUGH * len(samples)]
    if not found:
        first = samples[0]
        raise ValueError(
            f"no codec reads these messages; the first, on {first.topic!r}: {first.payload[:80]!r}"
        )
    return max(found, key=_merit)


def _merit(seen: Seen) -> tuple[int, bool, int]:
    """Who reads more messages; then who knows the devices by itself; then who finds more values."""
    return seen.messages, seen.own_device, sum(len(row.values) for row in seen.rows)


def _every(samples: Sequence[Sample]) -> Iterator[Seen]:
    yield _as_json(samples)
    for name, module in plugins.find("ingest.codecs").items():
        show = _show(module, samples) if name != "json" else None
        if show is not None:
            yield _shown(name, module, show, samples)


def _show(module: ModuleType, samples: Sequence[Sample]) -> Show | None:
    """What a codec with its default options makes of a message (`ingest.source.Showing`); None
    where it cannot say. What a topic may name is a channel."""
    last = dict.fromkeys(sample.topic.rpartition("/")[2] for sample in samples)
    schema = Schema([Channel(name) for name in list(last)[:MOST_CHANNELS] if name])
    # Some formats have no place of their own for a device: any will do to look at the values.
    for given in ({}, {"device": "field:device"}):
        with suppress(ValueError, TypeError):
            show: Show | None = getattr(module.build(schema, Devices(1), **given), "show", None)
            return show
    return None


def _shown(name: str, module: ModuleType, show: Show, samples: Sequence[Sample]) -> Seen:
    default = str(plugins.options(module)["device"].default)
    level = int(default.removeprefix("topic:")) if default.startswith("topic:") else None
    rows: list[Row] = []
    messages = 0
    for sample in samples:
        found = _tried(show, sample)
        messages += bool(found)
        for device, time, values, units in found:
            named = device if level is None else topic_level(sample.topic, level)
            rows.append(Row(values, sample.topic, sample.key, sample.received, named, time, units))
    device_known = bool(rows) and all(row.device is not None for row in rows)
    timed = plugins.options(module)["time"].default == "received"
    timed = timed or any(row.time is not None for row in rows)
    return Seen(rows, messages, name, {}, own_device=device_known, own_time=timed)


def _tried(show: Show, sample: Sample) -> list[Shown]:
    """The readings of a message that hold a number or a boolean."""
    try:
        found = [
            (device, time, flat(values), dict(units))
            for device, time, values, units in show(sample.payload, sample.topic)
        ]
    except Exception:  # noqa: BLE001 - a message of another format may break a codec in any way
        return []
    return [one for one in found if any(map(_measures, one[2].values()))]


def _measures(value: Any) -> bool:
    return value is not None and (is_state(value) or not number(value)[1])


def _as_json(samples: Sequence[Sample]) -> Seen:
    """JSON, and where in it the readings are."""
    messages = [(sample, _json(sample.payload)) for sample in samples]
    there = [(sample, message) for sample, message in messages if message is not None]
    paths = [_array(message) for _, message in there]
    inside = max(set(paths), key=paths.count) if paths else ""
    rows: list[Row] = []
    for sample, message in there:
        found = _readings(message, inside)
        rows += [Row(values, sample.topic, sample.key, sample.received) for values in found]
    return Seen(rows, len(there), "json", {"readings": inside} if inside else {})


def _json(payload: bytes) -> Any:
    try:
        found = parse(payload, MOST_NESTED)
    except ValueError:
        return None
    return found if isinstance(found, dict | list) else None


def _array(message: Any, before: str = "", depth: int = 0) -> str:
    """The dotted path of the first array of objects inside a message; "" where there is none."""
    if not isinstance(message, dict) or depth > 3:
        return ""
    for name, value in message.items():
        if "." in name:
            continue
        if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            return f"{before}{name}"
        inner = _array(value, f"{before}{name}.", depth + 1)
        if inner:
            return inner
    return ""


def _readings(message: Any, inside: str) -> list[dict[str, Any]]:
    """The flat readings of a message, what stands around an array of them included."""
    if isinstance(message, list):
        return [flat(one) for one in message if isinstance(one, dict)]
    if not inside:
        return [flat(message)]
    found = message
    for name in inside.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, list):
        return []
    around = {k: v for k, v in flat(message).items() if isinstance(v, str | int)}
    return [around | flat(one) for one in found if isinstance(one, dict)]
