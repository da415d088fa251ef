import math

import pytest

from models.clip import Clip


def test_limits_both_sides_and_leaves_the_rest() -> None:
    """Values beyond the limit become the limit, others stay, names and order stay."""
    x = {"a": -7.5, "b": 5.0, "c": 0.25, "d": 1e12, "e": -5.0}
    limited = Clip(5.0).transform_one(x)
    assert list(limited.items()) == [("a", -5.0), ("b", 5.0), ("c", 0.25), ("d", 5.0), ("e", -5.0)]
    assert x["a"] == -7.5


def test_nan_stays_nan() -> None:
    """A model that diverged must not look healthy behind a clip."""
    assert math.isnan(Clip().transform_one({"a": math.nan})["a"])


@pytest.mark.parametrize("limit", [0.0, -1.0, math.nan])
def test_refuses_a_limit_that_leaves_nothing(limit: float) -> None:
    """A limit must be above zero."""
    with pytest.raises(ValueError, match="must be above 0"):
        Clip(limit)


def test_can_be_cloned_by_river() -> None:
    """River's ensembles clone their members, options included."""
    assert Clip(2.5).clone().limit == 2.5
