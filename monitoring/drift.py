"""Drift of a stream: signals, the detectors that watch them, and what they say."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monitoring.detector import Detector
from monitoring.signals import Signals
from streamgauge.arrays import Bools
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call
from streamgauge.events import Event, EventKind, Events
from streamgauge.schedule import Schedule
from streamgauge.signal import MOVING, Kind, Signal
from streamgauge.state import Block, Field, Keys

__all__ = ["OF_SCHEDULE", "Drift", "Watched"]

WAYS = {EventKind.DRIFT_UP: "_up", EventKind.DRIFT_DOWN: "_down", EventKind.DRIFT: ""}
OF_SCHEDULE = (Kind.ERROR, Kind.PREDICTION, Kind.LABEL)
"""Signals that are of the steps of lanes; the others are of batches."""
ALWAYS = (Kind.ERROR, Kind.LEVEL, Kind.NOISE, Kind.SHAPE)
"""Signals whose changes are counted even where nothing watches them."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A signal and the detector that watches it."""

    signal: Signal
    detector: Detector
    made_for: Sequence[Any]
    """Name and options of the detector, as far as its state depends on them; JSON-able."""
    parts: Sequence[int]
    """Places of the signal's parts that are looked at."""
    version: int = 1

    @property
    def name(self) -> str:
        return str(self.signal.kind)

    def ready(self, rows: slice) -> Bools:
        """bool[rows, parts]: what there is enough of to tell a change, of these device rows."""
        return self.detector.ready(rows)[:, list(self.parts)]


class Drift:
    """Collects signals and runs their detectors; all of these write into one log."""

    def __init__(self, signals: Signals, watched: Iterable[Watched]) -> None:
        self.watched = tuple(watched)
        self.signals = signals
        counted = dict.fromkeys([*ALWAYS, *(one.signal.kind for one in self.watched)])
        self._names = [name for kind in counted for name in _names(kind)]
        self._totals = Block([Field(name) for name in self._names], 1, keys=Keys.FLEET)
        self._log = Events(sum(one.signal.capacity for one in self.watched))

    def blocks(self) -> dict[str, Mapping[str, Block]]:
        """State by the name of the signal, and of what signals are made of."""
        own: dict[str, Mapping[str, Block]] = {"all": {"totals": self._totals}}
        own |= self.signals.blocks()
        own |= {one.name: one.detector.blocks for one in self.watched}
        if self.signals.relation is not None:
            # It has nothing to go on where its detector is another one.
            name = str(Kind.RELATION)
            own[name] = {**self.signals.relation.blocks, **own[name]}
        return own

    def batches(self, batch: Batch, features: Features) -> list[Call]:
        """What looks at the values of a batch, once they are vetted, and at its features."""
        kinds = [kind for kind in Kind if kind not in OF_SCHEDULE]
        return [*self.signals.of_batch(batch, features), *self._calls(kinds)]

    def schedules(self, schedule: Schedule) -> list[Call]:
        """What looks at the steps of a schedule, once they are answered and judged."""
        errors = any(one.signal.kind is Kind.ERROR for one in self.watched)
        collect = self.signals.of_schedule(schedule, errors=errors)
        return [*collect, *self._calls(OF_SCHEDULE)]

    def _calls(self, kinds: Iterable[Kind]) -> list[Call]:
        chosen = [one for one in self.watched if one.signal.kind in kinds]
        return [one.detector.call(one.signal, self._log) for one in chosen]

    def told(self, until: int) -> list[Event]:
        """Take out what readings up to number `until` of the batch brought, in their order."""
        if not self._log.count[0]:
            return []
        told = self._log.take(until)
        for event in told:
            self._totals.view(_name(event.signal, event.kind))[0] += 1.0
        return told

    def detectors(self) -> dict[str, tuple[str, int]]:
        """Name and version of the detector of each signal that is watched."""
        return {one.name: (str(one.made_for[0]), one.version) for one in self.watched}

    def totals(self) -> dict[str, int]:
        """Changes found so far, by signal and direction: "level_up"."""
        return {name: int(self._totals.view(name)[0]) for name in self._names}

    def watched_of(self, row: int) -> dict[str, str]:
        """For each watched channel of a device row "watched" or "calibrating"."""
        return {} if self.signals.channels is None else self.signals.channels.watched(row)

    def states_of(self, row: int) -> dict[str, dict[str, str]]:
        """By signal and what it is of, of a device row: "watched", or "calibrating" until its
        detector has seen enough."""
        words = {True: "watched", False: "calibrating"}
        return {
            one.name: {
                one.signal.parts[part]: words[ready]
                for part, ready in zip(
                    one.parts, one.ready(slice(row, row + 1))[0].tolist(), strict=True
                )
            }
            for one in self.watched
        }

    def signals_calibrating(self, rows: int) -> dict[str, int]:
        """By signal how many parts of the first so many device rows are calibrating."""
        return {one.name: int((~one.ready(slice(0, rows))).sum()) for one in self.watched}

    def calibrating(self, rows: int) -> int:
        """Channels of the first so many device rows that are calibrating."""
        if self.signals.channels is None:
            return 0
        return int((~self.signals.channels.calibrated(slice(0, rows))).sum())


def _names(kind: Kind) -> list[str]:
    """Under which the changes of a signal are counted."""
    ways = ("_up", "_down") if kind in MOVING else ("",)
    return [f"{kind}{way}" for way in ways]


def _name(signal: str, kind: EventKind) -> str:
    return signal + WAYS[kind]
