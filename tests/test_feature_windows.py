"""Features over windows and half-lives, each against pandas, numpy or scipy."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_processor.features import shape, weighted
from streamgauge.arrays import Floats, Ints
from tests.featuring import SECOND, START, featured, names_of

steady = settings(deadline=None, max_examples=120, derandomize=True)
numbers = st.one_of(st.integers(-5, 5).map(float), st.floats(-1e4, 1e4), st.just(math.nan))
streams = st.lists(numbers, min_size=1, max_size=60)


def irregular(n: int, seed: int = 1) -> Ints:
    """int64[n]: event times with gaps of 1 to 9 seconds."""
    return START + np.cumsum(np.random.default_rng(seed).integers(1, 10, n)) * SECOND


def windows(values: Floats, time: Ints, readings: int, span: int) -> list[tuple[Floats, Floats]]:
    """The present values, and their times in seconds, that each reading looks back on."""
    found = []
    for i in range(len(values)):
        kept = ~np.isnan(values[: i + 1])
        if span:
            kept &= time[: i + 1] > time[i] - span
        inside = np.flatnonzero(kept)[-readings:]
        seconds: Floats = (time[inside] - START) / SECOND
        found.append((values[inside], seconds))
    return found


@steady
@given(values=streams)
def test_weighted_by_values(values: list[float]) -> None:
    """Means and variances as pandas' ewm over the present values."""
    series = pd.Series(values, dtype=float)
    found = featured("weighted", values, of=["c0"], half_lives=[3, 20], stats=weighted.STATS)
    for k, life in enumerate((3, 20)):
        present = series.dropna().ewm(halflife=life, adjust=False)
        mean, var = present.mean(), present.var(bias=True)
        wanted = pd.DataFrame({"mean": mean, "var": var, "std": np.sqrt(var)})
        wanted = wanted.reindex(series.index).ffill()
        scale = 1.0 + series.abs().fillna(0.0).max() ** 2
        own = found[:, 3 * k : 3 * k + 2]
        np.testing.assert_allclose(own, wanted[["mean", "var"]], atol=1e-11 * scale)


def test_weighted_by_time() -> None:
    """A value's weight halves in each half-life of event time, however irregular the sampling."""
    values, time = np.random.default_rng(2).normal(5.0, 2.0, 300), irregular(300)
    found = featured("weighted", values, time, of=["c0"], half_lives=["10s"], stats=["mean", "var"])
    wanted = np.zeros((300, 2))
    for i in range(300):
        weights = 0.5 ** ((time[i] - time[: i + 1]) * 1e-7)
        # Each value entered with what the half-lives since the one before it had left free.
        weights[1:] *= 1.0 - 0.5 ** (np.diff(time[: i + 1]) * 1e-7)
        mean = float(np.sum(weights * values[: i + 1]))
        wanted[i] = mean, float(np.sum(weights * (values[: i + 1] - mean) ** 2))
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


@steady
@given(values=streams, lags=st.lists(st.integers(1, 6), min_size=1, max_size=3, unique=True))
def test_differences(values: list[float], lags: list[int]) -> None:
    """From the k-th present value before, plain and per second, as pandas computes it."""
    time = irregular(len(values))
    present = pd.DataFrame({"value": values, "time": time * 1e-6}).dropna()
    plain = featured("differences", values, time, of=["c0"], lags=lags)
    rates = featured("differences", values, time, of=["c0"], lags=lags, per="second")
    for k, lag in enumerate(lags):
        steps = present.diff(lag).reindex(range(len(values)))
        np.testing.assert_allclose(plain[:, k], steps["value"], rtol=1e-12)
        np.testing.assert_allclose(rates[:, k], steps["value"] / steps["time"], rtol=1e-6)
    assert names_of("differences", of=["c0"], lags=[2], per="second") == ["c0_rate2"]


