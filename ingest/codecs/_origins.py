"""Where a message keeps its device and its time, and which device names are fit to use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from streamgauge.delivery import Delivery
from streamgauge.schema import Channel

__all__ = [
    "LONGEST_DEVICE",
    "OUR_MICROSECONDS",
    "Origin",
    "TopicDevices",
    "beside",
    "channel_name",
    "channel_path",
    "device_name",
    "lookup",
    "origin_of",
    "own_or_origin",
    "path_of",
    "topic_level",
]

LONGEST_DEVICE = 256
OUR_MICROSECONDS = ("received", "message")
"""Where what stands is microseconds UTC already, not as a device wrote it."""
TOPICS_REMEMBERED = 200_000
LONGEST_TOPIC = 1_024
"""Longer ones are read anew each time: remembered, they could fill the memory."""
_LONGEST_INTEGER = 10**30


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a message keeps something: a level of its topic, a field, its key, a header, the time
    that its log gives it, its arrival, or what the codec itself found ("reading")."""

    where: Literal["topic", "field", "key", "header", "message", "received", "reading"]
    level: int = 0
    path: tuple[str, ...] = ()
    """Names down to a field, or the one name of a header."""


def origin_of(text: str, option: str, *, received: bool = False) -> Origin:
    """Read "topic:1", "field:meta.id", "key", "header:id" or, where allowed, "message" and
    "received"; ValueError otherwise."""
    where, _, rest = text.partition(":")
    level = rest.removeprefix("-")
    if where == "topic" and level.isascii() and level.isdigit() and len(level) < 4:
        return Origin("topic", level=int(rest))
    if where == "field" and rest:
        return Origin("field", path=path_of(rest, option))
    if where == "header" and rest:
        return Origin("header", path=(rest,))
    if text == "key":
        return Origin("key")
    if text == "received" and received:
        return Origin("received")
    if text == "message" and received:
        return Origin("message")
    choices = (
        '"topic:N" (N-th level of the topic, from 0, or -1 for the last), "field:NAME" (a dotted '
        'path), "key", '
        '"header:NAME"'
    )
    also = (
        ', "message" (the time that Kafka gives it) or "received" (our clock)' if received else ""
    )
    raise ValueError(f"{option} = {text!r} names no place in a message; write {choices}{also}")


def own_or_origin(text: str, option: str, *, received: bool = False, whole: bool = False) -> Origin:
    """The same, and "" for what the codec itself finds; dots part nothing in `whole` names."""
    if not text:
        return Origin("reading")
    if whole and text.startswith("field:") and text != "field:":
        return Origin("field", path=(text.removeprefix("field:"),))
    return origin_of(text, option, received=received)


def path_of(text: str, option: str) -> tuple[str, ...]:
    """The names along a dotted path; ValueError where one of them is empty."""
    path = tuple(text.split("."))
    if not all(path):
        raise ValueError(
            f"{option}: {text!r} has an empty name between its dots; write it like data.temp"
        )
    return path


def channel_path(channel: Channel) -> tuple[str, ...]:
    """Where a channel's value stands: along its dotted path, or under its own name as it is, dots
    and all."""
    if not channel.path:
        return (channel.name,)
    return path_of(channel.path, f"channels.{channel.name}")


def channel_name(channel: Channel) -> tuple[str, ...]:
    """Where a channel's value stands in messages whose names are whole: under its path, dots and
    all, or under its own name."""
    return (channel.path or channel.name,)


def lookup(message: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """What stands at the path, or None where there is nothing."""
    found: Any = message
    for name in path:
        if not isinstance(found, dict):
            return None
        found = found.get(name)
    return found


def device_name(value: object) -> str:
    """The device id that a value is, "" where it is none: text of 1 to 256 printable characters or
    an integer."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LONGEST_INTEGER:
        return str(value)
    if isinstance(value, str) and 0 < len(value) <= LONGEST_DEVICE and value.isprintable():
        return value
    return ""


def topic_level(topic: str, level: int) -> str | None:
    """That level of a topic, from 0 or, negative, from the end; None where it is shorter."""
    if level < 0:
        ends = topic.rsplit("/", -level)
        return ends[level] if len(ends) >= -level else None
    levels = topic.split("/", level + 1)
    return levels[level] if len(levels) > level else None


def beside(origin: Origin, delivery: Delivery, start: int, stop: int) -> Sequence[Any]:
    """What stands beside the payloads `start` to `stop`, None where there is nothing."""
    if origin.where == "topic":
        return [topic_level(topic, origin.level) for topic in delivery.topics[start:stop]]
    if origin.where == "header":
        name = origin.path[0]
        found: Sequence[Any] = [headers.get(name) for headers in delivery.headers[start:stop]]
    else:
        columns: dict[str, Sequence[Any]] = {
            "key": delivery.keys,
            "message": delivery.stamps,
            "received": delivery.received,
        }
        found = columns[origin.where][start:stop]
    return found or [None] * (stop - start)


class TopicDevices(dict[str, str]):
    """Topic → the device named by one of its levels, "" where that is absent or unfit.

    Looking a topic up fills it in; `forget_if_full` bounds what strangers can make it hold.
    """

    def __init__(self, level: int) -> None:
        super().__init__()
        self._level = level

    def __missing__(self, topic: str) -> str:
        device = device_name(topic_level(topic, self._level))
        if len(topic) <= LONGEST_TOPIC:
            self[topic] = device
        return device

    def forget_if_full(self) -> None:
        """Start anew after 200,000 topics."""
        if len(self) > TOPICS_REMEMBERED:
            self.clear()
