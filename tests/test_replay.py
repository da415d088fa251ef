"""`streamgauge replay` as a user calls it, and the same from Python."""

import csv
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serving.cli import main
from stream_processor.pipeline import Pipeline
from stream_processor.table import COLUMNS
from tests.recordings import recording

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "beijing.toml"
STATUSES = {"pending", "labelled", "expired", "warming_up"}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
ROWS = 5_000
LINEAR = (
    '["preprocessing.StandardScaler", { use = "clip", limit = 5 }, '
    '{ use = "linear_model.LinearRegression", optimizer = { use = "optim.SGD", lr = 0.001 }, '
    "clip_gradient = 1 }]"
)
TASK = """
[tasks.ahead]
kind = "forecast"
target = "{target}"
horizons = ["{horizon}"]
predict = "change"
model = {model}
"""
HORIZONS = {
    "air_quality_uci": ("C6H6(GT)", "1h"),
    "appliances_energy": ("Appliances", "10m"),
    "beijing_air": ("PM2.5", "1h"),
    "cmapss_train": ("s11", "1h"),
    "drift_synth": ("x0", "1s"),
    "elec2": ("nswdemand", "30m"),
    "intel_lab_30min": ("temperature", "30m"),
    "keti_rooms": ("co2", "15m"),
    "nab": ("value", "1h"),
    "noaa_weather": ("feat_1", "1d"),
    "occupancy_detection": ("CO2", "1m"),
    "sea": ("x0", "1s"),
    "skab_valve1": ("Volume Flow RateRMS", "1s"),
    "steel_energy": ("Usage_kWh", "15m"),
    "tep": ("x01", "3m"),
    "vic_electricity": ("demand", "30m"),
}
"""A numeric column of each recording, and a horizon at which its readings come."""


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal wide enough for the table of scores."""
    monkeypatch.setenv("COLUMNS", "200")


def replay(*arguments: str | Path) -> int:
    """The command's exit code."""
    return main(["replay", *map(str, arguments)])


def written(path: Path, text: str) -> Path:
    """The path, once the text is in it."""
    path.write_text(text, encoding="utf-8")
    return path


def exactly(path: Path) -> pd.DataFrame:
    """A CSV file's table, its numbers read as Python reads them."""
    texts = pd.read_csv(path, dtype=str, keep_default_na=False)
    return texts.apply(_numbers)


def _numbers(column: "pd.Series[str]") -> "pd.Series[Any]":
    try:
        numbers = [float(text) if text else np.nan for text in column]
    except ValueError:
        return column
    whole = column.name == "model_version"
    return pd.Series(numbers, dtype=np.int64 if whole else np.float64, name=column.name)


def cells(printed: str, device: str) -> list[str]:
    """The cells of that device's row in the printed table."""
    row = next(line for line in printed.splitlines() if line.strip("│ ").startswith(device))
    return [cell.strip() for cell in row.strip("│").split("│")][1:]


def counts(printed: str) -> dict[str, int]:
    """What the last line says: readings by verdict."""
    line = next(line for line in printed.splitlines() if " readings in " in line)
    found = re.findall(r"([\d,]+) ([a-z ]+?)(?=[,;]|$| in )", line.replace("/s)", ""))
    return {word: int(number.replace(",", "")) for number, word in found}


def head(name: str, rows: int, folder: Path) -> Path:
    """The first rows of a recording, as CSV."""
    path = folder / f"{name}.csv"
    with gzip.open(recording(f"{name}.csv.gz"), "rt", encoding="utf-8") as source:
        lines = [line for line, _ in zip(source, range(rows + 1), strict=False)]
    return written(path, "".join(lines))


