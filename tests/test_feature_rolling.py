"""stream_processor.features.rolling"""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import stats, utils

from stream_processor.features import rolling
from stream_processor.operator import FeatureOperator
from streamgauge.batch import Batch
from streamgauge.schema import Channel, Schema
from tests.contracts.streams import CAPACITY, SCHEMA, Stream, make
from tests.frames import admitted, batch_of, by_device, computed
from tests.recordings import recording

NAN = math.nan
ONE = Schema([Channel("a")])
CHANNELS = ["free", "temperature"]
T = 1_700_000_000_000_000
SECOND = 1_000_000


def plain(values: Any, stat: str) -> float:
    """A statistic of the values that are present, computed afresh."""
    present = np.asarray(values, np.float64)
    present = present[~np.isnan(present)]
    if len(present) == 0:
        return NAN
    if stat in ("var", "std"):
        return float(getattr(np, stat)(present, ddof=1)) if len(present) > 1 else 0.0
    return float(getattr(np, stat)(present))


def streams(seed: int, n: int, gap: int) -> Stream:
    """Values within what admission lets through, with outliers."""
    stream = make(seed, n, admitted=True, odd=0.0, missing=0.3, gap=gap)
    rng = np.random.default_rng(seed)
    spike = rng.random(stream.values.shape) < 0.05
    stream.values[spike] *= rng.choice([1e4, 1e12, -1e20], int(spike.sum()))
    return stream


def reference(stream: Stream, window: str | int) -> pd.DataFrame:
    """The features of every reading, each window cut out with pandas and computed afresh."""
    names = [f"{c}_{s}_{window}" for c in CHANNELS for s in rolling.STATS]
    wanted = pd.DataFrame(NAN, index=range(len(stream)), columns=names)
    for device in by_device(admitted(stream, SCHEMA)):
        indexed = device.set_index(pd.to_datetime(device["time"], unit="us"))
        for channel in CHANNELS:
            windows = indexed[channel].rolling(
                window if isinstance(window, int) else pd.Timedelta(window)
            )
            for place, cut in zip(device.index, windows, strict=True):
                for stat in rolling.STATS:
                    wanted.loc[place, f"{channel}_{stat}_{window}"] = plain(cut, stat)
    return wanted


def assert_close(ours: pd.DataFrame, wanted: pd.DataFrame) -> None:
    """Equal within 1e-9 of the size of the values."""
    assert list(ours.columns) == list(wanted.columns)
    for name in ours:
        np.testing.assert_allclose(
            ours[name], wanted[name], rtol=1e-9, atol=1e-9, err_msg=str(name)
        )


def played(operator: FeatureOperator, stream: Stream) -> pd.DataFrame:
    """The features of a stream in one batch."""
    batch = Batch(len(stream), len(SCHEMA))
    stream.fill(batch, 0, len(stream))
    return computed(operator, batch)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 120),
    readings=st.sampled_from([1, 2, 3, 10, 40, 70]),
)
def test_last_readings_equal_pandas(seed: int, n: int, readings: int) -> None:
    """Windows by count hold what pandas' rolling(n) holds, absent values and outliers included."""
    stream = streams(seed, n, 1)
    window = {"readings": readings}
    operator = rolling.build(SCHEMA, CAPACITY, 0, of=CHANNELS, window=window, stats=rolling.STATS)
    assert_close(played(operator, stream), reference(stream, readings))


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 120),
    gap=st.integers(0, 3),
    window=st.sampled_from(["1s", "10s", "90s", "1h"]),
)
def test_time_windows_equal_pandas(seed: int, n: int, gap: int, window: str) -> None:
    """Windows by time hold what pandas' rolling("90s") holds, at any pace of readings."""
    stream = streams(seed, n, gap)
    operator = rolling.build(SCHEMA, CAPACITY, 0, of=CHANNELS, window=window, stats=rolling.STATS)
    assert_close(played(operator, stream), reference(stream, window))


