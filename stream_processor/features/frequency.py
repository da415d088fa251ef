"""How usual a category is for its device: the share of readings that had it so far."""

from collections.abc import Sequence

import numpy as np

from stream_processor.features._categories import channels_of, plan_of
from stream_processor.features._one_row import OneRow
from stream_processor.operator import FeatureOperator
from streamgauge.arrays import Bytes, Floats, Ints, Rows
from streamgauge.kernels import kernel
from streamgauge.schema import Kind, Schema
from streamgauge.state import Field

__all__ = ["EXAMPLE", "build"]

EXAMPLE = {"of": ["mode"]}


def build(schema: Schema, capacity: int, column: int, *, of: Sequence[str]) -> FeatureOperator:
    """`<channel>_share` for each of the categories `of`: of all readings of the device that had
    such a value, this one included, the share that had the same.

    NaN where the reading has no such value. What is in no vocabulary counts as one category.
    """
    channels = channels_of(schema, of, "frequency", Kind.CATEGORY)
    names = {f"{channel.name}_share": frozenset({channel.name}) for channel in channels}
    plan = plan_of(schema, channels)
    fields = [Field("counts", (int(plan[:, 1].sum()),))]
    return OneRow(_share, capacity, fields, column, names, plan, ())


@kernel
def _share(
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
            x[i, column + c] = np.nan
            value, size = values[i, plan[c, 0]], plan[c, 1]
            if verdict[i] != 0 or not 0.0 <= value < size:
                continue
            counts = state[row[i], plan[c, 2] : plan[c, 2] + size]
            counts[int(value)] += 1.0
            total = 0.0
            for k in range(size):
                total += counts[k]
            x[i, column + c] = counts[int(value)] / total
