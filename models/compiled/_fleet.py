"""The compiled models of a lane: one packed row for each, walked by one kernel."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from models.learner import Blobs
from models.sampling import MOST_AHEAD
from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Call, Now
from streamgauge.schedule import Schedule
from streamgauge.state import Block, Field, Keys, reset_rows

__all__ = ["FAR", "FULL", "NOTHING", "OVERFLOW", "REFUSALS", "UNREAL", "ZERO", "Fleet", "Run"]

Run = Callable[..., None]
"""A kernel over columns of a schedule, state, settings, refusals, lane, and number of steps."""

OVERFLOW, UNREAL, ZERO, FULL, NOTHING, FAR = range(6)
REFUSALS = (
    "a number became too large",
    "a scaler's window has no deviation",
    "division by zero",
    "a tree that is as large as it may be would have grown",
    "trees cannot be drawn for a reading without features",
    f"a forecast of more than {MOST_AHEAD:,} steps",
)
"""Where River's own model would raise in the middle of an event, or goes on and ours does not."""


class Fleet:
    """`blocks["model"]` has one row for each model: per device, per group, or one for the fleet.

    What a model has of variable depth, such as a tree its nodes, is in layers of `grown` blocks;
    how many layers are in use stands in the field of that name in the model's row. What follows
    from the options alone is in `shared` arrays, which are no state.
    """

    def __init__(
        self,
        run: Run,
        fields: Sequence[Field],
        settings: Sequence[float],
        lane: int,
        capacity: int,
        keys: Keys,
        grown: Mapping[str, Block] = MappingProxyType({}),
        order: Floats | None = None,
        shared: Sequence[Floats | Ints] = (),
    ) -> None:
        self.lane = lane
        self.keys = keys
        self.block = Block(fields, keys.rows(capacity), keys=keys)
        if keys is not Keys.DEVICE:
            self.block.open(np.arange(self.block.capacity))
        for name, block in grown.items():
            block.depth = self.block.view(name)
        self.blocks: Mapping[str, Block] = {"model": self.block, **grown}
        self._state = (self.block.array, *(block.stack for block in grown.values()))
        self.order = order
        """Of a model that asks for it, float64[classes]: of classes that are alike the one with the
        least number comes first. May be replaced before the first `call`."""
        self._shared = tuple(shared)
        self.blobs: Blobs | None = None
        self._run = run
        self._settings = np.array(settings, np.float64)
        self._refusals = np.zeros(len(REFUSALS), np.int64)
        # Compiles now, or loads from the cache, instead of at the first reading.
        self.run(Schedule(1, 1))

    def run(self, schedule: Schedule) -> None:
        """Predict and learn, step by step; see `models.learner.Learner`."""
        self.call(schedule).run(steps=schedule.n)

    def call(self, schedule: Schedule) -> Call:
        """:meth:`run` as one kernel call over STEPS."""
        steps = (schedule.codes, schedule.numbers, schedule.x, schedule.answers, schedule.parts)
        given = self._state if self.order is None else (*self._state, self.order)
        own = (*given, *self._shared, self._settings, self._refusals)
        return Call(self._run, (*steps, *own, self.lane, Now.STEPS))

    def evict(self, rows: Ints) -> None:
        """Forget these rows."""
        reset_rows(self.blocks, rows)

    def restart(self, rows: Ints) -> None:
        """Begin these models anew, empty."""
        reset_rows(self.blocks, rows)

    @property
    def failures(self) -> Mapping[str, int]:
        """How often River's own model would have raised, by reason."""
        counted = dict(zip(REFUSALS, self._refusals.tolist(), strict=True))
        return Counter({reason: count for reason, count in counted.items() if count})
