"""What a feature does beyond what was expected of it: the residual of a seasonal AR(1), as that of
a channel."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from monitoring.residual import seasons, take
from streamgauge.arrays import Bytes, Floats, Ints, Rows
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
from streamgauge.kernels import kernel
from streamgauge.local_time import local_time, offsets
from streamgauge.signal import PART, ROW, SOURCE, TIME, Kind, Signal
from streamgauge.state import Block

__all__ = ["FeatureResidual"]


@kernel
def _collect(
    n: int, row: Rows, time: Ints, verdict: Bytes, x: Floats, watched: Ints, zone: Ints,
    state: Floats, codes: Ints, numbers: Floats, count: Ints,
) -> None:  # fmt: skip
    k = 0
    for i in range(n):
        if verdict[i] != 0:
            continue
        local = local_time(time[i], zone)
        for part in watched:
            value = x[i, part]
            if not math.isfinite(value):
                continue
            residual = take(state[row[i], part], time[i], local, value, numbers, k)
            if math.isnan(residual):
                continue
            codes[k, ROW], codes[k, PART] = row[i], part
            codes[k, TIME], codes[k, SOURCE] = time[i], i
            k += 1
    count[0] = k


class FeatureResidual:
    """The residual of some features, per device, as a signal; see `monitoring.residual`.

    Block "state", per device and feature: 264 bytes.
    """

    def __init__(
        self,
        names: Sequence[str],
        columns: Sequence[int],
        capacity: int,
        *,
        zone: str,
        part: int,
    ) -> None:
        """`names` are those of all features, `columns` the places of those that are taken, `part`
        is the most readings of a batch."""
        self.signal = Signal(Kind.FEATURE, "features", names, part * len(columns))
        state = seasons(len(names), "features", capacity)
        self.blocks: Mapping[str, Block] = {"state": state}
        self._bound = (np.array(columns, np.int64), offsets(zone), state.view("season"))

    def call(self, batch: Batch, features: Features) -> Call:
        """Collect those of readings 0 to N of a batch in place of what the signal held."""
        columns = (batch.row, batch.time, batch.verdict, features.x)
        into = (self.signal.codes, self.signal.numbers, self.signal.count)
        return Call(_collect, (Now.N, *columns, *self._bound, *into))
