"""What the models of tasks that name none have in common: their state, and whom they follow."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from models.learner import Blobs
from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Call, Now
from streamgauge.schedule import Schedule
from streamgauge.state import Block, Field, Keys, reset_rows

__all__ = ["MixtureFleet", "blocks_of"]


def blocks_of(
    model: Sequence[Field], device: Sequence[Field], waiting: Sequence[Field], capacity: int,
    keys: Keys, pending: int,
) -> dict[str, Block]:  # fmt: skip
    """A mixture's state: each model's, the one that learns from all devices, what is known of each
    device (whose field "slots" counts the layers of the next), and what waits with each of the
    `pending` predictions that a device may have."""
    of = Block(device, capacity)
    waits = Block(waiting, capacity, layers=max(2, pending))
    waits.depth = of.view("slots")
    models = Block(model, capacity if keys is Keys.DEVICE else 1, keys=keys)
    if keys is Keys.FLEET:
        models.open(np.zeros(1, np.int64))
    fleet = Block(model, 1, keys=Keys.FLEET)
    return {"model": models, "fleet": fleet, "device": of, "waiting": waits}


class MixtureFleet:
    """Mixtures of one lane: a model for each device or one for the fleet; see `Learner`."""

    def __init__(
        self, kernel: Callable[..., None], experts: Sequence[str], blocks: Mapping[str, Block],
        settings: Floats, lane: int, keys: Keys,
    ) -> None:  # fmt: skip
        """`kernel` runs the steps over `blocks` (see `blocks_of`) by `settings`; the model's field
        "share" says how much it follows each of `experts`, the first of which is safe."""
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
        of = self.blocks
        steps = (schedule.codes, schedule.numbers, schedule.x, schedule.answers, schedule.parts)
        state = (of["model"].array, of["fleet"].array[0], of["device"].array, of["waiting"].stack)
        return Call(self._kernel, (*steps, *state, self._settings, self.lane, Now.STEPS))

    def evict(self, rows: Ints) -> None:
        """Forget these device rows."""
        reset_rows(self.blocks, rows)

    @property
    def failures(self) -> Mapping[str, int]:
        """None: it refuses nothing."""
        return Counter()

    def shares(self, rows: Sequence[int]) -> dict[str, float]:
        """How much the models of these device rows follow each expert, in the mean; together 1.
        Empty where there is no row."""
        if not rows:
            return {}
        own = [0] if self.keys is Keys.FLEET else list(rows)
        found = self.blocks["model"].view("share")[own]
        # Before the first label there are none: the first is followed.
        found[found.sum(axis=1) == 0.0, 0] = 1.0
        return dict(zip(self._experts, found.mean(axis=0).tolist(), strict=True))
