"""A watched folder: each file once, whole, in order, through failures and restarts; and logs."""

import gzip
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ingest.rejects import Rejects
from ingest.source import Source
from ingest.sources import folder
from ingest.sources._folder_files import Folder
from tests.readers import NOW, SCHEMA, T0, Row, Taking
from tests.services.ports import wait_for

HEADER = "device,time,heat,power\n"


def line(k: int) -> str:
    """One row of CSV."""
    return f"d{k % 3},{T0 + k},{k / 4},{k}\n"


def write(path: Path, *numbers: int) -> None:
    """A file with these rows, renamed into place."""
    away = path.with_name(f"{path.name}.part")
    away.write_text(HEADER + "".join(map(line, numbers)))
    away.rename(path)


def expected(*numbers: int) -> list[Row]:
    """What `line` writes."""
    return [(f"d{k % 3}", k, k / 4, float(k)) for k in numbers]


def opened(path: Path, rejects: Rejects | None = None, **options: Any) -> Source:
    """The folder as source 1."""
    chosen = {"complete": "rename", "every": "20ms"} | options
    return folder.open(SCHEMA, 1, lambda: NOW, rejects or Rejects(), path=path, **chosen)


@pytest.fixture(params=[1, 3, 4_096])
def rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Rows that are read together."""
    monkeypatch.setattr(folder, "rows_at_once", lambda schema: request.param)
    return int(request.param)


def test_files_come_in_the_order_of_their_names(tmp_path: Path, rows: int) -> None:
    """Those that are there, then those that come; what does not match is left alone."""
    write(tmp_path / "b.csv", 2, 3, 4, 5)
    write(tmp_path / "a.csv", 0, 1)
    write(tmp_path / "a.txt", 90)
    write(tmp_path / ".a.csv", 91)
    taking = Taking(opened(tmp_path)).until(6)
    write(tmp_path / "c.csv", 6)
    taking.until(7).stop()
    assert taking.rows == expected(*range(7))
    assert taking.source.state()["files_total"] == 3


def test_files_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    """Where that is said; equal times go by name."""
    for name, seconds, k in (
        ("a.csv", 30, 3),
        ("b.csv", 10, 0),
        ("d.csv", 20, 2),
        ("c.csv", 20, 1),
    ):
        write(tmp_path / name, k)
        os.utime(tmp_path / name, (seconds, seconds))
    assert Taking(opened(tmp_path, order="mtime", once=True)).all() == expected(0, 1, 2, 3)


def test_going_on_after_any_position(tmp_path: Path, rows: int) -> None:
    """From the position of each delivery exactly the rest follows, files that came in between
    included."""
    for k in range(3):
        write(tmp_path / f"{k}.csv", *range(5 * k, 5 * k + 5))
    whole = Taking(opened(tmp_path, once=True))
    whole.all()
    write(tmp_path / "00.csv", 100)
    taken = 0
    for delivery in whole.deliveries[:-1]:
        assert delivery.readings is not None
        taken += len(delivery.readings)
        rest = Taking(opened(tmp_path, once=True), delivery.position).all()
        assert sorted(rest, key=lambda row: row[1]) == expected(*range(taken, 15), 100)


def test_what_was_read_stays_known_while_it_does_not_count_as_whole(tmp_path: Path) -> None:
    """Where a marker goes away and comes back, or files settle anew after a restart."""
    write(tmp_path / "a.csv", 0, 1)
    marker = tmp_path / "a.csv.done"
    marker.touch()
    taking = Taking(opened(tmp_path, complete="marker")).until(2)
    marker.unlink()
    write(tmp_path / "b.csv", 2)
    (tmp_path / "b.csv.done").touch()
    taking.until(3).stop()
    marker.touch()
    write(tmp_path / "c.csv", 3)
    (tmp_path / "c.csv.done").touch()
    again = Taking(opened(tmp_path, complete="marker"), taking.position)
    assert again.until(1).stop().rows == expected(3)


def test_a_file_that_is_written_slowly_is_read_when_it_has_settled(tmp_path: Path) -> None:
    """Not before its size and time have stood still for the time that was said."""
    now = [0.0]
    files = Folder(
        tmp_path, "*.csv", order="name", complete="settle", settle=5.0, marker=".done",
        clock=lambda: now[0],
    )  # fmt: skip
    path = tmp_path / "a.csv"
    path.write_text(HEADER)

    def whole() -> list[str]:
        return [found.path.name for found in files.whole()[0]]

    assert whole() == []
    now[0] = 4.9
    assert whole() == []
    path.write_text(HEADER + line(1))
    now[0] = 9.8
    assert whole() == []
    now[0] = 14.9
    assert whole() == ["a.csv"]
    path.unlink()
    assert whole() == []
    path.write_text(HEADER + line(1))
    assert whole() == []


def test_a_marker_says_that_a_file_is_whole(tmp_path: Path) -> None:
    """Without it the file waits, and so does the end."""
    write(tmp_path / "a.csv", 0)
    write(tmp_path / "b.csv", 1)
    (tmp_path / "b.csv.done").touch()
    source = opened(tmp_path, complete="marker", pattern="*", once=True)
    taking = Taking(source).until(1)
    assert taking.rows == expected(1)
    assert not source.finished
    assert source.state()["incomplete"] == 1
    (tmp_path / "a.csv.done").touch()
    assert taking.all() == expected(1, 0)


def test_every_format_is_read(tmp_path: Path) -> None:
    """As a single recording is."""
    write(tmp_path / "a.csv", 0)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress((HEADER + line(1)).encode()))
    row = {"device": "d2", "time": T0 + 2, "heat": 0.5, "power": 2}
    pd.DataFrame([row]).to_parquet(tmp_path / "c.parquet")
    (tmp_path / "d.jsonl").write_text(
        f'\n{{"device":"d0","time":{T0 + 3},"heat":0.75,"power":3}}\n'
    )
    assert Taking(opened(tmp_path, pattern="*", once=True)).all() == expected(0, 1, 2, 3)
    one = Taking(opened(tmp_path, once=True, device_id="boiler")).all()
    assert one == [("boiler", 0, 0.0, 0.0)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.csv", b"who,when\n1,2\n"),
        ("m.csv", (HEADER + line(7) + "d1,1,2,3,4,5\n").encode()),
        ("m.csv", f"{HEADER}d1,{T0},1,1,\n".encode()),
        ("m.csv.gz", b"not gzip"),
        ("m.csv.gz", gzip.compress((HEADER + "".join(map(line, range(9)))).encode())[:-9]),
        ("m.parquet", b"not parquet"),
        ("m.txt", b""),
    ],
)
def test_a_file_that_cannot_be_read_stops_no_other(
    tmp_path: Path, name: str, content: bytes
) -> None:
    """It is counted and named, here and after a restart not tried again."""
    write(tmp_path / "a.csv", 20)
    (tmp_path / name).write_bytes(content)
    write(tmp_path / "z.csv", 21)
    rejects = Rejects()
    taking = Taking(opened(tmp_path, rejects, pattern="*", once=True))
    rows = [row[1] for row in taking.all()]
    assert (rows[0], rows[-1]) == (20, 21)
    state = taking.source.state()
    assert state["ok"]
    assert (state["files_total"], state["unreadable_total"]) == (2, 1)
    assert state["unreadable"].startswith(f"{name}: ")
    assert rejects.counts == {"unreadable_file": 1}
    again = Taking(
        opened(tmp_path, rejects, pattern="*", once=True), taking.deliveries[-2].position
    )
    assert again.all() == []


def test_a_file_that_may_not_be_opened_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said once; when it may be, it is read."""
    write(tmp_path / "a.csv", 0)
    write(tmp_path / "b.csv", 1)
    real, refused = Path.open, threading.Event()
    refused.set()

    def may(path: Path, *given: Any) -> Any:
        if path.name == "a.csv" and refused.is_set():
            raise PermissionError(13, "Permission denied")
        return real(path, *given)

    monkeypatch.setattr(Path, "open", may)  # root may read anything
    rejects = Rejects()
    taking = Taking(opened(tmp_path, rejects)).until(1)
    assert taking.rows == expected(1)
    assert "Permission denied" in taking.source.state()["unreadable"]
    refused.clear()
    assert taking.until(2).stop().rows == expected(1, 0)
    assert taking.source.state()["unreadable_total"] == 1


def test_a_file_of_the_same_name_is_a_new_one(tmp_path: Path) -> None:
    """Where its size or time differ."""
    path = tmp_path / "a.csv"
    write(path, 0)
    taking = Taking(opened(tmp_path)).until(1)
    path.unlink()
    write(path, 1, 2)
    assert taking.until(3).stop().rows == expected(0, 1, 2)


def test_too_many_files_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every position names those that were read: there is a limit, and what to do about it."""
    monkeypatch.setattr("ingest.sources._whole_files.MOST_FILES", 3)
    for k in range(4):
        write(tmp_path / f"{k}.csv", k)
    taking = Taking(opened(tmp_path)).until(3)
    wait_for(lambda: not taking.source.state()["ok"])
    assert "move them" in taking.source.state()["why"]
    taking.stop()


def test_a_folder_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    """Said while it is away; nothing is read twice."""
    path = tmp_path / "in"
    path.mkdir()
    write(path / "a.csv", 0)
    taking = Taking(opened(path)).until(1)
    path.rename(tmp_path / "away")
    wait_for(lambda: not taking.source.state()["ok"])
    (tmp_path / "away").rename(path)
    write(path / "b.csv", 1)
    assert taking.until(2).stop().rows == expected(0, 1)


# Files that grow.


def append(path: Path, text: str) -> None:
    """Add to a file's end."""
    with path.open("a") as target:
        target.write(text)


def as_json(k: int) -> str:
    """One row as a line of JSON."""
    return f'{{"device": "d{k % 3}", "time": {T0 + k}, "heat": {k / 4}, "power": {k}}}\n'


