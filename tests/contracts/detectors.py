"""Every detector there is, and the checks that each must pass, over any residuals."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.detector import Detector
from streamgauge import plugins
from streamgauge.calls import Chain, Now
from streamgauge.events import Event, EventKind, Events
from streamgauge.schedule import DUE, LANE, RESIDUAL, ROW, SOURCE, STEP
from streamgauge.state import put_rows, reset_rows, take_rows
from streamgauge.words import Step
from tests.contracts.invariance import Cut, assert_same_bits, assert_same_state, pieces, singles
from tests.contracts.schedules import ROWS, Steps, watch

__all__ = [
    "SUBJECTS",
    "Build",
    "Subject",
    "check_alone",
    "check_chain",
    "check_cut",
    "check_ignored",
    "check_move",
    "check_recovers",
    "check_reset",
    "check_told",
    "found",
    "pair",
    "play",
    "unseen",
    "without_subject",
]

BOTH = frozenset({EventKind.DRIFT_UP, EventKind.DRIFT_DOWN})
ELSEWHERE = (np.arange(ROWS) + 5) % ROWS
HIGHEST = 1e24
"""Residuals beyond it come from models that diverged; they would drown all others."""
DIVERGED = (1e25, -1e100, 1e154, 1e155, -1e308, 1e308, np.inf, -np.inf, np.nan)
STEADY = 700
"""Steps after which every detector must have seen that the residuals are six times as large."""

Build = Callable[[int], Detector]
"""A new detector for a lane."""


@dataclass(frozen=True)
class Subject:
    """A detector under test, by its file and options; `outcomes` are the events it must emit."""

    module: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    outcomes: frozenset[EventKind] = BOTH

    @property
    def id(self) -> str:
        return f"{self.module}: {self.name}"

    def build(self, lane: int) -> Detector:
        """A new one for `ROWS` devices."""
        module = plugins.load("monitoring.detectors", self.module)
        detector: Detector = module.build(lane, ROWS, **self.options)
        return detector


SUBJECTS = (
    Subject("adwin", "as River's"),
    Subject("adwin", "quick", {"delta": 0.3, "clock": 1, "grace_period": 0}),
    Subject("adwin", "small", {"delta": 0.9, "clock": 3, "max_buckets": 2, "min_window_length": 1}),
)


def found() -> list[str]:
    """All detectors, from their folder."""
    return list(plugins.find("monitoring.detectors"))


def without_subject(modules: Iterable[str], subjects: Iterable[Subject]) -> list[str]:
    """Detectors that the suite would not look at."""
    return sorted(set(modules) - {subject.module for subject in subjects})


def pair(build: Build) -> list[Detector]:
    """New detectors for two lanes, all of their rows handed out; the last lane stays unwatched."""
    detectors = [build(0), build(1)]
    for detector in detectors:
        for block in detector.blocks.values():
            block.open_device(np.arange(ROWS))
    return detectors


def play(
    detectors: Sequence[Detector], steps: Steps, cut: Cut = (), *, chained: bool = False
) -> list[Event]:
    """Send steps through detectors that share a log, cut into schedules; their events, in order."""
    schedule, events = steps.schedule(), Events(len(steps))
    now = np.zeros(len(Now), np.int64)
    calls = [detector.call(schedule, events) for detector in detectors]
    chain = Chain(calls, now) if chained else None
    for start, stop in pieces(len(steps), cut):
        steps.fill(schedule, start, stop)
        now[Now.STEPS] = schedule.n
        columns = ("codes", "numbers", "x", "answers")
        given = {name: getattr(schedule, name).copy() for name in columns}
        before = len(events)
        for run in [chain.run] if chain else [partial(c.run, steps=schedule.n) for c in calls]:
            run()
        assert before <= len(events) <= stop, "more than one event per step"
        events.order(before)
        assert_same_bits({name: getattr(schedule, name) for name in given}, given)
    return list(events)


def _same_events(ours: Sequence[Event], theirs: Sequence[Event]) -> None:
    # As text NaN equals NaN, and two floats are equal only when they are the same.
    assert [repr(event) for event in ours] == [repr(event) for event in theirs]


def _same_state(
    ours: Sequence[Detector],
    theirs: Sequence[Detector],
    rows: NDArray[np.int64],
    target: NDArray[np.int64] | None = None,
    *,
    devices_only: bool = False,
) -> None:
    homes = rows if target is None else target[rows]
    for one, other in zip(ours, theirs, strict=True):
        assert_same_state(one.blocks, other.blocks, rows, homes, devices_only=devices_only)


def labelled(steps: Steps) -> NDArray[np.bool_]:
    """bool[n]: the steps that detectors look at."""
    own = steps.are(0, Step.LEARN, Step.SCORE) | steps.are(1, Step.LEARN, Step.SCORE)
    return own & (np.abs(steps.numbers[:, RESIDUAL]) <= HIGHEST)


def check_cut(build: Build, steps: Steps, cut: Cut) -> None:
    """Events and state are the same for the steps whole, one by one, and cut anywhere."""
    whole = pair(build)
    wanted = play(whole, steps)
    for other in (cut, singles(len(steps))):
        detectors = pair(build)
        _same_events(play(detectors, steps, other), wanted)
        _same_state(detectors, whole, np.arange(ROWS))


def check_chain(build: Build, steps: Steps, cut: Cut) -> None:
    """The bound kernel call does what the plain one does."""
    plain, chained = pair(build), pair(build)
    _same_events(play(chained, steps, cut, chained=True), play(plain, steps, cut))
    _same_state(chained, plain, np.arange(ROWS))


def check_ignored(build: Build, steps: Steps) -> None:
    """Predictions, expired labels, other lanes and residuals that are no numbers leave no trace."""
    noisy, clean = pair(build), pair(build)
    _same_events(play(noisy, steps), play(clean, steps.chosen(labelled(steps))))
    _same_state(noisy, clean, np.arange(ROWS))


def check_alone(build: Build, steps: Steps) -> None:
    """A device fares the same in a fleet and alone, in whatever row it lives."""
    fleet = pair(build)
    events = play(fleet, steps)
    for row in np.unique(steps.codes[:, ROW]).tolist():
        detectors = pair(build)
        back = np.argsort(ELSEWHERE)
        alone = play(detectors, steps.chosen(steps.codes[:, ROW] == row).moved(ELSEWHERE))
        _same_events(_moved(alone, back), [event for event in events if event.row == row])
        _same_state(fleet, detectors, np.array([row]), ELSEWHERE, devices_only=True)


def _moved(events: Iterable[Event], target: NDArray[np.int64]) -> list[Event]:
    return [
        Event(e.kind, int(target[e.row]), e.lane, e.time, e.source, e.before, e.after, e.size)
        for e in events
    ]


def check_move(build: Build, steps: Steps, at: int, cut: Cut = ()) -> None:
    """Some devices, moved into other rows of used detectors, go on as if they had stayed."""
    here, there = pair(build), pair(build)
    # Whoever lived in the target rows before must leave no trace.
    play(there, steps.moved(ELSEWHERE))
    play(here, steps.chosen(slice(0, at)))
    moving = np.unique(steps.codes[:, ROW])[::2]
    saved = [take_rows(detector.blocks, moving) for detector in here]
    rest = steps.chosen((np.arange(len(steps)) >= at) & np.isin(steps.codes[:, ROW], moving))
    stayed = play(here, rest)
    for detector, rows in zip(there, saved, strict=True):
        put_rows(detector.blocks, ELSEWHERE[moving], rows)
    inside = tuple(place for place in cut if place < len(rest))
    _same_events(play(there, rest.moved(ELSEWHERE), inside), _moved(stayed, ELSEWHERE))
    _same_state(here, there, moving, ELSEWHERE)


def check_reset(build: Build, steps: Steps) -> None:
    """A row whose device was forgotten is like a row that never had one; the others stay."""
    used, fresh, kept = pair(build), pair(build), pair(build)
    play(used, steps)
    play(kept, steps)
    rows = np.unique(steps.codes[:, ROW])
    for detector in used:
        reset_rows(detector.blocks, rows[::2])
    _same_state(used, fresh, rows[::2], devices_only=True)
    _same_state(used, kept, rows[1::2], devices_only=True)
    again = steps.chosen(np.isin(steps.codes[:, ROW], rows[::2]))
    _same_events(play(used, again), play(fresh, again))
    _same_state(used, fresh, rows[::2], devices_only=True)


def check_told(build: Build, steps: Steps) -> None:
    """An event names its step, device, lane and direction; its numbers are numbers."""
    looked_at = steps.codes[labelled(steps)]
    known = {tuple(code) for code in looked_at[:, [ROW, LANE, DUE, SOURCE]].tolist()}
    for event in play(pair(build), steps):
        assert (event.row, event.lane, event.time, event.source) in known
        assert event.kind in BOTH
        assert np.isfinite([event.before, event.after, event.size]).all(), event
        assert (event.after > event.before) == (event.kind is EventKind.DRIFT_UP)
        assert event.size >= 1


def check_recovers(build: Build, steps: Steps) -> None:
    """Whatever a diverged model left before, a clear shift afterwards is told."""
    detectors = pair(build)
    diverged = steps.chosen(slice(None))
    diverged.numbers[:, RESIDUAL] = np.resize(DIVERGED, len(steps))
    play(detectors, diverged)
    calm = watch(1, 2 * STEADY)
    calm.codes[:, [STEP, LANE, ROW]] = Step.LEARN, 0, steps.codes[0, ROW]
    size = np.repeat([1.0, 6.0], STEADY)
    calm.numbers[:, RESIDUAL] = size * np.random.default_rng(2).normal(size=len(calm))
    told = play(detectors, calm)
    ups = [e.source for e in told if e.kind is EventKind.DRIFT_UP]
    assert any(source >= STEADY for source in ups), "it fell silent"


def unseen(subject: Subject, streams: Iterable[Steps]) -> set[EventKind]:
    """Events that the subject declares and that none of the streams brought about."""
    missing = set(subject.outcomes)
    for steps in streams:
        if not missing:
            break
        missing -= {event.kind for event in play(pair(subject.build), steps)}
    return missing
