"""Kernel calls bound to their arrays once, and run in a row without Python between them.

Handing an array to a kernel costs about 75 ns, which at one reading per batch is most of the
work. A stage therefore declares its calls: a kernel and its arguments, of which a few integers
(`Now`) are known only at run time. A bound call is a C function and a table of addresses; a `Chain`
runs any number of them in one entry from Python, for 0.3 µs instead of about one for each.

For each kernel and kind of arguments a small C function is generated into the compile cache, the
same for every configuration: what an image build compiled, no start compiles again.
"""

import hashlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
from numba.core import cgutils
from numba.extending import intrinsic
from numba.types import CPointer, int64, void, voidptr
from numpy.typing import NDArray

from streamgauge.arrays import Ints
from streamgauge.kernels import cache_folder, kernel

__all__ = ["Argument", "Call", "Chain", "Now", "over_part", "run_part"]


class Now(IntEnum):
    """An integer that a kernel reads at run time, or leaves for the next one."""

    N = 0
    """Readings in the batch."""
    DONE = 1
    """Readings, or device rows, that the label join has worked off."""
    STEPS = 2
    """Steps in the schedule."""
    AT = 3
    """Next free row of the output."""
    REFUSED = 4
    """Readings that were not admitted."""


STEPS = int(Now.STEPS)
Argument = NDArray[Any] | int | float | Now


@dataclass(frozen=True, slots=True)
class Call:
    """A kernel with its arguments; what it returns goes into `returns`, in order."""

    kernel: Callable[..., Any]
    arguments: tuple[Argument, ...]
    returns: tuple[Now, ...] = ()

    def run(self, **now: int) -> Any:
        """Call the kernel plainly; `n=...`, `done=...` are the arguments known only now."""
        return self.kernel(
            *(now[a.name.lower()] if isinstance(a, Now) else a for a in self.arguments)
        )


class Chain:
    """Calls run one after the other, in one entry from Python.

    `now int64[len(Now)]` holds the integers known at run time: the caller sets them, kernels read
    and write them; chains that share it hand them on.
    """

    def __init__(self, calls: Sequence[Call], now: Ints) -> None:
        self._held = [_bind(call) for call in calls]
        """Tables and functions live as long as the chain: only their addresses are passed."""
        self._calls = np.array(
            [[entry.address, table.ctypes.data] for entry, table, _ in self._held], np.int64
        ).reshape(len(calls), 2)
        self._now = now

    def run(self) -> None:
        """Run every call once, in order."""
        _run(self._calls, self._now)


@intrinsic  # type: ignore[untyped-decorator] # numba has no types
def _pointer(context: Any, address: Any) -> Any:
    """The pointer to an address."""

    def build(_: Any, builder: Any, __: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], cgutils.voidptr_t)

    return voidptr(address), build


@intrinsic  # type: ignore[untyped-decorator] # numba has no types
def _enter(context: Any, entry: Any, table: Any, now: Any) -> Any:
    """Call the C function `void(int64*, int64*)` at address `entry`."""

    def build(target: Any, builder: Any, _: Any, values: Any) -> Any:
        integers = cgutils.intp_t.as_pointer()
        function = cgutils.ir.FunctionType(cgutils.ir.VoidType(), [integers, integers])
        called = builder.inttoptr(values[0], function.as_pointer())
        builder.call(called, [builder.inttoptr(value, integers) for value in values[1:]])
        return target.get_dummy_value()

    return void(entry, table, now), build


@kernel
def _run(calls: Ints, now: Ints) -> None:
    for k in range(len(calls)):
        _enter(calls[k, 0], calls[k, 1], now.ctypes.data)


def over_part(call: Call, along: Sequence[NDArray[Any]]) -> tuple[int, Ints, Ints]:
    """A call that another kernel runs over part of the steps: what :func:`run_part` takes first.

    `along` are those of its arrays that have a row for each step. They and the others must live as
    long as what is returned: address, table, and `int64[k, 3]` (place in the table, address of the
    first row, bytes of a row).
    """
    entry, table, _ = _bind(call)
    parts, at = [], 0
    for argument in call.arguments:
        if isinstance(argument, Now):
            continue
        if isinstance(argument, np.ndarray):
            if any(argument is one for one in along):
                parts.append((at, argument.ctypes.data, argument.strides[0]))
            at += argument.ndim
        at += 1
    return entry.address, table, np.array(parts, np.int64)


