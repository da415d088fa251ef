"""What binary formats decode to, as plain values that JSON could hold."""

import math
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from cbor2 import undefined

from ingest.codecs._reading import DecodeError

__all__ = ["plain"]


def plain(value: Any, max_depth: int) -> Any:
    """Maps with text for names, lists, numbers, text, booleans and None; times as ISO text.

    DecodeError where it is nested deeper. What is nothing of this, such as bytes, stays as it is
    and fits no channel.
    """
    if isinstance(value, dict | list | tuple):
        if max_depth == 0:
            raise DecodeError("malformed", "nested too deeply; see max_depth")
        inner = max_depth - 1
        if isinstance(value, dict):
            return {_name(key): plain(found, inner) for key, found in value.items()}
        return [plain(found, inner) for found in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal | Fraction):
        return _number(value)
    return None if value is undefined else value


def _name(key: Any) -> Any:
    # An integer of thousands of digits cannot be written out, and is no name of ours.
    small = isinstance(key, int) and not isinstance(key, bool) and abs(key) < 10**30
    return str(key) if small else key


def _number(value: Decimal | Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf
