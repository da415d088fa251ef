"""stream_processor.features.lags"""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from stream_processor.features import lags
from streamgauge.batch import Batch
from streamgauge.schema import Channel, Schema
from tests.contracts.streams import CAPACITY, SCHEMA, Stream, streams
from tests.frames import admitted, by_device, computed
from tests.recordings import recording

LAGS = {"free": [3, 1], "temperature": [1, 2, 10]}


@settings(deadline=None, max_examples=100, derandomize=True)
@given(stream=streams(admitted=True))
def test_equals_shift(stream: Stream) -> None:
    """Lags are what pandas' shift gives for each device; refused readings do not count."""
    batch = Batch(len(stream), len(SCHEMA))
    stream.fill(batch, 0, len(stream))
    ours = computed(lags.build(SCHEMA, CAPACITY, 0, lags=LAGS), batch)
    wanted = pd.DataFrame(np.nan, index=ours.index, columns=ours.columns)
    for device in by_device(admitted(stream, SCHEMA)):
        for channel, steps in LAGS.items():
            for step in steps:
                wanted.loc[device.index, f"{channel}_lag{step}"] = device[channel].shift(step)
    pd.testing.assert_frame_equal(ours, wanted, check_exact=True)


def test_equals_shift_on_a_recording() -> None:
    """The same on hourly air quality of several stations with real gaps."""
    frame = pd.read_csv(recording("beijing_air.csv.gz"), nrows=20_000)
    schema = Schema([Channel("PM2.5"), Channel("TEMP")])
    batch = Batch(len(frame), 2)
    batch.n = len(frame)
    batch.row[:] = pd.factorize(frame["device"])[0]
    batch.values[:] = frame[list(schema.names)]
    ours = computed(lags.build(schema, 8, 0, lags={"PM2.5": [1, 24], "TEMP": [2]}), batch)
    devices = frame.groupby("device")
    np.testing.assert_array_equal(ours["PM2.5_lag1"], devices["PM2.5"].shift(1))
    np.testing.assert_array_equal(ours["PM2.5_lag24"], devices["PM2.5"].shift(24))
    np.testing.assert_array_equal(ours["TEMP_lag2"], devices["TEMP"].shift(2))
    assert ours["PM2.5_lag1"].notna().mean() > 0.9


def test_names_and_channels() -> None:
    """Each feature says what it is and where it comes from."""
    operator = lags.build(SCHEMA, 1, 0, lags=LAGS)
    assert operator.names[:3] == ("free_lag3", "free_lag1", "temperature_lag1")
    assert operator.channels[1:3] == (frozenset({"free"}), frozenset({"temperature"}))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"free": [0]}, r"features\.lags\.free is \[0\]; list whole numbers"),
        ({"free": []}, "list whole numbers"),
        ({"free": [1.5]}, "list whole numbers"),
        ({"free": [True]}, "list whole numbers"),
        ({"free": [2, 2]}, "each lag once"),
        (
            {"none": [1]},
            "channel 'none', which is not declared; there are: temperature, load, free",
        ),
    ],
)
def test_wrong_options_are_explained(wrong: dict[str, Any], message: str) -> None:
    """Errors name the key, what was found and what to write."""
    with pytest.raises(ValueError, match=message):
        lags.build(SCHEMA, 1, 0, lags=wrong)
