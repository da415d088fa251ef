"""What the encodings of categories have in common."""

from collections.abc import Sequence

import numpy as np

from stream_processor.features._columns import column_of
from streamgauge.arrays import Ints
from streamgauge.schema import Channel, Kind, Schema

__all__ = ["channels_of", "plan_of"]


def channels_of(schema: Schema, of: Sequence[str], feature: str, kind: Kind) -> list[Channel]:
    """The channels, each named once and of that kind; ValueError otherwise."""
    if not of or len(set(of)) < len(of):
        raise ValueError(f"features.{feature} of is {list(of)!r}; name each channel once")
    found = [schema.channels[column_of(schema, name, f"features.{feature}")] for name in of]
    wrong = [channel.name for channel in found if channel.kind is not kind]
    if wrong:
        fit = [channel.name for channel in schema.channels if channel.kind is kind]
        raise ValueError(
            f"features.{feature} of has {wrong[0]!r}, which is no {kind}; there are: "
            f"{', '.join(fit) or f'none, give a channel kind = {str(kind)!r}'}"
        )
    return found


def plan_of(schema: Schema, channels: Sequence[Channel]) -> Ints:
    """int64[k, 3]: of each category its column, how many codes there are (the unknown included),
    and how many the categories before it have together."""
    sizes = [len(channel.values) + 1 for channel in channels]
    columns = [schema.index[channel.name] for channel in channels]
    firsts = np.cumsum([0, *sizes])[:-1]
    return np.array([columns, sizes, firsts], np.int64).T.copy()
