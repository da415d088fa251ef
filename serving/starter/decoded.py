"""Which codec reads the messages, told by trying all of them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ingest.codecs._tolerant import parse
from serving.starter.seen import Row, Sample, Seen, flat
from streamgauge import plugins
from streamgauge.devices import Devices
from streamgauge.schema import Schema

__all__ = ["decoded"]

MOST_NESTED = 32
ENOUGH = 0.5
"""Share of the messages that a codec must be able to read: topics carry other things as well."""

Reader = Callable[[Sample], list[Row]]


def decoded(samples: Sequence[Sample]) -> Seen:
    """The samples as the codec that reads most of them sees them; ValueError where none does."""
    found = [seen for seen in _every(samples) if len(seen.rows) >= ENOUGH * len(samples)]
    if not found:
        first = samples[0]
        raise ValueError(
            f"no codec reads these messages; the first, on {first.topic!r}: {first.payload[:80]!r}"
        )
    return max(found, key=_merit)


def _merit(seen: Seen) -> tuple[int, bool, int]:
    """More readings first; then who knows the devices by itself; then more values."""
    return len(seen.rows), seen.own_device, sum(len(row.values) for row in seen.rows)


def _every(samples: Sequence[Sample]) -> Iterator[Seen]:
    yield from _as_json(samples)
    for name, module in plugins.find("ingest.codecs").items():
        reader = _reader(module) if name != "json" else None
        if reader is not None:
            rows = [row for sample in samples for row in _tried(reader, sample) if row.values]
            known = bool(rows) and all(row.device is not None for row in rows)
            timed = any(row.time is not None for row in rows)
            yield Seen(rows, name, {}, own_device=known, own_time=timed)


def _reader(module: Any) -> Reader | None:
    """How a codec with its default options sees a message; None where it cannot say (see
    `ingest.source.Showing`)."""
    try:
        codec = module.build(Schema([]), Devices(100_000))
    except (TypeError, ValueError):
        return None
    if not hasattr(codec, "show"):
        return None

    def read(sample: Sample) -> list[Row]:
        shown = codec.show(sample.payload, sample.topic)
        return [
            Row(flat(values), sample.topic, sample.key, sample.received, device, time, units)
            for device, time, values, units in shown
        ]

    return read


def _tried(reader: Reader, sample: Sample) -> list[Row]:
    try:
        return reader(sample)
    except Exception:  # noqa: BLE001 - a message of another format may break a codec in any way
        return []


def _as_json(samples: Sequence[Sample]) -> Iterator[Seen]:
    """JSON, and where in it the readings are."""
    messages = [(sample, _json(sample.payload)) for sample in samples]
    there = [(sample, message) for sample, message in messages if message is not None]
    paths = [_array(message) for _, message in there]
    inside = max(set(paths), key=paths.count) if paths else ""
    rows: list[Row] = []
    for sample, message in there:
        found = _readings(message, inside)
        rows += [Row(values, sample.topic, sample.key, sample.received) for values in found]
    yield Seen(rows, "json", {"readings": inside} if inside else {})


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
