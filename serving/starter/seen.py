"""What was seen of a source, whatever its form: rows of named values, and how they were found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["BETWEEN", "Row", "Sample", "Seen", "flat", "shown"]

BETWEEN = "\x1f"
"""Parts the names of a path; a dot may be part of a name."""
DEEPEST = 6


@dataclass(frozen=True, slots=True)
class Sample:
    """A message as it came."""

    payload: bytes
    topic: str = ""
    key: str = ""
    received: int = 0
    """Microseconds UTC."""


@dataclass(slots=True)
class Row:
    """One reading: its values by their path, before anybody knows which is what."""

    values: dict[str, Any]
    topic: str = ""
    key: str = ""
    received: int = 0
    device: str | int | None = None
    """What the codec itself found."""
    time: Any = None
    """The same."""
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Seen:
    """All of it, and the options of the source or codec that lead to these rows."""

    rows: list[Row]
    messages: int = 0
    """Messages that gave a row."""
    codec: str = ""
    """Empty where the source yields columns by itself."""
    options: dict[str, Any] = field(default_factory=dict)
    own_device: bool = False
    """True where the codec finds the device by itself; the same for the time."""
    own_time: bool = False


def shown(path: str) -> str:
    """A path as people write it, with dots."""
    return path.replace(BETWEEN, ".")


def flat(values: Mapping[str, Any], before: str = "", depth: int = 0) -> dict[str, Any]:
    """The leaves of nested tables by their path; what no dotted path reaches is left out."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if before and "." in name:
            continue
        if isinstance(value, dict):
            if "." not in name and depth < DEEPEST:
                found |= flat(value, f"{before}{name}{BETWEEN}", depth + 1)
        elif not isinstance(value, list):
            found[f"{before}{name}"] = value
    return found
