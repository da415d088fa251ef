"""channels.NAME.interpolate: a reading waits for the next value and gets what lies between."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from stream_processor.arrange import Arrange
from stream_processor.duplicates import Policy
from stream_processor.settings import Problems
from stream_processor.snapshot import capture, restore
from streamgauge.arrays import Floats, Ints
from streamgauge.batch import Batch
from streamgauge.schema import Channel, Schema
from streamgauge.words import Flag
from tests.recordings import recording
from tests.test_arrange import Bench, a, b
from tests.test_walk import state

GAPS = 'interpolate = "10s"'
HOUR = 3_600 * 10**6


def both(one: float, other: float | None) -> dict[str, Any]:
    """A message about both channels."""
    return {"a": one, "b": other}


def test_a_missing_value_is_drawn_between_two_that_came() -> None:
    """Readings wait for the next value, go on in order, and what was made up is marked."""
    bench = Bench("", GAPS)
    bench.send((0, both(1, 10)), (2, a(2)), (3, a(3)))
    assert bench.got() == [(0, 1, 10)]
    bench.send((5, both(4, 20)))
    assert bench.got() == [(0, 1, 10), (2, 2, 14), (3, 3, 16), (5, 4, 20)]
    assert bench.flags == [Flag(0), Flag.FILLED, Flag.FILLED, Flag(0)]


def test_a_refused_value_is_missing_too() -> None:
    """What is outside its range is replaced by what lies between, and keeps both marks."""
    bench = Bench("", f"{GAPS}\nrange = [0, 100]")
    bench.send((0, both(1, 10)), (1, both(1, 900)), (2, both(1, 30)))
    assert bench.got() == [(0, 1, 10), (1, 1, 20), (2, 1, 30)]
    assert bench.flags[1] == Flag.FILLED | Flag.OUT_OF_RANGE


def test_a_gap_that_is_too_long_stays() -> None:
    """Once the next value can only come too late, nothing waits; `missing` has what is left."""
    bench = Bench("", f'{GAPS}\nmissing = {{ use = "hold", at_most = "3s" }}')
    bench.send((0, both(1, 10)), (2, a(2)), (9, a(3)))
    assert [row[0] for row in bench.got()] == [0]
    bench.send((10.5, a(4)))
    assert bench.got() == [(0, 1, 10), (2, 2, 10), (9, 3, None), (10.5, 4, None)]
    bench.send((11, both(5, 50)), (12, a(6)), (13, both(7, 60)))
    assert bench.got()[4:] == [(11, 5, 50), (12, 6, 55), (13, 7, 60)]


def test_nothing_waits_before_the_first_value() -> None:
    """A channel that never had a value draws no line, nor do others that are not asked for."""
    bench = Bench("", GAPS)
    bench.send((0, a(1)), (1, b(5)))
    assert bench.got() == [(0, 1, None), (1, None, 5)]


def test_a_device_that_falls_silent_gets_its_readings_through_unfilled() -> None:
    """Its own clock goes on with ours; a tick lets go what can no longer be filled, not before."""
    bench = Bench("", GAPS)
    bench.send((0, both(1, 10)), (4, a(2)), received=100)
    bench.tick(106)
    assert len(bench.rows) == 1
    bench.tick(106.1)
    assert bench.got() == [(0, 1, 10), (4, 2, None)]
    assert bench.flags == [Flag(0), Flag(0)]


def test_more_readings_than_there_is_room_for_go_on_unfilled() -> None:
    """The memory of a device is bounded; the oldest gives way."""
    bench = Bench("", 'interpolate = { up_to = "1h", readings = 2 }')
    bench.send((0, both(0, 0)), *[(k, a(k)) for k in (1, 2, 3)], (4, both(4, 8)))
    assert bench.got() == [(0, 0, 0), (1, 1, None), (2, 2, 4), (3, 3, 6), (4, 4, 8)]


def test_readings_are_put_in_order_first() -> None:
    """What overtook another draws no line past it."""
    bench = Bench('reorder = "2s"', GAPS)
    bench.send((0, both(0, 0)), (3, both(3, 30)), (1, a(1)), (2, both(2, 4)), (6, a(6)), received=9)
    assert bench.got() == [(0, 0, 0), (1, 1, 2), (2, 2, 4), (3, 3, 30)]


@pytest.mark.parametrize("cut", range(1, 6))
def test_what_waits_is_in_the_checkpoint(cut: int) -> None:
    """A pipeline restored while readings wait goes on to the same bits."""
    log = [(0, both(0, 1)), (1, a(1)), (2, a(2)), (4, both(3, 7)), (6, a(4)), (20, both(9, 9))]
    whole, first, second = Bench("", GAPS), Bench("", GAPS), Bench("", GAPS)
    whole.send(*log)
    first.send(*log[:cut])
    restore(second.pipeline.walk, capture(first.pipeline.walk, {}, {}))
    second.send(*log[cut:])
    assert first.got() + second.got() == whole.got()
    assert state(second.pipeline) == state(whole.pipeline)


def test_what_is_made_up_ends_no_silence() -> None:
    """A channel that was quiet is quiet, though values are drawn through its silence later."""
    bench = Bench("", f'{GAPS}\nsilent_after = "11s"')
    bench.send((0, both(0, 0)), *[(k, a(k)) for k in range(1, 9)], (10, both(9, 9)))
    assert bench.pipeline.board.counts()["silences"] == {"silent": 0, "returned": 0}
    heard = bench.pipeline.walk.stages.silence.blocks["state"].view("heard")[0, 1, 0]
    bench.send((11, a(1)), (12, a(1)))
    bench.tick(21.5)
    assert bench.pipeline.board.counts()["silences"] == {"silent": 1, "returned": 0}
    assert heard == bench.pipeline.walk.stages.silence.blocks["state"].view("heard")[0, 1, 0]


@pytest.mark.parametrize(
    ("devices", "b", "key", "remedy"),
    [
        ("", "interpolate = { readings = 3 }", "channels.b.interpolate.up_to", "add up_to"),
        ("", f'{GAPS}\nsilent_after = "10s"', "channels.b.silent_after", "more than 10s"),
        ('silent_after = "5s"', GAPS, "devices.silent_after", "more than 10s"),
        ('evict_after = "12s"\nreorder = "2s"', GAPS, "devices.evict_after", "more than 12s"),
    ],
)
def test_what_is_wrong_in_the_configuration(devices: str, b: str, key: str, remedy: str) -> None:
    """What waits is neither silent nor forgotten meanwhile: such limits are refused."""
    with pytest.raises(Problems) as found:
        Bench(devices, b)
    assert any(key in p.key and remedy in p.remedy for p in found.value.problems), found.value


def arranged(values: Floats, time: Ints, gap: int) -> tuple[Floats, Floats]:
    """Readings of one device through the stage: values that go out, and which are filled."""
    n, k = values.shape
    schema = Schema([Channel(f"c{c}") for c in range(k)])
    stage = Arrange(
        schema, 1, max_ahead_us=HOUR, duplicates=Policy.NONE, remember=0, gaps=[gap] * k, queue=256
    )
    batch, out = Batch(n, k), Batch(1_024, k)
    batch.n = n
    batch.values[:], batch.time[:], batch.received[:] = values, time, time
    parts = [
        (
            ready.values[: ready.n].copy(),
            ready.flags[: ready.n].copy(),
            ready.time[: ready.n].copy(),
        )
        for run in (stage.readings(batch, out), stage.tick(int(time[-1]) + 2 * gap, 1, out))
        for ready in run
    ]
    went, flags, times = (np.concatenate(column) for column in zip(*parts, strict=True))
    assert times.tolist() == time.tolist()
    return went, (flags & Flag.FILLED) != 0


@pytest.mark.parametrize("hours", [2, 5, 24])
def test_interpolation_is_that_of_pandas_on_a_recording(hours: int) -> None:
    """Gaps of real air-quality stations are filled as pandas does, those that are short enough."""
    air = pd.read_csv(recording("beijing_air.csv.gz"), parse_dates=["time"])
    names = ["PM2.5", "NO2", "CO", "O3"]
    own = air[air["device"] == "Aotizhongxin"][["time", *names]].dropna(subset=names, how="all")
    own = own.iloc[:9_000].set_index("time")
    time = pd.DatetimeIndex(own.index).as_unit("us").asi8
    went, filled = arranged(own.to_numpy(np.float64), time, hours * HOUR)
    for c, name in enumerate(names):
        series = own[name]
        drawn = series.interpolate(method="index", limit_area="inside")
        known = pd.Series(np.where(series.notna(), time, np.nan))
        gap = (known.bfill() - known.ffill()).to_numpy()
        short = series.isna().to_numpy() & (gap <= hours * HOUR)
        wanted = np.where(series.isna() & ~short, np.nan, drawn)
        np.testing.assert_allclose(went[:, c], wanted, rtol=1e-12)
        assert filled[:, c].tolist() == short.tolist()
    assert filled.sum() > 100
