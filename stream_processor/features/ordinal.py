"""Categories as their place in the vocabulary, where the order of the words means something."""

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
    """`<channel>_code` for each of the categories `of`: 0 for the first word of its vocabulary.

    NaN where the reading has no such value, or one that is not in the vocabulary.
    """
    channels = channels_of(schema, of, "ordinal", Kind.CATEGORY)
    names = {f"{channel.name}_code": frozenset({channel.name}) for channel in channels}
    return OneRow(_copy, capacity, (), column, names, plan_of(schema, channels), ())


@kernel
def _copy(
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
            known = verdict[i] == 0 and 0.0 <= value < plan[c, 1] - 1
            x[i, column + c] = value if known else np.nan
