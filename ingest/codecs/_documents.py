"""JSON documents of platforms that wrap the devices' values in descriptions of their own."""

from collections.abc import Mapping
from typing import Any

from ingest.codecs._reading import DecodeError, Message
from ingest.codecs._tolerant import parse

__all__ = ["DEEPEST", "document", "inner", "no_reading", "plain"]

DEEPEST = 32
"""Levels that a document may be nested."""
_MOST_ELEMENTS = 64
"""Elements of an array that get names of their own."""


def document(message: Message) -> dict[str, Any]:
    """The object that a message is; DecodeError where it is none."""
    if not message.payload:
        raise no_reading("empty: what was retained on this topic was deleted")
    try:
        found = parse(message.payload, DEEPEST)
    except ValueError as wrong:
        raise DecodeError("malformed", f"not readable as JSON: {wrong}") from None
    if not isinstance(found, dict):
        raise DecodeError("malformed", f"{type(found).__name__} where an object is expected")
    return found


def inner(whole: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object under a name, an empty one where there is none."""
    found = whole.get(name)
    return found if isinstance(found, dict) else {}


def no_reading(what: str) -> DecodeError:
    """For a message that is all right but measures nothing: a state of a link, an answer."""
    return DecodeError("no_reading", what)


def plain(value: Any, depth: int = 0) -> Any:
    """The value with arrays as objects by index, so that a channel's path leads into them:
    `{"Power": [7, 9]}` has `Power.0` and `Power.1`."""
    if depth >= DEEPEST:
        return value
    if isinstance(value, list):
        return {str(k): plain(v, depth + 1) for k, v in enumerate(value[:_MOST_ELEMENTS])}
    if isinstance(value, dict):
        return {name: plain(v, depth + 1) for name, v in value.items()}
    return value
