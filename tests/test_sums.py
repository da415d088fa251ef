"""Sums in lanes are those of a plain loop, at any length and place, and never look beside it."""

import math
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgauge.sums import centred, distances, products, total

NUMBERS = st.floats(-1e6, 1e6)
CLOSE = 1e-13
"""Of the sum of magnitudes: what rounding may leave."""


def near(found: float, parts: list[float]) -> bool:
    """Whether a sum is that of its parts, to rounding."""
    return abs(found - math.fsum(parts)) <= CLOSE * math.fsum(map(abs, parts))


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 70), st.integers(0, 9), NUMBERS, st.randoms(use_true_random=False))
def test_they_are_what_a_loop_gives(n: int, begin: int, level: float, draw: Random) -> None:
    """NaN on either side of what is summed stays outside."""
    inside = [draw.uniform(-1e6, 1e6) for _ in range(n)]
    values = np.full(begin + n + 5, np.nan)
    values[begin : begin + n] = inside
    away = [value - level for value in inside]

    assert near(total(values, begin, n), inside)
    assert near(distances(values, begin, n, level), away)
    for power, found in zip((2, 3, 4), centred(values, begin, n, level), strict=True):
        assert near(found, [distance**power for distance in away])


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 70), st.integers(0, 9), st.randoms(use_true_random=False))
def test_pairs_lie_apart(n: int, apart: int, draw: Random) -> None:
    """Each value is multiplied by the one so many places on."""
    values = np.array([draw.uniform(-1e3, 1e3) for _ in range(n + apart)])
    left, right = (values[:n] - 0.5).tolist(), (values[apart:] - 2.0 - 3.0).tolist()

    product, square = products(values, 0, apart, n, 0.5, 2.0, 3.0)

    assert near(product, [a * b for a, b in zip(left, right, strict=True)])
    assert near(square, [b * b for b in right])


def test_the_order_of_additions_depends_on_the_length_alone() -> None:
    """The same values elsewhere in an array give the same bits."""
    values = np.random.default_rng(1).normal(0.0, 1e3, 61)
    moved = np.concatenate((np.ones(7), values, np.ones(7)))

    assert total(values, 0, 61) == total(moved, 7, 61)
    assert centred(values, 0, 61, 0.1) == centred(moved, 7, 61, 0.1)
