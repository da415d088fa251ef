"""Devices that share a model because they have the same value of a tag."""

from collections.abc import Iterable, Sequence

import numpy as np

from streamgauge.arrays import Ints
from streamgauge.calls import Call, Now
from streamgauge.kernels import kernel
from streamgauge.schedule import LANE, MODEL, ROW, Lane, Schedule
from streamgauge.tags import Tags

__all__ = ["Groups"]

COLUMN, FIRST = range(2)
"""Of a lane with groups: the column of its tag among the codes, and the first of its groups."""


class Groups:
    """The groups of all lanes whose scope is a tag: one for each value of each such tag, and one
    for the devices that have none.

    `names[g]` is "tag=value", or "tag" of those without; a group's place is the row of its models.
    """

    def __init__(self, lanes: Sequence[Lane], tags: Tags, capacity: int) -> None:
        """`capacity` is the number of device rows."""
        of = list(dict.fromkeys(lane.tag for lane in lanes if lane.tag))
        names: list[str] = []
        first: dict[str, int] = {}
        for tag in of:
            first[tag] = len(names)
            names += [tag, *(f"{tag}={value}" for value in tags.values[tag])]
        self.names = tuple(names)
        self._values = {tag: 1 + len(tags.values[tag]) for tag in of}
        self._codes = tags.codes(capacity, *of)
        self._lanes: Ints = np.array(
            [[of.index(k.tag), first[k.tag]] if k.tag else [-1, 0] for k in lanes], np.int64
        ).reshape(len(lanes), 2)
        self._of = [lane.tag for lane in lanes]

    def __len__(self) -> int:
        return len(self.names)

    def call(self, schedule: Schedule) -> Call:
        """Set MODEL of the STEPS of such lanes."""
        return Call(_group, (schedule.codes, self._codes, self._lanes, Now.STEPS))

    def rows(self, lane: int, devices: Iterable[int]) -> list[int]:
        """Rows of the models of these device rows, each once; of a lane with groups."""
        column, first = self._lanes[lane].tolist()
        return sorted({first + 1 + int(self._codes[row, column]) for row in devices})

    def count(self, lane: int) -> int:
        """How many groups the lane has; 0 where its scope is no tag."""
        return self._values.get(self._of[lane], 0)


@kernel
def _group(codes: Ints, places: Ints, lanes: Ints, n: int) -> None:
    for i in range(n):
        own = lanes[codes[i, LANE]]
        if own[COLUMN] >= 0:
            codes[i, MODEL] = own[FIRST] + 1 + places[codes[i, ROW], own[COLUMN]]
