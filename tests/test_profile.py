"""`streamgauge profile`: figures against pandas, a configuration that works, nothing kept whole."""

import gzip
import io
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from serving.check import check
from serving.cli import main
from serving.profile.command import profiled
from serving.profile.figures import ChannelFigures, Profile
from serving.profile.gather import STUCK, Gathered
from serving.profile.sample import Sample
from serving.profile.shapes import autocorrelation, season
from serving.replay import replay
from serving.run import clock
from streamgauge.delivery import Readings
from streamgauge.schema import Channel, Schema
from tests.recordings import recording

START = pd.Timestamp("2026-03-02", tz="UTC")
MINUTE = 60 * 10**6
DAY = 86_400 * 10**6


def fleet(days: int = 14, every: str = "10min") -> pd.DataFrame:
    """Three devices whose load follows the hour; a sensor that sticks, gaps, and holes."""
    time = pd.date_range(START, START + pd.Timedelta(days=days), freq=every, inclusive="left")
    rng = np.random.default_rng(7)
    parts = []
    for name, level in (("a", 10.0), ("b", 40.0), ("c", 90.0)):
        load = level + 5.0 * np.sin(2 * np.pi * np.asarray(time.hour) / 24)
        load += rng.normal(0.0, 1.0, len(time))
        flow = np.cumsum(rng.normal(0.0, 0.1, len(time))) + 50.0
        part = pd.DataFrame({"device": name, "time": time, "load": load, "flow": flow})
        part["fixed"] = 3.0
        part.loc[rng.random(len(part)) < 0.1, "flow"] = np.nan
        parts.append(part)
    parts[1].loc[500:579, "load"] = 42.0
    parts[2] = parts[2].drop(index=range(700, 760))
    return pd.concat(parts).sort_values("time", kind="stable").reset_index(drop=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fleet's recording as a file."""
    path = tmp_path_factory.mktemp("fleet") / "fleet.parquet"
    fleet().to_parquet(path)
    return path


@pytest.fixture(scope="module")
def found(data: Path) -> Profile:
    """Its figures."""
    return profiled(data, clock)[0]


def of(found: Profile, name: str) -> ChannelFigures:
    """The figures of one channel."""
    return next(channel for channel in found.channels if channel.name == name)


def test_figures_are_those_of_pandas(found: Profile) -> None:
    """Counts, shares, extremes, means and quantiles, as of the whole frame."""
    frame = fleet()
    assert (found.rows, len(found.devices), found.left_out) == (len(frame), 3, 0)
    assert found.pace.interval == 10 * MINUTE
    for name in ("load", "flow", "fixed"):
        channel, column = of(found, name), frame[name]
        assert channel.values == column.count()
        assert channel.missing == pytest.approx(column.isna().mean())
        assert (channel.low, channel.high) == (column.min(), column.max())
        assert channel.mean == pytest.approx(column.mean())
        assert channel.quantiles[3] == pytest.approx(column.median())
        inside = channel.histogram
        assert inside.counts.sum() + inside.below + inside.above == column.count()


def test_gaps_and_stuck_sensors_are_found_where_they_are(found: Profile) -> None:
    """60 readings are gone on one device, 80 are alike on another; the rest is fine."""
    a, b, c = found.devices
    assert [device.pace.gaps for device in (a, b, c)] == [0, 0, 1]
    assert c.pace.longest == 61 * 10 * MINUTE
    load = of(found, "load")
    assert round(load.stuck * load.values) == 80 - STUCK + 1
    assert of(found, "fixed").constant


def test_seasons_and_memory_are_told_from_luck(found: Profile) -> None:
    """The load follows the hour and not the weekday; a walk follows neither, and remembers."""
    load, flow = of(found, "load"), of(found, "flow")
    assert load.hours.strength > 0.8
    assert int(np.nanargmax(load.hours.means)) in {5, 6, 7}
    assert flow.hours.strength < 0.1
    assert np.isnan(load.weekdays.strength)
    assert flow.autocorrelation[1] > 0.95


def test_autocorrelation_is_the_definition() -> None:
    """Mean product of present values so far apart, over the mean square."""
    rng = np.random.default_rng(1)
    values = np.convolve(rng.normal(0.0, 1.0, 400), np.ones(5))
    values[rng.random(len(values)) < 0.2] = np.nan
    around = values - np.nanmean(values)
    wanted = [np.nanmean(around[lag:] * around[: len(around) - lag]) for lag in range(11)]
    got = autocorrelation([values], 10)
    np.testing.assert_allclose(got, np.array(wanted) / wanted[0])


def test_a_random_walk_has_no_season() -> None:
    """What the first half shows by chance, the second does not."""
    time = np.arange(0, 60 * DAY, 3600 * 10**6)
    walk = np.cumsum(np.random.default_rng(2).normal(0.0, 1.0, len(time)))
    slot = time // DAY % 7
    assert season(slot, 7, np.zeros(len(time), np.int64), time, walk, 7 * DAY).strength < 0.1


def test_the_cut_of_a_recording_means_nothing() -> None:
    """One piece, or pieces of 7: the same counts, and the same sample."""
    schema = Schema([Channel("a")])
    n = 5_000
    rng = np.random.default_rng(3)
    names = [f"d{k % 7}" for k in range(n)]
    time = np.arange(n) * MINUTE
    all_of_it = Readings(names, time, time.copy(), rng.normal(0.0, 1.0, (n, 1)))
    whole, parts = Gathered(schema), Gathered(schema)
    whole.add(all_of_it)
    for k in range(0, n, 7):
        parts.add(all_of_it.part(k, min(n, k + 7)))
    np.testing.assert_array_equal(whole.verdicts, parts.verdicts)
    np.testing.assert_array_equal(whole.sample.values, parts.sample.values)
    assert whole.steps.overall(0) == parts.steps.overall(0)
    np.testing.assert_array_equal(whole.stretches.of(0)[3], parts.stretches.of(0)[3])


def test_a_sample_is_bounded_even_and_blind_to_rhythm() -> None:
    """Of a million readings in turn, 1,000 to 2,000 stay, of all devices and all times."""
    sample = Sample(2_000, 1)
    for begin in range(0, 1_000_000, 50_000):
        place = np.arange(begin, begin + 50_000)
        sample.add(place % 8, place, place[:, None].astype(np.float64))
    assert 500 < len(sample.row) <= 2_000
    assert np.bincount(sample.row, minlength=8).min() > len(sample.row) / 16
    assert np.histogram(sample.time, 10)[0].min() > len(sample.row) / 20


def test_more_devices_than_are_told_apart_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by the first devices; readings of others are left out, and that is said."""
    monkeypatch.setattr("serving.profile.gather.MOST_DEVICES", 5)
    gathered = Gathered(Schema([Channel("a")]))
    time = np.arange(100) * MINUTE
    names = [f"d{k % 10}" for k in range(100)]
    gathered.add(Readings(names, time, time.copy(), np.ones((100, 1))))
    assert gathered.left_out == 50
    assert gathered.verdicts.sum() == 50


def configured(data: Path, folder: Path, *more: str) -> Path:
    """The configuration that the command writes, which `check` passes and `replay` runs."""
    config = folder / "pipeline.toml"
    report = folder / "report.html"
    assert main(["profile", str(data), "-o", str(report), "--config", str(config), *more]) == 0
    said = io.StringIO()
    assert check(config, {}, said) == 0, said.getvalue()
    return config


def test_the_configuration_fits_the_recording(data: Path, tmp_path: Path) -> None:
    """It holds what was found, passes `check`, and `replay` beats persistence with it or not, but
    runs; it is shown in the report as it was written."""
    config = configured(data, tmp_path)
    text = config.read_text(encoding="utf-8")
    found = tomllib.loads(text)
    channels = found["channels"]
    assert channels["load"]["stuck"] == {"readings": STUCK}
    assert channels["flow"]["missing"] == {"use": "hold", "at_most": "1h"}
    assert found["features"]["calendar"] == {"of": ["hour"], "as": "cyclic"}
    assert found["features"]["lags"] == {"load": [1, 2, 144]}
    assert channels["load"]["range"][0] <= of(profiled(data, clock)[0], "load").low
    assert "lags = { load = [1, 2, 144] }" in (tmp_path / "report.html").read_text("utf-8")
    output = tmp_path / "out.csv"
    assert replay(config, data, output=output, rejects=None, speed=0.0) == 0
    assert pd.read_csv(output)["prediction"].notna().sum() > 1_000


@pytest.mark.parametrize("form", ["csv", "csv.gz", "jsonl"])
def test_every_format_gives_the_same_figures(form: str, found: Profile, tmp_path: Path) -> None:
    """CSV, gzipped or not, and JSON lines, as the Parquet file."""
    frame = fleet()
    frame["time"] = frame["time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    path = tmp_path / f"fleet.{form}"
    if form == "jsonl":
        text = frame.to_json(orient="records", lines=True, double_precision=15)
        path.write_text(text, encoding="utf-8")
    else:
        written = frame.to_csv(index=False).encode()
        path.write_bytes(gzip.compress(written) if form.endswith("gz") else written)
    again = profiled(path, clock)[0]
    assert [d.pace for d in again.devices] == [d.pace for d in found.devices]
    for one, other in zip(again.channels, found.channels, strict=True):
        assert one.values == other.values
        assert one.mean == pytest.approx(other.mean)
        np.testing.assert_allclose(one.quantiles, other.quantiles)


def test_columns_and_zone_may_be_named(tmp_path: Path) -> None:
    """A table whose columns nobody could guess; its hours are those of its own zone."""
    frame = fleet().rename(columns={"device": "who", "time": "moment"})
    frame["moment"] = frame["moment"].dt.tz_localize(None)
    path = tmp_path / "fleet.csv"
    frame.to_csv(path, index=False)
    config = configured(
        path, tmp_path, "--device", "who", "--time", "moment", "--timezone", "Asia/Seoul"
    )
    found = tomllib.loads(config.read_text(encoding="utf-8"))
    assert found["devices"]["timezone"] == "Asia/Seoul"
    assert (found["source"][0]["device"], found["source"][0]["time"]) == ("who", "moment")
    profile = profiled(path, clock, device="who", time="moment", timezone="Asia/Seoul")[0]
    assert profile.begin == (START - pd.Timedelta(hours=9)).value // 1_000
    assert int(np.nanargmax(of(profile, "load").hours.means)) in {5, 6, 7}
    assert replay(config, path, output=None, rejects=None, speed=0.0) == 0


def _missing(folder: Path) -> Path:
    return folder / "none.csv"


def _text_only(folder: Path) -> Path:
    path = folder / "words.csv"
    path.write_text("device,time,word\na,2026-03-01T00:00:00Z,good\n", encoding="utf-8")
    return path


def _timeless(folder: Path) -> Path:
    path = folder / "timeless.csv"
    path.write_text("device,x\na,1\na,2\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("made", "said"),
    [(_missing, "no such file"), (_text_only, "is a number"), (_timeless, "no column is a time")],
)
def test_what_cannot_be_profiled_is_told(
    made: Callable[[Path], Path], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Why, and nothing is written."""
    report = tmp_path / "report.html"
    assert main(["profile", str(made(tmp_path)), "-o", str(report)]) == 1
    assert said in capsys.readouterr().err
    assert not report.exists()


def test_a_configuration_is_never_overwritten(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody may have worked on it; nothing is done."""
    config = tmp_path / "pipeline.toml"
    config.write_text("mine", encoding="utf-8")
    report = tmp_path / "report.html"
    arguments = ["profile", str(data), "-o", str(report), "--config", str(config)]
    assert main(arguments) == 2
    assert "is there already" in capsys.readouterr().err
    assert (config.read_text(encoding="utf-8"), report.exists()) == ("mine", False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["beijing_air", "keti_rooms", "vic_electricity", "skab_valve1", "steel_energy", "nab"]
)
def test_real_recordings(name: str, tmp_path: Path) -> None:
    """Each gives a configuration that `check` passes, and `replay` runs."""
    path = recording(f"{name}.csv.gz")
    config = configured(path, tmp_path)
    assert replay(config, path, output=None, rejects=None, speed=0.0) == 0
