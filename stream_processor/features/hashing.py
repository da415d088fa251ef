"""Texts of an open vocabulary as a fixed number of features: each text falls into one of them."""

from collections.abc import Sequence

import numpy as np

from stream_processor.features._categories import channels_of
from stream_processor.features._one_row import OneRow
from stream_processor.operator import FeatureOperator
from streamgauge.arrays import Bytes, Floats, Ints, Rows
from streamgauge.kernels import kernel
from streamgauge.schema import Kind, Schema

__all__ = ["EXAMPLE", "build"]

EXAMPLE = {"of": ["code"]}


def build(
    schema: Schema, capacity: int, column: int, *, of: Sequence[str], buckets: int = 16
) -> FeatureOperator:
    """`<channel>_hash<k>` for k from 0 to `buckets` - 1, of each text channel in `of`: 1 for the
    bucket that the text falls into, 0 for the others.

    The same text falls into the same bucket for ever; different ones may share it. NaN where the
    reading has no text. Source: Weinberger et al., Feature hashing for large scale multitask
    learning, 2009.
    """
    channels = channels_of(schema, of, "hashing", Kind.TEXT)
    if not 2 <= buckets <= 1_024:
        raise ValueError(f"features.hashing buckets is {buckets}; give 2 to 1024")
    names = {
        f"{channel.name}_hash{k}": frozenset({channel.name})
        for channel in channels
        for k in range(buckets)
    }
    columns = np.array([schema.index[channel.name] for channel in channels], np.int64)
    return OneRow(_scatter, capacity, (), column, names, columns, (buckets,))


@kernel
def _scatter(
    n: int,
    row: Rows,
    time: Ints,
    verdict: Bytes,
    values: Floats,
    x: Floats,
    column: int,
    of: Ints,
    state: Floats,
    rules: Floats,
) -> None:
    buckets = int(rules[0])
    for i in range(n):
        for c in range(len(of)):
            own = x[i, column + c * buckets : column + (c + 1) * buckets]
            value = values[i, of[c]]
            # What no codec gives, such as 1e308, is no text.
            if verdict[i] != 0 or not 0.0 <= value < 2.0**53:
                own[:] = np.nan
                continue
            own[:] = 0.0
            own[int(value) % buckets] = 1.0