@pytest.fixture(scope="module")
def beijing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first rows of eight stations."""
    return head("beijing_air", ROWS, tmp_path_factory.mktemp("beijing"))


@pytest.fixture(scope="module")
def forecast(beijing: Path) -> Path:
    """The documented output of those rows."""
    output = beijing.with_name("out.csv")
    assert replay(EXAMPLE, beijing, "--output", output) == 0
    return output


def test_the_documented_configuration_beats_persistence_as_promised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """MAE at most 11.2 and RMSE at most 20.0, counted from the output, and so printed."""
    output = tmp_path / "out.csv"
    data = recording("beijing_air.csv.gz")
    assert replay(EXAMPLE, data, "--output", output) == 0
    printed = capsys.readouterr().out

    table = pd.read_csv(output)
    known = table[table.status == "labelled"]
    errors = known.label - known.prediction
    mae, rmse = errors.abs().mean(), np.sqrt((errors**2).mean())
    assert mae <= 11.2
    assert rmse <= 20.0
    persistence = _persistence(data, known)
    peer = [np.abs(persistence).mean(), np.sqrt((persistence**2).mean())]
    skill = f"{1.0 - mae / peer[0]:.3f}"
    expected = [f"{len(known):,}", skill, f"{mae:.3f}", f"{rmse:.3f}", f"{errors.mean():.3f}"]
    shown = cells(printed, "all 8 devices")
    assert shown[:5] == expected
    assert shown[6:] == [f"{score:.3f}" for score in peer]
    for device, part in known.groupby("device"):
        one = (part.label - part.prediction).abs().mean()
        assert cells(printed, str(device))[:3:2] == [f"{len(part):,}", f"{one:.3f}"]
    with gzip.open(data) as source:
        rows = sum(1 for _ in source) - 1
    assert counts(printed) == {"readings": rows, "admitted": rows}
    assert len(table) <= rows


def _persistence(data: Path, known: pd.DataFrame) -> Any:
    """What the last value of the target, at most as old as the prediction, misses the labels by."""
    readings = pd.read_csv(data, usecols=["device", "time", "PM2.5"], parse_dates=["time"])
    readings["PM2.5"] = readings.groupby("device")["PM2.5"].ffill()
    key = known.assign(time=pd.to_datetime(known.made_at))
    last = key.merge(readings, on=["device", "time"], how="left")["PM2.5"]
    return known.label.to_numpy() - last.to_numpy()


def test_the_output_has_the_documented_columns_order_and_forms(forecast: Path) -> None:
    """Columns, order by time then id, ids once, times in ISO 8601 UTC, else nothing."""
    with forecast.open(encoding="utf-8", newline="") as source:
        rows = list(csv.DictReader(source))
    assert tuple(rows[0]) == COLUMNS
    keys = [(row["made_at"], row["id"]) for row in rows]
    assert keys == sorted(keys)
    assert len({row["id"] for row in rows}) == len(rows)
    assert {row["status"] for row in rows} <= STATUSES
    for row in rows:
        assert INSTANT.fullmatch(row["made_at"])
        assert INSTANT.fullmatch(row["target_time"])
        assert (row["label"] != "") == (row["residual"] != "") == (row["status"] == "labelled")
        assert row["probabilities"] == row["score"] == ""
        assert (row["lower"] == "") == (row["upper"] == "")
    bounded = [row for row in rows if row["lower"]]
    assert len(bounded) > len(rows) / 2
    for row in bounded:
        assert float(row["lower"]) <= float(row["prediction"]) <= float(row["upper"])


def test_python_gives_what_the_command_gives(forecast: Path, beijing: Path, tmp_path: Path) -> None:
    """`Pipeline.from_toml(...).replay(df)`: the same table to the last bit, and as Parquet."""
    table = Pipeline.from_toml(EXAMPLE).replay(exactly(beijing))
    said = exactly(forecast)
    exact(said, table)
    output = tmp_path / "out.parquet"
    assert replay(EXAMPLE, beijing, "--output", output) == 0
    exact(pd.read_parquet(output), table)


def exact(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    """The same columns and values, bit for bit; None and NaN are both nothing."""
    assert list(found.columns) == list(wanted.columns)
    for name in wanted.columns:
        one, other = found[name], wanted[name]
        if name in ("made_at", "target_time"):
            one, other = (
                pd.to_datetime(c).dt.tz_convert("UTC").dt.as_unit("us") for c in (one, other)
            )
        if one.isna().all() and other.isna().all():
            continue
        pd.testing.assert_series_equal(one, other, check_exact=True, check_names=False)


def test_every_format_gives_the_same_predictions(
    forecast: Path, beijing: Path, tmp_path: Path
) -> None:
    """The same readings as Parquet, JSON lines and gzipped CSV."""
    data = exactly(beijing)
    data.assign(time=pd.to_datetime(data["time"])).to_parquet(tmp_path / "a.parquet", index=False)
    with (tmp_path / "a.jsonl").open("w", encoding="utf-8") as target:
        for row in data.to_dict("records"):
            target.write(json.dumps({k: v for k, v in row.items() if v == v}) + "\n")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(beijing.read_bytes()))
    for name in ("a.parquet", "a.jsonl", "a.csv.gz"):
        output = tmp_path / f"{name}.csv"
        assert replay(EXAMPLE, tmp_path / name, "--output", output) == 0
        assert output.read_bytes() == forecast.read_bytes(), name


DIRTY = """device,time,a,b,note
x,2024-01-01T00:00:00Z,1,2,fine
x,2024-01-01T00:00:01Z,inf,nan,nothing usable
x,9999-12-31T00:00:01Z,3,2,from the future
[bold]y,2024-01-01T00:00:01Z,3,2,fine
[/x],2024-01-01T00:00:01Z,3,2,one too many
"z\tz",2024-01-01T00:00:01Z,3,2,a control character
x,notatime,3,2,no time
,2024-01-01T00:00:02Z,3,2,no device
x,2024-01-01T00:00:02Z,1e308,2,only b is usable
x,2024-01-01T00:00:03Z,3,hello,only a is usable
x,2024-01-01T00:00:03Z,3,4,again
x,2024-01-01T00:00:01.5Z,3,3,late
x,2024-01-01T00:00:04Z,3,40,b refuses all of it
"""
STRICT = """
[devices]
limit = 2
[channels.a]
[channels.b]
range = [0, 3]
outside = "reject"
"""
REASONS = {
    "bad_device": 1,
    "bad_time": 1,
    "device_limit": 1,
    "duplicate": 1,
    "empty": 1,
    "future": 1,
    "late": 1,
    "no_device": 1,
    "out_of_range": 1,
}


def test_what_is_not_admitted_is_written_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each dirty row once in --rejects, by name; admitted and rejected are all rows."""
    config = written(
        tmp_path / "p.toml", STRICT + TASK.format(target="a", horizon="1s", model=LINEAR)
    )
    data, rejects = written(tmp_path / "dirty.csv", DIRTY), tmp_path / "rejects.csv"
    assert replay(config, data, "--rejects", rejects, "--output", tmp_path / "o.csv") == 0
    found = pd.read_csv(rejects, keep_default_na=False)
    assert list(found.columns) == ["received", "reason", "detail", "topic", "payload"]
    assert found["reason"].value_counts().to_dict() == REASONS
    reasons = dict(zip(found["reason"], found["detail"], strict=True))
    assert "'[/x]'" in reasons["device_limit"]
    assert "notatime" in reasons["bad_time"]
    assert "9999" in reasons["future"]
    printed = capsys.readouterr().out
    assert counts(printed)["admitted"] == DIRTY.count("\n") - 1 - sum(REASONS.values())
    assert "[bold]y" in printed
    assert set(pd.read_csv(tmp_path / "o.csv")["device"]) == {"x", "[bold]y"}


