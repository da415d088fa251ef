"""The Parquet sink: every result in the file of its day, once, whatever is killed or refuses."""

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from monitoring.sinks import parquet
from monitoring.sinks._parquet_columns import TABLES
from monitoring.sinks._spill import place_of
from monitoring.sinks.parquet import Parquet
from streamgauge.events import Event, EventKind
from streamgauge.output import SCORE_COLUMNS, Output
from tests.outputs import (
    AHEAD,
    DEVICES,
    LANES,
    LEVEL,
    MINUTE,
    START,
    made,
    output,
    predicted,
    scores,
    told,
)
from tests.services.ports import wait_for
from tests.workers import Stand, killed

SLOW = 60.0
"""Seconds that a loaded machine may take."""


class Place:
    """A folder of results beside a state folder, which lives of the sink follow each other on."""

    def __init__(self, folder: Path) -> None:
        self.files, self.state, self.now = folder / "files", folder / "state", START

    @contextmanager
    def life(self, position: int = 0, stream: str = "pumps", **options: Any) -> Iterator[Parquet]:
        """A sink at work; the log goes on from a position."""
        sink = self.opened(stream, **options)
        sink.resume(position)
        try:
            yield sink
        finally:
            sink.close()

    def opened(self, stream: str = "pumps", lanes: Any = LANES, **options: Any) -> Parquet:
        """A sink that was not told to go on."""
        return parquet.open(lanes, stream, self.state, lambda: self.now, path=self.files, **options)

    def copied(self, folder: Path) -> "Place":
        """What a kill at this moment would leave."""
        other = Place(folder)
        for name in ("files", "state"):
            if (self.files.parent / name).exists():
                shutil.copytree(self.files.parent / name, folder / name)
        # The state names the folder of the files by its path.
        for one in (other.state / "parquet").iterdir():
            one.rename(one.with_name(place_of(*other.files.absolute().parts)))
        return other

    def table(self, name: str) -> pd.DataFrame:
        """All rows of a table, as anybody reads them, by time."""
        where = f"{self.files}/{name}/*/*.parquet"
        order = "made_at, id" if name in ("predictions", "outcomes") else "time, task, device"
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            asked = f"select * from read_parquet('{where}', hive_partitioning = true)"
            return connection.execute(f"{asked} order by {order}").df()

    def names(self) -> set[str]:
        """Every file that a reader may see, without its name."""
        return {
            str(path.parent.relative_to(self.files)) for path in self.files.glob("*/*/*.parquet")
        }


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty one."""
    return Place(tmp_path)


def moment(minute: int) -> datetime:
    """That minute as a time."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=made(minute))


def row(table: pd.DataFrame, name: Any) -> dict[str, Any]:
    """One row of a table, None where nothing is known."""
    found = table.loc[name].to_dict()
    return {k: None if not isinstance(v, dict) and pd.isna(v) else v for k, v in found.items()}


def test_every_column_of_a_prediction_and_its_outcome(place: Place) -> None:
    """By what they are; what is not known is null."""
    with place.life() as sink:
        sink.write(output([predicted(1), predicted(2, 1, 1), predicted(3, 2, 2, value=math.nan)]))
        sink.write(output([told(1), told(5, expired=True), told(2, 1, 1)]))
    said = place.table("predictions").set_index("id")
    assert row(said, "power@10m/pump-1/1") == {
        "device": "pump-1", "task": "power", "horizon": "10m", "made_at": moment(1),
        "target_time": moment(1 + AHEAD), "sequence": 1, "prediction": 1.0, "last_value": 0.5,
        "predicted_class": None, "lower": None, "upper": None, "distance": None,
        "probabilities": {}, "status": "pending", "model_version": 2,
        "day": pd.Timestamp("2026-03-01"),
    }  # fmt: skip
    assert row(said, f"power@1 reading/{DEVICES[1]}/2")["target_time"] is None
    assert row(said, "flow/Ölpumpe/3")["prediction"] is None
    assert len(said) == 3
    known = place.table("outcomes").set_index("id")
    first = row(known, "power@10m/pump-1/1")
    assert [first[name] for name in ("prediction", "label", "residual", "status")] == [
        1.0, 1.25, 0.25, "labelled"
    ]  # fmt: skip
    expired = row(known, "power@10m/pump-1/5")
    assert [expired[name] for name in ("status", "label", "residual")] == ["expired", None, None]
    assert row(known, f"power@1 reading/{DEVICES[1]}/2")["target_time"] == moment(2 + AHEAD)


