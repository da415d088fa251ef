"""An operator that cleans one channel: a kernel, its rules and a row of state per device."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from streamgauge.arrays import Ints
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
from streamgauge.state import Block, Field

__all__ = ["OneChannel"]


class OneChannel:
    """Runs `kernel(n, row, time, verdict, values, flags, channel, state, rules)` over each batch.

    The kernel works on admitted readings alone. `channel` is the channel's column, or the columns
    that a kernel of several takes; `rules` are its numbers as float64.
    """

    def __init__(
        self,
        kernel: Callable[..., None],
        capacity: int,
        fields: Iterable[Field],
        channel: int | Ints,
        rules: Sequence[float],
    ) -> None:
        block = Block(fields, capacity)
        self.blocks: Mapping[str, Block] = {"state": block}
        self._kernel = kernel
        self._bound = (channel, block.array, np.array(rules, np.float64))

    def call(self, batch: Batch, features: Features) -> Call:
        """See `stream_processor.operator.Operator`."""
        columns = (batch.row, batch.time, batch.verdict, batch.values, batch.flags)
        return Call(self._kernel, (Now.N, *columns, *self._bound))
