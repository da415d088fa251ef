"""The TensorBoard sink, read with TensorBoard's own reader."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monitoring.sinks import tensorboard
from monitoring.skill import skill
from streamgauge.output import SCORE_COLUMNS, Scores
from tests.outputs import DEVICES, LANES, LEVEL, START, made, output, predicted, scores
from tests.services.ports import wait_for

SLOW = 60.0
"""Seconds that a loaded machine may take."""


@contextmanager
def opened(path: Path, stream: str = "pumps", **options: Any) -> Iterator[Any]:
    """A sink to that folder."""
    sink = tensorboard.open(LANES, stream, Path("unused"), lambda: START, path=path, **options)
    try:
        yield sink
    finally:
        sink.close()


def read(run: Path) -> EventAccumulator:
    """A run as TensorBoard shows it."""
    found = EventAccumulator(str(run), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    return found


def curve(run: Path, tag: str) -> list[tuple[int, float, float]]:
    """Step, seconds and value of each point."""
    return [(one.step, one.wall_time, one.value) for one in read(run).Scalars(tag)]


def test_scores_are_curves_over_labels(tmp_path: Path) -> None:
    """One for each score of each lane over all devices, with the log's time; single devices, what
    is not known and the label count, which is the step, have none."""
    with opened(tmp_path) as sink:
        for minute in (3, 7, 12):
            sink.write(output([predicted(minute)], scores=[scores(minute, (-1, 0))]))
        assert sink.flush(SLOW)
        run = tmp_path / "pumps"
        mae = SCORE_COLUMNS.index("mae")
        assert curve(run, "power@10m/mae") == [
            (minute, made(minute) / 1e6, float(minute + mae)) for minute in (3, 7, 12)
        ]
        told = dict(zip(SCORE_COLUMNS, scores(7).numbers[0].tolist(), strict=True))
        [_, (step, _, value), _] = curve(run, "power@1 reading/skill")
        assert step == 7
        assert value == pytest.approx(skill(told))
        columns = [*SCORE_COLUMNS[1:-1], "skill"]
        assert set(read(run).Tags()["scalars"]) == {
            f"{lane.name}/{column}" for lane in LANES for column in columns
        }


def test_without_new_labels_there_is_no_new_point(tmp_path: Path) -> None:
    """Neither before the first label nor while none comes."""
    none, some = scores(0), scores(5)
    later = Scores(made(9), some.lane, some.row, some.numbers)
    unknown = Scores(made(2), some.lane, some.row, np.full_like(some.numbers, np.nan))
    with opened(tmp_path) as sink:
        sink.write(output([], scores=[none, unknown, some, later]))
        assert sink.flush(SLOW)
        assert [step for step, *_ in curve(tmp_path / "pumps", "flow/mae")] == [5]


def test_drift_is_text(tmp_path: Path) -> None:
    """In words, with its device, at the labels of its lane and the time of the event."""
    drift = replace(LEVEL, channel="", signal="error", lane=2)
    with opened(tmp_path) as sink:
        sink.write(output([], scores=[scores(5)], events=[LEVEL, drift]))
        assert sink.flush(SLOW)
    found = read(tmp_path / "pumps")
    assert len(found.Tags()["tensors"]) == 1
    [level, error] = found.Tensors("flow/drift/text_summary")
    assert (level.step, level.wall_time) == (5, made(5) / 1e6)
    said = level.tensor_proto.string_val[0].decode()
    assert said.startswith(f"{DEVICES[0]}: ")
    assert "flow" in said
    assert error.tensor_proto.string_val[0].decode() != said


def test_each_life_adds_a_file(tmp_path: Path) -> None:
    """Nothing of the first is overwritten, even within one second, and other runs stand beside."""
    for minute in (3, 7):
        with opened(tmp_path) as sink:
            sink.write(output([], scores=[scores(minute)]))
            assert sink.flush(SLOW)
    with opened(tmp_path, run="model-2") as sink:
        sink.write(output([], scores=[scores(4)]))
        assert sink.flush(SLOW)
    assert len(list((tmp_path / "pumps").iterdir())) == 2
    assert sorted(step for step, *_ in curve(tmp_path / "pumps", "flow/mae")) == [3, 7]
    assert [step for step, *_ in curve(tmp_path / "model-2", "flow/mae")] == [4]


def test_a_disk_that_refuses_is_waited_for(tmp_path: Path) -> None:
    """Said meanwhile; then every point is there."""
    path = tmp_path / "runs"
    with opened(path) as sink:
        path.write_text("in the way")
        for minute in (3, 7):
            sink.write(output([], scores=[scores(minute)]))
        wait_for(lambda: "cannot write" in sink.state()["why"])
        path.unlink()
        assert sink.flush(SLOW)
        assert sink.state()["ok"]
    assert [step for step, *_ in curve(path / "pumps", "flow/mae")] == [3, 7]


def test_a_check_writes_nothing(tmp_path: Path) -> None:
    """No empty run is left where nothing was written."""
    with opened(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"path": Path(__file__)}, "is a file; name a folder"),
        ({"run": "../other"}, "is no name; write one like 'other'"),
        ({"run": "?"}, "is no name; write one like 'model-2'"),
        ({"run": ".."}, "is no name"),
        ({"buffer_bytes": 0}, "holds nothing"),
    ],
)
def test_options_that_mean_nothing(tmp_path: Path, options: dict[str, Any], match: str) -> None:
    """A wrong option is refused before anything is written."""
    with pytest.raises(ValueError, match=match):
        tensorboard.open(
            LANES, "pumps", tmp_path, lambda: START, **({"path": tmp_path / "runs"} | options)
        )


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that brings it."""
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    with (
        pytest.raises(ValueError, match=r'pip install "streamgauge\[tensorboard\]"'),
        opened(tmp_path),
    ):
        pass
