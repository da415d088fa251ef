"""`init` as the tests of its sources call it: what it writes passes `check`."""

import io
import threading
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from serving.check import check
from serving.init import init
from serving.run import clock

__all__ = ["NOW", "in_background", "passed", "started"]

NOW = 1_772_366_400 * 10**6


def started(sources: Sequence[str], output: Path, seconds: float = 20.0) -> dict[str, Any]:
    """What `init` writes, as TOML; it passes `check`."""
    assert init(sources, output, seconds=seconds, clock=clock) == 0
    return passed(output)


def passed(output: Path) -> dict[str, Any]:
    """The file that `init` wrote, as TOML; it passes `check`."""
    said = io.StringIO()
    assert check(output, {"STREAMGAUGE_PASSWORD": "word"}, said) == 0, said.getvalue()
    return tomllib.loads(output.read_text(encoding="utf-8"))


def in_background(work: Callable[[], Any]) -> threading.Thread:
    """The work in a thread of its own."""
    thread = threading.Thread(target=work)
    thread.start()
    return thread
