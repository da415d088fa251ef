"""Detectors that River has too: equal alarm by alarm, and in what they remember."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from river import drift

from monitoring.detectors import ddm, eddm, hddm_a, hddm_w, page_hinkley
from monitoring.detectors._evidence import ALARM, MEAN, WARNING, N
from streamgauge import plugins
from streamgauge.events import Event, EventKind, Events
from streamgauge.signal import ROW, SOURCE, TIME, UNIT, VALUE, Kind, Signal

Floats = NDArray[np.float64]


def _page_hinkley(own: Floats, river: Any) -> Iterator[tuple[float, float]]:
    yield own[N], river._x_mean.n
    yield own[MEAN], river._x_mean.get()
    yield own[page_hinkley.INCREASE], river._sum_increase
    yield own[page_hinkley.DECREASE], river._sum_decrease
    yield own[page_hinkley.LOWEST], river._min_increase
    yield own[page_hinkley.HIGHEST], river._max_decrease


def _ddm(own: Floats, river: Any) -> Iterator[tuple[float, float]]:
    yield own[MEAN], river._p.get()
    if river._p_min is not None:
        yield own[ddm.P_MIN], river._p_min
        yield own[ddm.S_MIN], river._s_min


def _eddm(own: Floats, river: Any) -> Iterator[tuple[float, float]]:
    yield own[N], river._n
    yield own[eddm.ERRORS], river._n_errors
    yield own[eddm.DISTANCE], river._error_distances.mean.get()
    yield own[eddm.SQUARES], river._error_distances._S
    yield own[eddm.FARTHEST] or -1.0, river._p2s_prime_max


def _hddm_a(own: Floats, river: Any) -> Iterator[tuple[float, float]]:
    yield own[N], river._z.n
    yield own[MEAN], river._z.get()
    yield own[hddm_a.MIN_N], river._x_min.n
    yield own[hddm_a.MIN_MEAN], river._x_min.get()
    yield own[hddm_a.MAX_N], river._x_max.n
    yield own[hddm_a.MAX_MEAN], river._x_max.get()


def _hddm_w(own: Floats, river: Any) -> Iterator[tuple[float, float]]:
    yield own[hddm_w.TOTAL], river._total.ewma
    yield own[hddm_w.TOTAL + hddm_w.WEIGHT], river._total.ibc
    for at, cut, until, behind in (
        (hddm_w.INCREASE, river._incr_cutpoint, river._s1_incr, river._s2_incr),
        (hddm_w.DECREASE, river._decr_cutpoint, river._s1_decr, river._s2_decr),
    ):
        yield own[at + hddm_w.CUT], cut
        yield own[at + hddm_w.UNTIL], until.ewma
        yield own[at + hddm_w.UNTIL + hddm_w.WEIGHT], until.ibc
        if behind._is_init:
            yield own[at + hddm_w.BEHIND], behind.ewma
            yield own[at + hddm_w.BEHIND + hddm_w.WEIGHT], behind.ibc


@dataclass(frozen=True)
class Twin:
    """A detector, River's of the same options, and pairs of what both remember."""

    name: str
    river: Callable[..., Any]
    remembered: Callable[[Floats, Any], Iterator[tuple[float, float]]]
    options: Mapping[str, Any]

    def pair(self) -> tuple[Any, Any]:
        module = plugins.load("monitoring.detectors", self.name)
        signal = Signal(Kind.ERROR, "lanes", ["lane"], 1)
        return module.build(signal, 2, **self.options), self.river(**self.options)


RATES = (
    Twin("ddm", drift.binary.DDM, _ddm, {}),
    Twin("ddm", drift.binary.DDM, _ddm, {"warm_start": 5, "drift_threshold": 2.0}),
    Twin("eddm", drift.binary.EDDM, _eddm, {}),
    Twin("eddm", drift.binary.EDDM, _eddm, {"warm_start": 5, "alpha": 0.99, "beta": 0.97}),
    Twin("hddm_a", drift.binary.HDDMA, _hddm_a, {}),
    Twin("hddm_a", drift.binary.HDDMA, _hddm_a, {"two_sided_test": True}),
    Twin(
        "hddm_a", drift.binary.HDDMA, _hddm_a,
        {"two_sided_test": True, "drift_confidence": 0.2, "warning_confidence": 0.4},
    ),
    Twin("hddm_w", drift.binary.HDDMW, _hddm_w, {}),
    Twin("hddm_w", drift.binary.HDDMW, _hddm_w, {"two_sided_test": True, "lambda_val": 0.2}),
    Twin(
        "hddm_w", drift.binary.HDDMW, _hddm_w,
        {"two_sided_test": True, "drift_confidence": 0.2, "warning_confidence": 0.4},
    ),
)  # fmt: skip
MEANS = (
    Twin("page_hinkley", drift.PageHinkley, _page_hinkley, {}),
    Twin("page_hinkley", drift.PageHinkley, _page_hinkley, {"threshold": 5.0, "mode": "up"}),
    Twin("page_hinkley", drift.PageHinkley, _page_hinkley, {"alpha": 0.9, "mode": "down"}),
    Twin(
        "page_hinkley", drift.PageHinkley, _page_hinkley,
        {"min_instances": 1, "delta": 0.0, "threshold": 1.0, "alpha": 1.0},
    ),
)  # fmt: skip


