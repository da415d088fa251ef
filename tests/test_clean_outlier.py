"""stream_processor.clean.outlier: each band against plain code, and what becomes of outliers."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgauge.words import Flag
from tests.cleaning import clean
from tests.recordings import recording

Band = Callable[[list[float]], tuple[float, float, float]]


def hampel(recent: list[float]) -> tuple[float, float, float]:
    """Middle, low and high with a limit of 3."""
    middle = float(np.median(recent))
    reach = 3.0 * 1.4826 * float(np.median(np.abs(np.array(recent) - middle)))
    return middle, middle - reach, middle + reach


def iqr(recent: list[float]) -> tuple[float, float, float]:
    """Middle, low and high with a limit of 1.5."""
    low, middle, high = map(float, np.quantile(recent, [0.25, 0.5, 0.75]))
    return middle, low - 1.5 * (high - low), high + 1.5 * (high - low)


def zscore(recent: list[float]) -> tuple[float, float, float]:
    """Middle, low and high with a limit of 3."""
    middle, reach = float(np.mean(recent)), 3.0 * float(np.std(recent, ddof=1))
    return middle, middle - reach, middle + reach


BANDS: dict[str, tuple[Band, float]] = {
    "hampel": (hampel, 3.0),
    "iqr": (iqr, 1.5),
    "zscore": (zscore, 3.0),
}


def plainly(
    values: list[float], band: Band, window: int, ready: int, accept: int, action: str, steps: float
) -> tuple[list[float], list[bool]]:
    """The same as plain, slow code: the values that go on, and which are outliers."""
    recent: list[float] = []
    going: list[float] = []
    outliers: list[bool] = []
    run, side, level = 0, 0, False
    last, step, count = 0.0, 0.0, 0
    for value in values:
        went, outlier = value, False
        if math.isfinite(value):
            close = count > 1 and abs(value - last) <= steps * step
            run = 0 if close else run
            level = False
            if len(recent) >= ready and not close:
                middle, low, high = band(recent)
                beyond = (value > high) - (value < low) if high > low else 0
                run = 0 if beyond == 0 else run + 1 if beyond == side else 1
                side = beyond or side
                outlier = 0 < run < accept
                if run >= accept:
                    run, recent, level = 0, [], True
                if outlier:
                    edge = high if beyond > 0 else low
                    tail = float(np.quantile(recent, 0.95 if beyond > 0 else 0.05))
                    chosen = {"flag": value, "drop": math.nan, "clip": edge, "replace": middle}
                    went = chosen.get(action, tail)
            if not outlier:
                recent = [*recent, value][-window:]
                if count and not level:
                    step += max(0.05, 1 / count) * (abs(value - last) - step)
                count += not level
                last = value
        going.append(went)
        outliers.append(outlier)
    return going, outliers


def check(name: str, values: list[float], action: str, steps: float) -> int:
    """Compare the cleaner with the plain code; the number of outliers."""
    band, limit = BANDS[name]
    wanted, outliers = plainly(values, band, 12, 5, 4, action, steps)
    options: dict[str, Any] = {"window": 12, "ready_after": 5, "accept_after": 4, "limit": limit}
    found = clean(f"outlier.{name}", values, action=action, steps=steps, **options)
    assert [bool(flag & Flag.OUTLIER) for flag in found.flags] == outliers
    capped = [bool(flag & Flag.CAPPED) for flag in found.flags]
    assert capped == [one and action not in {"flag", "drop"} for one in outliers]
    np.testing.assert_allclose(found.values, wanted, rtol=1e-12, atol=1e-12)
    return sum(outliers)


# Whole numbers: a band whose edge falls on a value would differ by the last bit of a mean.
numbers = st.one_of(st.integers(-3, 3), st.integers(-50, 50), st.just(10_000)).map(
    lambda x: x * 1.7
)
streams = st.lists(st.one_of(numbers, st.just(math.nan)), max_size=60)


@pytest.mark.parametrize("name", ["hampel", "iqr"])
@settings(deadline=None, max_examples=150, derandomize=True)
@given(
    values=streams,
    action=st.sampled_from(["flag", "drop", "clip", "winsorize", "replace"]),
    steps=st.sampled_from([0.0, 2.0, 8.0]),
)
def test_windowed_bands_on_any_stream(
    name: str, values: list[float], action: str, steps: float
) -> None:
    """What is an outlier, and what becomes of it, is what plain code says."""
    check(name, values, action, steps)


@pytest.mark.parametrize("name", BANDS)
@pytest.mark.parametrize("action", ["flag", "drop", "clip", "winsorize", "replace"])
def test_windowed_bands_on_a_recording(name: str, action: str) -> None:
    """Two thousand hours of real air: equal to plain code, and there are outliers in them."""
    air = pd.read_csv(recording("beijing_air.csv.gz"), nrows=20_000)
    values = air["PM2.5"].to_numpy(np.float64)[::8][:2_000].tolist()
    assert check(name, values, action, 2.0) > 10


def test_ewma_is_what_pandas_weighs() -> None:
    """Mean and deviation follow pandas' exponentially weighted ones over the usual values."""
    rng = np.random.default_rng(4)
    values = rng.normal(20.0, 1.0, 400)
    values[[100, 200, 201, 300]] = [80.0, -40.0, -41.0, 26.5]
    found = clean("outlier.ewma", values, half_life=20.0, limit=5.0, action="clip", steps=0.0)
    outliers = [k for k, flag in enumerate(found.flags) if flag & Flag.OUTLIER]
    assert outliers == [100, 200, 201, 300]
    for k in outliers:
        usual = pd.Series(np.delete(values[:k], [j for j in outliers if j < k]))
        weighted = usual.ewm(halflife=20.0, adjust=False)
        middle, reach = weighted.mean().iloc[-1], 5.0 * math.sqrt(weighted.var(bias=True).iloc[-1])
        edge = middle + reach if values[k] > middle else middle - reach
        assert found.values[k] == pytest.approx(edge, rel=1e-12)


