"""A feature operator of one kernel with a row of state per device."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from stream_processor.features._columns import column_of
from streamgauge.arrays import Ints
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
from streamgauge.schema import Schema
from streamgauge.state import Block, Field

__all__ = ["OneRow", "checked", "columns_of"]


def columns_of(schema: Schema, of: Sequence[str], feature: str) -> Ints:
    """int64[k]: columns of the channels, each named once; ValueError otherwise."""
    if not of or len(set(of)) < len(of):
        raise ValueError(f"features.{feature} of is {list(of)!r}; name each channel once")
    return np.array([column_of(schema, name, f"features.{feature}") for name in of], np.int64)


def checked(chosen: Sequence[str], known: Sequence[str], option: str) -> Ints:
    """int64[k]: places of the chosen words among the known; ValueError that lists those."""
    wrong = [word for word in chosen if word not in known]
    if wrong or not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(
            f"{option} is {list(chosen)!r}; name each of {', '.join(known)} at most once"
        )
    return np.array([known.index(word) for word in chosen], np.int64)


class OneRow:
    """Runs `kernel(n, row, time, verdict, values, x, column, of, state, rules)` over each batch.

    It writes `names` from `column` on: NaN in readings not admitted. `of int64[k]` are the columns
    of the channels, `rules float64` the numbers that the kernel takes. `state` has
    `parts` rows for each device, one behind the other: a kernel that cuts a row into parts takes
    longer.
    """

    def __init__(
        self,
        kernel: Callable[..., None],
        capacity: int,
        fields: Iterable[Field],
        column: int,
        names: Mapping[str, frozenset[str]],
        of: Ints,
        rules: Sequence[float],
        parts: int = 1,
    ) -> None:
        self.names = tuple(names)
        self.channels = tuple(names.values())
        block = Block(fields, capacity)
        self.blocks: Mapping[str, Block] = {"state": block}
        self._kernel = kernel
        state = block.array.reshape(capacity * parts, -1)
        self._bound = (column, of, state, np.array(rules, np.float64))

    def call(self, batch: Batch, features: Features) -> Call:
        """See `stream_processor.operator.Operator`."""
        columns: tuple[Any, ...] = (batch.row, batch.time, batch.verdict, batch.values, features.x)
        return Call(self._kernel, (Now.N, *columns, *self._bound))
