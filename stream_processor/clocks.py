"""How far each device's clock is from ours, estimated from when its readings come."""

import numpy as np

from streamgauge.arrays import Bytes, Floats, Ints, Rows
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
from streamgauge.kernels import kernel
from streamgauge.state import Block, Field
from streamgauge.words import Verdict

__all__ = ["Clocks"]

RUN = 8
"""Readings of which the quickest delivery counts."""
RUNS = 7
"""Such runs whose median is the estimate: up to three of them may hold a wild time."""

_LEAST, _COUNT, _CLOSED, _SKEW, _DELAYS = 0, 1, 2, 3, 4
_ADMITTED = int(Verdict.ADMITTED)
_BELIEVABLE = 2**52
"""Microseconds; differences of times beyond it would not fit."""


@kernel
def _median(values: Floats, count: int, spare: Floats) -> float:
    for k in range(count):
        j = k
        while j > 0 and spare[j - 1] > values[k]:
            spare[j] = spare[j - 1]
            j -= 1
        spare[j] = values[k]
    return float(spare[(count - 1) // 2])


@kernel
def _watch(
    n: int,
    row: Rows,
    time: Ints,
    received: Ints,
    verdict: Bytes,
    state: Floats,
    spare: Floats,
) -> None:
    for i in range(n):
        if verdict[i] != _ADMITTED or not -_BELIEVABLE < time[i] < _BELIEVABLE:
            continue
        device = state[row[i]]
        delay = float(received[i] - time[i])
        if device[_COUNT] == 0.0 or delay < device[_LEAST]:
            device[_LEAST] = delay
        device[_COUNT] += 1.0
        if device[_COUNT] == RUN:
            device[_COUNT] = 0.0
            device[_DELAYS + int(device[_CLOSED]) % RUNS] = device[_LEAST]
            device[_CLOSED] += 1.0
            known = min(int(device[_CLOSED]), RUNS)
            device[_SKEW] = -_median(device[_DELAYS:], known, spare)


class Clocks:
    """Watches clocks before admission, which would not show those that are far ahead.

    Every delivery takes some time, some take long: of each `RUN` readings the least `received` less
    event time counts, and of the newest `RUNS` such numbers the median. A device that sends in
    arrears only therefore seems behind by its shortest delay. Nothing is corrected.

    Block "clock", per device: `skew`, microseconds that the device's clock is ahead of ours, and
    without meaning while `runs` is 0; `least` and `count` of the run that goes on; `delays` of the
    newest runs.
    """

    def __init__(self, capacity: int) -> None:
        fields = [Field("least"), Field("count"), Field("runs"), Field("skew")]
        self.blocks = {"clock": Block([*fields, Field("delays", (RUNS,))], capacity)}
        self._runs, self._skew = (self.blocks["clock"].view(name) for name in ("runs", "skew"))
        self._spare = np.zeros(RUNS)

    def call(self, batch: Batch, features: Features) -> Call:
        """Look at the times of all readings that nobody has refused yet."""
        columns = (batch.row, batch.time, batch.received, batch.verdict)
        return Call(_watch, (Now.N, *columns, self.blocks["clock"].array, self._spare))

    def skew(self, row: int) -> float | None:
        """Seconds that the device's clock is ahead of ours; None until that is known."""
        return float(self._skew[row]) / 1e6 if self._runs[row] else None

    def wrong(self, rows: int, beyond: int) -> int:
        """How many of the devices in the first rows are more than `beyond` microseconds off."""
        off = np.abs(self._skew[:rows]) > beyond
        return int(np.count_nonzero(off & (self._runs[:rows] > 0.0)))
