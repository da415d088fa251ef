"""The contract of a learner: the models of one lane, per device, per group or for the fleet."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from streamgauge.arrays import Ints
from streamgauge.calls import Call
from streamgauge.schedule import Schedule
from streamgauge.state import Block, Keys

__all__ = ["Blobs", "Estimator", "Learner", "Make"]


class Estimator(Protocol):
    """One model as River writes it: the one of a single device."""

    def learn_one(self, x: dict[Any, Any], y: Any) -> None: ...

    def predict_one(self, x: dict[Any, Any]) -> Any: ...


Make = Callable[[], Estimator]
"""Gives a new model that has learned nothing, the same one at every call."""


class Blobs(Protocol):
    """Model state that only its own library understands: one opaque blob per model row.

    Called by the thread that owns the learner, between batches.
    """

    dirty: set[int]
    """Rows whose blob changed since whoever checkpoints last emptied this set."""

    def dump(self, rows: Sequence[int] | Ints) -> list[bytes]:
        """One blob per row; empty where the row has no model yet."""
        ...

    def load(self, rows: Sequence[int] | Ints, blobs: Sequence[bytes]) -> None:
        """Take over what :meth:`dump` gave, also in another process; an empty blob drops the row.

        Blobs are pickles: whoever calls this has verified where they come from.
        """
        ...

    def drop(self, rows: Sequence[int] | Ints) -> None:
        """Forget these rows, as if their device had never been seen."""
        ...


class Learner(Protocol):
    """One lane's models: one per device row or group, or a single one in row 0 for the fleet.

    All state is in `blocks` (opened, copied, moved and reset by the functions of
    `streamgauge.state`) and in `blobs`, so that a checkpoint treats every learner alike.
    """

    lane: int
    keys: Keys
    """What a row of its state stands for: DEVICE, GROUP or FLEET. Blocks of models say the same;
    blobs cannot."""

    @property
    def blocks(self) -> Mapping[str, Block]: ...

    @property
    def blobs(self) -> Blobs | None:
        """None where the blocks hold everything."""
        ...

    def call(self, schedule: Schedule) -> Call | None:
        """:meth:`run` as one kernel call over STEPS; None where Python has to do it."""
        ...

    def run(self, schedule: Schedule) -> None:
        """Walk the steps of the schedule in order, those of this lane only.

        A predict step's answer goes to `schedule.answers`, NaN where the model has none. A learn
        step teaches the step's MODEL `x` and its target, which is finite. Other steps are not for
        models. Cutting a schedule anywhere changes neither answers nor state. Never raises for what
        is in the schedule.
        """
        ...

    def evict(self, rows: Ints) -> None:
        """Forget these device rows, as if their device had never been seen; what devices share
        stays as it is."""
        ...

    def restart(self, rows: Ints) -> None:
        """The models of these device rows begin anew, as those of new devices do. What is known of
        the devices themselves, and what waits with predictions for labels, stays."""
        ...

    @property
    def failures(self) -> Mapping[str, int]:
        """Refusals by the models themselves, by what they said: counted, never raised."""
        ...