@kernel
def run_part(entry: int, table: Ints, parts: Ints, now: Ints, begin: int, end: int) -> None:
    """Run the call of :func:`over_part` over the steps from `begin` to before `end`."""
    if end > begin:
        for k in range(len(parts)):
            table[parts[k, 0]] = parts[k, 1] + begin * parts[k, 2]
        now[STEPS] = end - begin
        _enter(entry, table.ctypes.data, now.ctypes.data)


def _bind(call: Call) -> tuple[Any, Ints, tuple[Argument, ...]]:
    """C function, table of addresses, sizes and constants, and what must stay alive."""
    table: list[int] = []
    kinds: list[str] = []
    for argument in call.arguments:
        if isinstance(argument, np.ndarray):
            if not argument.flags.c_contiguous:
                raise ValueError(f"{call.kernel} is given an array that is not contiguous")
            table += [argument.ctypes.data, *argument.shape]
            kinds.append(f"{argument.dtype.name}:{argument.ndim}")
        elif isinstance(argument, Now):
            kinds.append(f"now:{argument.value}")
        elif isinstance(argument, float):
            table.append(int(np.float64(argument).view(np.int64)))
            kinds.append("constant:float64")
        else:
            table.append(int(argument))
            kinds.append("constant:int64")
    function: Any = getattr(call.kernel, "py_func", call.kernel)
    returns = tuple(int(word) for word in call.returns)
    entry = _entry(function.__module__, function.__name__, tuple(kinds), returns)
    return entry, np.array(table, np.int64), call.arguments


@cache
def _entry(module: str, name: str, kinds: tuple[str, ...], returns: tuple[int, ...]) -> Any:
    """The C function for a kernel and these kinds of arguments, from the compile cache."""
    source = _source(module, name, kinds, returns)
    return numba.cfunc(void(CPointer(int64), CPointer(int64)), cache=True, error_model="numpy")(
        _module(source).entry
    )


def _source(module: str, name: str, kinds: Sequence[str], returns: Sequence[int]) -> str:
    lines = ["def entry(table, now):"]
    at = 0
    for k, kind in enumerate(kinds):
        what, _, detail = kind.partition(":")
        if what == "now":
            lines.append(f"    a{k} = now[{detail}]")
        elif what == "constant":
            view = ".view(np.float64)" if detail == "float64" else ""
            lines.append(f"    a{k} = np.int64(table[{at}]){view}")
            at += 1
        else:
            sizes = ", ".join(f"table[{at + 1 + axis}]" for axis in range(int(detail)))
            lines.append(f"    a{k} = carray(_pointer(table[{at}]), ({sizes},), np.{what})")
            at += 1 + int(detail)
    given = ", ".join(f"a{k}" for k in range(len(kinds)))
    results = ", ".join(f"now[{word}]" for word in returns)
    lines.append(f"    {results}{' = ' if returns else ''}kernel({given})")
    head = [
        "import numpy as np",
        "from numba import carray",
        "from streamgauge.calls import _pointer",
        f"from {module} import {name} as kernel",
    ]
    return "\n".join([*head, "", "", *lines, ""])


def _module(source: str) -> ModuleType:
    """The generated source as a module of the cache folder: numba caches by file."""
    name = f"entry_{hashlib.blake2b(source.encode(), digest_size=10).hexdigest()}"
    path = _write_once(cache_folder() / f"{name}.py", source)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # numba's cache looks the function's module up by its name.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _write_once(path: Path, source: str) -> Path:
    """Write the file if it is not there yet, whole: other processes may do the same."""
    if not path.exists():
        beside = path.with_suffix(f".{os.getpid()}")
        beside.write_text(source, encoding="utf-8")
        beside.replace(path)
    return path
