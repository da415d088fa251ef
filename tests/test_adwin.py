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
from streamgauge.signal import PART, ROW, SOURCE, TIME, UNIT, VALUE, Kind, Signal
from streamgauge.state import put_rows, take_rows

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


def signal_of(values: Floats, row: int = 0, part: int = 0, parts: int = 1) -> Signal:
    """One value after the other, with times and sources that tell them apart."""
    n = len(values)
    signal = Signal(Kind.ERROR, "lanes", ["lane"] * parts, n)
    signal.count[0] = n
    signal.codes[:, ROW], signal.codes[:, PART] = row, part
    signal.codes[:, TIME] = np.arange(n) + 1_000_000
    signal.codes[:, SOURCE] = np.arange(n)
    signal.numbers[:, VALUE], signal.numbers[:, UNIT] = values, 1.0
    return signal


def built(capacity: int, parts: int = 1, **options: Any) -> detector.AdwinDetector:
    """A detector of so many devices and parts."""
    return detector.build(Signal(Kind.ERROR, "lanes", ["lane"] * parts, 1), capacity, **options)


def told(found: detector.AdwinDetector, signal: Signal) -> list[Event]:
    """What the detector says of these values."""
    events = Events(len(signal))
    found.call(signal, events).run()
    return list(events)


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
        found = built(2, **chosen)
        head = found.blocks["windows"].stack[0, 1]
        river = drift.ADWIN(**chosen)
        for begin in range(0, n, 97):
            part = values[begin : begin + 97]
            seen = told(found, signal_of(part, row=1))
            expected = []
            for i, value in enumerate(part.tolist()):
                river.update(value)
                if river.drift_detected:
                    expected.append((i, river.width, river.estimation))
            assert [(e.source, e.size, e.after) for e in seen] == expected
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
        "alarms_per_day": 0.0,
    }


def shifting(n: int = 3000) -> Floats:
    """Errors that grow, shrink and grow."""
    r = np.random.default_rng(3)
    level = np.choose(np.arange(n) // 700 % 3, [1.0, 6.0, 0.5])
    return np.abs(r.normal(size=n) * level)


def test_tells_rise_from_fall() -> None:
    """Events say when, since when, on which reading, in which lane, which way and how far."""
    found = built(3, 6)
    # A long drop comes in several alarms; the first after each change names its direction.
    seen = told(found, signal_of(shifting(), row=2, part=4, parts=6))
    rise, fall = (next(e for e in seen if e.source >= begin) for begin in (700, 1400))
    assert (rise.kind, fall.kind) == (EventKind.DRIFT_UP, EventKind.DRIFT_DOWN)
    assert (rise.severity, fall.severity) == ("alarm", "note")
    assert 700 < rise.source < 900
    assert 1400 < fall.source < 1600
    assert rise.after > 1.5 * rise.before
    assert 0.5 < rise.before < 1.2
    assert rise.magnitude == pytest.approx((rise.after - rise.before) / 3.6, rel=0.2)
    assert fall.after < fall.before
    for event in seen:
        assert (event.row, event.lane, event.time) == (2, 4, event.source + 1_000_000)
        assert (event.signal, event.detector, event.version) == ("error", "adwin", 1)
        assert event.size >= 5
        assert abs(event.time - event.since - (event.size - 1)) < 2
        assert (event.after > event.before) == (event.kind is EventKind.DRIFT_UP)


def test_counts_in_the_unit_of_its_signal() -> None:
    """Means are told in the unit that users know; what is tested is not."""
    signal, scaled = signal_of(shifting()), signal_of(shifting())
    scaled.numbers[:, UNIT] = 4.0
    plain = told(built(1), signal)
    assert [(4 * e.before, 4 * e.after) for e in plain] == [
        (e.before, e.after) for e in told(built(1), scaled)
    ]
    assert plain


def test_deep_windows_move_to_another_row() -> None:
    """A window of 200,000 values, 16 bucket rows deep, goes on elsewhere bit for bit; an evicted
    one starts anew."""
    found, other = built(1), built(3)
    block = found.blocks["windows"]
    steady = signal_of(np.tile([1.0, 1.25, 0.75], 70_000))
    told(found, steady)
    assert block.stack[0, 0, adwin.WIDTH] == len(steady)
    assert block.depth[0] == 2 + int(math.log2(len(steady) / 6))
    put_rows(other.blocks, np.array([2]), take_rows(found.blocks, np.array([0])))
    more = np.tile([2.0, 2.5], 100)
    expected = told(found, signal_of(more))
    seen = told(other, signal_of(more, row=2))
    assert [e.source for e in seen] == [e.source for e in expected] != []
    moved = other.blocks["windows"]
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
        built(1, **chosen)
