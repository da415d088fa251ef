"""Channels of another device, such as a weather station, as of the time of this reading."""

from collections.abc import Mapping, Sequence

import numpy as np

from stream_processor.features._one_row import columns_of
from stream_processor.operator import FeatureOperator
from streamgauge.arrays import Bytes, Floats, Ints, Rows
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
from streamgauge.devices import Devices
from streamgauge.durations import microseconds
from streamgauge.kernels import kernel
from streamgauge.schema import Schema
from streamgauge.state import Block, Field, Keys

__all__ = ["EXAMPLE", "build"]

EXAMPLE = {"of": ["value"], "device": "weather"}

# A channel's state: how many values came so far, then a ring of their times and one of the values.
_COUNT, _RING = 0, 1


def build(
    schema: Schema,
    capacity: int,
    column: int,
    devices: Devices,
    *,
    of: Sequence[str],
    device: str,
    at_most: str = "1h",
    readings_max: int = 16,
) -> FeatureOperator:
    """`<channel>_of_<device>` for each channel in `of`: the last value that `device` had at or
    before the time of this reading, of those that came before it.

    Both by event time: the value is at most `at_most` older than this reading. `readings_max` is
    how many values are kept, for readings that are older than the newest of them. NaN where there
    is none.
    """
    columns = columns_of(schema, of, "joined")
    if not device:
        raise ValueError('features.joined device is ""; name the device whose channels these are')
    if not 1 <= readings_max <= 4_096:
        raise ValueError(f"features.joined readings_max is {readings_max}; give 1 to 4096")
    names = {f"{name}_of_{device}": frozenset({name}) for name in of}
    return _Joined(
        column, names, columns, float(microseconds(at_most)), readings_max, devices.watch(device)
    )


@kernel
def _as_of(ring: Floats, time: int, at_most: float) -> float:
    """The newest value that is not younger than `time`; NaN where that is too old or missing."""
    size = (len(ring) - _RING) // 2
    count = int(ring[_COUNT])
    for k in range(count - 1, max(count - size, 0) - 1, -1):
        at = _RING + k % size
        if ring[at] <= time:
            return float(ring[at + size]) if time - ring[at] <= at_most else np.nan
    return np.nan


@kernel
def _look_up(
    n: int,
    row: Rows,
    time: Ints,
    verdict: Bytes,
    values: Floats,
    x: Floats,
    column: int,
    of: Ints,
    other: Ints,
    state: Floats,
    at_most: float,
) -> None:
    width = state.shape[1] // len(of)
    size = (width - _RING) // 2
    for i in range(n):
        for c in range(len(of)):
            if verdict[i] != 0:
                x[i, column + c] = np.nan
                continue
            ring, value = state[0, c * width : (c + 1) * width], values[i, of[c]]
            if row[i] == other[0] and np.isfinite(value):
                at = _RING + int(ring[_COUNT]) % size
                ring[at], ring[at + size] = time[i], value
                ring[_COUNT] += 1.0
            x[i, column + c] = _as_of(ring, time[i], at_most)


class _Joined:
    def __init__(
        self,
        column: int,
        names: Mapping[str, frozenset[str]],
        of: Ints,
        at_most: float,
        size: int,
        other: Ints,
    ) -> None:
        self.names, self.channels = tuple(names), tuple(names.values())
        self._other = other
        self._state = Block([Field("rings", (len(of), _RING + 2 * size))], 1, keys=Keys.FLEET)
        self.blocks: Mapping[str, Block] = {"state": self._state}
        self._bound = (column, of, other, self._state.array, at_most)

    def call(self, batch: Batch, features: Features) -> Call:
        """See `stream_processor.operator.Operator`."""
        columns = (batch.row, batch.time, batch.verdict, batch.values, features.x)
        return Call(_look_up, (Now.N, *columns, *self._bound))
