"""What retained messages say: the last known state of devices, for the board and nothing else."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stream_processor.clean._range import FINE, examine, limits
from streamgauge.arrays import Floats, Ints
from streamgauge.batch import Batch
from streamgauge.kernels import kernel
from streamgauge.schema import Schema
from streamgauge.state import Block, Field
from streamgauge.words import Verdict

__all__ = ["Retained"]

_RETAINED = int(Verdict.RETAINED)

# Columns of a device's state: `known[k]`, `time[k]` and `value[k]` follow `received`.
_RECEIVED, _KNOWN = 0, 1


@kernel
def _keep(
    n: int,
    row: NDArray[np.int32],
    time: NDArray[np.int64],
    received: NDArray[np.int64],
    values: NDArray[np.float64],
    flags: NDArray[np.uint16],
    verdict: NDArray[np.uint8],
    state: NDArray[np.float64],
    rules: NDArray[np.float64],
) -> None:
    channels = len(rules) - 1
    for i in range(n):
        verdict[i] = _RETAINED
        if examine(i, values, flags, rules) != FINE:
            continue
        device = state[row[i]]
        # A message without a time of its own was given that of its arrival, and one from the
        # future has a wrong clock: when it was so, nobody knows.
        when = float(time[i]) if time[i] < received[i] else 0.0
        changed = False
        for c in range(channels):
            value = values[i, c]
            known, at, last = _KNOWN + c, _KNOWN + channels + c, _KNOWN + 2 * channels + c
            if value != value or (device[known] != 0.0 and when < device[at]):
                continue
            if device[known] == 0.0 or device[at] != when or device[last] != value:
                changed = True
                device[known], device[at], device[last] = 1.0, when, value
        if changed:
            device[_RECEIVED] = received[i]


class Retained:
    """Last known state by retained messages, each value vetted as that of any reading.

    Block "state", per device, all zero for a device of which nothing was retained: `received` when
    something new was last said (microseconds UTC, 0 = never), `known[k]` 1 for channels that have a
    value, `time[k]` when it was measured (0 = nobody knows), `value[k]`. The same message again
    changes nothing.
    """

    def __init__(self, schema: Schema, capacity: int) -> None:
        shape, names = (len(schema),), ("known", "time", "value")
        fields = (Field(name, shape, along="channels") for name in names)
        self._block = Block([Field("received"), *fields], capacity)
        self.blocks: Mapping[str, Block] = {"state": self._block}
        self.received = self._block.view("received")
        self._rules = limits(schema)

    def last(self, row: int) -> tuple[int, Ints, Floats]:
        """Of a device: `received`, and int64[k] `time` and float64[k] `value` of each channel, NaN
        where nothing is known; copies."""
        known, time, value = (self._block.view(name)[row] for name in ("known", "time", "value"))
        return (
            int(self.received[row]),
            time.astype(np.int64),
            np.where(known != 0.0, value, np.nan),
        )

    def keep(self, batch: Batch) -> None:
        """Take the readings of a batch for retained ones, and mark them so."""
        _keep(
            batch.n,
            batch.row,
            batch.time,
            batch.received,
            batch.values,
            batch.flags,
            batch.verdict,
            self._block.array,
            self._rules,
        )
