"""Label messages: what a prediction should have been, told later and by somebody else.

    {"id": "quality/press-7/1041", "label": 12.3}
    {"device": "press-7", "time": "2026-03-01T12:00:00Z", "label": 12.3, "task": "quality"}

One JSON object, an array of them, or one per line. What is no label is rejected by itself with its
reason; the others of the message count.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from ingest.codecs._origins import Origin, device_name, lookup, origin_of, path_of, topic_level
from ingest.codecs._reading import Message
from ingest.codecs._tolerant import parse, reader
from ingest.rejects import Rejects
from ingest.times import instant, zone_named
from streamgauge.schema import Channel, Kind

__all__ = ["LabelCodec", "Told", "matches"]

MOST_BYTES = 1_000_000
MOST_NESTED = 16
LONGEST_ID = 1_000
NUMBER = Channel("label")
_MEANT = {Kind.NUMBER: "no finite number", Kind.BOOLEAN: "neither true nor false"}


class Told(NamedTuple):
    """One label: of the prediction `id`, or ("" there) of a device at a time."""

    id: str
    device: str
    time: int
    """Microseconds UTC."""
    task: str
    """"" where the message names none."""
    label: float


class LabelCodec:
    """Decodes label messages. `fields` says where a message has what: dotted paths for id, device,
    time, label and task; the device may be "topic:N". `zone` is that of times which name none.
    `label` says how labels are read: numbers, booleans, or the words of a category.

    Rejects: malformed, too_large, bad_label, bad_device, bad_time, no_prediction (neither an id nor
    device and time).
    """

    def __init__(self, fields: dict[str, str], zone: str, label: Channel = NUMBER) -> None:
        self._zone = zone_named(zone)
        self._read, self._label = reader(label), label
        self._device = (
            origin_of(fields["device"], "device")
            if fields["device"].startswith("topic:")
            else Origin("field", path=path_of(fields["device"], "device"))
        )
        self._path = {
            name: path_of(text, name) for name, text in fields.items() if name != "device"
        }

    def decode(self, payload: bytes, topic: str, received: int, rejects: Rejects) -> Iterator[Told]:
        """The labels of one message, in order."""

        def reject(reason: str, detail: str) -> None:
            rejects.refuse(reason, detail, Message(payload, topic, received))

        if len(payload) > MOST_BYTES:
            reject("too_large", f"a label message of {len(payload):,} bytes; split it")
            return
        try:
            entries = _entries(payload)
        except ValueError as wrong:
            reject("malformed", f"no label message: {wrong}")
            return
        for entry in entries:
            told = self._told(entry, topic)
            if isinstance(told, Told):
                yield told
            else:
                reject(*told)

    def _told(self, entry: Any, topic: str) -> Told | tuple[str, str]:
        """The label that an entry is, or the reason why it is none."""
        if not isinstance(entry, dict):
            return "malformed", f"a label is an object, this is {str(entry)[:80]!r}"
        found = {name: lookup(entry, path) for name, path in self._path.items()}
        label, flag = self._read(found["label"])
        if flag or math.isnan(label):
            words = f"none of {', '.join(self._label.values)}"
            what = words if self._label.values else _MEANT[self._label.kind]
            return "bad_label", f"{str(found['label'])[:80]!r} is {what}"
        task = found["task"] if isinstance(found["task"], str) else ""
        name = found["id"]
        if isinstance(name, str) and 0 < len(name) <= LONGEST_ID:
            return Told(name, "", 0, task, label)
        return self._by_time(entry, topic, found["time"], task, label)

    def _by_time(
        self, entry: dict[str, Any], topic: str, when: Any, task: str, label: float
    ) -> Told | tuple[str, str]:
        by_topic = self._device.where == "topic"
        who = (
            topic_level(topic, self._device.level) if by_topic else lookup(entry, self._device.path)
        )
        if who is None or when is None:
            return "no_prediction", "it has neither an id nor a device and a time"
        device = device_name(who)
        if not device:
            return "bad_device", f"{str(who)[:80]!r} is no device"
        time = instant(when, self._zone)
        if time is None or time <= 0:
            return "bad_time", f"{str(when)[:80]!r} is no time"
        return Told("", device, time, task, label)


def _entries(payload: bytes) -> list[Any]:
    """The entries of an object, of an array, or of lines of either; ValueError where it is none."""
    try:
        message = parse(payload, MOST_NESTED)
    except ValueError:
        lines = [line for line in payload.splitlines() if line.strip()]
        if len(lines) < 2:
            raise
        return [entry for line in lines for entry in _flat(_line(line))]
    return _flat(message)


def _line(line: bytes) -> Any:
    try:
        return parse(line, MOST_NESTED)
    except ValueError:
        return line.decode(errors="replace")


def _flat(message: Any) -> list[Any]:
    return message if isinstance(message, list) else [message]


def matches(pattern: str, topic: str) -> bool:
    """Whether a topic fits an MQTT filter: `+` is one level, a last `#` any number of them."""
    wanted, levels = pattern.split("/"), topic.split("/")
    for k, word in enumerate(wanted):
        if word == "#":
            return True
        if k == len(levels) or word not in ("+", levels[k]):
            return False
    return len(wanted) == len(levels)
