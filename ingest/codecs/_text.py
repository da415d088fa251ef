"""Values as devices write them in text: "21.5", "21.5 °C", "ON", "unavailable"."""

import re

from ingest.codecs._reading import DecodeError

__all__ = ["decoded", "measured", "value_of"]

_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*)", re.ASCII | re.DOTALL)
_UNIT = re.compile(r"[^\W\d_]|[°%/]|1/")
_LONGEST = 64
_STATES = {
    "true": True, "on": True, "yes": True, "open": True, "online": True,
    "false": False, "off": False, "no": False, "closed": False, "offline": False,
}  # fmt: skip
_ABSENT = frozenset({"", "null", "none", "nan", "na", "n/a", "unknown", "unavailable", "undefined"})


def decoded(payload: bytes) -> str:
    """The payload as text; DecodeError where it is not UTF-8."""
    try:
        return payload.decode()
    except UnicodeDecodeError as wrong:
        raise DecodeError("malformed", f"not UTF-8 text: {wrong}") from None


def value_of(text: str) -> float | bool | str | None:
    """The number, state (ON, true, open ...) or absence that a text is, or else the text itself."""
    return measured(text)[0]


def measured(text: str) -> tuple[float | bool | str | None, str]:
    """The same and the unit behind a number, "" for none: "21.5 °C" is 21.5 in °C."""
    if len(text) > _LONGEST:
        return text, ""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].strip()
    number = _NUMBER.fullmatch(text)
    if number and (not number[2] or _UNIT.match(number[2])):
        return float(number[1]), number[2]
    word = text.lower()
    if word in _ABSENT:
        return None, ""
    return _STATES.get(word, text), ""