KINDS: dict[str, tuple[str, Callable[[int], str]]] = {
    "log.csv": (HEADER, line), "log.jsonl": ("", as_json),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_what_is_appended_comes_line_by_line(tmp_path: Path, rows: int, name: str) -> None:
    """Complete lines only, each once, also after a restart from any position."""
    path, (header, text) = tmp_path / name, KINDS[name]
    append(path, header[:5])
    taking = Taking(opened(tmp_path, pattern="log.*", tail=True))
    append(path, header[5:] + text(0) + text(1)[:9])
    taking.until(1)
    append(path, text(1)[9:] + "".join(map(text, range(2, 8))))
    taking.until(8).stop()
    append(path, text(8))
    assert taking.rows == expected(*range(8))
    taken = 0
    for delivery in taking.deliveries:
        assert delivery.readings is not None
        taken += len(delivery.readings)
        source = opened(tmp_path, pattern="log.*", tail=True, once=True)
        assert Taking(source, delivery.position).all() == expected(*range(taken, 9))


def test_a_rotated_log_goes_on_where_it_was(tmp_path: Path) -> None:
    """A renamed file is not read again; the new one under its name is, from its beginning."""
    path = tmp_path / "log.csv"
    append(path, HEADER + line(0))
    taking = Taking(opened(tmp_path, pattern="log*.csv", tail=True)).until(1)
    append(path, line(1))
    path.rename(tmp_path / "log-1.csv")
    append(path, HEADER + line(2))
    taking.until(3).stop()
    assert sorted(taking.rows) == sorted(expected(0, 1, 2))
    assert taking.source.state()["begun_anew_total"] == 0


def test_a_log_that_was_emptied_begins_anew(tmp_path: Path) -> None:
    """Whether it became shorter or is longer already."""
    path = tmp_path / "log.csv"
    append(path, HEADER + line(0) + line(1))
    taking = Taking(opened(tmp_path, tail=True)).until(2).stop()
    for numbers in ((2,), (3, 4, 5, 6)):
        path.write_text(HEADER + "".join(map(line, numbers)))
        again = Taking(opened(tmp_path, tail=True, once=True), taking.position)
        assert again.all() == expected(*numbers)
        assert again.source.state()["begun_anew_total"] == 1


@pytest.mark.parametrize("name", KINDS)
def test_bad_lines_are_rejected_one_by_one(tmp_path: Path, name: str) -> None:
    """What stands beside them is read."""
    path, (header, text) = tmp_path / name, KINDS[name]
    bad = "a,1,2,3,4,5\n" if name == "log.csv" else "[1]\n"
    append(path, header + bad + text(0) + "\n" + bad + text(1))
    rejects = Rejects()
    source = opened(tmp_path, rejects, pattern="log.*", tail=True, once=True)
    assert Taking(source).all() == expected(0, 1)
    reason = "malformed" if name == "log.csv" else "no_device"
    assert rejects.counts == {reason: 2}
    append(path, "\n" + bad)
    assert Taking(opened(tmp_path, pattern="log.*", tail=True, once=True)).all() == expected(0, 1)


def test_a_file_that_cannot_grow_stops_no_other(tmp_path: Path, monkeypatch: Any) -> None:
    """It is named; a line without an end as well."""
    monkeypatch.setattr("ingest.sources._growing_files.LINES", 100)
    (tmp_path / "a.parquet").touch()
    append(tmp_path / "b.csv", HEADER + "x" * 200)
    append(tmp_path / "c.csv", HEADER + line(0))
    rejects = Rejects()
    taking = Taking(opened(tmp_path, rejects, pattern="*", tail=True)).until(1)
    wait_for(lambda: taking.source.state()["unreadable_total"] == 2)
    assert "longer than 100 bytes" in taking.stop().source.state()["unreadable"]
    assert rejects.counts == {"unreadable_file": 2}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"path": Path("/nowhere/at/all")}, "no such folder"),
        ({"pattern": ""}, "matches no file name"),
        ({"pattern": "a/*.csv"}, "matches no file name"),
        ({"marker": ""}, "marker is empty"),
        ({"settle": "long"}, "not a duration"),
        ({"every": "often"}, "not a duration"),
    ],
)
def test_options_that_mean_nothing(tmp_path: Path, options: dict[str, Any], match: str) -> None:
    """A wrong option is refused."""
    with pytest.raises(ValueError, match=match):
        folder.open(SCHEMA, 0, lambda: 0, Rejects(), **({"path": tmp_path} | options))


def test_the_first_rows_as_they_are(tmp_path: Path) -> None:
    """Of the first file by name; none where there is none."""
    assert folder.sample(path=tmp_path).empty
    write(tmp_path / "b.csv", *range(5))
    write(tmp_path / "a.csv", 8, 9)
    first = folder.sample(path=tmp_path, rows=1)
    assert list(first.columns) == ["device", "time", "heat", "power"]
    assert first["power"].tolist() == [8]