@steady
@given(values=streams, span=st.sampled_from([0, 20 * SECOND]))
def test_quantiles(values: list[float], span: int) -> None:
    """Medians, percentiles, iqr and mad as numpy's, by count and by time."""
    time, own = irregular(len(values)), np.array(values)
    window: Any = "20s" if span else {"readings": 7}
    stats = ["median", "q05", "q90", "iqr", "mad"]
    found = featured("quantiles", own, time, of=["c0"], window=window, stats=stats, readings_max=4)
    for i, (inside, _) in enumerate(windows(own, time, 4 if span else 7, span)):
        wanted = [math.nan] * 5
        if len(inside):
            low, q25, middle, q75, high = np.quantile(inside, [0.05, 0.25, 0.5, 0.75, 0.9])
            wanted = [middle, low, high, q75 - q25, np.median(np.abs(inside - middle))]
        np.testing.assert_allclose(found[i], wanted, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("span", [0, 40 * SECOND])
def test_shape(span: int) -> None:
    """Each statistic as numpy or scipy compute it over the same values, by count and by time."""
    rng = np.random.default_rng(5)
    values = rng.normal(0.5, 2.0, 250)
    values[rng.random(250) < 0.2] = math.nan
    time = irregular(250)
    window: Any = "40s" if span else {"readings": 12}
    options: dict[str, Any] = {"of": ["c0"], "stats": shape.STATS, "lag": 2, "readings_max": 6}
    found = featured("shape", values, time, window=window, **options)
    for i, (inside, at) in enumerate(windows(values, time, 6 if span else 12, span)):
        np.testing.assert_allclose(found[i], plain_shape(inside, at), rtol=1e-9, atol=1e-9)


def test_slope_of_quick_readings_keeps_its_digits() -> None:
    """Readings 37 microseconds apart, though event times are counted from 1970."""
    rng = np.random.default_rng(8)
    values = rng.normal(0.0, 1.0, 60)
    time = START + np.arange(60) * 37
    found = featured(
        "shape", values, time, of=["c0"], window={"readings": 7}, stats=["slope"], readings_max=7
    )
    for k in range(7, 60):
        inside, at = values[k - 6 : k + 1], np.arange(7) * 37e-6
        around = at - at.mean()
        wanted = float(np.sum(around * inside) / np.sum(around**2))
        np.testing.assert_allclose(found[k, 0], wanted, rtol=1e-9)


def plain_shape(inside: Floats, at: Floats) -> list[float]:
    """The statistics of `shape.STATS` in their order."""
    if not len(inside):
        return [0.0] + [math.nan] * 10
    rms = math.sqrt(float(np.mean(inside**2)))
    away = inside - inside.mean()
    several = len(inside) > 1
    auto = float(np.sum(away[2:] * away[:-2]) / np.sum(away**2)) if len(inside) > 2 else math.nan
    return [
        len(inside),
        float(inside.sum()),
        float(np.ptp(inside)),
        rms,
        float(np.abs(inside).max()) / rms,
        float(np.polyfit(at - at[0], inside, 1)[0]) if several else math.nan,
        auto,
        float(np.sum(np.diff(np.sign(inside)) != 0)),
        float(np.sum(np.diff(np.sign(away)) != 0)),
        float(scipy.stats.skew(inside)) if several else math.nan,
        float(scipy.stats.kurtosis(inside)) if several else math.nan,
    ]


@pytest.mark.parametrize("window", [16, 25])
def test_spectrum(window: int) -> None:
    """Band energies as numpy's FFT of the window, also after hundreds of values."""
    rng = np.random.default_rng(6)
    values = np.sin(np.arange(400) * 2 * math.pi * 0.25) * 3.0 + rng.normal(0.0, 1.0, 400)
    values[100] = 1e6
    bands = {"all": [0.0, 50.0], "low": [0.0, 20.0], "quarter": [24.0, 26.0]}
    found = featured("spectrum", values, of=["c0"], bands=bands, rate=100.0, window=window)
    frequencies = np.fft.rfftfreq(window, 0.01)
    for i in range(400):
        if i < window - 1:
            assert np.isnan(found[i]).all()
            continue
        inside = values[i - window + 1 : i + 1]
        power = np.abs(np.fft.rfft(inside)) ** 2 / window**2
        power[1 : (window + 1) // 2] *= 2.0
        wanted = [
            power[(frequencies >= low) & (frequencies <= high)].sum()
            for low, high in bands.values()
        ]
        assert wanted[0] == pytest.approx(np.mean(inside**2))
        np.testing.assert_allclose(found[i], wanted, rtol=1e-9, atol=1e-8 * np.max(inside**2))


def test_since() -> None:
    """Seconds since each event before this reading; what a reading brings counts from the next."""
    values = np.array([[1.0, 5.0], [1.0, math.nan], [2.0, 15.0], [2.0, 15.0], [2.0, 3.0]])
    time = START + np.array([0, 2, 3, 7, 8]) * SECOND
    found = featured(
        "since", values, time, value=["c1"], change=["c0"], above={"c1": 10.0}, below={"c1": 4.0}
    )
    nan = math.nan
    wanted = [
        [nan, nan, nan, nan, nan],
        [2.0, 2.0, nan, nan, nan],
        [1.0, 3.0, nan, nan, nan],
        [4.0, 4.0, 4.0, 4.0, nan],
        [1.0, 1.0, 5.0, 1.0, nan],
    ]
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("weighted", {"of": ["c0"], "half_lives": [0]}, "half_lives holds 0"),
        ("weighted", {"of": ["c0"], "half_lives": [3], "stats": ["max"]}, "name each of mean"),
        ("weighted", {"of": ["nix"], "half_lives": [3]}, "not declared"),
        ("differences", {"of": ["c0"], "lags": [0]}, "lags is"),
        ("quantiles", {"of": ["c0"], "window": {"readings": 0}}, "window is"),
        ("quantiles", {"of": ["c0"], "window": "9s", "stats": ["q101"]}, "stats holds 'q101'"),
        ("shape", {"of": ["c0"], "window": "9s", "stats": ["slop"]}, "name each of count"),
        ("shape", {"of": ["c0"], "window": "9s", "stats": ["rms"], "lag": 0}, "lag is 0"),
        ("spectrum", {"of": ["c0"], "bands": {"a": [3, 4]}, "rate": 4.0}, "band a is"),
        ("since", {"reading": False}, "no event"),
    ],
)
def test_options_that_mean_nothing(name: str, options: dict[str, Any], said: str) -> None:
    """A wrong option is named with what to write instead."""
    with pytest.raises(ValueError, match=said):
        featured(name, [1.0], **options)
