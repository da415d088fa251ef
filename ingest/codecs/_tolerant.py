"""The second look at a message that the typed parser refused: value by value, keeping the rest."""

import json
import math
import re
from collections.abc import Callable
from typing import Any

import msgspec

from streamgauge.schema import Kind
from streamgauge.words import Flag

__all__ = ["boolean", "number", "parse", "reader"]

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
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
        return json.loads(payload.decode(), parse_int=_integer)
    except RecursionError:
        raise ValueError("nested too deeply to be read") from None


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
        if len(value) > _LONGEST_NUMBER or not _NUMBER.fullmatch(value.strip()):
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
    if isinstance(value, bool | int | float):
        if value in (0, 1):
            return float(value), 0
        if isinstance(value, float) and not math.isfinite(value):
            return _NON_FINITE
    return _WRONG_TYPE


def reader(kind: Kind) -> Callable[[Any], tuple[float, int]]:
    """How values of that kind are read."""
    return boolean if kind is Kind.BOOLEAN else number
