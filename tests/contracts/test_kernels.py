"""Every kernel, and the cache that they are compiled into."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from numba.core.dispatcher import Dispatcher

from streamgauge import arrays, kernels
from streamgauge.kernels import kernel_sources

HOUSE = Path(kernels.__file__).resolve().parent.parent
PLAIN = (int, float, bool, *(getattr(arrays, name) for name in arrays.__all__))


def plain(hint: Any) -> bool:
    """True for a number, an array of numbers, or a tuple of those."""
    return hint in PLAIN or (get_origin(hint) is tuple and all(map(plain, get_args(hint))))


def found() -> list[tuple[str, Dispatcher]]:
    """Every kernel of the product, by module and name."""
    kernels_found = []
    for path in kernel_sources():
        name = ".".join(path.relative_to(HOUSE).with_suffix("").parts)
        module = importlib.import_module(name)
        for key, value in vars(module).items():
            if isinstance(value, Dispatcher) and value.py_func.__module__ == name:
                kernels_found.append((f"{name}.{key}", value))
    return kernels_found


def test_the_search_finds_kernels_of_every_room() -> None:
    """The checks below would pass on nothing: they look at the rooms that have kernels."""
    rooms = {name.partition(".")[0] for name, _ in found()}
    assert {"streamgauge", "stream_processor", "models", "monitoring"} <= rooms


@pytest.mark.parametrize(("name", "kernel"), found(), ids=[name for name, _ in found()])
def test_kernels_take_plain_arrays_and_numbers(name: str, kernel: Dispatcher) -> None:
    """Record arrays of functions cached by different processes collide and crash."""
    hints = get_type_hints(kernel.py_func)
    hints.pop("return", None)
    strange = {key: hint for key, hint in hints.items() if not plain(hint)}
    assert not strange, f"{name} takes {strange}; use the types of streamgauge.arrays"
    assert not kernel.targetoptions.get("fastmath"), f"{name} would not be exact"
    assert kernel.targetoptions["nogil"], f"{name} would hold the interpreter"


def numbers(hint: Any) -> bool:
    """True for nothing, a number, or a tuple of numbers."""
    inside = get_args(hint) if get_origin(hint) is tuple else (hint,)
    return all(one in (int, float, bool, type(None)) for one in inside)


def counts_nobody(kernel: Dispatcher) -> bool:
    """Whether the kernel is compiled without the counts of who holds an array."""
    return kernel.targetoptions.get("_nrt") is False


def test_who_counts_nobody_gives_no_array() -> None:
    """Its caller would let go of an array that was never counted as held."""
    lean = [(name, kernel) for name, kernel in found() if counts_nobody(kernel)]
    assert len(lean) > 100
    wrong = [name for name, kernel in lean if not numbers(get_type_hints(kernel.py_func)["return"])]
    assert not wrong


CALLEE = """
from streamgauge.kernels import kernel

@kernel
def inner(x: float) -> float:
    return x + {}
"""
CALLER = """
import sys
from streamgauge.kernels import kernel
from streamgauge.callee import inner

@kernel
def outer(x: float) -> float:
    return inner(x) * 10.0

if __name__ == "__main__":
    print(outer(1.0))
"""


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the shared room with two kernels of its own, one calling the other."""
    shutil.copytree(HOUSE / "streamgauge", tmp_path / "streamgauge")
    (tmp_path / "streamgauge" / "callee.py").write_text(CALLEE.format("1.0"))
    (tmp_path / "streamgauge" / "caller.py").write_text(CALLER)
    return tmp_path


def start(house: Path) -> "subprocess.Popen[str]":
    """A process that calls the outer kernel."""
    environment: dict[str, Any] = {**os.environ, "STREAMGAUGE_CACHE_DIR": str(house / "cache")}
    command = [sys.executable, "-c", "from streamgauge.caller import outer; print(outer(1.0))"]
    return subprocess.Popen(command, cwd=house, env=environment, stdout=subprocess.PIPE, text=True)


def result(process: "subprocess.Popen[str]") -> float:
    """What it printed."""
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return float(out)


def test_editing_a_callee_reaches_callers_cached_by_another_process(house: Path) -> None:
    """numba alone would go on using the caller that was compiled with the old callee."""
    assert result(start(house)) == 20.0
    (house / "streamgauge" / "callee.py").write_text(CALLEE.format("4.0"))
    assert result(start(house)) == 50.0


def test_processes_that_fill_the_cache_together_agree(house: Path) -> None:
    """Two services started at the same moment on a new machine both get the right kernels."""
    both = [start(house), start(house)]
    assert [result(process) for process in both] == [20.0, 20.0]
    folders = list((house / "cache" / "kernels").iterdir())
    assert len(folders) == 1
    assert result(start(house)) == 20.0