def signal_of(values: Floats, row: int = 0) -> Signal:
    """Errors of one device, with times and sources that tell them apart."""
    n = len(values)
    signal = Signal(Kind.ERROR, "lanes", ["lane"], n)
    signal.count[0] = n
    signal.codes[:, ROW], signal.codes[:, SOURCE] = row, np.arange(n)
    signal.codes[:, TIME] = 10**15 + np.arange(n) * 1_000_000
    signal.numbers[:, VALUE], signal.numbers[:, UNIT] = values, 1.0
    return signal


def same(ours: float, theirs: float) -> bool:
    """Equal but for rounding of a square root or a weighted mean."""
    return math.isclose(ours, theirs, rel_tol=1e-12, abs_tol=1e-300)


def alarms(twin: Twin, values: Floats) -> int:
    """How many alarms there were; each value compared with River's."""
    found, river = twin.pair()
    signal, events = signal_of(values[:1], row=1), Events(1)
    call = found.call(signal, events)
    own = found.blocks["state"].view("state")[1, 0]
    seen = 0
    for i, value in enumerate(values.tolist()):
        signal.numbers[0, VALUE] = value
        call.run()
        river.update(value)
        assert len(events) == (own[ALARM] == 1.0) == river.drift_detected, i
        if hasattr(river, "warning_detected"):
            assert (own[WARNING] == 1.0) == river.warning_detected, i
        pairs = list(twin.remembered(own, river))
        assert all(same(*pair) for pair in pairs), (i, pairs)
        seen += len(events)
        events.clear()
    return seen


