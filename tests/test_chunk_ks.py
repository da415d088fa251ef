"""Distances of whole chunks: exact, calibrated on the device itself, told after two in a row."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ks_2samp, wasserstein_distance

from monitoring.detectors import _chunks
from streamgauge import plugins
from streamgauge.events import Event, EventKind, Events
from streamgauge.signal import SOURCE, TIME, UNIT, VALUE, Kind, Signal

Floats = NDArray[np.float64]


def signal_of(values: Floats) -> Signal:
    """Standardised values of one channel, a second apart."""
    signal = Signal(Kind.SHAPE, "channels", ["heat"], len(values))
    signal.count[0] = len(values)
    signal.codes[:, TIME] = 10**15 + np.arange(len(values)) * 1_000_000
    signal.codes[:, SOURCE] = np.arange(len(values))
    signal.numbers[:, VALUE], signal.numbers[:, UNIT] = values, 0.5
    return signal


def told(values: Floats, name: str = "chunk_ks", **options: Any) -> list[Event]:
    """What a new detector says of these values."""
    signal, events = signal_of(values), Events(len(values))
    plugins.load("monitoring.detectors", name).build(signal, 1, **options).call(
        signal, events
    ).run()
    return list(events)


def binned(values: Floats) -> Floats:
    """The bin of each value."""
    found: Floats = np.clip(np.floor((values + 4.0) / 0.25), 0, 31)
    return found


def kolmogorov(new: Floats, old: Floats) -> float:
    """scipy's distance of values in their bins, all ties."""
    return float(ks_2samp(binned(new), binned(old), method="asymp").statistic)


def wasserstein(new: Floats, old: Floats) -> float:
    """scipy's distance of values at the middle of their bins, in a unit of half a deviation."""
    return 0.5 * 0.25 * float(wasserstein_distance(binned(new), binned(old)))


def hellinger(new: Floats, old: Floats) -> float:
    """By the definition, of the shares of the bins."""
    p, q = (np.bincount(binned(x).astype(int), minlength=32) / len(x) for x in (new, old))
    return float(np.sqrt(0.5 * np.sum((np.sqrt(p) - np.sqrt(q)) ** 2)))


DISTANCES = {"chunk_ks": kolmogorov, "wasserstein": wasserstein, "hellinger": hellinger}
every = pytest.mark.parametrize("name", DISTANCES)


@every
@pytest.mark.parametrize("decimals", [1, 2, 6])
def test_the_distance_is_exact_with_ties(name: str, decimals: int) -> None:
    """That of scipy on the same values in their bins, or of the definition; at the first alarm."""
    rng = np.random.default_rng(decimals)
    drawn: Floats = np.clip(rng.normal(size=2_500), -4, 4)
    values = drawn.round(decimals)
    values[2_000:] = rng.uniform(-4, 4, size=500).round(decimals)
    [event] = told(values, name, chunk=250, reference=8)
    assert event.after == pytest.approx(DISTANCES[name](values[2_250:], values[:2_000]), abs=1e-9)
    assert event.before < event.after


@every
def test_few_false_alarms_and_a_skewed_shape_is_found_out(name: str) -> None:
    """None in 300,000 independent values; ten of ten devices within 2,000 after the change."""
    found = 0
    for seed in range(10):
        values = np.random.default_rng(seed).normal(size=32_000)
        values[30_000:] = np.random.default_rng(100 + seed).exponential(size=2_000) - 1.0
        [event] = told(np.clip(values, -4, 4), name)
        found += event.source >= 30_000
    assert found == 10


def test_wasserstein_sees_few_values_that_moved_far() -> None:
    """A twentieth at three deviations is not what Kolmogorov-Smirnov looks at."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=20_000)
    moved = rng.random(8_000) < 0.05
    values[12_000:][moved] = 3.0
    [event] = told(values, "wasserstein")
    assert 12_000 < event.source < 14_500
    assert [e for e in told(values, "chunk_ks") if e.source < 14_500] == []


def test_hellinger_sees_a_gap_that_cancels_out() -> None:
    """Values that leave every other bin for their neighbour."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=20_000)
    late = values[12_000:]
    late[:] = np.floor(late / 0.5) * 0.5 + 0.1
    [event] = told(values, "hellinger")
    assert 12_000 < event.source < 13_500


def test_an_event_says_how_far_apart_and_since_when() -> None:
    """Two chunks in a row; since the first of them began."""
    values = np.random.default_rng(1).normal(size=15_000)
    values[12_000:] = np.random.default_rng(2).exponential(size=3_000) - 1.0
    [event] = told(values)
    assert (event.kind, event.signal, event.channel) == (EventKind.DRIFT, "shape", "heat")
    assert event.source == 12_999
    assert event.since == 10**15 + 12_000 * 1_000_000
    assert event.before < 0.06 < event.after
    assert event.magnitude > 4.0
    assert event.size == 1_000


def test_one_chunk_alone_is_no_alarm() -> None:
    """A single odd chunk passes; it does not become part of what is usual."""
    values = np.random.default_rng(3).normal(size=20_000)
    values[12_000:12_500] = 3.0
    assert told(values) == []
    assert len(told(values, in_a_row=1)) == 1


def test_after_an_alarm_what_is_so_becomes_usual() -> None:
    """One change is told once; the reference begins anew."""
    rng = np.random.default_rng(4)
    values = np.concatenate([rng.normal(size=12_000), rng.uniform(-3, 3, size=20_000)])
    assert len(told(values)) == 1


def test_a_reference_of_two_distributions_is_begun_anew() -> None:
    """A change while it was gathered would hide every later one."""
    rng = np.random.default_rng(5)
    values = np.concatenate(
        [rng.normal(size=5_000), rng.uniform(-3, 3, 22_000), rng.normal(size=3_000)]
    )
    [event] = told(values)
    assert event.source > 27_000


def test_counts_are_whole_in_the_state() -> None:
    """Two counts in one number: neither spills into the other after the longest chunk."""
    assert _chunks._PACKED > 1_000_000
    assert 1_000 * 1_000_000 * _chunks._PACKED < 2.0**53 * 2.0**10
    assert math.log2(_chunks._PACKED).is_integer()


@every
@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Kind.ERROR, {}, "not error"),
        (Kind.SHAPE, {"chunk": 1}, "chunk is 1"),
        (Kind.SHAPE, {"reference": 2}, "reference is 2"),
        (Kind.SHAPE, {"deviations": 0.0}, "deviations is 0.0"),
        (Kind.SHAPE, {"in_a_row": 0}, "in_a_row is 0"),
    ],
)
def test_refuses_settings_without_sense(
    name: str, kind: Kind, options: dict[str, Any], message: str
) -> None:
    """With what was found and what to write."""
    with pytest.raises(ValueError, match=message):
        plugins.load("monitoring.detectors", name).build(
            Signal(kind, "channels", ["heat"], 1), 1, **options
        )
