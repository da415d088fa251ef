"""stream_processor.features.formula: against Python's own arithmetic, and what it refuses."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_processor.features import formula
from stream_processor.features._program import TOGETHER
from streamgauge.batch import Batch, Features
from streamgauge.schema import Channel, Schema

SCHEMA = Schema([Channel("load"), Channel("flow"), Channel("PM2.5")])


def computed(values: list[list[float]], **of: str) -> Any:
    """float64[n, f]: the formulas of these readings."""
    operator = formula.build(SCHEMA, 1, 0, of=of)
    batch = Batch(len(values), len(SCHEMA))
    batch.n = len(values)
    batch.values[:] = values
    features = Features(operator.names, operator.channels, len(values))
    operator.call(batch, features).run(n=batch.n)
    return features.x


leaf = st.sampled_from(["load", "flow", 'channel("PM2.5")', "2", "0.5", "1e3"])
formulas = st.recursive(
    leaf,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/"]), inner),
        st.builds("-{}".format, inner),
        st.builds("{}({})".format, st.sampled_from(["abs", "sqrt", "sin", "cos", "exp"]), inner),
        st.builds("{}({}, {})".format, st.sampled_from(["min", "max"]), inner, inner),
    ),
    max_leaves=8,
)
number = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0, -1.0]))


@settings(deadline=None, max_examples=300, derandomize=True)
@given(text=formulas, row=st.lists(number, min_size=3, max_size=3))
def test_as_python_computes(text: str, row: list[float]) -> None:
    """A formula gives what Python gives, NaN where Python has no finite result."""
    known = {"load": row[0], "flow": row[1], "channel": lambda name: row[2]}
    known |= {name: getattr(math, name) for name in ("sqrt", "sin", "cos", "exp")}
    try:
        wanted = float(eval(text, known | {"abs": abs, "min": min, "max": max}))
    except (ValueError, ZeroDivisionError, OverflowError):
        wanted = math.nan
    if not any(name in text for name in ("load", "flow", "channel")):
        with pytest.raises(ValueError, match="reads no channel"):
            computed([row], f=text)
        return
    wanted = wanted if math.isfinite(wanted) else math.nan
    found = computed([row], f=text)
    np.testing.assert_allclose(found, [[wanted]], rtol=1e-12, atol=0.0)


def test_many_readings_as_each_alone() -> None:
    """More readings than a step is done for at a time give what each gives by itself."""
    rows = np.random.default_rng(1).normal(0.0, 2.0, (2 * TOGETHER + 3, 3))
    rows[::7, 0], rows[::5, 1] = np.nan, 0.0
    of = {"a": "load / flow - 2 * load", "b": 'max(-load, sqrt(channel("PM2.5"))) ** 2'}
    together = computed(rows.tolist(), **of)
    alone = [computed([row], **of)[0] for row in rows.tolist()]
    np.testing.assert_array_equal(together, alone)


def test_several_and_absent_channels() -> None:
    """Each formula has its own constants; an absent channel leaves only those that read it out."""
    found = computed([[8.0, 2.0, math.nan]], ratio="load / flow + 1", x="2 * channel('PM2.5')")
    np.testing.assert_array_equal(found, [[5.0, math.nan]])


def test_channels_that_it_reads() -> None:
    """A task whose target a formula reads can leave it out."""
    operator = formula.build(SCHEMA, 1, 0, of={"a": "load / flow", "b": "flow ** 2"})
    assert operator.channels == (frozenset({"load", "flow"}), frozenset({"flow"}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("load +", "is no formula"),
        ("lode / flow", "no channel named 'lode'"),
        ("__import__('os')", "is no function"),
        ("load.real", "has no place in a formula"),
        ("[load]", "has no place in a formula"),
        ("True + load", "has no place in a formula"),
        ("max(load)", "max takes 2 arguments"),
        ("1 + 2", "reads no channel"),
        ("load * 1e999", "too large"),
        ("(" * 40 + "load" + ")" * 40 + "+ load if load else 2", "has no place"),
        ("load - (" * 40 + "load" + ")" * 40, "nested too deeply"),
        ("load" + " + load" * 400, "is no formula"),
    ],
)
def test_what_is_no_formula(text: str, said: str) -> None:
    """What is refused is named, with what to write."""
    with pytest.raises(ValueError, match=said):
        computed([[1.0, 1.0, 1.0]], f=text)
