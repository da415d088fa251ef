"""CUSUM of a standardised residual: its threshold, and what it says."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring.detectors import cusum
from streamgauge.events import Event, EventKind, Events
from streamgauge.signal import SEEN, SOURCE, TIME, UNIT, USUAL, VALUE, Kind, Signal

Floats = NDArray[np.float64]
SECOND = 1_000_000
DAY = 86_400 * SECOND


def signal_of(values: Floats, kind: Kind = Kind.LEVEL, gap: int = 60 * SECOND) -> Signal:
    """Residuals around a usual level of 20, of which a standard deviation is 0.5."""
    signal = Signal(kind, "channels", ["heat"], len(values))
    signal.count[0] = len(values)
    signal.codes[:, TIME] = 10**15 + np.arange(len(values)) * gap
    signal.codes[:, SOURCE] = np.arange(len(values))
    signal.numbers[:, VALUE], signal.numbers[:, UNIT] = values, 0.5
    signal.numbers[:, SEEN], signal.numbers[:, USUAL] = 20.0 + 0.5 * values, 20.0
    return signal


def told(signal: Signal, **options: Any) -> list[Event]:
    """What a new detector says of these values."""
    events = Events(len(signal))
    cusum.build(signal, 1, **options).call(signal, events).run()
    return list(events)


def plain(values: Floats, k: float, h: float) -> list[tuple[int, bool]]:
    """Place and direction of the first alarm of the textbook's two sums."""
    rise = fall = 0.0
    for i, value in enumerate(values.tolist()):
        rise, fall = max(0.0, rise + value - k), max(0.0, fall - value - k)
        if max(rise, fall) > h:
            return [(i, rise > fall)]
    return []


def normal(n: int, seed: int = 1) -> Floats:
    """Values of which nothing is to be said."""
    return np.random.default_rng(seed).normal(size=n)


@pytest.mark.parametrize("shift", [1.0, -1.0])
def test_alarms_where_the_textbook_does(shift: float) -> None:
    """The first alarm of two plain sums, a few values apart: the centre is learned."""
    values = normal(3_000)
    values[2_000:] += shift
    [first, *_] = told(signal_of(values))
    [(place, rose)] = plain(values, 0.1, 40.0)
    assert abs(first.source - place) <= 25
    assert first.kind is (EventKind.DRIFT_UP if rose else EventKind.DRIFT_DOWN)


def test_an_event_says_what_changed_how_far_and_since_when() -> None:
    """In the unit of the channel, against what was usual at these times."""
    values = normal(4_000)
    values[2_000:] += 2.0
    [event] = told(signal_of(values))
    assert (event.kind, event.signal, event.channel) == (EventKind.DRIFT_UP, "level", "heat")
    assert (event.detector, event.version, event.severity) == ("cusum", cusum.VERSION, "alarm")
    assert event.before == pytest.approx(20.0, abs=0.05)
    assert event.after == pytest.approx(21.0, abs=0.2)
    assert event.magnitude == pytest.approx(2.0, abs=0.4)
    began = 10**15 + 2_000 * 60 * SECOND
    assert abs(event.since - began) <= 25 * 60 * SECOND
    assert event.time == 10**15 + event.source * 60 * SECOND
    assert event.size == pytest.approx((event.time - event.since) / (60 * SECOND) + 1)


def test_one_shift_is_told_once_and_the_way_back_is_another() -> None:
    """What is so after an alarm is usual then; the next change counts from there."""
    values = normal(12_000, 3)
    values[2_000:7_000] += 1.5
    up, down = told(signal_of(values))
    assert (up.kind, down.kind) == (EventKind.DRIFT_UP, EventKind.DRIFT_DOWN)
    assert down.source > 7_000
    assert down.before == pytest.approx(up.after, abs=0.25)
    assert down.after == pytest.approx(20.0, abs=0.25)


def test_noise_that_grows_and_shrinks() -> None:
    """The size of residuals has a mean that is learned first."""
    values = normal(20_000, 4)
    values[6_000:12_000] *= 1.5
    rise, fall = told(signal_of(np.minimum(np.abs(values), 4.0), Kind.NOISE))
    assert (rise.kind, fall.kind) == (EventKind.DRIFT_UP, EventKind.DRIFT_DOWN)
    assert 6_000 < rise.source < 6_300
    assert 12_000 < fall.source < 12_500


@pytest.mark.parametrize(("k", "values"), [(0.1, 1e5), (0.25, 1e4), (0.05, 1e6)])
def test_the_threshold_is_siegmund_s(k: float, values: float) -> None:
    """Put into the formula for one side, it gives twice as many values between alarms."""
    b = cusum.threshold(k, values) + 1.166
    length = (math.exp(2 * k * b) - 2 * k * b - 1) / (2 * k * k)
    assert length == pytest.approx(2 * values, rel=1e-3)


def test_false_alarms_come_as_often_as_the_threshold_says() -> None:
    """A hundred devices of independent values at the threshold for one in 2,000: no more of them,
    and not much fewer, though the scatter is learned."""
    h = cusum.threshold(0.25, 2_000.0)
    signal = Signal(Kind.LEVEL, "channels", ["heat"], 400_000)
    signal.count[0] = 400_000
    signal.codes[:, 0] = np.tile(np.arange(100), 4_000)
    signal.numbers[:, VALUE] = normal(400_000, 5)
    events = Events(400_000)
    cusum.build(signal, 100, k=0.25, h=h, hold=0).call(signal, events).run()
    assert 40 <= len(events) <= 1.2 * 400_000 / 2_000


@pytest.mark.parametrize("gap", [10 * SECOND, 3_600 * SECOND])
def test_a_budget_per_day_counts_by_how_often_values_come(gap: int) -> None:
    """The same budget alarms as `h` from the number of values in a day."""
    values = normal(9_000, 6)
    values[7_000:] += 0.8
    by_day = told(signal_of(values, gap=gap), h=10.0, alarms_per_day=0.01)
    by_h = told(signal_of(values, gap=gap), h=cusum.threshold(0.1, DAY / gap / 0.01))
    assert [e.source for e in by_day] == [e.source for e in by_h] != []
    lenient = told(signal_of(values, gap=gap), alarms_per_day=1e5)
    assert [e.source for e in lenient] == [e.source for e in told(signal_of(values, gap=gap))]


def test_values_that_are_not_independent_are_believed_less() -> None:
    """A residual that still wanders gives a fraction of the alarms that plain sums would."""
    values = normal(60_000, 7)
    for i in range(1, len(values)):
        values[i] += 0.6 * values[i - 1]
    values *= 0.8
    assert len(plain(values[:5_000], 0.1, 40.0)) == 1
    assert len(told(signal_of(values))) <= 2


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Kind.ERROR, {}, "use adwin"),
        (Kind.LEVEL, {"k": 0.0}, "k is 0.0"),
        (Kind.LEVEL, {"h": 3.0}, "at least 10"),
        (Kind.LEVEL, {"hold": -1}, "hold is -1"),
        (Kind.LEVEL, {"alarms_per_day": -1.0}, "alarms_per_day is -1.0"),
    ],
)
def test_refuses_settings_without_sense(kind: Kind, options: dict[str, Any], message: str) -> None:
    """With what was found and what to write."""
    with pytest.raises(ValueError, match=message):
        cusum.build(Signal(kind, "channels", ["heat"], 1), 1, **options)
