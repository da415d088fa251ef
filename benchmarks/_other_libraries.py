"""Detectors of libraries that no environment can share with ours: each has its own, made by uv.

It is made once, in the folder of temporary files. Where that is not possible a line says so, and
the benchmark goes on without.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

__all__ = ["DETECTORS", "environment", "opened"]

PROGRAM = Path(__file__).with_name("_other_detector.py")
REQUIREMENTS: Mapping[str, str] = {"frouros": "frouros==0.9.0", "capymoa": "capymoa==0.15.1"}
DETECTORS: Mapping[str, tuple[str, ...]] = {
    "frouros": (
        "ADWIN", "CUSUM", "DDM", "ECDDWT", "EDDM", "HDDMA", "HDDMW", "PageHinkley", "RDDM", "STEPD",
    ),
    "capymoa": (
        "ADWIN", "CUSUM", "DDM", "EDDM", "EWMAChart", "HDDMAverage", "HDDMWeighted", "OPTWIN",
        "PageHinkley", "RDDM", "SEED", "STEPD",
    ),
}  # fmt: skip
"""Of errors, at their defaults; left out are those that need a millisecond a value or options."""
_PATIENCE = 600


def environment(library: str) -> Path | None:
    """The Python of its environment; None, and a line, where it cannot be made."""
    home = Path(tempfile.gettempdir()) / f"streamgauge-bench-{REQUIREMENTS[library]}"
    python = home / "bin" / "python"
    if not (home / "made").exists():
        uv = shutil.which("uv")
        if uv is None:
            print(f"{library} is left out: its environment needs uv")
            return None
        steps = (
            [uv, "venv", "--clear", "--python", "3.11", str(home)],
            [uv, "pip", "install", "--python", str(python), REQUIREMENTS[library]],
        )
        for step in steps:
            done = subprocess.run(
                step, capture_output=True, text=True, check=False, timeout=_PATIENCE
            )
            if done.returncode:
                print(f"{library} is left out: {(done.stderr.strip() or 'uv failed')[-200:]}")
                return None
        (home / "made").touch()
    return python


@contextmanager
def opened(
    python: Path, library: str, name: str
) -> Iterator[Callable[[list[float]], tuple[int, bool]]]:
    """A new detector in its own process: takes up to 255 errors of 0 or 1, says how many it took
    and whether the last of these is an alarm."""
    command = [str(python), str(PROGRAM), library, name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        if not child.stdout.read(1):
            raise RuntimeError(f"{name} of {library} did not start; {python} says why")

        def watch(errors: list[float]) -> tuple[int, bool]:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(bytes([len(errors), *map(int, errors)]))
            child.stdin.flush()
            taken, alarm = child.stdout.read(2)
            return taken, alarm == 1

        try:
            yield watch
        finally:
            child.stdin.close()


if __name__ == "__main__":
    sys.exit(0 if all(map(environment, REQUIREMENTS)) else 1)
