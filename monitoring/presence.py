"""Which channels have no value, and of which cleaning changed it: two signals of 0 and 1."""

import math
from collections.abc import Sequence

import numpy as np

from streamgauge.arrays import Bytes, Floats, Ints, Rows, Words
from streamgauge.batch import Batch
from streamgauge.calls import Call, Now
from streamgauge.kernels import kernel
from streamgauge.signal import PART, ROW, SEEN, SOURCE, TIME, UNIT, USUAL, VALUE, Kind, Signal
from streamgauge.words import Flag

__all__ = ["Presence"]

_FILLED = int(Flag.FILLED)
_NAN = float("nan")


@kernel
def _tell(numbers: Floats, k: int, yes: bool) -> None:
    numbers[k, VALUE] = numbers[k, SEEN] = 1.0 if yes else 0.0
    numbers[k, USUAL], numbers[k, UNIT] = _NAN, 1.0


@kernel
def _collect(
    n: int, row: Rows, time: Ints, verdict: Bytes, values: Floats, flags: Words, watched: Ints,
    codes: Ints, missing: Floats, flagged: Floats, count: Ints,
) -> None:  # fmt: skip
    k = 0
    for i in range(n):
        if verdict[i] != 0:
            continue
        for part in watched:
            filled = (flags[i, part] & _FILLED) != 0
            _tell(missing, k, filled or not math.isfinite(values[i, part]))
            _tell(flagged, k, (flags[i, part] & ~_FILLED) != 0)
            codes[k, ROW], codes[k, PART] = row[i], part
            codes[k, TIME], codes[k, SOURCE] = time[i], i
            k += 1
    count[0] = k


class Presence:
    """Of each admitted reading and some channels, as they were cleaned: whether there is no value
    of the sensor's own (`missing`: it did not come, was removed, or is made up), and whether it has
    a flag other than that it was filled in (`flagged`). Nothing is remembered.
    """

    def __init__(self, names: Sequence[str], columns: Sequence[int], *, part: int) -> None:
        """`names` are those of all channels, `columns` the places of those that are looked at,
        `part` is the most readings of a batch."""
        room = part * len(columns)
        self.missing = Signal(Kind.MISSING, "channels", names, room)
        self.flagged = Signal(Kind.FLAGGED, "channels", names, room, self.missing)
        self.flagged.numbers = np.zeros((room, 4))
        self._watched = np.array(columns, np.int64)

    def call(self, batch: Batch) -> Call:
        """Collect readings 0 to N of a batch in place of what the signals held."""
        columns = (batch.row, batch.time, batch.verdict, batch.values, batch.flags)
        signal = self.missing
        into = (signal.codes, signal.numbers, self.flagged.numbers, signal.count)
        return Call(_collect, (Now.N, *columns, self._watched, *into))
