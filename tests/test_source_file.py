"""Recordings: every format gives the very same readings, in bounded pieces, on the log's clock."""

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ingest.frames import frame
from ingest.rejects import Rejects
from ingest.sources import file
from ingest.sources.file import RecordedFile, numeric_columns
from streamgauge.delivery import Readings
from streamgauge.schema import Channel, Kind, Schema
from tests.recordings import recording

SCHEMA = Schema(
    [Channel("heat"), Channel("running", kind=Kind.BOOLEAN), Channel("kW", path="power")]
)
T0 = 1_772_366_400_000_000
DAY = 86_400 * 10**6
HEATS = [0.1, 1 / 3, 2.2250738585072014e-308, -1.7976931348623157e308, 23.927777777777778]
ROWS = [
    {
        "device": f"d{i % 3}",
        "time": pd.Timestamp(T0 + i * 1_000_000, unit="us", tz="UTC").isoformat(),
        "heat": HEATS[i % 5],
        "running": bool(i % 2),
        "power": i,
        "label": "x",
    }
    for i in range(25)
]


def write_csv(path: Path) -> None:
    """The rows as CSV."""
    pd.DataFrame(ROWS).to_csv(path, index=False)


def write_parquet(path: Path) -> None:
    """The rows as Parquet, with real timestamps."""
    data = pd.DataFrame(ROWS)
    data["time"] = pd.to_datetime(data["time"])
    data.to_parquet(path, index=False)


