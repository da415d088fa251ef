"""Libraries that River and numba bring along are loaded when they are used, and work then."""

import ast
import subprocess
import sys

LIBRARIES = ("scipy.linalg", "scipy.special", "scipy.stats", "sqlalchemy")
START = f"""
import sys
import serving.run
from stream_processor.pipeline import Pipeline
from streamgauge.plugins import find
find("models.compiled")
print([name for name in {LIBRARIES!r} if name in sys.modules])
"""
ANSWERS = """
from tests.river_answers import answers
print(*answers(), sep="\\n")
"""


def _said(script: str) -> str:
    command = [sys.executable, "-c", script]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_start_loads_none_of_them() -> None:
    """Not even where compiled models are looked for, each of which imports its part of River."""
    assert ast.literal_eval(_said(START)) == []


def test_what_uses_them_answers_as_ever() -> None:
    """River and numba answer the same, with their libraries there from the start or late."""
    late = _said("import models" + ANSWERS)

    assert len(late.splitlines()) == 9
    assert late == _said("import river.tree" + ANSWERS)
