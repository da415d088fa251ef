"""JSON messages that no typed parser takes: read value by value, refused with a named reason."""

from collections.abc import Iterable, Iterator
from typing import Any

from ingest.codecs._origins import lookup
from ingest.codecs._reading import DecodeError, Message, Reading
from ingest.codecs._tolerant import parse

__all__ = ["readings_of", "second_look"]


def second_look(
    message: Message, readings: tuple[str, ...], max_depth: int
) -> Iterable[Reading | DecodeError]:
    """The readings of a JSON message, whatever its bytes are; see `readings_of`."""
    try:
        decoded = parse(message.payload, max_depth)
    except ValueError as wrong:
        raise DecodeError("malformed", f"not readable as JSON: {wrong}") from None
    return readings_of(decoded, readings)


def readings_of(message: Any, readings: tuple[str, ...]) -> Iterator[Reading | DecodeError]:
    """The readings of a message of maps and arrays.

    `readings` is the path of an array of readings inside the message, () where the message is one
    reading or itself an array.
    """
    around: dict[str, Any] = {}
    if isinstance(message, list):
        found = message
    elif not isinstance(message, dict):
        raise DecodeError("malformed", f"{type(message).__name__} where an object is expected")
    elif not readings:
        found = [message]
    else:
        found, around = lookup(message, readings), message
    if not isinstance(found, list):
        raise DecodeError("malformed", f"no array of readings at {'.'.join(readings)!r}")
    for reading in found:
        if isinstance(reading, dict):
            yield Reading(reading, around=around)
        else:
            wrong = f"{type(reading).__name__} where a reading is expected"
            yield DecodeError("malformed", wrong)
