"""A part of a recording that stands for all of it, of bounded size and the same each time."""

import numpy as np
from numpy.typing import NDArray

from streamgauge.arrays import Floats, Ints

__all__ = ["Sample", "Stretches"]

_MOST = 2.0**64


class Sample:
    """Readings chosen by a hash of their place, so that no rhythm of the recording decides.

    Once there are more than `most`, the half with the larger hashes leaves, and so on: what is kept
    depends on the number of readings alone, not on how they were cut into pieces.
    """

    def __init__(self, most: int, channels: int) -> None:
        self._most = most
        self._share = 1.0
        self._seen = 0
        self._chance = np.zeros(0)
        self.row = np.zeros(0, np.int64)
        self.time = np.zeros(0, np.int64)
        self.values = np.zeros((0, channels))

    def add(self, row: Ints, time: Ints, values: Floats) -> None:
        """Readings in order."""
        chance = _chance(np.arange(self._seen, self._seen + len(row), dtype=np.uint64))
        self._seen += len(row)
        kept = chance < self._share
        self._chance = np.concatenate([self._chance, chance[kept]])
        self.row = np.concatenate([self.row, row[kept]])
        self.time = np.concatenate([self.time, time[kept]])
        self.values = np.concatenate([self.values, values[kept]])
        while len(self._chance) > self._most:
            self._share /= 2.0
            self._keep(self._chance < self._share)

    def _keep(self, kept: NDArray[np.bool_]) -> None:
        self._chance, self.row = self._chance[kept], self.row[kept]
        self.time, self.values = self.time[kept], self.values[kept]


def _chance(place: NDArray[np.uint64]) -> Floats:
    """0 to 1, evenly: splitmix64 (Steele, Lea and Flood 2014)."""
    mixed = (place + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed.astype(np.float64) / _MOST


class Stretches:
    """The first `length` readings of the first `devices` devices, without a hole."""

    def __init__(self, devices: int, length: int, channels: int) -> None:
        self._values = np.full((devices, length, channels), np.nan)
        self._size = np.zeros(devices, np.int64)

    def add(self, row: Ints, values: Floats) -> None:
        """Readings in order."""
        devices, length = self._values.shape[:2]
        for device in np.unique(row[row < devices]).tolist():
            begin = int(self._size[device])
            own = values[row == device][: length - begin]
            self._values[device, begin : begin + len(own)] = own
            self._size[device] += len(own)

    def of(self, channel: int) -> list[Floats]:
        """The channel's series, one per device that has any, NaN where it is absent."""
        sizes = enumerate(self._size.tolist())
        return [self._values[device, :size, channel] for device, size in sizes if size]
