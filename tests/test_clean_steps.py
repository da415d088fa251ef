"""stream_processor.clean: rate, spike, stuck and transform against plain code."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgauge.words import Flag
from tests.cleaning import SECOND, START, clean

steady = settings(deadline=None, max_examples=150, derandomize=True)
values_of = st.lists(
    st.one_of(st.integers(-9, 9).map(float), st.just(math.nan)), min_size=1, max_size=40
)


@steady
@given(
    values=values_of,
    gaps=st.lists(st.integers(1, 4), min_size=40, max_size=40),
    action=st.sampled_from(["flag", "drop", "clip"]),
)
def test_rate(values: list[float], gaps: list[int], action: str) -> None:
    """A value further from the last usual one than 2.5 a second allows; the third is believed."""
    seconds = np.cumsum(gaps[: len(values)])
    wanted, marked = [], []
    last: tuple[float, int] | None = None
    run = 0
    for value, second in zip(values, seconds.tolist(), strict=True):
        went, found = value, False
        if not math.isnan(value):
            reach = 2.5 * (second - last[1]) if last else math.inf
            found = last is not None and abs(value - last[0]) > reach and run < 2
            if found and last:
                run += 1
                edge = last[0] + math.copysign(reach, value - last[0])
                went = {"flag": value, "drop": math.nan, "clip": edge}[action]
            else:
                last, run = (value, second), 0
        wanted.append(went)
        marked.append(found)
    time = START + seconds * SECOND
    done = clean("rate", values, time=time, per_second=2.5, action=action, accept_after=2)
    assert [bool(flag) for flag in done.flags] == marked
    kind = Flag.RATE | Flag.CAPPED if action == "clip" else Flag.RATE
    assert {flag for flag in done.flags if flag} <= {kind}
    np.testing.assert_allclose(done.values, wanted)


def test_spike() -> None:
    """One value far off is a spike; two that agree are a new level."""
    rng = np.random.default_rng(2)
    values = np.cumsum(rng.normal(0.0, 1.0, 200))
    values[80] += 60.0
    values[150:] -= 90.0
    done = clean("spike", values, limit=12.0, action="replace")
    assert [k for k, flag in enumerate(done.flags) if flag & Flag.SPIKE] == [80, 150]
    assert done.values[80] == values[79]
    assert done.values[151:].tolist() == values[151:].tolist()


def test_steps_that_grow_are_no_spikes_for_ever() -> None:
    """After a quiet night the first steps of the day are spikes, the day is not."""
    rng = np.random.default_rng(3)
    night = np.where(np.arange(200) % 7 == 0, 1.0, 1.001)
    day = np.cumsum(rng.normal(0.0, 5.0, 200))
    done = clean("spike", np.concatenate([night, day]))
    marked = [k - 200 for k, flag in enumerate(done.flags) if flag & Flag.SPIKE]
    assert marked
    assert max(marked) < 30


@steady
@given(values=values_of, readings=st.integers(2, 5), tolerance=st.sampled_from([0.0, 1.0]))
def test_stuck(values: list[float], readings: int, tolerance: float) -> None:
    """So many readings within the tolerance of the first of them."""
    marked, first, run = [], math.nan, 0
    for value in values:
        if not math.isnan(value):
            same = abs(value - first) <= tolerance
            run, first = (run + 1, first) if same else (1, value)
        marked.append(not math.isnan(value) and run >= readings)
    done = clean("stuck", values, readings=readings, tolerance=tolerance, action="drop")
    assert [flag == Flag.STUCK for flag in done.flags] == marked
    assert np.isnan(done.values).tolist() == [
        stuck or math.isnan(value) for stuck, value in zip(marked, values, strict=True)
    ]


def test_stuck_for_a_time() -> None:
    """With `after`, the time since the value first came decides."""
    done = clean("stuck", [1.0, 3.0, 3.0, 3.0, 3.0, 4.0], after="2s")
    assert [flag == Flag.STUCK for flag in done.flags] == [False, False, False, True, True, False]
    assert done.values.tolist() == [1.0, 3.0, 3.0, 3.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"kind": "log"}, [math.nan, math.nan, math.log(4.0)]),
        ({"kind": "log1p"}, [math.nan, 0.0, math.log1p(4.0)]),
        ({"kind": "sqrt"}, [math.nan, 0.0, 2.0]),
        ({"kind": "boxcox"}, [math.nan, math.nan, math.log(4.0)]),
        ({"kind": "boxcox", "power": 0.5}, [math.nan, math.nan, 2.0]),
        ({"kind": "asinh"}, [math.asinh(-2.0), 0.0, math.asinh(4.0)]),
    ],
)
def test_transform(options: dict[str, Any], wanted: list[float]) -> None:
    """The transform of each value; what has none is missing and flagged."""
    done = clean("transform", [-2.0, 0.0, 4.0], **options)
    np.testing.assert_allclose(done.values, wanted, rtol=1e-15)
    assert [bool(flag) for flag in done.flags] == np.isnan(wanted).tolist()


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("rate", {"per_second": 0.0}, "per_second is 0"),
        ("spike", {"limit": -1.0}, "limit is -1"),
        ("stuck", {}, "readings is 0"),
        ("stuck", {"readings": 3, "tolerance": -1.0}, "tolerance is -1"),
        ("transform", {"kind": "log", "power": 2.0}, "power is 2"),
        ("transform", {"kind": "boxcox", "power": 9.0}, "power is 9"),
    ],
)
def test_options_that_mean_nothing(name: str, options: dict[str, Any], said: str) -> None:
    """A wrong option is named with what to write instead."""
    with pytest.raises(ValueError, match=said):
        clean(name, [1.0], **options)