def test_a_wrong_clock_in_the_first_row_moves_nobody_elses(tmp_path: Path) -> None:
    """Without the row, nothing else changes."""
    config = written(tmp_path / "p.toml", TASK.format(target="a", horizon="1s", model=LINEAR))
    rows = [f"d{k % 2},2024-01-01T00:00:{k // 2:02}Z,{(k * 7) % 11}\n" for k in range(100)]
    clean = written(tmp_path / "clean.csv", "device,time,a\n" + "".join(rows))
    wrong = "d9,2031-01-01T00:00:00Z,5\n"
    dirty = written(tmp_path / "dirty.csv", f"device,time,a\n{wrong}" + "".join(rows))
    for data in (clean, dirty):
        assert replay(config, data, "--output", data.with_suffix(".out.csv")) == 0
    assert clean.with_suffix(".out.csv").read_text() == dirty.with_suffix(".out.csv").read_text()


def test_without_declared_channels_the_numeric_columns_are_channels(
    beijing: Path, tmp_path: Path
) -> None:
    """All but device, time and text, from the command and from Python alike."""
    text = TASK.format(target="PM2.5", horizon="1h", model=LINEAR)
    config, output = written(tmp_path / "p.toml", text), tmp_path / "o.parquet"
    assert replay(config, beijing, "--output", output) == 0
    data = exactly(beijing)
    pipeline = Pipeline.from_toml(config)
    exact(pd.read_parquet(output), pipeline.replay(data))
    numeric = [name for name in data.columns if name not in ("device", "time", "wd")]
    assert list(pipeline.walk.stages.schema.names) == numeric


def test_clocks_without_a_zone_are_read_in_the_configured_one(tmp_path: Path) -> None:
    """From the command and from Python alike."""
    zone = '[devices]\ntimezone = "Europe/Berlin"\n'
    config = written(
        tmp_path / "p.toml", zone + TASK.format(target="a", horizon="1s", model=LINEAR)
    )
    data = pd.DataFrame({"device": "x", "time": ["2024-07-01T12:00:00", "2024-07-01T12:00:01"]})
    data["a"] = [1.0, 2.0]
    data.to_csv(tmp_path / "d.csv", index=False)
    assert replay(config, tmp_path / "d.csv", "--output", tmp_path / "o.parquet") == 0
    table = Pipeline.from_toml(config).replay(data)
    exact(pd.read_parquet(tmp_path / "o.parquet"), table)
    assert table["made_at"].iloc[0] == pd.Timestamp("2024-07-01T10:00:00Z")


