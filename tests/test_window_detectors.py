"""Detectors on windows: exact statistics, and false alarms beside delays at the same thresholds."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from river import drift
from scipy.signal import lfilter
from scipy.stats import chi2, ks_2samp

from monitoring.detectors import _ks, _windows, kswin, psi
from streamgauge import plugins
from streamgauge.events import Event, EventKind, Events
from streamgauge.signal import ROW, SEEN, SOURCE, TIME, UNIT, VALUE, Kind, Signal

Floats = NDArray[np.float64]
SECOND = 1_000_000
START = 1_700_006_400 * SECOND
DAY = 86_400 * SECOND
few = settings(deadline=None, max_examples=60, derandomize=True)


def signal_of(values: Floats, kind: Kind = Kind.LEVEL, gap: int = 60 * SECOND) -> Signal:
    """float64[n, devices] or float64[n]: values of one channel, of devices in turn."""
    n, devices = values.shape if values.ndim == 2 else (len(values), 1)
    signal = Signal(kind, "channels", ["heat"], n * devices)
    signal.count[0] = n * devices
    signal.codes[:, ROW] = np.tile(np.arange(devices), n)
    signal.codes[:, TIME] = START + np.repeat(np.arange(n), devices) * gap
    signal.codes[:, SOURCE] = np.arange(n * devices)
    signal.numbers[:, VALUE], signal.numbers[:, UNIT] = values.ravel(), 0.5
    signal.numbers[:, SEEN] = 20.0 + 0.5 * values.ravel()
    return signal


def told(name: str, signal: Signal, **options: Any) -> list[Event]:
    """What a new detector says of these values."""
    events = Events(len(signal))
    rows = int(signal.codes[:, ROW].max()) + 1
    plugins.load("monitoring.detectors", name).build(signal, rows, **options).call(
        signal, events
    ).run()
    return list(events)


@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_the_distance_is_scipys_with_and_without_ties(decimals: int) -> None:
    """Of samples of any sizes."""
    rng = np.random.default_rng(decimals)
    for n, m in ((10, 10), (30, 70), (200, 1_000), (2, 5)):
        a, b = (np.sort(rng.normal(size=k).round(decimals)) for k in (n, m))
        wanted = ks_2samp(a, b, method="asymp").statistic
        assert _ks.distance(a, b) == pytest.approx(wanted, abs=1e-12)


@few
@given(
    st.lists(st.integers(-3, 3), min_size=2, max_size=40),
    st.lists(st.integers(-3, 3), min_size=2, max_size=40),
)
def test_any_ties(a: list[int], b: list[int]) -> None:
    """Of whole numbers, nearly all of which are equal."""
    ours = _ks.distance(np.sort(np.array(a, float)), np.sort(np.array(b, float)))
    assert ours == pytest.approx(ks_2samp(a, b, method="asymp").statistic, abs=1e-12)


def apart(n: int, m: int, distance: float) -> tuple[Floats, Floats]:
    """Two samples without ties that are just so far apart, but for one step."""
    a, b = np.arange(n) / n, np.arange(m) / m + 1e-6
    a = np.where(a < distance, a - 2.0, a)
    return np.sort(a), np.sort(b)


@pytest.mark.parametrize(("n", "m"), [(100, 500), (200, 1_000), (500, 1_000)])
def test_the_probability_of_a_distance_is_the_exact_one(n: int, m: int) -> None:
    """Where it decides, from a tenth to a millionth, within a sixth part."""
    compared = 0
    for distance in np.arange(0.05, 0.5, 0.01):
        a, b = apart(n, m, float(distance))
        found = ks_2samp(a, b, method="exact")
        if 1e-6 <= found.pvalue <= 0.1:
            ours = _ks.probability(float(found.statistic), n, m)
            assert ours == pytest.approx(found.pvalue, rel=0.17), distance
            compared += 1
    assert compared > 4


@pytest.mark.parametrize("decimals", [0, 1, 9])
@pytest.mark.parametrize("bins", [2, 10, 17])
def test_the_index_is_that_of_the_definition(decimals: int, bins: int) -> None:
    """With bins at quantiles of the reference, which ties make fewer."""
    rng = np.random.default_rng(bins)
    old = np.sort(rng.normal(size=1_000).round(decimals))
    new = rng.normal(0.3, 1.2, size=500).round(decimals)
    edges = np.unique(np.quantile(old, np.arange(1, bins) / bins, method="inverted_cdf"))
    shares = [
        np.maximum(np.bincount(np.searchsorted(edges, x), minlength=len(edges) + 1), 0.5) / len(x)
        for x in (old, new)
    ]
    p, q = shares
    found, freedom = psi.index(old, new, bins)
    assert found == pytest.approx(float(np.sum((q - p) * np.log(q / p))), rel=1e-12)
    assert freedom == len(edges)


@few
@given(st.floats(0.0, 300.0), st.integers(1, 60))
def test_the_critical_value_is_chi_squared(x: float, freedom: int) -> None:
    """Its tail, for every number of degrees of freedom."""
    assert psi.probability(x, freedom) == pytest.approx(chi2.sf(x, freedom), rel=1e-9)


@pytest.mark.parametrize("n", [5, 10, 30, 100])
@pytest.mark.parametrize("alpha", [0.05, 0.005, 1e-4])
def test_kswin_compares_with_the_exact_critical_distance(n: int, alpha: float) -> None:
    """The least that scipy calls so improbable."""
    h = kswin.least(alpha, n)
    values = np.arange(float(n))
    for steps, alarms in ((h, True), (h - 1, False)):
        if steps <= n:
            found = ks_2samp(values + 0.5, values + steps, method="exact")
            small = found.pvalue <= alpha and found.statistic > 0.1
            assert (round(found.statistic * n), small) == (steps, alarms)


@dataclass
class Drawing:
    """River's generator, replaced by the draws of the kernel."""

    kswin: Any
    seed: int

    def sample(self, places: range, wanted: int) -> list[int]:
        found = np.empty(len(places), np.int64)
        kswin.draw(found, wanted, self.seed, self.kswin.n)
        assert len(set(found[:wanted].tolist())) == wanted
        assert set(found.tolist()) == set(places)
        return found[:wanted].tolist()


