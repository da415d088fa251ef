"""The decorators of kernels and their compile cache.

Every hot loop of the product is decorated with :func:`kernel`: numba, nogil, no fastmath.

Two traps of numba's own cache, both reproduced, are closed here:

- editing a kernel does not invalidate the callers that live in other files, so the cache folder is
  named by a hash of *all* kernel sources, of numba, numpy, llvmlite, Python and the CPU;
- record-array arguments of functions cached by different processes collide and segfault, so kernels
  take plain arrays only (`tests/contracts/test_kernels.py` refuses anything else).
"""

import hashlib
import importlib
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import llvmlite
import llvmlite.binding
import numba
import numpy as np

from streamgauge.late_imports import late

__all__ = ["cache_folder", "inlined", "kernel", "kernel_sources", "lean"]

P = ParamSpec("P")
R = TypeVar("R")

_HOUSE = Path(__file__).resolve().parent.parent
_ROOMS = ("streamgauge", "ingest", "models", "monitoring", "stream_processor")


def kernel_sources() -> Iterator[Path]:
    """Every file of the product that defines a kernel, in a fixed order."""
    for room in _ROOMS:
        for path in sorted((_HOUSE / room).rglob("*.py")):
            if any(mark in path.read_bytes() for mark in (b"@kernel", b"@inlined", b"@lean")):
                yield path


def _fingerprint() -> str:
    digest = hashlib.blake2b(digest_size=10)
    for path in kernel_sources():
        digest.update(str(path.relative_to(_HOUSE)).encode())
        digest.update(path.read_bytes())
    for fact in (
        numba.__version__,
        llvmlite.__version__,
        np.__version__,
        sys.version,
        platform.machine(),
        llvmlite.binding.get_host_cpu_name(),
        os.environ.get("NUMBA_BOUNDSCHECK", ""),
    ):
        digest.update(fact.encode())
    return digest.hexdigest()


def _root() -> Path:
    named = os.environ.get("STREAMGAUGE_CACHE_DIR")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamgauge"


@cache
def cache_folder() -> Path:
    """Folder of the compiled kernels of exactly these sources on exactly this machine; looked for
    once in a process, since it reads all of them."""
    folder = _root() / "kernels" / _fingerprint()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    except OSError:
        # A read-only home must not stop the service: compile into a folder of this user's own.
        return Path(tempfile.mkdtemp(prefix="streamgauge-kernels-"))


numba.config.CACHE_DIR = str(cache_folder())
with late("scipy.linalg", "scipy.linalg.cython_blas"):
    # Imported at the first kernel anyway, and with it all of scipy.linalg, which only np.dot needs.
    importlib.import_module("numba.np.arraymath")


_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` with numba on first call: per-event semantics at compiled speed.

    Arguments must be scalars and plain arrays, at most ten: each array argument costs about 75 ns
    per call, and record arrays are not safe in numba's cache.
    """
    return cast(Callable[P, R], numba.njit(_nrt=True, **_OPTIONS)(function))


def lean(function: Callable[P, R]) -> Callable[P, R]:
    """A kernel that makes no array, and so need not count who holds those it is given: for kernels
    that others call for each event, whose every row and slice would else be counted in and out.

    It cannot give an array back, nor copy one into part of another.
    """
    return cast(Callable[P, R], numba.njit(_nrt=False, **_OPTIONS)(function))


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """A kernel whose code is put in the place of each call: a small one, or one of a single call.

    To hand four arrays on takes as long as dozens of sums, and where an array is seen to come from
    a declared call nothing counts who holds it. A large kernel that is called in many places would
    make its callers slow to compile.
    """
    return cast(Callable[P, R], numba.njit(forceinline=True, _nrt=False, **_OPTIONS)(function))