def broken(folder: Path) -> Iterator[tuple[str, str, list[str | Path]]]:
    """Name, words of the message, and arguments of a replay that cannot work."""
    good = written(folder / "p.toml", TASK.format(target="a", horizon="1s", model=LINEAR))
    data = written(folder / "d.csv", "device,time,a\nx,2024-01-01T00:00:00Z,1\n")
    cut = folder / "cut.csv.gz"
    cut.write_bytes(gzip.compress(data.read_bytes() * 1_000)[:-20])
    texts = written(folder / "t.csv", "device,time,a\nx,2024-01-01T00:00:00Z,one\n")
    nobody = written(folder / "n.csv", "time,a\n2024-01-01T00:00:00Z,1\n")
    wrong = written(folder / "w.toml", "[foo]\n[tasks.ahead]\nkind = 'x'\n")
    yield "no recording", "absent.csv", [good, folder / "absent.csv"]
    yield "no format", "no known format", [good, good]
    yield "a damaged recording", "repair or replace", [good, cut]
    yield "no numbers", "no column of the recording holds numbers", [good, texts]
    yield "no device", "no column 'device'", [good, nobody]
    yield "no configuration", "absent.toml", [folder / "absent.toml", data]
    yield "mistakes", "line 3: tasks.ahead.kind", [wrong, data]
    yield "no folder", "absent", [good, data, "--output", folder / "absent" / "o.csv"]
    yield "an unknown output", "no known format", [good, data, "--output", folder / "o.xlsx"]
    yield "no rejects", "absent", [good, data, "--rejects", folder / "absent" / "r.csv"]


def test_what_cannot_be_replayed_is_refused_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A message that names what is wrong, no traceback, exit code 1 or 2, nothing printed."""
    for name, words, arguments in broken(tmp_path):
        assert replay(*arguments) in (1, 2), name
        said = capsys.readouterr()
        assert words in said.err, name
        assert "Traceback" not in said.err
        assert said.out == "", name


@pytest.mark.parametrize("name", HORIZONS)
def test_any_recording_runs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever its names, rates and years: every row is accounted for, every score is finite."""
    target, horizon = HORIZONS[name]
    data = head(name, ROWS, tmp_path)
    config = written(tmp_path / "p.toml", TASK.format(target=target, horizon=horizon, model=LINEAR))
    output, rejects = tmp_path / "o.parquet", tmp_path / "rejects.csv"
    assert replay(config, data, "--output", output, "--rejects", rejects) == 0
    printed = capsys.readouterr().out
    with data.open(encoding="utf-8") as source:
        rows = sum(1 for _ in source) - 1
    refused = len(pd.read_csv(rejects))
    admitted = counts(printed)["admitted"]
    assert admitted + refused == rows
    assert admitted > 0.99 * rows
    table = pd.read_parquet(output)
    labelled = table[table.status == "labelled"]
    assert len(labelled) > 0.5 * len(table) > 0
    assert np.isfinite(labelled[["prediction", "label", "residual"]]).all().all()
    scale = labelled.label.abs().max() + 1.0
    assert labelled.residual.abs().mean() < scale


def test_a_regression_predicts_one_channel_from_the_others(tmp_path: Path) -> None:
    """Its label is in the same reading, so every prediction has one; its target is no input."""
    model = LINEAR.replace("lr = 0.001", "lr = 0.01").replace(
        "clip_gradient = 1", "clip_gradient = 5"
    )
    task = f'[tasks.room]\nkind = "regression"\ntarget = "T1"\nmodel = {model}\n'
    data = head("appliances_energy", ROWS, tmp_path)
    config = written(tmp_path / "p.toml", task)
    pipeline = Pipeline.from_toml(config)
    table = pipeline.replay(exactly(data))
    assert len(table) == ROWS
    assert (table.status == "labelled").all()
    late = table[1_000:]
    around_mean = (late.label - late.label.mean()).abs().mean()
    assert (late.label - late.prediction).abs().mean() < 0.8 * around_mean
    inputs = [pipeline.walk.feature_names[k] for k in pipeline.walk.stages.lanes[0].inputs]
    assert "T1" not in inputs
    assert "T2" in inputs
