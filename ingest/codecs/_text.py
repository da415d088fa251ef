"""Values as devices write them in text: "21.5", "21.5 °C", "ON", "unavailable"."""

import math
import re
from collections.abc import Callable
from functools import partial

from ingest.codecs._origins import channel_name
from ingest.codecs._reading import DecodeError
from ingest.codecs._tolerant import NUMBER, NUMBER_WITH_COMMA, unmarked
from streamgauge.schema import Kind, Schema

__all__ = ["Read", "decoded", "quantity", "readers"]

Read = Callable[[str], tuple[float | str | None, str]]
"""From a text to the value in it, None for an absent one, and the unit behind it, "" for none."""

_LONGEST = 64
_UNIT = r"(?P<unit>(?:[^\W\d_]|[°℃℉%/]|1/).*)?"
_QUANTITY, _QUANTITY_WITH_COMMA = (
    re.compile(rf"(?=[+-]?[.,]?\d)(?P<number>(?a:{number}))\s*{_UNIT}", re.DOTALL)
    for number in (NUMBER, NUMBER_WITH_COMMA)
)
_ABSENT = frozenset({"", "null", "none", "nan", "na", "n/a", "unknown", "unavailable", "undefined"})


def decoded(payload: bytes) -> str:
    """The payload as text; DecodeError where it is not UTF-8."""
    try:
        return unmarked(payload).decode()
    except UnicodeDecodeError as wrong:
        raise DecodeError("malformed", f"not UTF-8 text: {wrong}") from None


def readers(schema: Schema) -> dict[str, Read]:
    """How text is read by the name that messages give a channel. Words stay words, for the channel
    to judge: "5G" may be a category."""
    found: dict[str, Read] = {}
    # Where a number has its name in common with others, its unit counts.
    for channel in sorted(schema.channels, key=lambda channel: channel.kind is Kind.NUMBER):
        [name] = channel_name(channel)
        if channel.kind is Kind.NUMBER:
            found[name] = partial(quantity, comma=channel.decimal == ",")
        else:
            found[name] = partial(_word, frozenset(word.lower() for word in channel.values))
    return found


def quantity(text: str, *, comma: bool = False) -> tuple[float | str | None, str]:
    """The number in a text and the unit behind it: "21.5 °C" is 21.5 in °C; another text as it is.
    `comma`: a comma stands before the decimals."""
    if len(text) > _LONGEST:
        return text, ""
    plain = None if comma else _float(text)
    if plain is not None:
        return plain, ""
    value, _ = _word(frozenset(), text)
    found = (_QUANTITY_WITH_COMMA if comma else _QUANTITY).fullmatch(value or "")
    return (found["number"], found["unit"] or "") if found else (value, "")


def _float(text: str) -> float | None:
    """The number that a text is alone, told faster than by a pattern; None for any other text."""
    if not text.isascii() or "_" in text:
        return None
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _word(known: frozenset[str], text: str) -> tuple[str | None, str]:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].strip()
    word = text.lower() if len(text) <= _LONGEST else text
    return (None if word in _ABSENT and word not in known else text), ""
