"""Categories as one feature per word: 1 for the word of this reading, 0 for the others."""

from collections.abc import Sequence

import numpy as np

from stream_processor.features._categories import channels_of, plan_of
from stream_processor.features._one_row import OneRow
from stream_processor.operator import FeatureOperator
from streamgauge.arrays import Bytes, Floats, Ints, Rows
from streamgauge.kernels import kernel
from streamgauge.schema import Kind, Schema

__all__ = ["EXAMPLE", "build"]

EXAMPLE = {"of": ["mode"]}


def build(schema: Schema, capacity: int, column: int, *, of: Sequence[str]) -> FeatureOperator:
    """`<channel>_<word>` for each word of the categories `of`, and `<channel>_unknown`.

    NaN where the reading has no such value.
    """
    channels = channels_of(schema, of, "onehot", Kind.CATEGORY)
    names = {
        f"{channel.name}_{word}": frozenset({channel.name})
        for channel in channels
        for word in (*channel.values, "unknown")
    }
    if len(names) < sum(len(channel.values) + 1 for channel in channels):
        raise ValueError(
            'features.onehot of gives two features one name ("unknown" is that of what is in no '
            "vocabulary); rename a word or a channel"
        )
    return OneRow(_spread, capacity, (), column, names, plan_of(schema, channels), ())


@kernel
def _spread(
    n: int,
    row: Rows,
    time: Ints,
    verdict: Bytes,
    values: Floats,
    x: Floats,
    column: int,
    plan: Ints,
    state: Floats,
    rules: Floats,
) -> None:
    for i in range(n):
        for c in range(len(plan)):
            value = values[i, plan[c, 0]]
            known = verdict[i] == 0 and np.isfinite(value)
            for k in range(plan[c, 1]):
                share = 1.0 if value == k else 0.0
                x[i, column + plan[c, 2] + k] = share if known else np.nan
