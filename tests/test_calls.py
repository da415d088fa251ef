"""Bound calls and chains."""

import numpy as np
import pytest

from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Call, Chain, Now
from streamgauge.kernels import kernel


@kernel
def scale(values: Floats, factor: float, shift: int, n: int) -> tuple[int, int]:
    """Two numbers come back."""
    for i in range(n):
        values[i] = values[i] * factor + shift
    return n, 7


@kernel
def count(codes: Ints, steps: int, at: int) -> int:
    """One number comes back."""
    for i in range(steps):
        codes[i, at] += 1
    return at + 1


def test_a_chain_does_what_its_calls_do() -> None:
    """Arrays, constants, run-time integers and returned integers all arrive."""
    values, codes = np.arange(6.0), np.zeros((3, 2), np.int64)
    now = np.zeros(len(Now), np.int64)
    calls = [
        Call(scale, (values, 0.5, 3, Now.N), (Now.DONE, Now.STEPS)),
        Call(count, (codes, 2, Now.AT), (Now.AT,)),
    ]
    chain = Chain(calls, now)
    now[Now.N], now[Now.AT] = 4, 1
    chain.run()
    assert values.tolist() == [3.0, 3.5, 4.0, 4.5, 4.0, 5.0]
    assert codes.tolist() == [[0, 1], [0, 1], [0, 0]]
    assert (now[Now.DONE], now[Now.STEPS], now[Now.AT]) == (4, 7, 2)


def test_a_call_can_be_run_plainly() -> None:
    """The same declaration serves tests and tools that have one call to make."""
    values = np.ones(3)
    assert Call(scale, (values, 2.0, 0, Now.N), (Now.DONE, Now.STEPS)).run(n=2) == (2, 7)
    assert values.tolist() == [2.0, 2.0, 1.0]


def test_an_array_with_gaps_is_refused() -> None:
    """Only the address and sizes are passed: a strided view would be read wrongly."""
    with pytest.raises(ValueError, match="not contiguous"):
        Chain([Call(count, (np.zeros((4, 4), np.int64)[:, ::2], 0, 0))], np.zeros(5, np.int64))