def test_events_and_scores(place: Place) -> None:
    """Drifts and silences in words; scores by lane and device, "" for all of them."""
    events = [
        Event(EventKind.DRIFT_UP, 1, 0, made(3), 0, 0.5, 2.25, 30.0),
        LEVEL,
        Event(EventKind.SILENT, 0, -1, made(6), -1, math.nan, math.nan, 90.0, "flow"),
    ]
    with place.life() as sink:
        sink.write(output([], events=events, scores=[scores(7, (-1, 0))]))
    drift, level, silent = (row(place.table("events"), k) for k in range(3))
    assert [one["kind"] for one in (drift, level, silent)] == ["drift_up", "drift_down", "silent"]
    assert (drift["task"], drift["horizon"], drift["device"]) == ("power", "10m", DEVICES[1])
    assert (drift["before"], drift["after"], drift["size"]) == (0.5, 2.25, 30.0)
    assert (level["channel"], level["signal"], level["detector"]) == ("flow", "level", "cusum")
    assert (level["since"], level["version"]) == (moment(2), 1)
    assert (silent["channel"], silent["seconds"], silent["before"]) == ("flow", 90.0, None)
    kept = place.table("scores")
    assert len(kept) == 2 * len(LANES)
    assert set(kept["device"]) == {"", "pump-1"}
    assert set(kept[SCORE_COLUMNS[1]]) == {8.0}
    assert set(kept[SCORE_COLUMNS[-1]].isna()) == {True}


def test_a_file_per_table_and_day_of_event_time(place: Place) -> None:
    """Whatever the clock says when results come; streams have files of their own."""
    day = 24 * 60
    with place.life() as sink:
        sink.write(output([predicted(0), predicted(day - 1), predicted(12), told(day + 5)]))
        sink.write(output([], events=[Event(EventKind.SILENT, 0, -1, made(-1), -1, 0, 0, 1.0)]))
    with place.life(stream="fans") as sink:
        sink.write(output([predicted(0)]))
    noon = START % (86_400 * 10**6) // MINUTE
    assert noon == 12 * 60
    assert place.names() == {
        "predictions/day=2026-03-01", "predictions/day=2026-03-02", "outcomes/day=2026-03-02",
        "events/day=2026-03-01",
    }  # fmt: skip
    files = list(place.files.glob("predictions/*/*"))
    assert sorted(path.name.partition("-")[0] for path in files) == ["fans", "pumps", "pumps"]


def test_files_come_by_rows_and_by_age(place: Place) -> None:
    """Not by each output: there are as many as are asked for."""
    with place.life(rows=50, every="1h") as sink:
        for minute in range(49):
            sink.write(output([predicted(minute)]))
        assert sink.flush(SLOW)
        assert place.names() == set()
        assert sink.state()["spilled"] == 49
        sink.write(output([predicted(49)]))
        assert sink.flush(SLOW)
        wait_for(lambda: sink.state()["spilled"] == 0)
        assert len(place.table("predictions")) == 50
        sink.write(output([predicted(50)]))
        assert sink.flush(SLOW)
        assert sink.state()["spilled"] == 1
        place.now += 60 * MINUTE
        wait_for(lambda: sink.state()["spilled"] == 0)
        assert len(list(place.files.glob("*/*/*.parquet"))) == 2
    assert len(place.table("predictions")) == 51
    assert sink.state()["files_total"] == 2
    assert sink.state()["written_total"] == 51


def pieces(first: int, last: int) -> list[Output]:
    """What the walk gives for each place of the log: three pieces of one device."""
    return [
        output([predicted(3 * place + k)], position=place, more=k < 2)
        for place in range(first, last)
        for k in range(3)
    ]


@pytest.mark.parametrize("moment_of_kill", ["after a flush", "after files", "between"])
def test_what_a_restart_repeats_is_there_once(tmp_path: Path, moment_of_kill: str) -> None:
    """The walk gives what lies behind its checkpoint again: no row is lost, none comes twice."""
    place = Place(tmp_path / "first")
    with place.life() as sink:
        for one in pieces(1, 6):
            sink.write(one)
        assert sink.flush(SLOW)
        if moment_of_kill == "after files":
            place.now += 60 * MINUTE
            wait_for(lambda: sink.state()["spilled"] == 0)
        if moment_of_kill == "between":
            # Pieces of a place of which the last did not come.
            for one in pieces(6, 7)[:2]:
                sink.write(one)
            sink.flush(0.2)
        later = place.copied(tmp_path / "second")
    sink = later.opened()
    for one in pieces(3, 10):
        sink.write(one)
    sink.resume(9)
    for one in pieces(10, 12):
        sink.write(one)
    sink.close()
    assert later.table("predictions")["sequence"].tolist() == list(range(3, 36))
    assert sink.state()["repeated_total"] == 9


