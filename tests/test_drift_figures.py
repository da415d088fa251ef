"""The defaults hold their figures: false alarms beside delays, at the same thresholds."""

from functools import cache

import numpy as np
import pytest

from tests.drifting import STREAMS, Watched, delays, fleet, stream

DEVICES = 10
CHANGE, AFTER, HORIZON = 20_000, 10_000, 8_000
MOST = {"level": 1.5, "noise": 1.1, "shape": 0.3}
"""False alarms per 100,000 values: where `h` is 40, Siegmund's 1.07 for independent values, and as
much more as the luck of 950,000 of them explains."""
LATE = {
    ("independent", "shift"): 60,
    ("AR(1) .9", "shift"): 700,
    ("AR(1) .9, daily", "shift"): 500,
    ("independent", "scale"): 150,
    ("AR(1) .9", "scale"): 150,
    ("AR(1) .9, daily", "scale"): 150,
    ("independent", "skewed"): 1_500,
    ("AR(1) .9", "skewed"): 1_500,
    ("AR(1) .9, daily", "skewed"): 1_500,
}
"""Values from a change to its alarm, in the median: of a level by one standard deviation, of noise
by half, of a shape to a skewed one."""
CHANGES = {"shift": ("level", 1.0), "scale": ("noise", 1.5), "skewed": ("shape", 1.0)}
streams = pytest.mark.parametrize("name", STREAMS)


@cache
def quiet(name: str, n: int) -> Watched:
    """Devices on which nothing changes."""
    return fleet([stream(name, n, 100 + seed) for seed in range(DEVICES)])


@pytest.mark.slow
@streams
@pytest.mark.parametrize("signal", MOST)
def test_false_alarms(name: str, signal: str) -> None:
    """In 950,000 values on which nothing changes."""
    found = quiet(name, 100_000)
    assert found.values == 950_000
    assert found.per_100k(signal) <= MOST[signal]


@streams
def test_few_false_alarms(name: str) -> None:
    """In 150,000 values no more than chance allows; raw detectors give a thousand of them."""
    found = quiet(name, 20_000)
    assert len(found.of("level")) <= 4
    assert len(found.of("noise")) + len(found.of("shape")) <= 1


@streams
@pytest.mark.parametrize("change", CHANGES)
def test_delays(name: str, change: str) -> None:
    """Nine of ten devices are found out, half of them this soon."""
    signal, size = CHANGES[change]
    table = [
        stream(name, CHANGE + AFTER, seed, change=CHANGE, **{change: size})
        for seed in range(DEVICES)
    ]
    late = delays(fleet(table), signal, CHANGE, HORIZON, DEVICES)
    assert len(late) >= 9
    assert np.median(late) <= LATE[name, change]