@pytest.mark.parametrize("window", [2, 10, 100])
def test_mean_and_var_equal_river(window: int) -> None:
    """A job written by hand with River's Rolling gets the same mean and variance.

    Absolutely within 1e-11 where two values lie so close that River's own sum has cancelled.
    """
    values = np.random.default_rng(1).normal(20.0, 3.0, 5000).tolist()
    mean = utils.Rolling(stats.Mean, window_size=window)
    var = utils.Rolling(stats.Var, window_size=window)
    wanted = []
    for value in values:
        mean.update(value)
        var.update(value)
        wanted.append([mean.obj.get(), var.obj.get()])
    build: dict[str, Any] = {"of": ["a"], "window": {"readings": window}, "stats": ["mean", "var"]}
    batch = batch_of(ONE, np.arange(5000), {"a": values})
    ours = computed(rolling.build(ONE, 1, 0, **build), batch)
    np.testing.assert_allclose(ours, wanted, rtol=1e-9, atol=1e-11)


def test_equals_pandas_on_a_recording() -> None:
    """Hourly air quality of several stations with real gaps, by count and by time."""
    frame = pd.read_csv(recording("beijing_air.csv.gz"), nrows=20_000, parse_dates=["time"])
    schema = Schema([Channel("PM2.5"), Channel("TEMP")])
    batch = Batch(len(frame), 2)
    batch.n = len(frame)
    batch.row[:] = pd.factorize(frame["device"])[0]
    batch.time[:] = frame["time"].astype("datetime64[us, UTC]").astype("int64")
    batch.values[:] = frame[list(schema.names)]
    for window, theirs in (({"readings": 24}, 24), ("2d", "2D")):
        build: dict[str, Any] = {
            "of": schema.names,
            "window": window,
            "stats": ["mean", "std", "min", "max"],
        }
        ours = computed(rolling.build(schema, 8, 0, **build), batch)
        for channel in schema.names:
            series = frame.set_index("time").groupby("device")[channel]
            roll = series.rolling(theirs, min_periods=1)
            order = np.argsort(pd.factorize(frame["device"])[0], kind="stable")
            for stat in ("mean", "std", "min", "max"):
                wanted = getattr(roll, stat)().to_numpy()
                got = ours.filter(regex=f"^{channel}_{stat}_").to_numpy()[order, 0]
                # pandas has no standard deviation of a single value; River's is 0.
                known = ~np.isnan(wanted)
                np.testing.assert_allclose(got[known], wanted[known], rtol=1e-7, atol=1e-7)
                assert known.mean() > 0.9


def test_an_outlier_leaves_no_trace() -> None:
    """Once an outlier has left the window, its digits are those of a window that never saw it."""
    values = np.random.default_rng(2).normal(0.0, 1.0, 100)
    values[[30, 31, 55]] = [1e24, -3e17, 1e9]
    build: dict[str, Any] = {"of": ["a"], "window": {"readings": 10}, "stats": ["mean", "var"]}
    ours = computed(rolling.build(ONE, 1, 0, **build), batch_of(ONE, np.arange(100), {"a": values}))
    for i in range(42, 100):
        cut = values[i - 9 : i + 1]
        np.testing.assert_allclose(ours.loc[i], [cut.mean(), cut.var(ddof=1)], rtol=1e-9, atol=1e-9)


def test_no_drift() -> None:
    """Over a million readings far from zero no sum strays, where reverting alone is 2e-5 off."""
    n = 1_000_000
    values = 1e6 + np.random.default_rng(3).normal(0.0, 1e-2, n)
    operator = rolling.build(ONE, 1, 0, of=["a"], window={"readings": 20}, stats=["var"])
    ours = computed(operator, batch_of(ONE, np.arange(n), {"a": values}))
    wanted = np.lib.stride_tricks.sliding_window_view(values, 20).var(axis=1, ddof=1)
    np.testing.assert_allclose(ours["a_var_20"][19:], wanted, rtol=1e-6)


def test_an_infinite_value_is_absent() -> None:
    """What is not finite, should it ever come this far, does not count."""
    operator = rolling.build(ONE, 1, 0, of=["a"], window={"readings": 3}, stats=rolling.STATS)
    values = [1.0, math.inf, 3.0, -math.inf]
    ours = computed(operator, batch_of(ONE, np.arange(4), {"a": values}))
    np.testing.assert_array_equal(ours.loc[1], [1.0, 0.0, 0.0, 1.0, 1.0])
    np.testing.assert_array_equal(ours.loc[2], [2.0, 2.0, math.sqrt(2.0), 1.0, 3.0])
    np.testing.assert_array_equal(ours.loc[3], [3.0, 0.0, 0.0, 3.0, 3.0])