def rates(n: int) -> Iterator[Floats]:
    """Errors of 0 and 1: rising, falling, none, all, rare; and parts of an error."""
    r = np.random.default_rng(5)
    at = np.arange(n)
    yield (r.random(n) < np.where(at // 1_000 % 2, 0.4, 0.1)).astype(float)
    yield (r.random(n) < 0.05 + 0.9 * at / n).astype(float)
    yield np.zeros(n)
    yield np.ones(n)
    yield (at > n // 2).astype(float)
    yield (at < n // 2).astype(float)
    yield (r.random(n) < 0.01).astype(float)
    yield (at % 2).astype(float)


def fractions(n: int) -> Iterator[Floats]:
    """Errors between 0 and 1."""
    r = np.random.default_rng(6)
    yield r.random(n) * np.where(np.arange(n) // 1_000 % 2, 1.0, 0.4)
    yield r.beta(0.3, 0.5, n)
    yield np.full(n, 0.1)


def means(n: int) -> Iterator[Floats]:
    """Steady, shifted both ways, stuck, wandering, huge, tiny and outlier-ridden."""
    r = np.random.default_rng(7)
    yield r.normal(size=n)
    yield r.normal(size=n) + np.where(np.arange(n) // 1_000 % 2, 3.0, -1.0)
    yield np.full(n, 3.7)
    yield np.cumsum(r.normal(size=n))
    yield r.normal(size=n) * 1e24
    yield r.normal(size=n) * 1e-300
    yield np.where(r.random(n) < 0.01, 1e24, r.normal(size=n))


@pytest.mark.parametrize("twin", RATES, ids=lambda t: f"{t.name} {t.options}")
def test_error_rates_alarm_as_river_does(twin: Twin) -> None:
    """At every value of every stream; EDDM only where errors are 0 or 1."""
    streams = [*rates(6_000), *(() if twin.name == "eddm" else fractions(6_000))]
    assert sum(alarms(twin, values) for values in streams) > 5


@pytest.mark.parametrize("twin", MEANS, ids=lambda t: f"{t.name} {t.options}")
def test_page_hinkley_alarms_as_river_does(twin: Twin) -> None:
    """At every value of every stream."""
    assert sum(alarms(twin, values) for values in means(6_000)) > 5


@pytest.mark.parametrize("twin", RATES, ids=lambda t: f"{t.name} {t.options}")
@settings(deadline=None, max_examples=15, derandomize=True)
@given(values=st.lists(st.sampled_from([0.0, 0.0, 0.0, 1.0]), min_size=1, max_size=300))
def test_any_errors(twin: Twin, values: list[float]) -> None:
    """Of 0 and 1, in any order."""
    alarms(twin, np.array(values))


@pytest.mark.parametrize("twin", MEANS, ids=lambda t: f"{t.name} {t.options}")
@settings(deadline=None, max_examples=15, derandomize=True)
@given(values=st.lists(st.floats(-1e24, 1e24), min_size=1, max_size=200))
def test_any_values(twin: Twin, values: list[float]) -> None:
    """Up to the largest that a signal holds."""
    alarms(twin, np.array(values))


def told(name: str, values: Floats, **options: Any) -> list[Event]:
    """What a new detector says of these values."""
    signal, events = signal_of(values), Events(len(values))
    plugins.load("monitoring.detectors", name).build(signal, 1, **options).call(
        signal, events
    ).run()
    return list(events)


@pytest.mark.parametrize("name", ["ddm", "eddm", "hddm_a", "hddm_w"])
def test_an_event_says_what_the_error_rate_was_and_is(name: str) -> None:
    """And since when, near the value at which it rose."""
    r = np.random.default_rng(8)
    values = (r.random(4_000) < np.where(np.arange(4_000) < 2_000, 0.05, 0.6)).astype(float)
    event = next(e for e in told(name, values) if e.source >= 2_000)
    assert (event.kind, event.detector, event.version) == (EventKind.DRIFT_UP, name, 1)
    assert event.before < 0.1
    assert event.after > 2.0 * event.before
    assert event.magnitude > 0.2
    assert event.time == 10**15 + event.source * 1_000_000


def test_page_hinkley_says_since_when() -> None:
    """The sum was lowest just before the shift."""
    values = np.random.default_rng(9).normal(size=3_000) + np.where(np.arange(3_000) < 2_000, 0, 4)
    event = next(e for e in told("page_hinkley", values, threshold=100.0, delta=0.5))
    assert event.kind is EventKind.DRIFT_UP
    assert (event.since - 10**15) / 1e6 == pytest.approx(2_000, abs=10)
    assert event.before == pytest.approx(0.0, abs=0.1)
    assert event.after == pytest.approx(4.0, abs=0.8)


@pytest.mark.parametrize("name", ["ddm", "hddm_a", "hddm_w"])
def test_errors_of_a_regression_are_parts_of_their_bound(name: str) -> None:
    """Divided by it and limited to 1, they alarm as River on just these values."""
    values = np.abs(np.random.default_rng(10).normal(size=3_000)) * 20.0
    values[1_500:] *= 3.0
    river = {twin.name: twin.river for twin in RATES}[name]()
    wanted = []
    for i, value in enumerate(np.minimum(values / 50.0, 1.0).tolist()):
        river.update(value)
        if river.drift_detected:
            wanted.append(i)
    assert [e.source for e in told(name, values, bound=50.0)] == wanted != []


REFUSED: list[tuple[str, Kind, dict[str, Any], str]] = [
    ("adwin", Kind.SHAPE, {}, "use chunk_ks"),
    ("page_hinkley", Kind.SHAPE, {}, "use chunk_ks"),
    ("page_hinkley", Kind.ERROR, {"min_instances": 0}, "min_instances is 0"),
    ("page_hinkley", Kind.ERROR, {"delta": -1.0}, "delta is -1"),
    ("page_hinkley", Kind.ERROR, {"threshold": math.nan}, "threshold is nan"),
    ("page_hinkley", Kind.ERROR, {"alpha": 1.1}, "alpha is 1.1"),
    ("ddm", Kind.LEVEL, {}, "use cusum or page_hinkley"),
    ("ddm", Kind.ERROR, {"warm_start": 0}, "warm_start is 0"),
    ("ddm", Kind.ERROR, {"warning_threshold": 4.0}, "the warning first"),
    ("ddm", Kind.ERROR, {"bound": 0.0}, "bound is 0"),
    ("eddm", Kind.NOISE, {}, "use cusum or page_hinkley"),
    ("eddm", Kind.ERROR, {"warm_start": 0}, "warm_start is 0"),
    ("eddm", Kind.ERROR, {"beta": 0.96}, "beta the smaller"),
    ("eddm", Kind.ERROR, {"above": -1.0}, "above is -1"),
    ("hddm_a", Kind.LEVEL, {}, "use cusum or page_hinkley"),
    ("hddm_a", Kind.ERROR, {"drift_confidence": 0.1}, "probabilities"),
    ("hddm_a", Kind.ERROR, {"bound": math.inf}, "bound is inf"),
    ("hddm_w", Kind.LEVEL, {}, "use cusum or page_hinkley"),
    ("hddm_w", Kind.ERROR, {"drift_confidence": 0.1}, "probabilities"),
    ("hddm_w", Kind.ERROR, {"lambda_val": 1.0}, "lambda_val is 1"),
    ("hddm_w", Kind.ERROR, {"bound": -1.0}, "bound is -1"),
]


@pytest.mark.parametrize(("name", "kind", "options", "message"), REFUSED)
def test_refuses_settings_without_sense(
    name: str, kind: Kind, options: dict[str, Any], message: str
) -> None:
    """With what was found and what to write."""
    build = plugins.load("monitoring.detectors", name).build
    with pytest.raises(ValueError, match=message):
        build(Signal(kind, "channels", ["heat"], 1), 1, **options)
