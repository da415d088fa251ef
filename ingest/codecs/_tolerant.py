"""The second look at a message that the typed parser refused: value by value, keeping the rest."""

import codecs
import json
import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from ingest.codecs._words import category, longest, spelled_boolean, text
from streamgauge.schema import Channel, Kind
from streamgauge.words import Flag

__all__ = [
    "NUMBER",
    "NUMBER_WITH_COMMA",
    "boolean",
    "number",
    "number_with_comma",
    "parse",
    "reader",
    "unmarked",
]

NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
NUMBER_WITH_COMMA = (
    r"[+-]?(?:\d+|\d{1,3}(?:(?P<group>[.' \u00a0\u202f\u2019])\d{3}(?:(?P=group)\d{3})*)?)?"
    r"(?:,\d*)?(?:[eE][+-]?\d+)?"
)
"""As people write numbers where the comma stands before the decimals: 1.234,5 or 1 234,5."""
_NUMBER, _WITH_COMMA = (re.compile(form, re.ASCII) for form in (NUMBER, NUMBER_WITH_COMMA))
_GROUPING = re.compile(r"[.' \u00a0\u202f\u2019]")
_LONGEST_NUMBER = 64
_NON_FINITE = (math.nan, int(Flag.NON_FINITE))
_WRONG_TYPE = (math.nan, int(Flag.WRONG_TYPE))
_ABSENT = (math.nan, 0)

_decode = msgspec.json.Decoder().decode


def parse(payload: bytes, max_depth: int) -> Any:
    """The message as plain Python values; NaN, Infinity and numbers beyond float64 are let in.

    ValueError that says what is wrong when it is not JSON, not UTF-8 or nested too deeply.
    """
    try:
        message = _decode(payload)
    except (ValueError, RecursionError):
        message = _parse_loosely(payload)
    if (
        payload.count(b"[") + payload.count(b"{") > max_depth
        and _depth(message, max_depth) > max_depth
    ):
        raise ValueError(f"nested deeper than {max_depth} levels")
    return message


def _parse_loosely(payload: bytes) -> Any:
    try:
        return json.loads(unmarked(payload).decode(), parse_int=_integer)
    except RecursionError:
        raise ValueError("nested too deeply to be read") from None


def unmarked(payload: bytes) -> bytes:
    """The text without the mark that some writers put before it, and the zero byte in which C ends
    one."""
    return payload.removeprefix(codecs.BOM_UTF8).rstrip(b"\0")


def _integer(digits: str) -> int | float:
    # Python refuses to read integers of thousands of digits; as a float they are just infinite.
    return int(digits) if len(digits) <= _LONGEST_NUMBER else float(digits)


def _depth(message: Any, enough: int) -> int:
    depth, level = 0, [message]
    while level and depth <= enough:
        inner: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                inner.extend(node.values())
            elif isinstance(node, list):
                inner.extend(node)
        nested = any(isinstance(node, dict | list) for node in level)
        depth += nested
        level = inner if nested else []
    return depth


def number(value: Any) -> tuple[float, int]:
    """A number channel's value and its flag: NaN where it is not a finite number."""
    if isinstance(value, float):
        return (value, 0) if math.isfinite(value) else _NON_FINITE
    if value is None:
        return _ABSENT
    if isinstance(value, bool):
        return _WRONG_TYPE
    if isinstance(value, str):
        # float() does not take all that strip() does, such as "\\x1f".
        value = value.strip() if len(value) <= _LONGEST_NUMBER else ""
        if not _NUMBER.fullmatch(value):
            return _WRONG_TYPE
    elif not isinstance(value, int):
        return _WRONG_TYPE
    try:
        found = float(value)
    except OverflowError:
        return _NON_FINITE
    return (found, 0) if math.isfinite(found) else _NON_FINITE


def boolean(value: Any) -> tuple[float, int]:
    """A boolean channel's value, 1 or 0, and its flag."""
    if value is None:
        return _ABSENT
    if isinstance(value, str):
        found = spelled_boolean(value)
        return _one_or_zero(number(value)[0]) if found[1] else found
    if isinstance(value, bool | int | float):
        if isinstance(value, float) and not math.isfinite(value):
            return _NON_FINITE
        return _one_or_zero(value)
    return _WRONG_TYPE


def _one_or_zero(value: float) -> tuple[float, int]:
    return (float(value), 0) if value in (0, 1) else _WRONG_TYPE


def number_with_comma(value: Any) -> tuple[float, int]:
    """The same as `number`, where a text has a comma before its decimals."""
    if not isinstance(value, str):
        return number(value)
    written = value.strip()
    if len(written) > _LONGEST_NUMBER or not _WITH_COMMA.fullmatch(written):
        return _WRONG_TYPE
    return number(_GROUPING.sub("", written).replace(",", "."))


def reader(channel: Channel) -> Callable[[Any], tuple[float, int]]:
    """How values of that channel are read."""
    if channel.kind is Kind.CATEGORY:
        return category(channel)
    if channel.kind is Kind.TEXT:
        return partial(text, most=longest(channel))
    if channel.kind is Kind.BOOLEAN:
        return boolean
    return number if channel.decimal == "." else number_with_comma
