"""Laps: the time from one look at the clock to the next, counted by kernels between stages."""

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba.core import cgutils
from numba.extending import intrinsic
from numba.types import int64

from streamgauge.arrays import Ints
from streamgauge.kernels import kernel

__all__ = ["BEGAN", "COUNTS", "ENDED", "MONOTONIC", "SECONDS", "SUM", "Clock", "begin", "lap"]


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock that only goes on, nanoseconds: for kernels and for Python."""

    address: int
    """Of a C function `int (int, int64[2])`, which writes seconds and nanoseconds."""
    read: Callable[[], int]


MONOTONIC = Clock(
    ctypes.cast(ctypes.CDLL(None).clock_gettime, ctypes.c_void_p).value or 0, time.monotonic_ns
)

SECONDS = (*(float(f"{k}e{e}") for e in range(-6, 1) for k in (1, 2.5, 5)), 10.0)
"""Upper bounds of the times: a stage takes a microsecond for one reading, a slow disk seconds."""
BOUNDS = np.array([round(bound * 1e9) for bound in SECONDS], np.int64)

SUM, BEGAN, ENDED, COUNTS = range(4)
"""Fields of a stage: nanoseconds so far, its newest lap, then how many laps by length. Behind the
stages is a row whose ENDED is when the last lap of any ended."""


@intrinsic  # type: ignore[untyped-decorator] # numba has no types
def _read(context: Any, address: Any) -> Any:
    """The clock at `address`, nanoseconds."""

    def build(_: Any, builder: Any, __: Any, values: Any) -> Any:
        ir = cgutils.ir
        word, long = ir.IntType(32), ir.IntType(64)
        told = cgutils.alloca_once(builder, long, size=2)
        function = ir.FunctionType(word, [word, long.as_pointer()])
        read = builder.inttoptr(values[0], function.as_pointer())
        builder.call(read, [word(time.CLOCK_MONOTONIC), told])
        second = builder.gep(told, [word(1)])
        seconds = builder.mul(builder.load(told), long(10**9))
        return builder.add(seconds, builder.load(second))

    return int64(address), build


@kernel
def begin(clock: int, laps: Ints) -> None:
    """The next lap begins now."""
    laps[len(laps) - 1, ENDED] = _read(clock)


@kernel
def lap(clock: int, laps: Ints, stage: int) -> None:
    """The stage ends now, and the next one begins."""
    began, ended = laps[len(laps) - 1, ENDED], _read(clock)
    laps[len(laps) - 1, ENDED] = ended
    spent = ended - began
    length = 0
    while length < len(BOUNDS) and spent > BOUNDS[length]:
        length += 1
    laps[stage, SUM] += spent
    laps[stage, BEGAN] = began
    laps[stage, ENDED] = ended
    laps[stage, COUNTS + length] += 1
