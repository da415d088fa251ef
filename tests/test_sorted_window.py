"""A window keeps its last values in ascending order, whatever its length and whatever comes."""

import numpy as np
import pytest

from streamgauge.sorted_values import replace
from streamgauge.sorted_window import drop_oldest, push, quantile, width_of

LENGTHS = (1, 2, 3, 4, 5, 8, 9, 50, 64, 127, 128, 129, 300)
"""Around vectors of four, and around the length from which on positions are searched."""


@pytest.mark.parametrize("window", LENGTHS)
def test_it_holds_the_last_values_in_order(window: int) -> None:
    """Of few values and of many, with steps far up and down; nothing beside the row is written."""
    rng = np.random.default_rng(window)
    state = np.full((3, width_of(window)), np.inf)
    state[1] = 0.0
    last: list[float] = []
    for k in range(3 * window + 200):
        value = (
            float(rng.integers(0, 7)) if k % 3 else float(rng.normal(3.0, 5.0) * 10.0 ** (k % 7))
        )
        if k % 11 == 10:
            drop_oldest(state[1], window)
            last = last[1:]
        push(state[1], window, value)
        last = [*last, value][-window:]

        held = state[1, 2 + window : 2 + window + len(last)]
        np.testing.assert_array_equal(held, np.sort(last))
        assert quantile(state[1], window, 0.3) == pytest.approx(np.quantile(last, 0.3), rel=1e-12)
    assert np.isinf(state[[0, 2]]).all()


@pytest.mark.parametrize("n", range(1, 14))
def test_a_value_replaces_another_among_any_others(n: int) -> None:
    """Every value by each below, among and above the others; what lies beside stays."""
    ordered = np.repeat(np.arange(n), 2)[:n].astype(float)
    for old in ordered:
        for new in np.arange(-0.5, n, 0.5):
            values = np.concatenate(([99.0], ordered, [-99.0]))
            replace(values, 1, n, old, new)
            left = [*ordered]
            left.remove(old)
            assert values.tolist() == [99.0, *sorted([*left, new]), -99.0]
