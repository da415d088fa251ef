"""Real recordings, which are no part of this repository."""

import os
from pathlib import Path

import pytest

__all__ = ["recording"]


def recording(name: str) -> Path:
    """Path of a recording such as "beijing_air.csv.gz"; skips the test where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("STREAMGAUGE_DATA", default)) / name
    if not path.exists():
        pytest.skip(f"no recording {name}; set STREAMGAUGE_DATA to the folder that has it")
    return path
