"""Event times as devices write them: ISO 8601 text or a number since 1970.

A number's unit is told by its magnitude, for numbers and for text that holds one alike:

| magnitude         | read as      | covers         |
|-------------------|--------------|----------------|
| below 1e11        | seconds      | to year 5138   |
| 1e11 to 1e14      | milliseconds | 1973 to 5138   |
| 1e14 to 1e17      | microseconds | 1973 to 5138   |
| 1e17 to 1e20      | nanoseconds  | 1973 to 5138   |

Text without a zone is read in the zone that the configuration names; an hour that a change of
clocks repeats is taken as its first passage. One value alone and the same value in a column of
thousands give the same microsecond.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import TypeGuard
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

__all__ = ["Zone", "instant", "instants", "zone_named"]

Zone = tzinfo
"""The zone of clocks that name none."""

SECONDS_BELOW = 10**11
MILLISECONDS_BELOW = 10**14
MICROSECONDS_BELOW = 10**17
NANOSECONDS_BELOW = 10**20
LONGEST_TEXT = 64

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)


def zone_named(name: str) -> Zone:
    """The time zone of that IANA name; ValueError that says how to write one otherwise."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as unknown:
        raise ValueError(
            f'no time zone named {name!r}; use an IANA name such as "Europe/Berlin" or "UTC"'
        ) from unknown


def instant(value: object, zone: Zone) -> int | None:
    """Microseconds UTC of one time as a device wrote it; None where it is not a time."""
    if isinstance(value, float):
        return _from_float(value)
    if isinstance(value, str):
        return _from_text(value, zone)
    if isinstance(value, int) and not isinstance(value, bool):
        return _from_int(value)
    return None


def instants(values: Sequence[object], zone: Zone) -> NDArray[np.int64] | None:
    """int64[n]: microseconds UTC of many times; None as soon as one of them is not a time."""
    kinds = set(map(type, values))
    if kinds == {float}:
        column = _float_column(np.array(values, np.float64))
    elif kinds == {int}:
        column = _int_column(values)
    elif kinds == {str}:
        column = _text_column([str(value) for value in values], zone)
    else:
        column = None
    if column is not None:
        return column
    each = [instant(value, zone) for value in values]
    return np.array(each, np.int64) if _complete(each) else None


def _complete(each: list[int | None]) -> TypeGuard[list[int]]:
    return None not in each


def _from_int(value: int) -> int | None:
    size = abs(value)
    if size < SECONDS_BELOW:
        return value * 1_000_000
    if size < MILLISECONDS_BELOW:
        return value * 1_000
    if size < MICROSECONDS_BELOW:
        return value
    if size < NANOSECONDS_BELOW:
        return value // 1_000
    return None


def _from_float(value: float) -> int | None:
    size = abs(value)
    if size < SECONDS_BELOW:
        return round(value * 1e6)
    if size < MILLISECONDS_BELOW:
        return round(value * 1e3)
    if size < MICROSECONDS_BELOW:
        return round(value)
    if size < NANOSECONDS_BELOW:
        return round(value / 1e3)
    return None


def _from_text(text: str, zone: Zone) -> int | None:
    # Only the extended form is tried at once: ISO 8601 could read a date and a time into the
    # thirteen digits of a millisecond clock.
    if text[4:5] == "-":
        try:
            return _since_epoch(datetime.fromisoformat(text), zone)
        except ValueError:
            pass
    return _from_unusual_text(text, zone)


def _from_unusual_text(text: str, zone: Zone) -> int | None:
    if len(text) > LONGEST_TEXT:
        return None
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return _from_number_text(text)
    try:
        return _since_epoch(datetime.fromisoformat(text), zone)
    except ValueError:
        return None


def _from_number_text(text: str) -> int | None:
    return _from_int(int(text)) if _INTEGER.fullmatch(text) else _from_float(float(text))


def _since_epoch(moment: datetime, zone: Zone) -> int | None:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    try:
        past = moment - _EPOCH
    except OverflowError:
        return None
    return (past.days * 86_400 + past.seconds) * 1_000_000 + past.microseconds


def _text_column(texts: list[str], zone: Zone) -> NDArray[np.int64] | None:
    """The same as text by text, without a function call for each; None where one is unusual."""
    if {text[4:5] for text in texts} != {"-"}:
        return None
    try:
        moments = list(map(datetime.fromisoformat, texts))
        if None in {moment.tzinfo for moment in moments}:
            return None
        past = [moment - _EPOCH for moment in moments]
    except (ValueError, OverflowError):
        return None
    column = [(p.days * 86_400 + p.seconds) * 1_000_000 + p.microseconds for p in past]
    return np.array(column, np.int64)


def _float_column(values: NDArray[np.float64]) -> NDArray[np.int64] | None:
    size = np.abs(values)
    low, high = size.min(), size.max()
    if high < SECONDS_BELOW:
        return np.rint(values * 1e6).astype(np.int64)
    if low >= SECONDS_BELOW and high < MILLISECONDS_BELOW:
        return np.rint(values * 1e3).astype(np.int64)
    return None


def _int_column(values: Sequence[object]) -> NDArray[np.int64] | None:
    try:
        column = np.array(values, np.int64)
    except OverflowError:
        return None
    low, high = int(column.min()), int(column.max())
    if low >= 0 and high < SECONDS_BELOW:
        return column * 1_000_000
    if low >= SECONDS_BELOW and high < MILLISECONDS_BELOW:
        return column * 1_000
    if low >= MILLISECONDS_BELOW and high < MICROSECONDS_BELOW:
        return column
    if low >= MICROSECONDS_BELOW:
        return np.floor_divide(column, 1_000)
    return None
