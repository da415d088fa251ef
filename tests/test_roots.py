"""Square roots without pow are those of Python's `x ** 0.5`, to the last bit."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.compiled._roots import root, roots
from streamgauge.arrays import Floats

SPECIAL = np.array(
    [0.0, -0.0, math.inf, 5e-324, 1e-300, 1e-280, 1e-279, 1.0, 4.0, 2.0, 1.7976931348623157e308]
)


def powers(values: Floats) -> Floats:
    """As the C library gives them to Python."""
    return np.array([value**0.5 for value in values.tolist()])


def both(values: Floats) -> tuple[Floats, Floats]:
    """One by one, and all at once."""
    found = np.empty(len(values))
    roots(values, 0.5, found)
    return np.array([root(value, 0.5) for value in values.tolist()]), found


def test_any_number() -> None:
    """Of every size, and those around which roots round the other way."""
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 0x7FF0000000000000, 200_000).view(np.float64)
    near = np.nextafter(rng.random(100_000) ** 2, 2.0)
    for values in (SPECIAL, bits, near, rng.normal(size=100_000) ** 2):
        wanted = powers(values).view(np.int64)
        for found in both(values):
            np.testing.assert_array_equal(found.view(np.int64), wanted)


def test_what_has_no_root() -> None:
    """NaN, as numpy has it; Python's is a complex number."""
    for found in both(np.array([-1.0, math.nan, -math.inf])):
        assert np.isnan(found[:2]).all()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.floats(min_value=0.0, allow_nan=False))
def test_one_number(value: float) -> None:
    """Whatever it is."""
    assert root(value, 0.5) == value**0.5
