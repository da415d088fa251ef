"""Durations as people write them: "250ms", "30s", "10m", "1h", "7d"."""

import re

__all__ = ["DAY", "WEEK", "microseconds", "text"]

DAY = 86_400 * 10**6
"""Microseconds."""
WEEK = 7 * DAY

_UNITS = {"us": 1, "ms": 1_000, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": DAY}
_PATTERN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d)\s*")


def microseconds(duration: str) -> int:
    """Microseconds of a duration such as "10m"; ValueError that names the units otherwise."""
    match = _PATTERN.fullmatch(duration)
    if match is None:
        raise ValueError(
            f"{duration!r} is not a duration; write a number and one of us, ms, s, m, h, d"
        )
    return round(float(match[1]) * _UNITS[match[2]])


def text(duration: int) -> str:
    """The shortest exact way to write a duration in microseconds."""
    for unit in ("d", "h", "m", "s", "ms"):
        if duration and duration % _UNITS[unit] == 0:
            return f"{duration // _UNITS[unit]}{unit}"
    return f"{duration}us"
