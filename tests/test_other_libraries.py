"""Detectors of other libraries answer from processes of their own."""

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import changes
from benchmarks._other_libraries import environment, opened

COUNTS = """
class Third:
    "Says so at each third error, and talks."
    def __init__(self):
        self.reset()
    def reset(self):
        self.n, self.status = 0, {"drift": False}
    def update(self, value):
        print("hello", value)
        self.n += value
        self.status["drift"] = self.n == 3
"""


def test_each_error_has_its_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the first alarm, after which it is reset, whatever the library prints."""
    folder = tmp_path / "frouros" / "detectors"
    folder.mkdir(parents=True)
    (folder / "concept_drift.py").write_text(COUNTS, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with opened(Path(sys.executable), "frouros", "Third") as watch:
        errors = [1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0]
        assert watch(errors) == (4, True)
        assert watch(errors[4:]) == (4, True)
        assert watch(errors[8:]) == (1, False)
    with (
        pytest.raises(RuntimeError, match="Fourth of frouros did not start"),
        opened(Path(sys.executable), "frouros", "Fourth"),
    ):
        pass


def test_a_library_that_cannot_be_installed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a line that says why."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert environment("capymoa") is None
    assert capsys.readouterr().out == "capymoa is left out: its environment needs uv\n"
    monkeypatch.setattr("shutil.which", lambda name: "/bin/false")
    assert environment("frouros") is None
    assert capsys.readouterr().out == "frouros is left out: uv failed\n"


def test_blocks_of_errors_bring_the_same_alarms() -> None:
    """As one error at a time: what a model learned beyond an alarm is forgotten."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3_000, 2))
    labels = (x[:, 0] > 0.0).astype(np.int64)
    labels[1_100:] = 1 - labels[1_100:]
    one = changes.ours("ddm")

    def watch(errors: list[float]) -> tuple[int, bool]:
        alarm = next((k for k, error in enumerate(errors) if one(error)), -1)
        return (len(errors), False) if alarm < 0 else (alarm + 1, True)

    found = changes.alarms_of_blocks(watch, x, labels)
    assert found == changes.alarms(changes.ours("ddm"), x, labels)
    assert any(1_100 <= at < 1_200 for at in found)
