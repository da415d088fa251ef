"""The learner of models that are one kernel over blocks of state: those of tasks that name none."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from models.learner import Blobs
from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Call, Now
from streamgauge.schedule import Schedule
from streamgauge.state import Block, Field, Keys, reset_rows

__all__ = ["BELIEF", "SPARE", "KernelFleet", "mixture_blocks", "models_of"]

BELIEF = 0.1
"""Of what the fleet's experts have saved or lost, what a new device believes: its labels soon say
more."""
SPARE = 4
"""One label of so many teaches the fleet's model too: there are those of all devices."""


def models_of(fields: Sequence[Field], capacity: int, keys: Keys) -> Block:
    """A row for each model: per device row, or those that several devices share, which are open."""
    block = Block(fields, keys.rows(capacity), keys=keys)
    if keys is not Keys.DEVICE:
        block.open(np.arange(block.capacity))
    return block


def mixture_blocks(
    model: Sequence[Field], device: Sequence[Field], waiting: Sequence[Field], capacity: int,
    keys: Keys, pending: int, groups: int,
) -> dict[str, Block]:  # fmt: skip
    """A mixture's state: each model's, the one that learns from all devices, what is known of each
    device (whose field "slots" counts the layers of the next), and what waits with each of the
    `pending` predictions that a device may have."""
    of = Block(device, capacity)
    waits = Block(waiting, capacity, layers=max(2, pending))
    waits.depth = of.view("slots")
    fleet = Block(model, 1, keys=Keys.FLEET)
    models = models_of(model, groups if keys is Keys.GROUP else capacity, keys)
    return {"model": models, "fleet": fleet, "device": of, "waiting": waits}


class KernelFleet:
    """Models of one lane, for each device or shared by several; see `Learner`."""

    def __init__(
        self, kernel: Callable[..., None], blocks: Mapping[str, Block], settings: Floats, lane: int,
        keys: Keys, experts: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """`kernel` runs the steps over `blocks`, which have a block "model", by `settings`. Of a
        mixture its field "share" says how much it follows each of `experts`, the first of which is
        safe."""
        self.blocks, self.lane, self.keys = blocks, lane, keys
        self.blobs: Blobs | None = None
        self._kernel, self._experts, self._settings = kernel, tuple(experts), settings
        # Compiles now, or loads from the cache, instead of at the first reading.
        self.run(Schedule(1, 1, 1))

    def run(self, schedule: Schedule) -> None:
        """Predict and learn, step by step; see `models.learner.Learner`."""
        self.call(schedule).run(steps=schedule.n)

    def call(self, schedule: Schedule) -> Call:
        """:meth:`run` as one kernel call over STEPS."""
        steps = (schedule.codes, schedule.numbers, schedule.x, schedule.answers, schedule.parts)
        state = (b.array if b.layers == 1 else b.stack for b in self.blocks.values())
        given = (*steps, schedule.causes, *state, self._settings)
        return Call(self._kernel, (*given, self.lane, Now.STEPS))

    def evict(self, rows: Ints) -> None:
        """Forget these device rows."""
        reset_rows(self.blocks, rows)

    def restart(self, rows: Ints) -> None:
        """Begin these models anew: empty, or with what all devices have learned."""
        reset_rows({"model": self.blocks["model"]}, rows)

    @property
    def failures(self) -> Mapping[str, int]:
        """None: it refuses nothing."""
        return Counter()

    def shares(self, rows: Sequence[int]) -> dict[str, float]:
        """How much the models in these rows follow each expert, in the mean; together 1. Empty
        where there is no row, and of what is no mixture."""
        if not rows or not self._experts:
            return {}
        found = self.blocks["model"].view("share")[list(rows)]
        # Before the first label there are none: the first is followed.
        found[found.sum(axis=1) == 0.0, 0] = 1.0
        return dict(zip(self._experts, found.mean(axis=0).tolist(), strict=True))