def write_lines(path: Path) -> None:
    """The rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")


def compressed(write: Callable[[Path], None]) -> Callable[[Path], None]:
    """The same, gzipped."""

    def both(path: Path) -> None:
        plain = path.with_suffix(".plain")
        write(plain)
        path.write_bytes(gzip.compress(plain.read_bytes()))

    return both


FORMATS = {
    "a.csv": write_csv, "a.csv.gz": compressed(write_csv),
    "a.parquet": write_parquet, "a.parquet.gz": compressed(write_parquet),
    "a.jsonl": write_lines, "a.ndjson": write_lines, "a.json.gz": compressed(write_lines),
}  # fmt: skip


def source(path: Path, rejects: Rejects | None = None, **options: Any) -> RecordedFile:
    """A recording opened as source 4."""
    return file.open(SCHEMA, 4, lambda: 0, rejects or Rejects(), path=path, **options)


def pieces(opened: RecordedFile) -> list[Readings]:
    """Every delivery of the source, to its end."""
    opened.start()
    found = []
    try:
        while not opened.finished:
            delivery = opened.take(10**6, 0.0)
            if delivery is not None:
                assert delivery.source == 4
                assert delivery.readings is not None
                found.append(delivery.readings)
    finally:
        opened.stop()
    return found


def joined(found: list[Readings]) -> tuple[list[str], list[int], list[int], bytes]:
    """The pieces as one, to be compared bit for bit."""
    return (
        [device for piece in found for device in piece.devices],
        [t for piece in found for t in piece.time.tolist()],
        [t for piece in found for t in piece.received.tolist()],
        np.concatenate([piece.values for piece in found]).tobytes(),
    )


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("chunk", [1, 4, 4_096])
def test_every_format_and_piece_size_gives_the_same(tmp_path: Path, name: str, chunk: int) -> None:
    """Devices, times and values come back to the last bit, whatever the format and the pieces."""
    FORMATS[name](tmp_path / name)
    found = pieces(source(tmp_path / name, chunk=chunk))
    assert max(map(len, found)) <= chunk
    devices, times, received, values = joined(found)
    assert devices == [row["device"] for row in ROWS]
    assert times == received == [T0 + i * 1_000_000 for i in range(25)]
    expected = np.array([[r["heat"], float(bool(r["running"])), r["power"]] for r in ROWS])
    assert values == expected.tobytes()


@pytest.mark.parametrize("name", FORMATS)
def test_going_on_after_a_position(tmp_path: Path, name: str) -> None:
    """From any position that a delivery carried, the rest follows."""
    FORMATS[name](tmp_path / name)
    whole = joined(pieces(source(tmp_path / name, chunk=7)))
    first = source(tmp_path / name, chunk=7)
    first.start()
    delivery = first.take(1, 0.0)
    assert delivery is not None
    assert delivery.position == {"rows": 7}
    first.stop()
    second = source(tmp_path / name, chunk=5)
    second.resume(delivery.position)
    devices, times, _, _ = joined(pieces(second))
    assert (devices, times) == (whole[0][7:], whole[1][7:])


def test_progress_and_state(tmp_path: Path) -> None:
    """Progress grows from 0 to 1 and the rows are counted."""
    write_csv(tmp_path / "a.csv")
    opened = source(tmp_path / "a.csv", chunk=10)
    assert opened.progress == 0.0
    pieces(opened)
    assert opened.progress == 1.0
    assert opened.state()["rows_total"] == 25
    assert opened.state()["ok"]


def test_bad_cells_and_bad_rows(tmp_path: Path) -> None:
    """A bad cell is an absent value; a row without device or time is rejected; the rest stays."""
    path, rejects = tmp_path / "a.csv", Rejects()
    path.write_text(
        "device,time,heat,power\n"
        f"a,{T0},oops,1\n,{T0},1,1\na,,1,1\na,yesterday,1,1\nb,{T0 // 1000},,2\n",
        encoding="utf-8",
    )
    found = pieces(source(path, rejects))
    assert [d for piece in found for d in piece.devices] == ["a", "b"]
    values = np.concatenate([piece.values for piece in found])
    assert np.isnan(values[:, 0]).all()
    assert values[:, 2].tolist() == [1.0, 2.0]
    assert rejects.counts == {"no_device": 1, "bad_time": 2}


def test_cells_mean_the_same_in_any_piece(tmp_path: Path) -> None:
    """What a cell is read as does not depend on the cells around it."""
    path = tmp_path / "a.csv"
    cells = ["True", "False", "1", "0", "2.5", " 3", "x", "", "inf", "nan", "NA", "1e400", "0x1"]
    rows = [f"NA,{T0 + i},{cell},{cell},{cell}" for i, cell in enumerate(cells)]
    path.write_text("device,time,heat,running,power\n" + "\n".join(rows), encoding="utf-8")
    expected = joined(pieces(source(path, chunk=1)))
    assert len(expected[0]) == len(cells)
    for chunk in (2, 3, 5, 100):
        assert joined(pieces(source(path, chunk=chunk))) == expected
    values = np.frombuffer(expected[3]).reshape(-1, 3)
    nan = math.nan
    heat = [nan, nan, 1.0, 0.0, 2.5, 3.0, nan, nan, math.inf, nan, nan, math.inf, nan]
    assert repr(values[:, 0].tolist()) == repr(heat)
    assert repr(values[:, 1].tolist()) == repr([1.0, 0.0, 1.0, 0.0, *[nan] * 9])


def test_json_lines_with_flaws(tmp_path: Path) -> None:
    """Broken lines are rejected, NaN is absent, integer ids stay integers beside missing ones."""
    path, rejects = tmp_path / "a.jsonl", Rejects()
    path.write_text(
        f'{{"device": 17, "time": {T0}, "heat": NaN, "power": "3"}}\n\nnonsense\n[1]\n'
        f'{{"time": {T0}}}\n{{"device": 18, "time": {T0}, "heat": 2}}\n',
        encoding="utf-8",
    )
    found = pieces(source(path, rejects))
    assert [d for piece in found for d in piece.devices] == ["17", "18"]
    values = np.concatenate([piece.values for piece in found])
    assert repr(values.tolist()) == repr([[math.nan, math.nan, 3.0], [2.0, math.nan, math.nan]])
    assert rejects.counts == {"no_device": 3}


def test_other_column_names_and_zones(tmp_path: Path) -> None:
    """Device and time may have other names; times without a zone are read in the given one."""
    path = tmp_path / "a.csv"
    path.write_text("pump;when\n".replace(";", ",") + "p,2026-03-01 13:00:00\n", encoding="utf-8")
    (piece,) = pieces(source(path, device="pump", time="when", zone="Europe/Berlin"))
    assert piece.devices == ["p"]
    assert piece.time.tolist() == [T0]


def test_one_wrong_clock_moves_nobody_elses(tmp_path: Path) -> None:
    """A row more than a day ahead of both its neighbours gets the received time of the row before;
    a jump of the whole recording does not."""
    path = tmp_path / "a.csv"
    times = [T0, T0 + 1, T0 + 400 * DAY, T0 + 2, T0 + 3 * DAY, T0 + 3 * DAY + 1]
    path.write_text("device,time\n" + "".join(f"a,{t}\n" for t in times), encoding="utf-8")
    for chunk in (1, 2, 3, 100):
        _, found, received, _ = joined(pieces(source(path, chunk=chunk)))
        assert found == times
        assert received == [T0, T0 + 1, T0 + 1, T0 + 2, T0 + 3 * DAY, T0 + 3 * DAY + 1]


def test_replay_in_real_time(tmp_path: Path) -> None:
    """Speed 2 sleeps half of the time that the recording took."""
    write_csv(tmp_path / "a.csv")
    slept: list[float] = []
    opened = source(tmp_path / "a.csv", chunk=1, speed=2.0)
    opened._sleep = slept.append
    pieces(opened)
    assert sum(slept) == pytest.approx(12.0)


def test_a_frame_is_read_like_a_file(tmp_path: Path) -> None:
    """A data frame with text, numbers or timestamps gives the readings of the file."""
    write_csv(tmp_path / "a.csv")
    expected = joined(pieces(source(tmp_path / "a.csv")))
    data = pd.DataFrame(ROWS)
    stamps = pd.to_datetime(data["time"])
    for times in (
        data["time"],
        stamps,
        stamps.dt.tz_localize(None),
        stamps.astype("int64") // 1_000,
    ):
        data["time"] = times if times.dtype != "int64" else [T0 + i * 1_000_000 for i in range(25)]
        assert joined([frame(data, SCHEMA, Rejects())]) == expected
    assert len(frame(data[:0], SCHEMA, Rejects())) == 0


def test_numeric_columns(tmp_path: Path) -> None:
    """Where no channels are declared, columns of numbers are; labels and splits are not."""
    path = tmp_path / "a.csv"
    path.write_text(
        "device,time,a,b,c,label,split\nd,1,1.5,x,,1,0\nd,2,,y,,0,1\n", encoding="utf-8"
    )
    assert numeric_columns(path) == ["a"]


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.txt", b"", "no known format"), ("missing.csv", None, "no such file"),
        ("a.csv", b"who,when\n1,2\n", "no column 'device'"),
        ("a.csv.gz", b"not gzip", "cannot be read"),
        ("a.parquet", b"not parquet", "cannot be read"),
        ("a.csv", b"device,time\n\xff\xfe,1\n", "cannot be read"),
    ],
)  # fmt: skip
def test_what_cannot_be_read(tmp_path: Path, name: str, content: bytes | None, match: str) -> None:
    """A missing, damaged or foreign file is refused with its name and what is wrong."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=match):
        pieces(source(tmp_path / name))


