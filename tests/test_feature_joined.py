"""stream_processor.features.joined"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_processor.features import joined
from stream_processor.pipeline import Pipeline
from stream_processor.settings import Problems, load_text
from stream_processor.snapshot import capture, restore
from streamgauge.delivery import Delivery, Readings
from streamgauge.devices import Devices
from streamgauge.schema import Channel, Schema
from tests.frames import batch_of, computed
from tests.streams import share_evicted

SECOND = 10**6
BEGIN = 1_772_366_400 * SECOND
SCHEMA = Schema([Channel("outside"), Channel("load")])


def outside(readings: list[tuple[str, int, float]], **options: Any) -> list[float]:
    """The feature of readings of device, second and outside temperature."""
    devices = Devices(9)
    given = {"of": ["outside"], "device": "weather", **options}
    operator = joined.build(SCHEMA, 9, 0, devices, **given)
    rows = devices.rows([device for device, _, _ in readings])
    times = [BEGIN + second * SECOND for _, second, _ in readings]
    batch = batch_of(SCHEMA, times, {"outside": [value for _, _, value in readings]}, rows)
    found: list[float] = computed(operator, batch)["outside_of_weather"].tolist()
    return found


@settings(deadline=None, max_examples=150, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_equals_a_join_as_of_event_time(seed: int, n: int) -> None:
    """As pandas' merge_asof of what came before, where nothing comes late."""
    random = np.random.default_rng(seed)
    seconds = np.cumsum(random.integers(1, 8, n)).tolist()
    names = random.choice(["weather", "a", "b"], n).tolist()
    values = np.where(random.random(n) < 0.3, np.nan, random.normal(size=n)).tolist()
    got = outside(list(zip(names, seconds, values, strict=True)), at_most="10s")
    frame = pd.DataFrame({"device": names, "second": seconds, "value": values})
    known = frame[(frame["device"] == "weather") & frame["value"].notna()]
    wanted = pd.merge_asof(frame[["second"]], known[["second", "value"]], on="second", tolerance=10)
    np.testing.assert_array_equal(got, wanted["value"])


def test_a_reading_that_is_older_than_the_newest_value_is_given_an_older_one() -> None:
    """What was measured after a reading is not known to it, though it came before."""
    weather = [("weather", second, float(second)) for second in (10, 20, 30)]
    nan = math.nan
    late = [("a", 25, nan), ("a", 9, nan), ("a", 30, nan)]
    assert outside([*weather, *late])[3:] == pytest.approx([20.0, nan, 30.0], nan_ok=True)
    few = outside([*weather, *late], readings_max=1)[3:]
    assert few == pytest.approx([nan, nan, 30.0], nan_ok=True)


def test_nothing_is_known_of_what_has_not_come_yet() -> None:
    """By the order of the log: a value that comes later changes nothing that went before."""
    got = outside([("a", 5, math.nan), ("weather", 1, 7.0), ("a", 6, math.nan)])
    assert got == pytest.approx([math.nan, 7.0, 7.0], nan_ok=True)


CONFIG = """
[devices]
evict_after = "2m"
limit = 3
[channels.outside]
[channels.load]
[features]
joined = { of = ["outside"], device = "weather", at_most = "30s" }
[tasks.load]
target = "load"
kind = "forecast"
horizons = [{ readings = 1 }]
model = ["preprocessing.StandardScaler", "linear_model.LinearRegression"]
"""


def recorded(n: int) -> Readings:
    """Three devices, the weather station among them, which is silent for some time."""
    random = np.random.default_rng(3)
    clock = BEGIN + np.cumsum(random.choice([1, 4, 9], n)) * SECOND
    who = random.choice(["a", "b", "weather"], n)
    who[n // 3 : n // 2] = "a"
    values = random.normal(size=(n, 2))
    return Readings(who.tolist(), clock, clock, values)


def fed(made: Pipeline, readings: Readings, size: int) -> list[bytes]:
    """Feed readings in batches of a size, with ticks at fixed places; what was put out."""
    for start in range(0, len(readings), 20):
        for k in range(start, start + 20, size):
            made.feed(Delivery(readings=readings.part(k, min(k + size, start + 20))))
        made.feed(Delivery(clock=int(readings.received[start + 19])))
    outputs = made.sealed()
    return [
        np.concatenate([output.predictions.numbers for output in outputs]).tobytes(),
        np.concatenate([output.predictions.codes for output in outputs]).tobytes(),
    ]


def pipeline(text: str = CONFIG) -> Pipeline:
    """A pipeline with a joined channel."""
    return Pipeline(load_text(text, Path("test.toml"), {}, for_replay=True))


def test_it_holds_through_batches_evictions_and_restarts(tmp_path: Path) -> None:
    """The station is evicted, another device may get its row, and it returns: the same bits."""
    readings = recorded(240)
    whole, first, second = pipeline(), pipeline(), pipeline()
    share_evicted(tmp_path, first)
    wanted = fed(whole, readings, 20)
    assert fed(pipeline(), readings, 1) == wanted
    before = fed(first, readings.part(0, 120), 7)
    share_evicted(tmp_path, second)
    restore(second.walk, capture(first.walk, {}, {}))
    after = fed(second, readings.part(120, 240), 3)
    assert [a + b for a, b in zip(before, after, strict=True)] == wanted
    assert "weather" in whole.walk.stages.devices.row_of
    assert whole.walk.blocks["features.1.state"].array.any()
    assert whole.walk.feature_names[2:] == ("outside_of_weather",)


def test_another_device_in_the_row_of_the_station_is_not_the_station() -> None:
    """Rows are recycled; a device is known by its name."""
    devices = Devices(2)
    operator: Any = joined.build(SCHEMA, 2, 0, devices, of=["outside"], device="weather")

    def one(device: str, second: int, value: float) -> float:
        time = [BEGIN + second * SECOND]
        batch = batch_of(SCHEMA, time, {"outside": [value]}, [devices.row(device)])
        return float(computed(operator, batch).to_numpy()[0, 0])

    assert one("weather", 1, 5.0) == 5.0
    row = devices.row("weather")
    devices.evict([row], [1])
    assert devices.row("stranger") == row
    assert one("stranger", 2, 9.0) == one("stranger", 3, 9.0) == 5.0
    assert one("weather", 4, 6.0) == one("stranger", 5, 9.0) == 6.0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ('of = ["outsid"], device = "w"', "not declared"),
        ('of = ["outside"], device = ""', "name the device whose channels these are"),
        ('of = ["outside"], device = "w", readings_max = 0', "give 1 to 4096"),
        ('of = ["outside"], device = "w", at_most = "soon"', "'soon' is not a duration"),
        ('of = ["outside"]', "features.joined.device: missing"),
    ],
)
def test_wrong_options_are_explained(options: str, said: str) -> None:
    """Errors name what was found and what to write."""
    given = 'of = ["outside"], device = "weather", at_most = "30s"'
    with pytest.raises(Problems) as raised:
        pipeline(CONFIG.replace(given, options))
    assert said in "\n".join(map(str, raised.value.problems))
