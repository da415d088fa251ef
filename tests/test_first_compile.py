"""A command that compiles kernels says so on stderr, and one that finds them says nothing."""

import os
import subprocess
from pathlib import Path

import numba
import pytest

from serving.first_compile import EVERY, compiling_told
from tests.services.service import command

CONFIG = """
[state]
dir = "state"
[[source]]
use = "http"
[channels.a]
[tasks.next]
kind = "forecast"
target = "a"
horizons = [{ readings = 1 }]
[serve]
port = 0
"""


def test_it_says_that_kernels_are_compiled_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """One line at the first, one after each twenty; none where all are compiled."""
    compiled = [numba.njit(lambda x: x + 1.0) for _ in range(EVERY + 1)]

    with compiling_told():
        for one in compiled:
            one(1.0)
    first, then = capsys.readouterr().err.splitlines()
    with compiling_told():
        compiled[0](2.0)
    compiled[0](1)

    assert first.startswith("compiling kernels, once on this machine")
    assert then == f"{EVERY} kernels compiled"
    assert capsys.readouterr().err == ""


def test_a_first_run_says_what_it_waits_for(tmp_path: Path) -> None:
    """With an empty cache, the first words of `run` are that kernels are compiled, and where to."""
    (tmp_path / "pipeline.toml").write_text(CONFIG, encoding="utf-8")
    env = {"STREAMGAUGE_CACHE_DIR": str(tmp_path / "cache")}
    env["STREAMGAUGE_KEY_FILE"] = str(tmp_path / "signing.key")
    with subprocess.Popen(
        command("run", tmp_path / "pipeline.toml"),
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | env,
    ) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        process.kill()

    assert said.startswith("compiling kernels, once on this machine")
    assert str(tmp_path / "cache") in said
