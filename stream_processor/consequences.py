"""What is done where something drifted, to models of devices.

A drift is acted on once the reading that brought it has been worked off, before the next one of its
device: `apart` says where batches are to be cut for that, so that a batch border means nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from models.learner import Learner
from monitoring.effects import Effects
from monitoring.scores import Scorer
from stream_processor.repeats import Repeats
from streamgauge.arrays import Floats, Ints, Rows
from streamgauge.calls import Call
from streamgauge.events import Event, EventKind
from streamgauge.schedule import Lane, Schedule
from streamgauge.state import Block

__all__ = ["Action", "Consequences", "Reaction", "apart"]


class Action(StrEnum):
    """What is done about a drift."""

    NOTE = "note"
    """It is recorded; no alert is made of it."""
    ALERT = "alert"
    """It is recorded, and rules make alerts of it."""
    RESTART = "restart"
    """As `alert`, and the device's model begins anew."""
    LEARN_FASTER = "learn_faster"
    """As `alert`, and for a while labels teach the device's model several times."""


def apart(rows: Ints | Rows) -> Iterator[int]:
    """Ends of parts, as long as can be, that hold no device row twice."""
    met: set[int] = set()
    for i, row in enumerate(rows.tolist()):
        if row in met:
            yield i
            met.clear()
        met.add(row)
    if len(rows):
        yield len(rows)


@dataclass(frozen=True, slots=True)
class Reaction:
    """What a drift of one signal makes of models; of which lanes, by what of the signal drifted."""

    action: Action
    lanes: Mapping[str, Sequence[int]]
    lasting: int = 0
    """Microseconds of event time for which a model learns faster."""


class Consequences:
    """Reactions of a stream by signal, and what they bring."""

    def __init__(
        self,
        reactions: Mapping[str, Reaction],
        effects: Effects,
        repeats: Repeats,
        lanes: Sequence[Lane],
        learners: Sequence[Learner],
        scorer: Scorer,
        readings: Floats,
    ) -> None:
        """`readings float64[devices]` counts the readings of each device row."""
        self._reactions, self._effects = reactions, effects
        self.repeats = repeats
        self._lanes, self._learners = lanes, learners
        self._scorer, self._readings = scorer, readings
        self._held: list[Event] = []

    def blocks(self) -> dict[str, Block]:
        """What is known of actions that were taken."""
        return {**self._effects.blocks, **self.repeats.blocks}

    def calls(self, schedule: Schedule) -> list[Call]:
        """What looks at the steps of a schedule, once they are answered and judged."""
        return [self._effects.call(schedule)]

    def of(self, drifts: Sequence[Event], until: int) -> list[Event]:
        """Act on these drifts: what they are followed by, behind each. Reading number `until` may
        be worked off in part only: what it brought is held back until the rest of it is."""
        drifts, told = [*self._held, *drifts], []
        self._held = [drift for drift in drifts if drift.source == until >= 0]
        for drift in drifts[: len(drifts) - len(self._held)]:
            told.append(drift)
            reaction = self._reactions.get(drift.signal)
            if reaction is not None and drift.severity == "alarm":
                what = self._lanes[drift.lane].name if drift.lane >= 0 else drift.channel
                lanes = reaction.lanes.get(what, ())
                told += [done for lane in lanes for done in self._act(drift, lane, reaction)]
        return told

    def told(self, until: int) -> list[Event]:
        """What actions have brought, up to reading number `until` of the batch."""
        return self._effects.told(until)

    def _act(self, drift: Event, lane: int, reaction: Reaction) -> Iterator[Event]:
        reading = int(self._readings[drift.row])
        if self._effects.rests(drift.row, lane, reading):
            return
        if reaction.action is Action.LEARN_FASTER:
            kind = EventKind.LEARNS_FASTER
            self.repeats.begin(drift.row, lane, drift.time + reaction.lasting)
        else:
            kind = EventKind.RESTARTED
            self._learners[lane].restart(np.array([drift.row]))
            self._scorer.restart(drift.row, lane)
        event = replace(drift, kind=kind, lane=lane)
        self._effects.began(event, reading)
        yield event
