"""What is known of a device beforehand, as features that never change: height, age, type, site."""

from collections.abc import Mapping, Sequence

import numpy as np

from stream_processor.operator import FeatureOperator
from streamgauge.arrays import Bytes, Floats, Ints, Rows
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
from streamgauge.devices import Devices
from streamgauge.kernels import kernel
from streamgauge.schema import Schema
from streamgauge.state import Block

__all__ = ["build"]

MOST = 64
"""Values of a tag that become a feature each."""


def build(
    schema: Schema,
    capacity: int,
    column: int,
    devices: Devices,
    *,
    of: Sequence[str] = (),
) -> FeatureOperator:
    """Tags of `devices.tags`, all of them or those in `of`.

    A tag whose values are all numbers is `<tag>`; any other is `<tag>_<value>` for each of its
    values, 1 for the device's own and 0 for the others. NaN where the device has no such tag.
    """
    tags = devices.tags
    chosen = tuple(of) or tags.names
    wrong = [name for name in chosen if name not in tags.names]
    if wrong or not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(
            f"features.tags of is {list(of)!r}; name each of the tags in devices.tags once: "
            f"{', '.join(tags.names) or 'there are none'}"
        )
    names: list[str] = []
    tables: list[Floats] = []
    for name in chosen:
        values, numbers = tags.values[name], tags.numbers(name)
        if numbers is None and len(values) > MOST:
            raise ValueError(
                f"features.tags of has {name!r} with {len(values)} different values, more than "
                f"{MOST}; leave it out, or write numbers in its column"
            )
        names += [name] if numbers is not None else [f"{name}_{value}" for value in values]
        tables.append(np.eye(len(values)) if numbers is None else numbers[:, None])
    return _Tags(column, names, tables, tags.codes(capacity, *chosen))


@kernel
def _label(
    n: int,
    row: Rows,
    verdict: Bytes,
    x: Floats,
    column: int,
    plan: Ints,
    table: Floats,
    codes: Ints,
) -> None:
    for i in range(n):
        at = column
        for k in range(len(plan)):
            first, width = plan[k, 0], plan[k, 1]
            code = codes[row[i], k]
            for j in range(width):
                known = verdict[i] == 0 and code >= 0
                x[i, at] = table[first + code, j] if known else np.nan
                at += 1


class _Tags:
    def __init__(
        self,
        column: int,
        names: Sequence[str],
        tables: Sequence[Floats],
        codes: Ints,
    ) -> None:
        self.names = tuple(names)
        self.channels = tuple(frozenset[str]() for _ in names)
        self.blocks: Mapping[str, Block] = {}
        widest = max(table.shape[1] for table in tables)
        padded = [np.pad(table, ((0, 0), (0, widest - table.shape[1]))) for table in tables]
        firsts = np.cumsum([0, *(len(table) for table in tables)])
        plan = [[firsts[k], table.shape[1]] for k, table in enumerate(tables)]
        self._bound = (column, np.array(plan, np.int64), np.concatenate(padded), codes)

    def call(self, batch: Batch, features: Features) -> Call:
        columns = (batch.row, batch.verdict, features.x)
        return Call(_label, (Now.N, *columns, *self._bound))
