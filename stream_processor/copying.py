"""Copy on write: the state at one moment, taken row by row while the walk goes on."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import numpy as np

from models.learner import Learner
from stream_processor.checkpoint import Part
from stream_processor.parts import dumped, models_of, taken
from streamgauge.arrays import Ints, Rows
from streamgauge.schedule import Lane
from streamgauge.state import Block, Keys, take_rows

__all__ = ["Copy"]

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
        groups: int = 0,
    ) -> None:
        """`rows` is how many device rows there are now; `groups` of devices share models."""
        self.rows = rows
        self.done = False
        """Whether every row was copied; `give` got None behind the last part then."""
        self._give = give
        self._blocks = {n: block for n, block in blocks.items() if block.keys is Keys.DEVICE}
        self._models = models_of(learners, lanes, Keys.DEVICE)
        self._left = np.ones(rows, np.bool_)
        self._next, self._size = 0, FIRST
        shared = {n: block for n, block in blocks.items() if n not in self._blocks}
        whole = take_rows(shared, np.zeros(0, np.int64))
        once = [models_of(learners, lanes, keys) for keys in (Keys.FLEET, Keys.GROUP)]
        blobs = dumped(once[0], np.zeros(1, np.int64)) | dumped(once[1], np.arange(groups))
        give(Part(None, whole, blobs))

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
        part = taken(self._blocks, self._models, rows)
        self._left[rows] = False
        self._give(part)
        pickled = sum(map(len, chain.from_iterable(part.blobs.values())))
        return sum(array.nbytes for array in part.arrays.values()) + PICKLING * pickled
