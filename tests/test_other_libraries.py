"""Detectors of other libraries answer from processes of their own."""

import sys
from pathlib import Path

import pytest

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
    """Whatever the library prints; it is reset after an alarm."""
    folder = tmp_path / "frouros" / "detectors"
    folder.mkdir(parents=True)
    (folder / "concept_drift.py").write_text(COUNTS, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with opened(Path(sys.executable), "frouros", "Third") as watch:
        said = [watch(error) for error in (1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0)]
    assert said == [False, False, False, True, False, False, False, True]
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
