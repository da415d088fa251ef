"""Page-Hinkley: says when values lie above or below their running mean for long.

With forgetting, as River 0.26 computes it, operation by operation. Everything is in the unit of the
signal, the threshold too: 50 is much for an error of 0.1 and nothing for one of 1,000.
"""

from typing import Literal

import numpy as np

from monitoring.detectors._evidence import (
    FALL,
    MEAN,
    OWN,
    RISE,
    N,
    add,
    mark,
    raise_alarm,
    refuse,
    say,
)
from monitoring.detectors._per_part import PerPart
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel
from streamgauge.signal import MOVING, PART, ROW, TIME, VALUE, Signal

__all__ = ["VERSION", "build", "update"]

VERSION = 1

INCREASE, DECREASE, LOWEST, HIGHEST = range(OWN, OWN + 4)
# Settings.
MIN_INSTANCES, DELTA, THRESHOLD, ALPHA, ABOVE, BELOW, WRITER = range(7)


@kernel
def update(own: Floats, value: float, time: int, limits: Floats) -> int:
    """The mark against which a value is an alarm; 0 where it is none."""
    add(own, value, time)
    miss = value - own[MEAN]
    own[INCREASE] = limits[ALPHA] * own[INCREASE] + miss - limits[DELTA]
    own[DECREASE] = limits[ALPHA] * own[DECREASE] + miss + limits[DELTA]
    if own[N] == 1.0:
        own[LOWEST], own[HIGHEST] = np.inf, -1.0
    if own[INCREASE] < own[LOWEST]:
        own[LOWEST] = own[INCREASE]
        mark(own, RISE)
    if own[DECREASE] > own[HIGHEST]:
        own[HIGHEST] = own[DECREASE]
        mark(own, FALL)
    if own[N] < limits[MIN_INSTANCES]:
        return 0
    if limits[ABOVE] == 1.0 and own[INCREASE] - own[LOWEST] > limits[THRESHOLD]:
        return raise_alarm(own, RISE)
    if limits[BELOW] == 1.0 and own[HIGHEST] - own[DECREASE] > limits[THRESHOLD]:
        return raise_alarm(own, FALL)
    return 0


@kernel
def _watch(
    codes: Ints, numbers: Floats, n: Ints, log: Ints, log_numbers: Floats, count: Ints,
    state: Floats, limits: Floats,
) -> None:  # fmt: skip
    for i in range(n[0]):
        own = state[codes[i, ROW], codes[i, PART]]
        at = update(own, numbers[i, VALUE], codes[i, TIME], limits)
        if at:
            say(codes, numbers, i, log, log_numbers, count, own, at, limits[WRITER])


def build(
    signal: Signal,
    capacity: int,
    *,
    min_instances: int = 30,
    delta: float = 0.005,
    threshold: float = 50.0,
    alpha: float = 0.9999,
    mode: Literal["up", "down", "both"] = "both",
) -> PerPart:
    """A detector for a signal of up to `capacity` devices.

    `min_instances` is the number of values before the first alarm, `delta` the change that is
    borne, `threshold` the sum of what is beyond that alarms, both in the signal's unit, `alpha` the
    part of a sum that is left at the next value, `mode` the direction that is watched.

    Page (1954), "Continuous inspection schemes", Biometrika 41.
    """
    refuse("page_hinkley", signal, MOVING, "use chunk_ks")
    if min_instances < 1:
        raise ValueError(f"min_instances is {min_instances}; it counts values, at least 1")
    if not 0.0 <= delta < np.inf:
        raise ValueError(f"delta is {delta}; it is a change in the signal's unit, at least 0")
    if not 0.0 <= threshold < np.inf:
        raise ValueError(f"threshold is {threshold}; it must be at least 0, such as 50")
    if not 0.0 < alpha <= 1.0:
        raise ValueError(f"alpha is {alpha}; it must be above 0 and at most 1, such as 0.9999")
    ways = (float(mode != "down"), float(mode != "up"))
    limits = np.array([min_instances, delta, threshold, alpha, *ways])
    return PerPart(
        ("page_hinkley", VERSION), _watch, signal, capacity, OWN + 4, limits,
        lambda state: state[..., N] >= min_instances - 1,
    )  # fmt: skip
