"""Several models of one lane side by side: all learn, and who has been best answers.

What each candidate said waits with the prediction for its label, so a candidate is judged by what
it said then, however late the label comes. Device by device, or together for a fleet's model.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import copy

import numpy as np
from numpy.typing import NDArray

from models import choosing
from models.kernel_fleet import models_of
from models.learner import Blobs, Learner
from models.several_blobs import SeveralBlobs
from streamgauge.arrays import Floats, Ints
from streamgauge.schedule import LANE, MODEL, Choose, Schedule
from streamgauge.state import Block, Field, Keys, reset_rows

__all__ = ["Candidates", "build"]

HOW: Mapping[Choose, int] = {
    "best": choosing.BEST, "mean": choosing.MEAN, "halving": choosing.HALVING
}  # fmt: skip


class Candidates:
    """Learners of one lane, and whom of them its models follow; see `models.learner.Learner`."""

    def __init__(
        self, kernel: Callable[..., None], of: Mapping[str, Learner], blocks: Mapping[str, Block],
        settings: Floats, lane: int, keys: Keys, classes: int,
    ) -> None:  # fmt: skip
        """`of` are the candidates by name; `kernel` is one of :mod:`models.choosing`, with its
        state in `blocks` and `settings float64[2]`; `classes` is how many there may be."""
        self.lane, self.keys = lane, keys
        self._kernel, self._of, self._own, self._settings = kernel, dict(of), blocks, settings
        inner = {f"{k}.{n}": b for k, one in enumerate(of.values()) for n, b in one.blocks.items()}
        self.blocks: Mapping[str, Block] = {**blocks, **inner}
        pickled = [one.blobs for one in of.values() if one.blobs is not None]
        self.blobs: Blobs | None = SeveralBlobs(pickled) if pickled else None
        self._classes = classes
        self._halves = settings[choosing.HOW] == choosing.HALVING
        self._bound: tuple[Schedule, list[Schedule], Floats, Floats] | None = None
        # Compiles now, or loads from the cache, instead of at the first reading.
        self.run(Schedule(1, 1, 1))
        self._bound = None

    def call(self, schedule: Schedule) -> None:
        """None: candidates run one after the other."""

    def run(self, schedule: Schedule) -> None:
        """Predict and learn, step by step; see `models.learner.Learner`."""
        views, told, chances = self._views(schedule)
        for k, (one, view) in enumerate(zip(self._of.values(), views, strict=True)):
            view.n = schedule.n
            self._leave_out(k, schedule, view)
            one.run(view)
        at = schedule.codes[: schedule.n, MODEL][schedule.codes[: schedule.n, LANE] == self.lane]
        rows = np.unique(at) if self._halves else at[:0]
        out = self._out()[rows]
        state = (b.array if b.layers == 1 else b.stack for b in self._own.values())
        self._kernel(
            schedule.codes, schedule.numbers, schedule.answers, schedule.parts, told, chances,
            *state, self._settings, self.lane, schedule.n,
        )  # fmt: skip
        self._forget_who_left(rows, self._out()[rows] > out)

    def evict(self, rows: Ints) -> None:
        """Forget these device rows."""
        reset_rows(self._own, rows)
        for one in self._of.values():
            one.evict(rows)

    def restart(self, rows: Ints) -> None:
        """Begin these models anew: every candidate, and whom they follow."""
        reset_rows({"choice": self._own["choice"]}, rows)
        for one in self._of.values():
            one.restart(rows)

    @property
    def failures(self) -> Mapping[str, int]:
        """Of every candidate that failed, under its name."""
        return Counter(
            {f"{name}: {text}": n for name, one in self._of.items()
             for text, n in one.failures.items()}
        )  # fmt: skip

    def shares(self, rows: Sequence[int]) -> dict[str, float]:
        """How much the models in these rows follow each candidate, in the mean; together 1. Empty
        where there is no row."""
        if not rows:
            return {}
        found = self._own["choice"].view("share")[list(rows)]
        # Before the first label there are none: the first is followed.
        found[found.sum(axis=1) == 0.0, 0] = 1.0
        return dict(zip(self._of, found.mean(axis=0).tolist(), strict=True))

    def _views(self, schedule: Schedule) -> tuple[list[Schedule], Floats, Floats]:
        """The schedule as each candidate sees it: with answers of its own."""
        if self._bound is None or self._bound[0] is not schedule:
            k, most = len(self._of), max(self._classes, schedule.parts.shape[1])
            told = np.full((k, schedule.capacity), np.nan)
            chances = np.full((k, schedule.capacity, most), np.nan)
            views = [copy(schedule) for _ in self._of]
            for j, view in enumerate(views):
                view.answers, view.parts = told[j], chances[j]
                view.causes = schedule.causes.copy()
                if self._halves:
                    view.codes = schedule.codes.copy()
            self._bound = schedule, views, told, chances
        return self._bound[1:]

    def _out(self) -> Floats:
        return self._own["choice"].view("out")

    def _leave_out(self, k: int, schedule: Schedule, view: Schedule) -> None:
        """Let a candidate see no step of models that it has left."""
        if not self._halves:
            return
        n = schedule.n
        view.codes[:n] = schedule.codes[:n]
        own = view.codes[:n, LANE] == self.lane
        own[own] = self._out()[view.codes[:n, MODEL][own], k] == 1.0
        view.codes[:n, LANE][own] = -1
        view.answers[:n] = np.nan

    def _forget_who_left(self, of: Ints, left: NDArray[np.bool_]) -> None:
        """What a candidate learned since it left, within a batch, must not depend on the batch.
        `left bool[len(of), k]` says of these models whom they left."""
        for k in np.flatnonzero(left.any(axis=0)):
            one, rows = list(self._of.values())[k], of[left[:, k]]
            if self.keys is Keys.FLEET:
                for block in one.blocks.values():
                    block.reset(np.arange(block.capacity))
            if one.blobs is not None:
                one.blobs.drop(rows)
            one.evict(rows)


def build(
    of: Mapping[str, Learner], lane: int, capacity: int, keys: Keys, *, choose: Choose,
    classes: int, pending: int, round_labels: int,
    groups: int = 0,
) -> Candidates:  # fmt: skip
    """Candidates of one lane, of whom each device's model follows the best, or the fleet's.

    `classes` is how many there may be, 0 for numbers; `pending` predictions of a device may wait;
    `groups` is how many have a model where `keys` says so. With "halving" the worse half leaves
    after every `round_labels` labels.
    """
    k = len(of)
    choice = [Field("scale"), Field("labels")]
    choice += [Field(name, (k,)) for name in ("share", "out", "loss", "regret", "square")]
    device = Block([Field("slots")], capacity)
    said = [Field("said", (k, classes))] if classes else [Field("said", (k,)), Field("mix")]
    waiting = Block(said, capacity, layers=max(2, pending))
    waiting.depth = device.view("slots")
    blocks = {
        "choice": models_of(choice, groups if keys is Keys.GROUP else capacity, keys),
        "device": device,
        "waiting": waiting,
    }
    kernel = choosing.classes if classes else choosing.numbers
    settings = np.array([HOW[choose], round_labels], np.float64)
    return Candidates(kernel, of, blocks, settings, lane, keys, classes)