def test_an_empty_file(tmp_path: Path) -> None:
    """Nothing in, nothing out, and finished."""
    for name in ("a.csv", "a.jsonl"):
        (tmp_path / name).write_bytes(b"")
        assert pieces(source(tmp_path / name)) == []


@pytest.mark.parametrize("options", [{"chunk": 0}, {"speed": -1.0}, {"zone": "Nowhere"}])
def test_options_that_mean_nothing(tmp_path: Path, options: dict[str, Any]) -> None:
    """A wrong option is refused."""
    write_csv(tmp_path / "a.csv")
    with pytest.raises(ValueError, match=r"give at least|Europe/Berlin"):
        source(tmp_path / "a.csv", **options)


def test_a_real_recording() -> None:
    """Room sensors of a real building: every row, in time order, with all five channels."""
    path = recording("keti_rooms.csv.gz")
    schema = Schema([Channel(name) for name in numeric_columns(path)])
    opened = file.open(schema, 0, lambda: 0, Rejects(), path=path, chunk=65_536)
    opened.start()
    rows, last = 0, 0
    while not opened.finished:
        delivery = opened.take(1, 0.0)
        if delivery is not None and delivery.readings is not None:
            rows += len(delivery.readings)
            assert int(delivery.readings.time[0]) >= last
            last = int(delivery.readings.time[-1])
    opened.stop()
    assert schema.names == ("co2", "humidity", "light", "pir", "temperature")
    assert rows == 263_463


def received_of(times: list[int], chunk: int, folder: Path) -> list[int]:
    """Seconds at which rows with these times (seconds) count as received."""
    path = folder / "clocks.csv"
    rows = [f"d{k % 2},{T0 // 10**6 + time},1" for k, time in enumerate(times)]
    path.write_text("device,time,heat\n" + "\n".join(rows) + "\n")
    found = pieces(source(path, chunk=chunk))
    return [(int(t) - T0) // 10**6 for piece in found for t in piece.received]


@pytest.mark.parametrize("chunk", [1, 3, 50])
def test_a_clock_that_runs_ahead_counts_as_received_when_its_neighbours_were(
    tmp_path: Path, chunk: int
) -> None:
    """Twenty hours ahead is told from a gap in the recording, whatever the pieces."""
    wrong = [0, 60, 72_000, 120, 180, 240]
    assert received_of(wrong, chunk, tmp_path) == [0, 60, 60, 120, 180, 240]
    gap = [0, 60, 72_000, 72_060, 72_120]
    assert received_of(gap, chunk, tmp_path) == gap
    first = [72_000, 0, 60, 120]
    assert received_of(first, chunk, tmp_path) == [120, 0, 60, 120]


@pytest.mark.parametrize("chunk", [1, 3, 50])
def test_a_device_whose_clock_is_behind_makes_no_other_look_ahead(
    tmp_path: Path, chunk: int
) -> None:
    """Rows of two clocks, an hour apart, alternate: both are right by themselves."""
    both = [second for k in range(20) for second in (3_600 + 60 * k, 60 * k)]
    assert received_of(both, chunk, tmp_path) == both
