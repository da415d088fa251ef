"""How times and numbers are written in JSON: ISO 8601 UTC, and null where there is no number."""

import math
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

__all__ = ["Instant", "Number", "finite", "iso"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(microseconds: int) -> str:
    """A time in microseconds UTC as ISO 8601: "2026-03-01T12:00:00.000000Z"."""
    return _written(_EPOCH + timedelta(microseconds=microseconds))


def _written(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def finite(value: Any) -> Any:
    """The value, or None where it is NaN or infinite: JSON has no word for either."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _instant(value: Any) -> Any:
    if isinstance(value, datetime):
        return _written(value.astimezone(UTC))
    return iso(value) if isinstance(value, int) else value


Instant = Annotated[
    str, BeforeValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})
]
"""Takes microseconds UTC."""

Number = Annotated[float | None, BeforeValidator(finite)]
"""Takes any float; NaN and infinities become null."""