def streams(n: int) -> Iterator[Floats]:
    """Steady, shifted, stuck, and of few different values."""
    rng = np.random.default_rng(1)
    steps = np.arange(n) // 300 % 2
    yield rng.normal(size=n)
    yield rng.normal(size=n) + steps
    yield np.full(n, 3.0)
    yield (rng.integers(0, 3, n) + steps).astype(float)


@pytest.mark.parametrize(
    "options",
    [{}, {"alpha": 0.05, "window_size": 40, "stat_size": 12}, {"seed": 7, "alpha": 1e-4}],
)
def test_kswin_alarms_as_river_does(options: dict[str, Any]) -> None:
    """At every value, given the same draws."""
    seen = 0
    for values in streams(1_500):
        river = drift.KSWIN(**options)
        wanted = []
        for i, value in enumerate(values.tolist()):
            if river.drift_detected:
                river._reset()
                river._drift_detected = False
            river._rng = Drawing(river, options.get("seed", 0))
            river.update(value)
            if river.drift_detected:
                wanted.append(i)
        assert [e.source for e in told("kswin", signal_of(values), **options)] == wanted
        seen += len(wanted)
    assert seen > 3


MOST = {"window_ks": 0.4, "psi": 0.4, "kswin": 150.0}
"""False alarms per 100,000 independent values. A comparison in 50 or 100 values at a probability of
0.0001 gives up to 0.2; those of KSWIN, at each value, River's."""
LATE = {"window_ks": 150, "psi": 260, "kswin": 60}
"""Values until a shift by one standard deviation is told, in the median."""


