"""`streamgauge init` on files, folders, endpoints and pages; what it writes passes `check`."""

import json
from pathlib import Path

import pandas as pd
import pytest

from serving.init import init
from serving.run import clock
from stream_processor.pipeline import Pipeline
from tests.recordings import recording
from tests.services.endpoint import Said, endpoint
from tests.services.ports import free_port
from tests.services.service import service
from tests.starting import started

RECORDINGS = {
    "beijing_air": (8, "PM2.5"),
    "keti_rooms": (23, "co2"),
    "occupancy_detection": (1, "Temperature"),
    "appliances_energy": (1, "Appliances"),
    "nab": (1, "value"),
    "elec2": (1, ""),
    "tep": (1, ""),
    "cmapss_train": (1, ""),
    "intel_lab_30min": (50, ""),
    "steel_energy": (1, "Usage_kWh"),
}
"""Devices among the first rows at least, and the first target."""


@pytest.mark.parametrize("name", RECORDINGS)
def test_recordings(name: str, tmp_path: Path) -> None:
    """A start for each real recording: ground truth is no channel, and a replay predicts."""
    path = recording(f"{name}.csv.gz")
    found = started([str(path)], tmp_path / "pipeline.toml")
    devices, target = RECORDINGS[name]
    [task] = found["tasks"].values()
    assert target in ("", task["target"])
    assert not {"label", "split", "device", "time", "part"} & set(found["channels"])
    rows = pd.read_csv(path, nrows=2_000)
    predictions = Pipeline.from_toml(tmp_path / "pipeline.toml").replay(rows)
    assert (predictions.status == "labelled").mean() > 0.5
    assert f" of {devices} devices" in (tmp_path / "pipeline.toml").read_text() or devices == 1


STATIONS = [
    {"station": f"s{k % 3}", "at": f"2026-03-01T12:{k:02}:00Z", "temp_c": 20 + k / 7, "ok": True}
    for k in range(30)
]


def test_an_endpoint_with_rows(tmp_path: Path) -> None:
    """The path of the rows, the device, the time and a unit from a name."""
    with endpoint(lambda _: Said(json.dumps({"data": {"list": STATIONS}}).encode())) as server:
        found = started([f"{server.url}/now"], tmp_path / "p.toml", seconds=0.5)
    [source] = found["source"]
    assert (source["use"], source["rows"]) == ("poll", "$.data.list[*]")
    assert (source["device"], source["time"]) == ("field:station", "field:at")
    assert found["channels"]["temp_c"]["unit"] == "degC"
    assert found["channels"]["ok"] == {"kind": "boolean"}


def test_an_endpoint_with_columns(tmp_path: Path) -> None:
    """Weather as it usually comes: an array per quantity, and nothing that names a device."""
    hourly = {
        "time": [f"2026-03-01T{k:02}:00" for k in range(24)],
        "wind": [k / 3 for k in range(24)],
    }
    with endpoint(lambda _: Said(json.dumps({"lat": 1, "hourly": hourly}).encode())) as server:
        found = started([f"{server.url}/now?key=1"], tmp_path / "p.toml", seconds=0.5)
        [source] = found["source"]
        assert (source["columns"], source["constants"]) == ("$.hourly", {"device": "endpoint"})
        assert list(found["channels"]) == ["wind"]
        with service(tmp_path / "service", (tmp_path / "p.toml").read_text()) as running:
            running.wait_admitted(24)


def test_a_page(tmp_path: Path) -> None:
    """The largest table of a page, its columns named by their headings."""
    rows = "".join(f"<tr><td>n{k}</td><td>{k}.5 kW</td></tr>" for k in range(1, 6))
    page = f"<table><tr><th>Node</th><th>Power</th></tr>{rows}</table>"
    with endpoint(lambda _: Said(page.encode())) as server:
        found = started([server.url], tmp_path / "p.toml", seconds=0.5)
    [source] = found["source"]
    assert source["select"] == "table tr:has(td)"
    assert source["fields"] == {"Node": "td:nth-child(1)", "Power": "td:nth-child(2)"}
    assert (source["device"], source["time"]) == ("field:Node", "received")
    assert list(found["channels"]) == ["Power"]


def test_several_sources_feed_one_stream(tmp_path: Path) -> None:
    """Each `--from` is a table, their channels stand together."""
    file = tmp_path / "more.csv"
    file.write_text("id,ts,level\na,1772366400,1.5\na,1772366460,1.7\na,1772366520,1.9\n")
    with endpoint(lambda _: Said(json.dumps(STATIONS).encode())) as server:
        found = started([server.url, str(file)], tmp_path / "p.toml", seconds=0.5)
    assert [source["use"] for source in found["source"]] == ["poll", "file"]
    assert list(found["channels"]) == ["temp_c", "ok", "level"]
    assert found["source"][1]["device"] == "id"
    assert found["source"][1]["time"] == "ts"


def test_a_folder(tmp_path: Path) -> None:
    """Files of the first one's kind; where no column names a device, all rows are of one."""
    (tmp_path / "in").mkdir()
    lines = "".join(f"{1_772_366_400 + 60 * k},{k}.5\n" for k in range(5))
    (tmp_path / "in" / "a.csv").write_text("ts,level\n" + lines)
    [source] = started([str(tmp_path / "in")], tmp_path / "p.toml")["source"]
    assert source["pattern"] == "*.csv"
    assert (source["time"], source["device_id"]) == ("ts", "folder")


def test_what_cannot_be_started_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is told with what to do, and no file is written."""
    output, nowhere = tmp_path / "p.toml", free_port()
    (tmp_path / "empty.csv").write_text("device,time,a\n")
    (tmp_path / "words.csv").write_text("device,time,a\nd,2026-03-01T12:00:00Z,hello\n")
    (tmp_path / "timeless.csv").write_text("device,a\nd,1\n")
    for source, said in (
        (tmp_path / "none.csv", "there is no such file"),
        (tmp_path / "empty.csv", "no rows"),
        (tmp_path / "words.csv", "nothing in what came is a number"),
        (tmp_path / "timeless.csv", "no column is a time"),
        (f"mqtt://127.0.0.1:{nowhere}/#", "nothing came"),
        (f"http://127.0.0.1:{nowhere}/x", "nothing came"),
        (f"mqtt://me:word@127.0.0.1:{nowhere}/#", "nothing came"),
    ):
        assert init([str(source)], output, seconds=0.2, clock=clock) == 1
        told = capsys.readouterr()
        assert said in told.err
        assert "word@" not in told.out + told.err
        assert not output.exists()
    output.write_text("mine")
    assert init([str(tmp_path)], output, seconds=1, clock=clock) == 2
    assert output.read_text() == "mine"
    assert "there already" in capsys.readouterr().err
