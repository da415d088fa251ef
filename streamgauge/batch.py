"""The columns that flow: readings in arrival order, and the features computed from them."""

from collections.abc import Sequence

import numpy as np

__all__ = ["Batch", "Features"]

_COLUMNS = ("row", "time", "received", "sequence", "values", "flags", "verdict")


class Batch:
    """n readings in arrival order, as columns.

    The arrays have room for `capacity` readings, of which the first `n` count: the worker owns one
    batch and fills it again and again. Stages write into it; rows are never reordered or removed.

    - `row int32[capacity]`: the device's row
    - `time int64[capacity]`: event time, microseconds UTC
    - `received int64[capacity]`: our clock when the message came, microseconds UTC
    - `sequence int64[capacity]`: the device's own count of this reading, -1 = it has none
    - `values float64[capacity, k]`: NaN = the channel is absent; the words of texts stand behind
      the channels (`Schema.words`), so that they go wherever the reading goes
    - `flags uint16[capacity, k]`: bits of `Flag`, what cleaning did to the value
    - `verdict uint8[capacity]`: `Verdict`, admitted or why not

    Whoever fills a row writes all seven columns of it (sequence -1 where there is none, flags and
    verdict 0 where nothing happened).
    """

    __slots__ = (
        "capacity", "flags", "n", "received", "row", "sequence", "time", "values", "verdict",
    )  # fmt: skip

    def __init__(self, capacity: int, channels: int) -> None:
        self.capacity = capacity
        self.n = 0
        self.row = np.zeros(capacity, np.int32)
        self.time = np.zeros(capacity, np.int64)
        self.received = np.zeros(capacity, np.int64)
        self.sequence = np.full(capacity, -1, np.int64)
        self.values = np.full((capacity, channels), np.nan)
        self.flags = np.zeros((capacity, channels), np.uint16)
        self.verdict = np.zeros(capacity, np.uint8)

    def reserve(self, n: int) -> None:
        """Make room for n readings; what was filled so far (the first `n`) is kept."""
        if n <= self.capacity:
            return
        grown = Batch(max(n, 2 * self.capacity), self.values.shape[1])
        for name in _COLUMNS:
            getattr(grown, name)[: self.n] = getattr(self, name)[: self.n]
            setattr(self, name, getattr(grown, name))
        self.capacity = grown.capacity

    def take(self, other: "Batch", start: int, stop: int) -> None:
        """Become a copy of another batch's readings `start` to `stop`."""
        self.n = stop - start
        for name in _COLUMNS:
            getattr(self, name)[: self.n] = getattr(other, name)[start:stop]

    def part(self, start: int, stop: int) -> "Batch":
        """Readings `start` to `stop`, sharing this batch's memory."""
        view = Batch.__new__(Batch)
        view.capacity = view.n = stop - start
        for name in _COLUMNS:
            setattr(view, name, getattr(self, name)[start:stop])
        return view


class Features:
    """`x float64[capacity, f]` beside a batch: column j is `names[j]`; NaN = the feature is absent.

    `channels[j]` tells which channels feature j was computed from.
    """

    __slots__ = ("channels", "names", "x")

    def __init__(
        self, names: Sequence[str], channels: Sequence[frozenset[str]], capacity: int
    ) -> None:
        self.names = tuple(names)
        self.channels = tuple(channels)
        self.x = np.full((capacity, len(self.names)), np.nan)
