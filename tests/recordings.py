"""Real recordings, which are no part of this repository."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

__all__ = ["large_are_slow", "recording"]

LARGE = ("beijing_air", "keti_rooms", "vic_electricity")
"""Of many thousand readings; what is asked of every recording is asked of these in slow tests."""


def large_are_slow(tasks: Iterable[Any]) -> list[Any]:
    """Parameters of a test, each a task or a row that names its recording first."""
    found = []
    for one in tasks:
        given = one if isinstance(one, tuple) else (one,)
        name = given[0] if isinstance(given[0], str) else getattr(given[0], "recording", "")
        marks = [pytest.mark.slow] if name in LARGE else []
        found.append(pytest.param(*given, marks=marks))
    return found


def recording(name: str) -> Path:
    """Path of a recording such as "beijing_air.csv.gz"; skips the test where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("STREAMGAUGE_DATA", default)) / name
    if not path.exists():
        pytest.skip(f"no recording {name}; set STREAMGAUGE_DATA to the folder that has it")
    return path
