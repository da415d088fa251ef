"""What a quantity usually is in a category: its running mean, drawn towards the device's own."""

from collections.abc import Sequence

import numpy as np

from stream_processor.features._categories import channels_of, plan_of
from stream_processor.features._columns import column_of
from stream_processor.features._one_row import OneRow
from stream_processor.operator import FeatureOperator
from streamgauge.arrays import Bytes, Floats, Ints, Rows
from streamgauge.kernels import kernel
from streamgauge.schema import Kind, Schema
from streamgauge.state import Field

__all__ = ["EXAMPLE", "build"]

EXAMPLE = {"of": ["mode"], "target": "value"}


def build(
    schema: Schema,
    capacity: int,
    column: int,
    *,
    of: Sequence[str],
    target: str,
    weight: float = 10.0,
) -> FeatureOperator:
    """`<target>_by_<channel>` for each of the categories `of`: the mean of `target` in this
    category, over the device's readings before this one.

    `weight` is how many readings the device's mean over all categories counts for: a category with
    few readings stays near it. NaN where the reading has no such value, or the device had no
    `target` yet. This reading's own target counts from the next one on, so that a task may use the
    feature to predict it. Source: Micci-Barreca, A preprocessing scheme for high-cardinality
    categorical attributes, 2001.
    """
    channels = channels_of(schema, of, "target_mean", Kind.CATEGORY)
    measured = column_of(schema, target, "features.target_mean")
    if not 0.0 <= weight < 1e9:
        raise ValueError(f"features.target_mean weight is {weight}; give 0 or more readings")
    names = {f"{target}_by_{channel.name}": frozenset({channel.name}) for channel in channels}
    plan = plan_of(schema, channels)
    # Of each code, and of the codes of a channel together: how many values, and their mean.
    fields = [Field("means", (int(plan[:, 1].sum()) + len(plan), 2))]
    return OneRow(_expect, capacity, fields, column, names, plan, (measured, weight))


@kernel
def _learn(cell: Floats, value: float) -> None:
    cell[0] += 1.0
    cell[1] += (value - cell[1]) / cell[0]


@kernel
def _expect(
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
    weight = rules[1]
    for i in range(n):
        target = values[i, int(rules[0])]
        for c in range(len(plan)):
            x[i, column + c] = np.nan
            value, size = values[i, plan[c, 0]], plan[c, 1]
            if verdict[i] != 0 or not 0.0 <= value < size:
                continue
            first = 2 * (plan[c, 2] + c)
            cells = state[row[i], first : first + 2 * (size + 1)]
            own, all_of_them = cells[2 * int(value) :], cells[2 * size :]
            together = own[0] + weight
            if all_of_them[0] > 0.0:
                level = all_of_them[1]
                mean = (own[0] * own[1] + weight * level) / together if together > 0.0 else level
                x[i, column + c] = mean if np.isfinite(mean) else np.nan
            if np.isfinite(target):
                _learn(own, target)
                _learn(all_of_them, target)
