"""Copy on write: the state at one moment, taken row by row while the walk goes on."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import numpy as np

from models.learner import Learner
from stream_processor.checkpoint import Part
from streamgauge.arrays import Ints, Rows
from streamgauge.schedule import Lane
from streamgauge.state import Block, Keys

__all__ = ["Copy", "keys_of"]

SLICE = 2_000_000
"""Bytes copied at a time: some 2 ms, in which nothing else is done."""
FIRST, LEAST, MOST = 256, 16, 16_384
"""Device rows in the first slice; fewest and most in a later one, by what the last one held."""
PICKLING = 20
"""Copying a byte of a pickle takes as long as copying so many of an array."""


class Copy:
    """All state as it was when this was made, handed to `give` in parts.

    What is not kept by device is copied at once. The owner of the walk calls `slice` between
    batches until all is `done`, and `ahead` before it changes device rows: those that were not
    copied yet are copied then. The parts together hold each row once, as it was at the
    beginning, in whatever order they came.
    """

    def __init__(
        self,
        blocks: Mapping[str, Block],
        learners: Sequence[Learner],
        lanes: Sequence[Lane],
        rows: int,
        give: Callable[[Part | None], None],
    ) -> None:
        """`rows` is how many device rows there are now."""
        self.rows = rows
        self.done = False
        """Whether every row was copied; `give` got None behind the last part then."""
        self._give = give
        self._blocks = {n: block for n, block in blocks.items() if block.keys is Keys.DEVICE}
        blobs = [(lanes[one.lane].name, one) for one in learners if one.blobs is not None]
        self._blobs = {name: one for name, one in blobs if keys_of(one) is Keys.DEVICE}
        self._left = np.ones(rows, np.bool_)
        self._next, self._size = 0, FIRST
        shared = {n: block for n, block in blocks.items() if n not in self._blocks}
        whole = {
            f"{name}.{part}": array
            for name, block in shared.items()
            for part, array in block.take(np.arange(block.capacity)).items()
        }
        once = {name: one for name, one in blobs if name not in self._blobs}
        give(Part(None, whole, _dumped(once, np.zeros(1, np.int64))))

    def ahead(self, rows: Ints | Rows) -> None:
        """Copy those of these rows that were not copied yet; they are about to change."""
        known = rows[rows < self.rows]
        waiting = known[self._left[known]]
        if len(waiting):
            self._take(np.unique(waiting).astype(np.int64))

    def slice(self) -> None:
        """Copy some more rows."""
        stop = min(self._next + self._size, self.rows)
        waiting = self._next + np.flatnonzero(self._left[self._next : stop])
        self._next = stop
        if len(waiting):
            weight = self._take(waiting) / len(waiting)
            self._size = max(LEAST, min(MOST, int(SLICE / max(weight, 1.0))))
        if stop == self.rows and not self.done:
            self.done = True
            self._give(None)

    def finish(self) -> None:
        """Copy all that is left."""
        while not self.done:
            self.slice()

    def _take(self, rows: Ints) -> int:
        """Hand on a copy of these rows; what that cost, in bytes of an array."""
        arrays = {
            f"{name}.{part}": array
            for name, block in self._blocks.items()
            for part, array in block.take(rows).items()
        }
        blobs = _dumped(self._blobs, rows)
        self._left[rows] = False
        self._give(Part(rows, arrays, blobs))
        pickled = sum(map(len, chain.from_iterable(blobs.values())))
        return sum(array.nbytes for array in arrays.values()) + PICKLING * pickled


def keys_of(learner: Learner) -> Keys:
    """What a row of this learner's blobs stands for: a device, or the one model of the fleet."""
    keys: Keys = getattr(learner, "keys", Keys.DEVICE)
    return keys


def _dumped(learners: Mapping[str, Learner], rows: Ints) -> dict[str, list[bytes]]:
    return {
        name: learner.blobs.dump(rows)
        for name, learner in learners.items()
        if learner.blobs is not None
    }
