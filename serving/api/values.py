"""How times and numbers are written in JSON: ISO 8601 UTC, and null where there is no number."""

import math
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from streamgauge.instants import iso, written

__all__ = ["Instant", "Number", "finite"]


def finite(value: Any) -> Any:
    """The value, or None where it is NaN or infinite: JSON has no word for either."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _instant(value: Any) -> Any:
    if isinstance(value, datetime):
        return written(value.astimezone(UTC))
    return iso(value) if isinstance(value, int) else value


Instant = Annotated[
    str, BeforeValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})
]
"""Takes microseconds UTC."""

Number = Annotated[float | None, BeforeValidator(finite)]
"""Takes any float; NaN and infinities become null."""
