"""Checks that know nothing of what they check: cuts of a stream, equal bits, equal state."""

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamgauge.state import Block, Keys

__all__ = [
    "Cut",
    "assert_only_finite_or_nan",
    "assert_same_bits",
    "assert_same_state",
    "cuts",
    "pieces",
    "singles",
]

Cut = tuple[int, ...]
"""Where a stream is cut: positions inside it, rising. () is the stream in one batch."""


def singles(n: int) -> Cut:
    """The cut into batches of one."""
    return tuple(range(1, n))


def cuts(n: int) -> st.SearchStrategy[Cut]:
    """Any way to cut n readings into batches."""
    anywhere = st.sets(st.integers(1, max(1, n - 1)), max_size=12)
    some = anywhere.map(lambda places: tuple(sorted(place for place in places if place < n)))
    return st.one_of(st.just(()), st.just(singles(n)), some)


def pieces(n: int, cut: Cut) -> Iterator[tuple[int, int]]:
    """(start, stop) of each batch."""
    yield from pairwise((0, *cut, n))


def assert_same_bits(
    ours: Mapping[str, NDArray[np.generic]], theirs: Mapping[str, NDArray[np.generic]]
) -> None:
    """Every array equals its namesake bit by bit, NaN included."""
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        other = theirs[name]
        assert array.shape == other.shape, f"{name}: shape {array.shape} and {other.shape}"
        assert array.tobytes() == other.tobytes(), f"{name} differs:\n{array}\n{other}"


def assert_same_state(
    ours: Mapping[str, Block],
    theirs: Mapping[str, Block],
    rows: NDArray[np.int64],
    their_rows: NDArray[np.int64] | None = None,
    *,
    devices_only: bool = False,
) -> None:
    """These rows of the device blocks, and all other blocks whole, are equal bit by bit."""
    assert ours.keys() == theirs.keys()
    for name, block in ours.items():
        by_device = block.keys is Keys.DEVICE
        if devices_only and not by_device:
            continue
        every = np.arange(block.capacity)
        others = rows if their_rows is None else their_rows
        own = block.take(rows if by_device else every)
        other = theirs[name].take(others if by_device else every)
        assert_same_bits(
            {f"{name}.{part}": a for part, a in own.items()},
            {f"{name}.{part}": a for part, a in other.items()},
        )


def assert_only_finite_or_nan(name: str, array: NDArray[np.float64]) -> None:
    """No infinity anywhere."""
    assert not np.isinf(array).any(), f"{name} gives infinity:\n{array}"
