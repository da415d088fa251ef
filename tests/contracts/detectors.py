"""Every detector there is, and the checks that each must pass, over any values."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.detector import Detector
from streamgauge import plugins
from streamgauge.calls import Chain, Now
from streamgauge.events import Event, EventKind, Events
from streamgauge.signal import LEVELS, PART, RATES, ROW, SOURCE, TIME, VALUE, Kind, Signal
from streamgauge.state import put_rows, reset_rows, take_rows
from tests.contracts.invariance import Cut, assert_same_bits, assert_same_state, pieces, singles
from tests.contracts.signals import PARTS, ROWS, Values, calm

__all__ = [
    "SUBJECTS",
    "Build",
    "Subject",
    "check_alone",
    "check_chain",
    "check_cut",
    "check_move",
    "check_parts",
    "check_ready",
    "check_recovers",
    "check_reset",
    "check_told",
    "found",
    "opened",
    "play",
    "unseen",
    "without_subject",
]

UP, DOWN, CHANGED = EventKind.DRIFT_UP, EventKind.DRIFT_DOWN, EventKind.DRIFT
ELSEWHERE = (np.arange(ROWS) + 5) % ROWS
STUCK = (0.0, -0.0, 5e-324, 0.0)
"""Values that do not vary, as far as numbers can tell."""
STEADY = 700
"""Values after which every detector must have seen that they are of another kind."""

Build = Callable[[Signal], Detector]
"""A new detector for a signal."""


@dataclass(frozen=True)
class Subject:
    """A detector under test, by its file and options; `outcomes` are the events it must emit."""

    module: str
    name: str
    kind: Kind
    options: Mapping[str, Any] = field(default_factory=dict)
    outcomes: frozenset[EventKind] = frozenset({UP, DOWN})

    @property
    def id(self) -> str:
        return f"{self.module}: {self.name}"

    def build(self, signal: Signal) -> Detector:
        """A new one for `ROWS` devices."""
        module = plugins.load("monitoring.detectors", self.module)
        detector: Detector = module.build(signal, ROWS, **self.options)
        return detector


SMALL = {"delta": 0.9, "clock": 3, "max_buckets": 2, "min_window_length": 1}
EAGER = {"drift_confidence": 0.2, "warning_confidence": 0.4, "two_sided_test": True}
CHUNKS = {"chunk": 25, "reference": 6, "deviations": 3.0}
WINDOWS = {"reference": 20, "window": 20, "every": 5, "p_value": 0.05}
TRENDS = {"block": 20.0, "blocks": 10, "p_value": 0.1}
SUBJECTS = (
    Subject("adwin", "as River's", Kind.ERROR),
    Subject("adwin", "quick", Kind.ERROR, {"delta": 0.3, "clock": 1, "grace_period": 0}),
    Subject("adwin", "small", Kind.NOISE, SMALL),
    Subject("adwin", "by days", Kind.MISSING, {**SMALL, "alarms_per_day": 500.0}),
    Subject("page_hinkley", "as River's", Kind.ERROR),
    Subject("page_hinkley", "of levels", Kind.LEVEL, {"threshold": 10.0, "min_instances": 2}),
    Subject("page_hinkley", "quick", Kind.NOISE, {"threshold": 1.0, "alpha": 0.9}),
    Subject("ddm", "of a regression", Kind.ERROR, {"bound": 4.0}, frozenset({UP})),
    Subject("ddm", "quick", Kind.ERROR, {"warm_start": 3, "bound": 9.0}, frozenset({UP})),
    Subject("eddm", "as River's", Kind.ERROR, {}, frozenset({UP})),
    Subject("eddm", "quick", Kind.ERROR, {"warm_start": 3, "above": 1.0}, frozenset({UP})),
    Subject("hddm_a", "as River's", Kind.ERROR, {}, frozenset({UP})),
    Subject("hddm_a", "both ways", Kind.ERROR, {**EAGER, "bound": 9.0}),
    Subject("cusum", "of relations", Kind.RELATION, {"h": 10.0, "hold": 20}),
    Subject("hddm_w", "of what is missing", Kind.MISSING, EAGER),
    Subject("cusum", "of features", Kind.FEATURE, {"h": 10.0, "hold": 20}),
    Subject("hddm_w", "as River's", Kind.ERROR, {}, frozenset({UP})),
    Subject("hddm_w", "both ways", Kind.ERROR, {**EAGER, "bound": 9.0}),
    Subject("cusum", "by values", Kind.LEVEL, {"h": 10.0, "hold": 20}),
    Subject("cusum", "of noise", Kind.NOISE, {"h": 12.0, "k": 0.3, "hold": 20}),
    Subject("cusum", "by days", Kind.LEVEL, {"alarms_per_day": 500.0, "hold": 20}),
    Subject(
        "chunk_ks",
        "small",
        Kind.SHAPE,
        {"chunk": 25, "reference": 6, "deviations": 3.0},
        frozenset({CHANGED}),
    ),
    Subject(
        "chunk_ks",
        "quick",
        Kind.SHAPE,
        {"chunk": 10, "reference": 4, "deviations": 1.0, "in_a_row": 1},
        frozenset({CHANGED}),
    ),
    Subject(
        "hellinger",
        "by days",
        Kind.SHAPE,
        {**CHUNKS, "alarms_per_day": 1_000.0},
        frozenset({CHANGED}),
    ),
    Subject("wasserstein", "small", Kind.SHAPE, CHUNKS, frozenset({CHANGED})),
    Subject("kswin", "as River's", Kind.ERROR),
    Subject("kswin", "quick", Kind.LEVEL, {"window_size": 20, "stat_size": 8, "alpha": 0.05}),
    Subject("kswin", "by days", Kind.NOISE, {"alarms_per_day": 100.0}),
    Subject("kswin", "of shapes", Kind.SHAPE, {"seed": 7}, frozenset({CHANGED})),
    Subject("window_ks", "quick", Kind.ERROR, {**WINDOWS, "window": 10}),
    Subject("window_ks", "by days", Kind.NOISE, {**WINDOWS, "alarms_per_day": 100.0}),
    Subject("window_ks", "by seasons", Kind.SHAPE, {**WINDOWS, "seasons": 3}, frozenset({CHANGED})),
    Subject("psi", "quick", Kind.LEVEL, {**WINDOWS, "bins": 2}),
    Subject(
        "psi",
        "of shapes",
        Kind.SHAPE,
        {**WINDOWS, "bins": 4, "p_value": 0.1},
        frozenset({CHANGED}),
    ),
    Subject("mann_kendall", "quick", Kind.ERROR, {"block": 5.0, "blocks": 8, "p_value": 0.1}),
    Subject("mann_kendall", "by days", Kind.LEVEL, {**TRENDS, "alarms_per_day": 2_000.0}),
)


def found() -> list[str]:
    """All detectors, from their folder."""
    return list(plugins.find("monitoring.detectors"))


def without_subject(modules: Iterable[str], subjects: Iterable[Subject]) -> list[str]:
    """Detectors that the suite would not look at."""
    return sorted(set(modules) - {subject.module for subject in subjects})


def opened(build: Build, values: Values) -> Detector:
    """A new detector, all of its rows handed out."""
    detector = build(values.signal())
    for block in detector.blocks.values():
        block.open_device(np.arange(ROWS))
    return detector


def play(
    detector: Detector, values: Values, cut: Cut = (), *, chained: bool = False
) -> list[Event]:
    """Send values through a detector, cut into batches; its events, in order."""
    signal, events, told = values.signal(), Events(len(values)), []
    call = detector.call(signal, events)
    chain = Chain([call], np.zeros(len(Now), np.int64)) if chained else None
    for start, stop in pieces(len(values), cut):
        values.fill(signal, start, stop)
        given = {name: getattr(signal, name).copy() for name in ("codes", "numbers", "count")}
        (chain or call).run()
        assert len(events) <= stop - start, "more than one event per value"
        told += events.take(np.iinfo(np.int64).max)
        assert_same_bits({name: getattr(signal, name) for name in given}, given)
    return told


def _same_events(ours: Sequence[Event], theirs: Sequence[Event]) -> None:
    # As text NaN equals NaN, and two floats are equal only when they are the same.
    assert [repr(event) for event in ours] == [repr(event) for event in theirs]


def _same_state(
    ours: Detector,
    theirs: Detector,
    rows: NDArray[np.int64],
    target: NDArray[np.int64] | None = None,
    *,
    devices_only: bool = False,
) -> None:
    homes = rows if target is None else target[rows]
    assert_same_state(ours.blocks, theirs.blocks, rows, homes, devices_only=devices_only)


def check_cut(build: Build, values: Values, cut: Cut) -> None:
    """Events and state are the same for the values whole, one by one, and cut anywhere."""
    whole = opened(build, values)
    wanted = play(whole, values)
    for other in (cut, singles(len(values))):
        detector = opened(build, values)
        _same_events(play(detector, values, other), wanted)
        _same_state(detector, whole, np.arange(ROWS))


def check_chain(build: Build, values: Values, cut: Cut) -> None:
    """The bound kernel call does what the plain one does."""
    plain, chained = opened(build, values), opened(build, values)
    _same_events(play(chained, values, cut, chained=True), play(plain, values, cut))
    _same_state(chained, plain, np.arange(ROWS))


def check_parts(build: Build, values: Values) -> None:
    """A part of a signal fares the same beside others and alone."""
    events = play(opened(build, values), values)
    for part, name in enumerate(PARTS):
        alone = play(opened(build, values), values.chosen(values.codes[:, PART] == part))
        _same_events(alone, [one for one in events if part == one.lane or one.channel == name])


def check_alone(build: Build, values: Values) -> None:
    """A device fares the same in a fleet and alone, in whatever row it lives."""
    fleet = opened(build, values)
    events = play(fleet, values)
    for row in np.unique(values.codes[:, ROW]).tolist():
        detector = opened(build, values)
        back = np.argsort(ELSEWHERE)
        alone = play(detector, values.chosen(values.codes[:, ROW] == row).moved(ELSEWHERE))
        _same_events(_moved(alone, back), [event for event in events if event.row == row])
        _same_state(fleet, detector, np.array([row]), ELSEWHERE, devices_only=True)


def _moved(events: Iterable[Event], target: NDArray[np.int64]) -> list[Event]:
    return [replace(event, row=int(target[event.row])) for event in events]


def check_move(build: Build, values: Values, at: int, cut: Cut = ()) -> None:
    """Some devices, moved into other rows of a used detector, go on as if they had stayed."""
    here, there = opened(build, values), opened(build, values)
    # Whoever lived in the target rows before must leave no trace.
    play(there, values.moved(ELSEWHERE))
    play(here, values.chosen(slice(0, at)))
    moving = np.unique(values.codes[:, ROW])[::2]
    saved = take_rows(here.blocks, moving)
    rest = values.chosen((np.arange(len(values)) >= at) & np.isin(values.codes[:, ROW], moving))
    stayed = play(here, rest)
    put_rows(there.blocks, ELSEWHERE[moving], saved)
    inside = tuple(place for place in cut if place < len(rest))
    _same_events(play(there, rest.moved(ELSEWHERE), inside), _moved(stayed, ELSEWHERE))
    _same_state(here, there, moving, ELSEWHERE)


def check_reset(build: Build, values: Values) -> None:
    """A row whose device was forgotten is like a row that never had one; the others stay."""
    used, fresh, kept = opened(build, values), opened(build, values), opened(build, values)
    play(used, values)
    play(kept, values)
    rows = np.unique(values.codes[:, ROW])
    reset_rows(used.blocks, rows[::2])
    _same_state(used, fresh, rows[::2], devices_only=True)
    _same_state(used, kept, rows[1::2], devices_only=True)
    again = values.chosen(np.isin(values.codes[:, ROW], rows[::2]))
    _same_events(play(used, again), play(fresh, again))
    _same_state(used, fresh, rows[::2], devices_only=True)


def check_ready(build: Build, values: Values) -> None:
    """At first no part is ready, and an event comes only of one that was before its value."""
    detector = opened(build, values)
    assert not detector.ready(slice(0, ROWS)).any()
    for k in range(len(values)):
        was = detector.ready(slice(0, ROWS))
        assert was.shape == (ROWS, len(PARTS))
        for event in play(detector, values.chosen(slice(k, k + 1))):
            part = event.lane if values.kind is Kind.ERROR else PARTS.index(event.channel)
            assert was[event.row, part], "it tells while it calibrates"


def check_told(build: Build, values: Values) -> None:
    """An event names its value, device, part and direction; its numbers are numbers."""
    known = {tuple(code) for code in values.codes[:, [ROW, PART, TIME, SOURCE]].tolist()}
    for event in play(opened(build, values), values):
        part = event.lane if values.kind is Kind.ERROR else PARTS.index(event.channel)
        assert (event.row, part, event.time, event.source) in known
        numbers = [event.before, event.after, event.size, event.magnitude]
        assert np.isfinite(numbers).all(), event
        if event.kind in (UP, DOWN):
            assert (event.after > event.before) == (event.kind is UP)
        assert event.size >= 1
        assert event.magnitude >= 0
        assert values.codes[0, TIME] <= event.since <= event.time
        assert event.signal == values.kind
        assert event.detector
        assert event.version >= 1


def check_recovers(build: Build, values: Values) -> None:
    """However long nothing varied before, a clear change afterwards is told."""
    detector = opened(build, values)
    stuck = values.chosen(slice(None))
    stuck.numbers[:, VALUE] = np.resize(STUCK, len(values))
    if values.kind in (*RATES, Kind.NOISE):
        stuck.numbers[:, VALUE] = np.abs(stuck.numbers[:, VALUE])
    play(detector, stuck)
    value = np.random.default_rng(2).normal(size=2 * STEADY)
    if values.kind in (*LEVELS, Kind.RELATION):
        value[STEADY:] += 4.0
    else:
        value[STEADY:] *= 60.0 if values.kind is Kind.SHAPE else 6.0
    told = play(detector, calm(values.kind, int(values.codes[0, ROW]), value))
    assert any(e.source >= STEADY for e in told if e.kind is not DOWN), "it fell silent"


def unseen(subject: Subject, streams: Iterable[Values]) -> set[EventKind]:
    """Events that the subject declares and that none of the streams brought about."""
    missing = set(subject.outcomes)
    for values in streams:
        if not missing:
            break
        missing -= {event.kind for event in play(opened(subject.build, values), values)}
    return missing
