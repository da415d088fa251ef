"""What is done where something drifted, to models of devices.

A drift is acted on once the reading that brought it has been worked off, before the next one of its
device: `apart` says where batches are to be cut for that, so that a batch border means nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from models.learner import Learner
from models.relearning import Relearning
from monitoring.effects import Effects
from monitoring.scores import Scorer
from stream_processor.repeats import Repeats
from streamgauge.arrays import Floats, Ints, Rows
from streamgauge.calls import Call
from streamgauge.events import DRIFTS, Event, EventKind
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
    RELEARN = "relearn"
    """As `alert`, and another model learns beside the device's and replaces it once better."""


KINDS = {
    Action.RESTART: EventKind.RESTARTED,
    Action.LEARN_FASTER: EventKind.LEARNS_FASTER,
    Action.RELEARN: EventKind.RELEARNS,
}
"""What an action is told of as."""


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
    """Microseconds of event time for which a model learns faster, or has a rival."""


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
        self._relearning = {one.lane: one for one in learners if isinstance(one, Relearning)}
        self._held: list[Event] = []

    def blocks(self) -> dict[str, Block]:
        """What is known of actions that were taken."""
        return {**self._effects.blocks, **self.repeats.blocks}

    def calls(self, schedule: Schedule) -> list[Call]:
        """What looks at the steps of a schedule, once they are answered and judged."""
        return [self._effects.call(schedule)]

    def of(self, drifts: Sequence[Event], until: int) -> list[Event]:
        """Act on these drifts, and on what was decided of rivals: what they are followed by, behind
        each. Reading number `until` may be worked off in part only: what it brought is held back
        until the rest of it is."""
        decided = [event for one in self._relearning.values() for event in one.log.take(until)]
        both, told = [*self._held, *decided, *drifts], []
        both.sort(key=lambda event: (event.source, event.kind in DRIFTS))
        self._held = [event for event in both if event.source == until >= 0]
        for event in both[: len(both) - len(self._held)]:
            if event.kind in DRIFTS:
                told += [event, *self._after(event)]
            else:
                told.append(self._settle(event))
        return told

    def told(self, until: int) -> list[Event]:
        """What actions have brought, up to reading number `until` of the batch."""
        return self._effects.told(until)

    def _after(self, drift: Event) -> Iterator[Event]:
        reaction = self._reactions.get(drift.signal)
        if reaction is None or drift.severity != "alarm":
            return
        what = self._lanes[drift.lane].name if drift.lane >= 0 else drift.channel
        reading = int(self._readings[drift.row])
        for lane in reaction.lanes.get(what, ()):
            if not self._effects.rests(drift.row, lane, reading):
                event = replace(drift, kind=KINDS[reaction.action], lane=lane)
                self._act(event, reading, drift.time + reaction.lasting)
                yield event

    def _act(self, event: Event, reading: int, until: int) -> None:
        """Do what the event says, from reading number `reading` of its device on."""
        row, lane = event.row, event.lane
        if event.kind is EventKind.LEARNS_FASTER:
            self.repeats.begin(row, lane, until)
        elif event.kind is EventKind.RELEARNS:
            self._relearning[lane].begin(row, reading, until)
        else:
            self._learners[lane].restart(np.array([row]))
            self._scorer.restart(row, lane)
        self._effects.began(event, reading)

    def _settle(self, decided: Event) -> Event:
        """Let the other model of a device take over, or forget it."""
        row, lane = decided.row, decided.lane
        event = self._effects.reasoned(decided)
        if event.kind is EventKind.REPLACED:
            self._relearning[lane].replace(row)
            self._effects.began(event, int(self._readings[row]))
        else:
            self._relearning[lane].give_up(row)
        return event
