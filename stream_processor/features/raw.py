"""The current values of channels, as features of the same name."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stream_processor.features._columns import column_of
from stream_processor.operator import FeatureOperator
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
from streamgauge.kernels import inlined
from streamgauge.schema import Schema
from streamgauge.state import Block

__all__ = ["EXAMPLE", "build"]

EXAMPLE = {"of": ["value"]}


def build(schema: Schema, capacity: int, column: int, *, of: Sequence[str]) -> FeatureOperator:
    """Current values of the channels `of`; NaN where the reading has none."""
    return _Raw(schema, column, tuple(of))


@inlined
def _copy(
    n: int,
    verdict: NDArray[np.uint8],
    values: NDArray[np.float64],
    x: NDArray[np.float64],
    column: int,
    sources: NDArray[np.int64],
) -> None:
    for i in range(n):
        for k in range(len(sources)):
            value = values[i, sources[k]]
            usable = verdict[i] == 0 and np.isfinite(value)
            x[i, column + k] = value if usable else np.nan


class _Raw:
    def __init__(self, schema: Schema, column: int, of: tuple[str, ...]) -> None:
        self.names = of
        self.channels = tuple(frozenset({name}) for name in of)
        self.blocks: Mapping[str, Block] = {}
        sources = np.array([column_of(schema, name, "features.raw") for name in of], np.int64)
        self._bound = (column, sources)

    def call(self, batch: Batch, features: Features) -> Call:
        return Call(_copy, (Now.N, batch.verdict, batch.values, features.x, *self._bound))