@pytest.mark.parametrize("name", MOST)
@pytest.mark.parametrize("decimals", [1, 9])
def test_false_alarms_are_as_many_as_was_said_beside_delays(name: str, decimals: int) -> None:
    """In 500,000 independent values, rounded and not; and every shift is found out at the same
    thresholds."""
    rng = np.random.default_rng(3)
    quiet = rng.normal(size=(10_000, 50)).round(decimals)
    assert len(told(name, signal_of(quiet))) / 5.0 <= MOST[name]
    moved = rng.normal(size=(4_000, 50)).round(decimals)
    moved[2_000:] += 1.0
    late: dict[int, int] = {}
    for event in told(name, signal_of(moved)):
        at = (event.time - START) // (60 * SECOND) - 2_000
        if at >= 0 and event.kind is EventKind.DRIFT_UP:
            late.setdefault(event.row, at)
    assert len(late) >= 49
    assert np.median(list(late.values())) <= LATE[name]


@pytest.mark.parametrize("name", ["window_ks", "psi"])
def test_the_p_value_is_the_share_of_comparisons_that_alarm(name: str) -> None:
    """Of windows that do not overlap, each against a reference of its own device."""
    rng = np.random.default_rng(4)
    options = {"reference": 500, "window": 250, "every": 250, "p_value": 0.02}
    alarms = len(told(name, signal_of(rng.normal(size=(750, 2_000))), **options))
    assert alarms / 2_000 == pytest.approx(0.02, abs=0.008)


def autocorrelated(phi: float, n: int, devices: int) -> Floats:
    """AR(1) of unit variance."""
    noise = np.random.default_rng(11).normal(size=(n + 200, devices))
    found: Floats = lfilter([np.sqrt(1.0 - phi * phi)], [1.0, -phi], noise, axis=0)[200:]
    return found


@pytest.mark.parametrize(("phi", "many"), [(0.0, 1.0), (0.5, 3.0), (0.8, 9.0)])
def test_how_many_values_count_as_one(phi: float, many: float) -> None:
    """Of an AR(1) it is (1 + phi) / (1 - phi); of what does not vary each does."""
    values = autocorrelated(phi, 40_000, 1)[:, 0]
    assert _windows.as_one(values - values.mean()) == pytest.approx(many, rel=0.1)
    assert _windows.as_one(np.zeros(50)) == 1.0


@pytest.mark.parametrize("name", ["window_ks", "psi"])
def test_values_that_depend_on_each_other_are_believed_less(name: str) -> None:
    """In 200,000 values of an AR(1) of 0.7 hardly an alarm, where thousands of comparisons are
    made as if they were independent; and a change of one deviation is told all the same."""
    values = autocorrelated(0.7, 10_000, 20)
    assert len(told(name, signal_of(values))) <= 6
    values[5_000:] += 1.5
    found = {e.row for e in told(name, signal_of(values)) if e.source >= 100_000}
    assert len(found) >= 15


def test_a_budget_lowers_the_probability_by_how_often_values_come() -> None:
    """One alarm a day of values a minute with a comparison in fifty of them is one in 28.8."""
    values = np.random.default_rng(5).normal(size=5_000)
    signal = signal_of(values)
    for budget, wanted in ((1.0, 0.1), (0.144, 0.005), (0.0, 0.1)):
        found = plugins.load("monitoring.detectors", "window_ks").build(
            signal, 1, p_value=0.1, alarms_per_day=budget
        )
        found.call(signal, Events(len(signal))).run()
        own = found.blocks["state"].view("state")[0, 0]
        limits = np.array([0.1, budget, 1_000, 200, 50, 1, 0])
        expected = min(0.1, budget / 28.8) if budget else 0.1
        assert _windows.allowed(own, limits) == pytest.approx(expected, rel=1e-6)
        assert expected == pytest.approx(wanted, rel=1e-6) or budget == 1.0


