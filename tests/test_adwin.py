import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from river import drift

from monitoring.detectors import adwin as detector
from streamgauge import adwin
from streamgauge.events import Event, EventKind, Events
from streamgauge.plugins import options
from streamgauge.schedule import DUE, LANE, RESIDUAL, ROW, SOURCE, STEP, Schedule
from streamgauge.words import Step

Floats = NDArray[np.float64]


def streams(n: int) -> Iterator[Floats]:
    """Steady, shifted, wandering, alternating, wildly scaled and outlier-ridden numbers."""
    r = np.random.default_rng(7)
    shifted = r.normal(size=n)
    shifted[n // 2 :] += 1.0
    outliers = np.full(n, 3.7)
    outliers[n // 4 : n // 2 : 7] = 1e9
    yield np.abs(r.normal(size=n))
    yield shifted
    yield np.cumsum(r.normal(size=n)) * 0.1
    yield (r.random(n) < np.where(np.arange(n) // 3000 % 2, 0.1, 0.6)).astype(float)
    yield r.normal(size=n) * np.exp(r.normal(size=n) * 3)
    yield outliers


def schedule_of(residuals: Floats, row: int = 0, lane: int = 0) -> Schedule:
    """One labelled step per residual, with times and sources that tell the steps apart."""
    n = len(residuals)
    schedule = Schedule(n, 1)
    schedule.n = n
    schedule.codes[:, STEP] = np.where(np.arange(n) % 3 == 0, Step.SCORE, Step.LEARN)
    schedule.codes[:, ROW], schedule.codes[:, LANE] = row, lane
    schedule.codes[:, DUE] = np.arange(n) + 1_000_000
    schedule.codes[:, SOURCE] = np.arange(n)
    schedule.numbers[:, RESIDUAL] = residuals
    return schedule


SETTINGS: list[tuple[int, dict[str, Any]]] = [
    (60_000, {}),
    (8_000, {"delta": 0.05, "clock": 1}),
    (8_000, {"clock": 8, "max_buckets": 3, "min_window_length": 2, "grace_period": 0}),
    (8_000, {"delta": 0.3, "clock": 1, "max_buckets": 10, "min_window_length": 1}),
    (4_000, {"delta": 0.01, "clock": 1, "max_buckets": 2, "grace_period": 0}),
]


@pytest.mark.parametrize(("n", "chosen"), SETTINGS)
def test_agrees_with_river_to_the_last_bit(n: int, chosen: dict[str, Any]) -> None:
    """Every alarm, and width, total and variance every 97 values, equal River's."""
    alarms = 0
    for values in streams(n):
        found = detector.build(0, 2, **chosen)
        head = found.blocks["adwin"].stack[0, 1]
        river = drift.ADWIN(**chosen)
        events = Events(n)
        for begin in range(0, n, 97):
            part = values[begin : begin + 97]
            # The sign of a residual does not matter.
            schedule = schedule_of(part * (-1.0) ** np.arange(len(part)), row=1)
            events.clear()
            assert found.process(schedule, 0, events) == len(part)
            expected = []
            for i, value in enumerate(np.abs(part).tolist()):
                river.update(value)
                if river.drift_detected:
                    expected.append((i, river.width, river.estimation))
            assert [(e.source, e.size, e.after) for e in events] == expected
            assert head[adwin.WIDTH] == river.width
            assert head[adwin.TOTAL] == river.total
            assert head[adwin.VARIANCE] == river.variance
            alarms += len(expected)
    assert alarms >= 10


def test_options_and_defaults_are_rivers() -> None:
    """Who knows River's ADWIN knows this one."""
    river = drift.ADWIN()
    assert {name: p.default for name, p in options(detector).items()} == {
        "delta": river.delta,
        "clock": river.clock,
        "max_buckets": river.max_buckets,
        "min_window_length": river.min_window_length,
        "grace_period": river.grace_period,
    }


def shifting(n: int = 3000) -> Floats:
    """Residuals whose size rises, falls and rises, with gaps."""
    r = np.random.default_rng(3)
    level = np.choose(np.arange(n) // 700 % 3, [1.0, 6.0, 0.5])
    residuals = r.normal(size=n) * level
    residuals[r.random(n) < 0.05] = np.nan
    residuals[100] = math.inf
    return residuals


def test_tells_rise_from_fall() -> None:
    """Events say when, on which reading, in which lane, in which direction and how far."""
    events = Events(64)
    found = detector.build(4, 3)
    schedule = schedule_of(shifting(), row=2, lane=4)
    assert found.process(schedule, 0, events) == schedule.n
    # A long drop comes in several alarms; the first after each change names its direction.
    seen = list(events)
    first = [next(e for e in seen if e.source >= begin) for begin in (700, 1400)]
    rise, fall = first
    assert (rise.kind, fall.kind) == (EventKind.DRIFT_UP, EventKind.DRIFT_DOWN)
    assert 700 < rise.source < 900
    assert 1400 < fall.source < 1600
    assert rise.after > 1.5 * rise.before
    assert 0.5 < rise.before < 1.2
    assert fall.after < fall.before
    for event in seen:
        assert (event.row, event.lane, event.time) == (2, 4, event.source + 1_000_000)
        assert event.size >= 5
        assert (event.after > event.before) == (event.kind is EventKind.DRIFT_UP)


def test_looks_at_labelled_steps_of_its_lane_only() -> None:
    """Other lanes, predictions, expired labels and residuals that are not finite leave no trace."""
    residuals = shifting()
    noisy = Schedule(4 * len(residuals), 1)
    noisy.n = noisy.capacity
    noisy.numbers[:, RESIDUAL] = 1e6
    noisy.codes[0::4, STEP], noisy.codes[1::4, STEP] = Step.PREDICT, Step.EXPIRE
    noisy.codes[2::4, STEP], noisy.codes[2::4, LANE] = Step.LEARN, 1
    alone = schedule_of(residuals)
    noisy.codes[3::4], noisy.numbers[3::4] = alone.codes, alone.numbers
    first, second = detector.build(0, 1), detector.build(0, 1)
    events, others = Events(64), Events(64)
    first.process(alone, 0, events)
    second.process(noisy, 0, others)
    assert len(events) > 1
    assert list(events) == list(others)
    same_state(first, second)
    finite = np.isfinite(residuals).sum()
    kept = first.blocks["adwin"].stack[0, 0, adwin.TICK]
    assert 0 < kept <= finite


def same_state(first: detector.AdwinDetector, second: detector.AdwinDetector) -> None:
    """Both detectors' windows agree in every bit."""
    one, other = first.blocks["adwin"], second.blocks["adwin"]
    np.testing.assert_array_equal(one.stack, other.stack)
    np.testing.assert_array_equal(one.depth, other.depth)


@pytest.mark.parametrize("size", [1, 7, 500])
def test_cuts_change_neither_events_nor_state(size: int) -> None:
    """A stream of three devices gives the same bits however it is cut."""
    residuals = shifting()
    whole = schedule_of(residuals)
    whole.codes[:, ROW] = np.random.default_rng(5).integers(0, 3, whole.n)
    first, second = detector.build(0, 3), detector.build(0, 3)
    events = Events(64)
    first.process(whole, 0, events)
    expected, seen = list(events), list[Event]()
    for begin in range(0, whole.n, size):
        part = schedule_of(residuals[begin : begin + size])
        part.codes[:] = whole.codes[begin : begin + size]
        events.clear()
        second.process(part, 0, events)
        seen += events
    assert len(expected) > 3
    assert seen == expected
    same_state(first, second)


def test_resumes_where_the_log_was_full() -> None:
    """A log with room for one event at a time loses nothing."""
    schedule = schedule_of(shifting())
    first, second = detector.build(0, 1), detector.build(0, 1)
    events, small = Events(64), Events(1)
    first.process(schedule, 0, events)
    seen, start = list[Event](), 0
    while start < schedule.n:
        start = second.process(schedule, start, small)
        seen += small
        small.clear()
    assert len(seen) > 3
    assert seen == list(events)
    same_state(first, second)


def test_deep_windows_move_to_another_row() -> None:
    """A window of 200,000 values, 16 bucket rows deep, goes on elsewhere bit for bit; an evicted
    one starts anew."""
    found, other = detector.build(0, 1), detector.build(0, 3)
    block, moved = found.blocks["adwin"], other.blocks["adwin"]
    steady = schedule_of(np.tile([1.0, 1.25, 0.75], 70_000))
    events = Events(4)
    found.process(steady, 0, events)
    assert block.stack[0, 0, adwin.WIDTH] == steady.n
    assert block.depth[0] == 2 + int(math.log2(steady.n / 6))
    moved.put(np.array([2]), block.take(np.array([0])))
    more = schedule_of(np.tile([2.0, 2.5], 100))
    found.process(more, 0, events)
    expected = list(events)
    more.codes[:, ROW] = 2
    events.clear()
    other.process(more, 0, events)
    assert [e.source for e in events] == [e.source for e in expected] != []
    np.testing.assert_array_equal(moved.stack[:, 2], block.stack[:, 0])
    moved.reset(np.array([2]))
    assert not moved.stack.any()


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"delta": 0.0}, "delta is 0.0"),
        ({"delta": 1.5}, "between 0 and 1"),
        ({"clock": 0}, "clock is 0"),
        ({"max_buckets": 1}, "at least 2"),
        ({"min_window_length": 0}, "min_window_length is 0"),
        ({"grace_period": -1}, "grace_period is -1"),
    ],
)
def test_refuses_settings_without_sense(chosen: dict[str, Any], message: str) -> None:
    """Settings that River would take and fail with later are refused at once."""
    with pytest.raises(ValueError, match=message):
        detector.build(0, 1, **chosen)