@pytest.mark.parametrize("name", ["hampel", "iqr", "zscore", "ewma"])
def test_a_level_that_persists_is_a_new_level(name: str) -> None:
    """A shift is refused for accept_after - 1 readings, then it is usual; no more is flagged."""
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(10.0, 1.0, 100), rng.normal(50.0, 1.0, 100)])
    found = clean(f"outlier.{name}", values, limit=8.0, accept_after=6, action="drop")
    outliers = [k for k, flag in enumerate(found.flags) if flag & Flag.OUTLIER]
    assert outliers == [100, 101, 102, 103, 104]
    assert np.isnan(found.values[100:105]).all()
    assert found.values[105:].tolist() == values[105:].tolist()


@pytest.mark.parametrize("name", ["hampel", "iqr", "zscore", "ewma"])
def test_defaults_leave_ordinary_noise_alone(name: str) -> None:
    """Of normal noise, correlated or not, less than one in two hundred is touched."""
    rng = np.random.default_rng(0)
    noise = rng.normal(50.0, 2.0, 4_000)
    walk = pd.Series(noise).ewm(alpha=0.05).mean().to_numpy()
    for values in (noise, walk):
        flags = clean(f"outlier.{name}", values).flags
        assert np.mean([bool(flag) for flag in flags]) < 0.005


def spiked(values: Any) -> tuple[Any, Any]:
    """The values with a spike at every 97th, ten times as large as their steps deviate."""
    places = np.arange(60, len(values) - 1, 97)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], len(places))
    changed = values.copy()
    changed[places] += signs * 10.0 * np.std(np.diff(values))
    return changed, places


TRENDS = [
    ("vic_electricity", "demand"),
    ("noaa_weather", "feat_1"),
    ("beijing_air", "TEMP"),
    ("beijing_air", "PRES"),
]
"""Channels with days and seasons."""


def recorded(file: str, channel: str) -> Any:
    """Up to 8,000 values of the recording's first device."""
    data = pd.read_csv(recording(f"{file}.csv.gz"))
    values = data[data["device"] == data["device"].iloc[0]][channel].to_numpy(np.float64)[:8_000]
    return values[np.isfinite(values)]


@pytest.mark.parametrize(("file", "channel"), TRENDS)
def test_spikes_on_a_trend_are_found(file: str, channel: str) -> None:
    """Four of five at least, and hardly anything else is taken for one."""
    values = recorded(file, channel)
    assert np.mean([bool(flag) for flag in clean("spike", values, action="flag").flags]) < 0.002
    changed, places = spiked(values)
    found = np.array([bool(flag) for flag in clean("spike", changed, action="flag").flags])
    assert found[places].mean() > 0.8


@pytest.mark.parametrize(("file", "channel"), TRENDS)
def test_hampel_lets_a_channel_move_on(file: str, channel: str) -> None:
    """Hardly anything is an outlier, and of the spikes that the band alone finds hardly one is
    missed."""
    values = recorded(file, channel)

    def found(values: Any, **options: Any) -> Any:
        flags = clean("outlier.hampel", values, action="flag", **options).flags
        return np.array([bool(flag) for flag in flags])

    alone = found(values, steps=0.0).mean()
    assert found(values).mean() < min(0.002, 0.1 * alone)
    changed, places = spiked(values)
    assert found(changed)[places].sum() > 0.85 * found(changed, steps=0.0)[places].sum() > 5


@pytest.mark.parametrize("name", ["hampel", "iqr", "zscore", "ewma"])
def test_values_that_were_all_alike_forbid_nothing(name: str) -> None:
    """A sensor that showed one value for long may show another one."""
    values = [5.0] * 60 + [5.1]
    assert not any(clean(f"outlier.{name}", values).flags)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("hampel", {"window": 2}, "window is 2"),
        ("iqr", {"ready_after": 60}, "ready_after 60"),
        ("zscore", {"limit": 0.0}, "limit is 0"),
        ("zscore", {"accept_after": 1}, "accept_after is 1"),
        ("ewma", {"steps": -1.0}, "steps is -1"),
        ("ewma", {"half_life": 0.0}, "half_life is 0"),
    ],
)
def test_options_that_mean_nothing(name: str, options: dict[str, Any], said: str) -> None:
    """A wrong option is named with what to write instead."""
    with pytest.raises(ValueError, match=said):
        clean(f"outlier.{name}", [1.0], **options)


def test_rounding_of_values_that_are_alike_is_no_band() -> None:
    """0.1 again and again sums up to more than it should; the next value is not judged by that."""
    values = [0.1] * 30 + [0.2]
    done = clean("outlier.zscore", values)
    assert not any(done.flags)