def test_values_of_one_instant_do_not_end_the_budget() -> None:
    """Two values with one time come before regular ones: how often they come is learned all the
    same."""
    values = np.random.default_rng(6).normal(size=6_000)
    values[3_000:] += 2.0
    signal = signal_of(values)
    signal.codes[1, TIME] = signal.codes[0, TIME]
    for name in ("window_ks", "psi", "cusum"):
        assert told(name, signal, alarms_per_day=0.01), name


@pytest.mark.parametrize("name", ["window_ks", "psi"])
def test_the_time_of_day_does_not_alarm_where_seasons_are_told_apart(name: str) -> None:
    """Twice as much noise by day as by night; with seasons a change is told within a day. Without
    them it is no alarm either: values of one half of a day depend on each other."""
    rng = np.random.default_rng(7)
    time = np.arange(20 * 1_440)
    by_day = np.where(time % 1_440 < 720, 1.0, 2.0)
    values = rng.normal(size=len(time)) * by_day
    signal = signal_of(values, Kind.SHAPE)
    assert told(name, signal) == told(name, signal, seasons=2, p_value=1e-5) == []
    values[15 * 1_440 :] *= 3.0
    [first, *_] = told(name, signal_of(values, Kind.SHAPE), seasons=2, p_value=1e-5)
    assert 15 * 1_440 <= first.source < 15 * 1_440 + 1_440


@pytest.mark.parametrize("name", ["window_ks", "psi", "kswin"])
def test_an_event_says_what_changed_and_since_when(name: str) -> None:
    """Means in the unit of the channel; of a shape how far apart, and how far by chance."""
    values = np.random.default_rng(8).normal(size=4_000)
    values[2_000:] += 3.0
    options = {"alpha" if name == "kswin" else "p_value": 1e-5}
    [event] = told(name, signal_of(values), **options)
    assert (event.kind, event.signal, event.channel) == (EventKind.DRIFT_UP, "level", "heat")
    assert (event.detector, event.version) == (name, 1 if name == "kswin" else 2)
    assert event.before == pytest.approx(0.0, abs=0.4)
    assert event.after > event.before + 0.3
    assert 0.5 < event.magnitude < 4.0
    assert 0 <= event.time - event.since < 60 * SECOND * event.size
    assert event.time == START + event.source * 60 * SECOND
    [shape] = told(name, signal_of(values, Kind.SHAPE), **options)
    assert shape.kind is EventKind.DRIFT
    assert shape.after > 2.0 * shape.before
    assert shape.magnitude > 3.0


def test_after_an_alarm_what_is_so_becomes_usual() -> None:
    """A change is told once, and the way back as another."""
    values = np.random.default_rng(9).normal(size=12_000)
    values[4_000:8_000] += 3.0
    for name in ("window_ks", "psi"):
        kinds = [e.kind for e in told(name, signal_of(values), p_value=1e-5)]
        assert kinds == [EventKind.DRIFT_UP, EventKind.DRIFT_DOWN], name


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("window_ks", {"reference": 5}, "reference is 5"),
    ("window_ks", {"window": 200_000}, "window is 200000"),
    ("window_ks", {"every": 30}, "every is 30"),
    ("window_ks", {"seasons": 0}, "seasons is 0"),
    ("window_ks", {"p_value": 0.0}, "p_value is 0"),
    ("psi", {"alarms_per_day": -1.0}, "alarms_per_day is -1"),
    ("psi", {"bins": 1}, "bins is 1"),
    ("psi", {"bins": 50, "window": 200}, "each bin needs 5"),
    ("kswin", {"stat_size": 60}, "twice as long"),
    ("kswin", {"window_size": 20_000}, "window_size is 20000"),
    ("kswin", {"alpha": 1.0}, "alpha is 1"),
    ("kswin", {"seed": -1}, "seed is -1"),
]


@pytest.mark.parametrize(("name", "options", "message"), REFUSED)
def test_refuses_settings_without_sense(name: str, options: dict[str, Any], message: str) -> None:
    """With what was found and what to write."""
    with pytest.raises(ValueError, match=message):
        told(name, signal_of(np.zeros(10)), **options)
