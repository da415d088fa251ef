"""stream_processor.clean.missing: each policy against pandas or plain code."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgauge.words import Flag
from tests.cleaning import SECOND, START, clean

numbers = st.one_of(st.integers(-4, 4).map(float), st.floats(-1e6, 1e6))
streams = st.lists(st.one_of(numbers, st.just(math.nan)), max_size=50)
steady = settings(deadline=None, max_examples=150, derandomize=True)


def check(name: str, values: list[float], wanted: Any, **options: Any) -> None:
    """What was there stays, what was filled is flagged and as expected."""
    found = clean(f"missing.{name}", values, **options)
    missing = np.isnan(values)
    filled = [bool(flag & Flag.FILLED) for flag in found.flags]
    assert filled == (missing & ~np.isnan(found.values)).tolist()
    np.testing.assert_allclose(found.values, wanted, rtol=1e-9, atol=1e-9)


@steady
@given(values=streams)
def test_hold(values: list[float]) -> None:
    """The last value as pandas' ffill, for at most five seconds."""
    wanted = pd.Series(values, dtype=float).ffill(limit=5)
    check("hold", values, wanted, at_most="5s")


@steady
@given(values=streams)
def test_mean(values: list[float]) -> None:
    """The expanding mean of what came before, as long as the window is not full."""
    wanted = pd.Series(values, dtype=float)
    check("mean", values, wanted.fillna(wanted.expanding().mean()), window=100)


def test_mean_forgets() -> None:
    """With a full window the newest value weighs 1 / window."""
    values = [0.0] * 4 + [8.0] * 2 + [math.nan]
    assert clean("missing.mean", values, window=4).values[-1] == 2.0 + (8.0 - 2.0) / 4.0


@steady
@given(values=streams)
def test_median(values: list[float]) -> None:
    """The median of the last seven values, once there were three."""
    series = pd.Series(values, dtype=float)
    present = series.dropna()
    medians = present.rolling(7, min_periods=3).median().reindex(series.index).ffill()
    check("median", values, series.fillna(medians), window=7)


@steady
@given(values=st.lists(st.one_of(st.integers(0, 3).map(float), st.just(math.nan)), max_size=50))
def test_mode(values: list[float]) -> None:
    """The most frequent of the last seven values, the smaller one of two."""
    wanted, recent = [], list[float]()
    for value in values:
        counts = Counter(recent[-7:])
        mode = min(counts, key=lambda v: (-counts[v], v)) if len(recent) >= 3 else math.nan
        wanted.append(mode if math.isnan(value) else value)
        recent += [] if math.isnan(value) else [value]
    check("mode", values, wanted, window=7)


def test_seasonal() -> None:
    """The mean of the same hour on other days; an hour that was never seen stays missing."""
    hours = np.arange(24 * 4)
    values = 10.0 * (hours % 24) + hours // 24
    values[[24 * 2 + 7, 24 * 3 + 7]] = math.nan
    values[[5, 24 + 5]] = math.nan
    wanted = values.copy()
    wanted[[24 * 2 + 7, 24 * 3 + 7]] = 70.5
    time = START + hours * 3600 * SECOND
    options: dict[str, Any] = {"period": "24h", "slots": 24, "weight": 0.2}
    check("seasonal", values.tolist(), wanted, time=time, **options)


def test_predict_follows_the_other_channels() -> None:
    """Once learned, what is filled is close to the truth, and closer than the mean is."""
    rng = np.random.default_rng(3)
    others = rng.normal(0.0, 1.0, (2_000, 2)) * [3.0, 0.5] + [100.0, -7.0]
    truth = 2.0 * others[:, 0] - 9.0 * others[:, 1] + rng.normal(0.0, 0.1, 2_000)
    values = truth.copy()
    missing = np.arange(500, 2_000, 5)
    values[missing] = math.nan
    found = clean("missing.predict", values, others=others)
    wrong = np.abs(found.values[missing] - truth[missing])
    assert np.median(wrong) < 0.3
    assert np.median(wrong) < 0.1 * np.median(np.abs(truth - truth.mean()))
    assert all(found.flags[k] == Flag.FILLED for k in missing)


def test_predict_needs_the_others() -> None:
    """A reading that lacks another channel as well stays as it is."""
    others = np.arange(100.0)[:, None].copy()
    values = np.arange(100.0) * 2.0
    values[90], others[90] = math.nan, math.nan
    assert math.isnan(clean("missing.predict", values, others=others).values[90])


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("hold", {"at_most": "0s"}, "at_most is '0s'"),
        ("mean", {"window": 0}, "window is 0"),
        ("median", {"ready_after": 30}, "ready_after 30"),
        ("mode", {"window": 5_000}, "window is 5000"),
        ("seasonal", {"slots": 1}, "slots 1"),
        ("predict", {"of": ["c0"]}, "name other channels"),
        ("predict", {"of": ["c1"], "rate": 2.5}, "rate is 2.5"),
    ],
)
def test_options_that_mean_nothing(name: str, options: dict[str, Any], said: str) -> None:
    """A wrong option is named with what to write instead."""
    with pytest.raises(ValueError, match=said):
        clean(f"missing.{name}", [1.0], others=np.ones((1, 1)), **options)