def test_files_that_a_kill_cut_short_are_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when files had their names but what they were made of was still there."""
    place = Place(tmp_path / "first")
    with place.life() as sink:
        for one in pieces(1, 6):
            sink.write(one)
        assert sink.flush(SLOW)
        staged = place.copied(tmp_path / "second")
    shutil.copytree(place.files, staged.files)
    assert len(staged.table("predictions")) == 15
    with staged.life(5) as sink:
        for one in pieces(6, 8):
            sink.write(one)
    assert staged.table("predictions")["sequence"].tolist() == list(range(3, 24))


def test_a_log_that_begins_anew_is_not_taken_for_a_repetition(place: Place) -> None:
    """A log that lost its end gives places again that were seen: what comes then is new."""
    with place.life() as sink:
        for one in pieces(1, 6):
            sink.write(one)
    with place.life(position=2) as sink:
        for one in pieces(3, 4):
            sink.write(one)
        assert sink.flush(SLOW)
    assert len(place.table("predictions")) == 18
    with place.life(position=3) as sink:
        for one in pieces(3, 5):
            sink.write(one)
    assert len(place.table("predictions")) == 21


def test_a_killed_worker_gives_every_prediction_once(tmp_path: Path) -> None:
    """Its rows are those of a run without a kill."""

    def stand(name: str) -> tuple[Stand, Place, Parquet]:
        (tmp_path / name).mkdir(exist_ok=True)
        one, place = Stand(tmp_path / name), Place(tmp_path / name)
        sink = place.opened(lanes=one.pipeline.walk.stages.lanes)
        one.worker.sinks = [sink]
        return one, place, sink

    whole, uninterrupted, sink = stand("whole")
    whole.start()
    sink.resume(whole.worker.place)
    whole.work(range(40))
    whole.worker.stop()
    first, _, sink = stand("cut")
    first.start()
    sink.resume(first.worker.place)
    first.work(range(24))
    assert sink.flush(SLOW)
    killed(first)
    sink.close()
    second, cut, sink = stand("cut")
    second.start()
    sink.resume(second.worker.place)
    second.work(range(24, 40))
    assert second.worker.replayed
    second.worker.stop()
    wanted = uninterrupted.table("predictions")
    assert len(wanted) == 40
    pd.testing.assert_frame_equal(cut.table("predictions"), wanted)
    pd.testing.assert_frame_equal(cut.table("outcomes"), uninterrupted.table("outcomes"))


def test_a_folder_that_refuses_loses_nothing(place: Place) -> None:
    """What cannot become files stays in the state folder, is said, and becomes files later."""
    place.files.parent.mkdir(exist_ok=True)
    with place.life(rows=5) as sink:
        place.files.write_text("in the way")
        for one in pieces(1, 6):
            sink.write(one)
        assert sink.flush(SLOW)
        wait_for(lambda: "cannot write the files" in sink.state()["why"])
        assert sink.state()["spilled"] == 15
        place.files.unlink()
    assert sink.state()["ok"]
    assert len(place.table("predictions")) == 15


def test_a_check_beside_a_running_service_touches_nothing(place: Place) -> None:
    """To open a sink and close it again makes no file of what another one keeps."""
    with place.life() as sink:
        for one in pieces(1, 6):
            sink.write(one)
        assert sink.flush(SLOW)
        place.opened().close()
        assert place.names() == set()
        assert sink.state()["spilled"] == 15
    assert len(place.table("predictions")) == 15


def test_all_files_of_a_table_have_the_same_columns(place: Place) -> None:
    """Those that the page on it names, in whatever order results came."""
    with place.life() as sink:
        sink.write(output([predicted(0), told(0)], events=[LEVEL], scores=[scores(1)]))
    for name, schema in TABLES.items():
        assert place.table(name).columns.tolist() == [*schema.names, "day"]
    page = Path(__file__).parent.parent / "docs" / "how-to" / "parquet.md"
    text = page.read_text(encoding="utf-8")
    for name in ("predictions", "outcomes", "events"):
        assert all(f"`{column}`" in text for column in TABLES[name].names)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"path": Path(__file__)}, "is a file; name a folder"),
        ({"rows": 0}, "makes no file"),
        ({"every": "soon"}, "not a duration"),
        ({"spill_bytes": 0}, "write at least 10000000"),
        ({"buffer_bytes": 0}, "holds nothing"),
    ],
)
def test_options_that_mean_nothing(tmp_path: Path, options: dict[str, Any], match: str) -> None:
    """A wrong option is refused before anything is written."""
    chosen = {"path": tmp_path / "files"} | options
    with pytest.raises(ValueError, match=match):
        parquet.open(LANES, "pumps", tmp_path, lambda: START, **chosen)
    assert list(tmp_path.iterdir()) == []
