"""Slow trends: the test as Mann, Kendall, Sen, Yue and Wang gave it, and what it finds."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.stats import kendalltau, rankdata, theilslopes

from monitoring.detectors import mann_kendall
from streamgauge.events import Event, EventKind
from streamgauge.signal import SEEN, Kind, Signal
from tests.test_window_detectors import DAY, START, signal_of, told

Floats = NDArray[np.float64]
few = settings(deadline=None, max_examples=60, derandomize=True)
whole = st.lists(st.integers(-4, 4), min_size=8, max_size=30)


@few
@given(whole)
def test_pairs_and_their_variance_are_scipys(values: list[int]) -> None:
    """With ties: the probability of Kendall's tau against time."""
    y = np.array(values, float)
    rising, variance = mann_kendall.trend(y)
    if variance == 0.0:
        assert len(set(values)) == 1
        return
    wanted = kendalltau(np.arange(len(y)), y, method="asymptotic").pvalue
    assert math.erfc(abs(rising) / math.sqrt(2.0 * variance)) == pytest.approx(wanted, rel=1e-9)


@few
@given(whole)
def test_the_slope_is_scipys(values: list[int]) -> None:
    """The median of all pairs, at times with gaps."""
    y = np.array(values, float)
    t = np.cumsum(1.0 + np.arange(len(y)) % 3)
    assert mann_kendall.slope(t, y) == pytest.approx(theilslopes(y, t).slope, abs=1e-12)


@few
@given(whole)
def test_the_inflation_is_that_of_the_paper(values: list[int]) -> None:
    """Of the ranks around the line, by their autocorrelation with its bias taken out."""
    y = np.array(values, float)
    n, t = len(y), np.arange(len(y), dtype=float)
    ranks = rankdata(y - 0.5 * t) - (n + 1) / 2
    rho = float(np.sum(ranks[1:] * ranks[:-1]) / max(np.sum(ranks**2), 1e-300))
    rho = min(max((n * rho + 2) / (n - 4), 0.0), 0.95)
    k = np.arange(1, n)
    wanted = 1.0 + 2.0 * float(np.sum((1 - k / n) * rho**k))
    assert mann_kendall.inflation(t, y, 0.5) == pytest.approx(wanted, rel=1e-9)


def hourly(days: int, devices: int, seed: int, *, rise: float = 0.0, phi: float = 0.0) -> Signal:
    """24 values a day with a daily cycle; means of days, scattered around a line, that rise by so
    many of their deviations in 28 days and depend on the day before by `phi`."""
    rng = np.random.default_rng(seed)
    driven = rng.normal(size=(days + 50, devices)) * math.sqrt(1.0 - phi * phi)
    means = lfilter([1.0], [1.0, -phi], driven, axis=0)[50:]
    means += rise * np.arange(days)[:, None] / 28.0
    of_day = 5.0 * np.sin(2.0 * np.pi * np.arange(24) / 24.0)
    values = (means[:, None, :] + of_day[None, :, None]).reshape(24 * days, devices)
    return signal_of(values, gap=DAY // 24)


def share(days: int, **made: Any) -> float:
    """The share of 300 devices of which a trend is told."""
    return len({e.row for e in told("mann_kendall", hourly(days, 300, 1, **made))}) / 300


def test_false_alarms_beside_what_is_found() -> None:
    """At the same threshold: 14 tests of a device without a trend, and 33 of one with it."""
    assert share(42) <= 0.01
    assert share(42, phi=0.5) <= 0.05
    assert share(60, rise=4.0) >= 0.95
    assert share(60, rise=8.0, phi=0.5) >= 0.9


def test_dependent_days_would_be_taken_for_a_trend() -> None:
    """Without what is added to the variance there are several times as many alarms."""
    series = lfilter([1.0], [1.0, -0.5], np.random.default_rng(2).normal(size=(600, 80)))[:, -28:]
    t, plain, held = np.arange(28.0), 0, 0
    for y in series:
        rising, variance = mann_kendall.trend(y)
        far = (abs(rising) - 1.0) / math.sqrt(variance)
        more = mann_kendall.inflation(t, y, mann_kendall.slope(t, y))
        plain += math.erfc(far / math.sqrt(2.0)) < 0.001
        held += math.erfc(far / math.sqrt(2.0 * more)) < 0.001
    assert plain > 4 * held


def test_an_event_gives_both_ends_of_the_line() -> None:
    """In the unit of the channel, since the first day of it."""
    days = np.arange(40.0)
    signal = signal_of(np.repeat(days, 24), gap=DAY // 24)
    [event] = told("mann_kendall", signal)
    assert (event.kind, event.signal, event.size) == (EventKind.DRIFT_UP, "level", 28.0)
    assert event.before == pytest.approx(20.0)
    assert event.after == pytest.approx(20.0 + 0.5 * 27)
    assert event.since == START
    assert event.time == signal.codes[event.source, 2]
    assert event.magnitude > 6.0


def test_a_fall_of_an_error_is_told_as_one() -> None:
    """It is good news."""
    signal = signal_of(np.repeat(50.0 - np.arange(40.0), 24), Kind.ERROR, DAY // 24)
    signal.numbers[:, SEEN] = signal.numbers[:, 0]
    [event] = told("mann_kendall", signal)
    assert (event.kind, event.severity) == (EventKind.DRIFT_DOWN, "note")


def test_days_without_values_are_gaps() -> None:
    """The line goes through the days that there were."""
    days = np.repeat(np.arange(60.0), 24)
    signal = signal_of(days, gap=DAY // 24)
    kept = np.flatnonzero(days % 2 == 0)
    signal.codes[: len(kept)], signal.numbers[: len(kept)] = (
        signal.codes[kept],
        signal.numbers[kept],
    )
    signal.count[0] = len(kept)
    [event] = told("mann_kendall", signal)
    assert event.after - event.before == pytest.approx(0.5 * 54)


def test_a_budget_lowers_the_probability() -> None:
    """To the tests that there are a day."""
    assert found(alarms_per_day=1e-5) < found(alarms_per_day=0.0)


def found(**options: Any) -> int:
    """Alarms of 100 devices with a faint trend."""
    events: list[Event] = told("mann_kendall", hourly(60, 100, 3, rise=2.5), **options)
    return len(events)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Kind.SHAPE, {}, "use chunk_ks"),
        (Kind.LEVEL, {"block": 0.0}, "block is 0"),
        (Kind.LEVEL, {"blocks": 4}, "blocks is 4"),
        (Kind.LEVEL, {"p_value": 0.5}, "p_value is 0.5"),
        (Kind.LEVEL, {"alarms_per_day": -1.0}, "alarms_per_day is -1"),
    ],
)
def test_refuses_settings_without_sense(kind: Kind, options: dict[str, Any], message: str) -> None:
    """With what was found and what to write."""
    with pytest.raises(ValueError, match=message):
        told("mann_kendall", signal_of(np.zeros(10), kind), **options)