def test_a_constant_has_no_variance() -> None:
    """Rounding never makes the variance of a constant negative or its deviation NaN."""
    values = [0.1] * 50 + [1e15 / 3] * 50 + [0.1] * 50
    build: dict[str, Any] = {"of": ["a"], "window": {"readings": 7}, "stats": ["var", "std"]}
    ours = computed(rolling.build(ONE, 1, 0, **build), batch_of(ONE, np.arange(150), {"a": values}))
    assert (ours >= 0).all(axis=None)
    assert (ours.loc[[49, 99, 149]] == 0).all(axis=None)


def test_a_full_time_window_drops_the_oldest_and_counts() -> None:
    """A device that sends more than fits keeps its last readings; the loss is counted."""
    build: dict[str, Any] = {
        "of": ["a"],
        "window": "1h",
        "stats": ["min", "max", "mean"],
        "readings_max": 20,
    }
    operator: Any = rolling.build(ONE, 2, 0, **build)
    values = np.arange(100.0)
    ours = computed(operator, batch_of(ONE, T + SECOND * np.arange(100), {"a": values}))
    assert operator.overflowed == 80
    np.testing.assert_array_equal(ours.loc[99], [80.0, 99.0, np.arange(80.0, 100.0).mean()])
    np.testing.assert_array_equal(ours.loc[19], [0.0, 19.0, 9.5])


def test_a_window_by_count_never_overflows() -> None:
    """What leaves a window by count is no loss."""
    build: dict[str, Any] = {"of": ["a"], "window": {"readings": 5}, "stats": ["mean"]}
    operator: Any = rolling.build(ONE, 1, 0, **build)
    computed(operator, batch_of(ONE, np.arange(50), {"a": np.arange(50.0)}))
    assert operator.overflowed == 0


def test_a_ring_grows_only_for_the_device_that_needs_it() -> None:
    """Depth follows the readings in a device's window, by doubling."""
    operator = rolling.build(ONE, 3, 0, of=["a"], window="1h", stats=["max"])
    row = np.array([0] * 8 + [1] * 30, np.int32)
    time = T + SECOND * np.arange(38)
    computed(operator, batch_of(ONE, time, {"a": np.ones(38)}, row))
    np.testing.assert_array_equal(operator.blocks["ring"].depth, [1, 4, 0])


def test_the_window_is_open_on_the_left() -> None:
    """A reading exactly one window old is out, one of this instant is in."""
    operator = rolling.build(ONE, 1, 0, of=["a"], window="10s", stats=["min"])
    times = [T, T + 10 * SECOND - 1, T + 10 * SECOND]
    ours = computed(operator, batch_of(ONE, times, {"a": [1.0, 2.0, 3.0]}))
    np.testing.assert_array_equal(ours["a_min_10s"], [1.0, 1.0, 2.0])


def test_names_and_channels() -> None:
    """Names tell channel, statistic and window, whichever way the duration was written."""
    operator = rolling.build(
        SCHEMA, 1, 0, of=["free", "load"], window="600s", stats=["std", "mean"]
    )
    assert operator.names == ("free_std_10m", "free_mean_10m", "load_std_10m", "load_mean_10m")
    assert operator.channels[1:3] == (frozenset({"free"}), frozenset({"load"}))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stats": ["median"]}, r"stats is \['median'\]; name each of mean, var, std, min, max"),
        ({"stats": []}, "stats is"),
        ({"stats": ["mean", "mean"]}, "at most once"),
        ({"of": []}, "name each channel once"),
        ({"of": ["b"]}, "channel 'b', which is not declared; there are: a"),
        ({"window": "10 minutes"}, "is not a duration"),
        ({"window": "0s"}, "give a duration above 0"),
        ({"window": {"readings": 0}}, "write a duration such as"),
        ({"window": {"reading": 3}}, "write a duration such as"),
        ({"window": {"readings": 3, "seconds": 1}}, "write a duration such as"),
        ({"readings_max": 1}, "readings_max is 1; give a whole number from 2 up"),
    ],
)
def test_wrong_options_are_explained(wrong: dict[str, Any], message: str) -> None:
    """Errors name what was found and what to write."""
    options: dict[str, Any] = {"of": ["a"], "window": "10s", "stats": ["mean"]}
    with pytest.raises(ValueError, match=message):
        rolling.build(ONE, 1, 0, **{**options, **wrong})
