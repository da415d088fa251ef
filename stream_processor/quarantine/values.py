"""Values of a reading as users see them, and back: categories by their words."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streamgauge.arrays import Floats
from streamgauge.schema import Channel, Kind, Schema

__all__ = ["named", "numbers"]


def named(schema: Schema, values: Sequence[float]) -> dict[str, Any]:
    """The values that are there, by channel; those that are not finite as text."""
    return {
        channel.name: value
        if channel.kind is not Kind.CATEGORY and -np.inf < value < np.inf
        else _shown(channel, value)
        for channel, value in zip(schema.channels, values, strict=True)
        if value == value
    }


def numbers(schema: Schema, values: Mapping[str, Any]) -> Floats:
    """float64[width]: the same as a batch holds it; NaN for channels that it lacks, and for the
    words of texts, which only a message has."""
    row = np.full(schema.width, np.nan)
    row[: len(schema)] = [_number(each, values.get(each.name)) for each in schema.channels]
    return row


def _shown(channel: Channel, value: float) -> Any:
    if channel.kind is Kind.CATEGORY and 0 <= value < len(channel.values):
        return channel.values[int(value)]
    return value if abs(value) < np.inf else str(value)


def _number(channel: Channel, value: Any) -> float:
    if value is None:
        return np.nan
    if isinstance(value, str) and channel.kind is Kind.CATEGORY:
        known = value in channel.values
        return float(channel.values.index(value) if known else len(channel.values))
    return float(value)
