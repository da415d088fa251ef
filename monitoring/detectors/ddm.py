"""DDM: says when an error rate has risen beyond the best it was, by its standard deviations.

As River 0.26 computes it. Errors are 0 or 1, or between: the variance of such is at most that of a
0 or 1 with the same mean (Bhatia and Davis, 2000), so that the test only becomes more careful.
"""

import math

import numpy as np

from monitoring.detectors._evidence import (
    MEAN,
    OWN,
    RISE,
    WARNING,
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
from streamgauge.signal import PART, RATES, ROW, TIME, VALUE, Signal

__all__ = ["VERSION", "build", "update"]

VERSION = 1

READY, P_MIN, S_MIN = range(OWN, OWN + 3)
# Settings.
WARM_START, WARN, DRIFT, BOUND, WRITER = range(5)


@kernel
def update(own: Floats, value: float, time: int, limits: Floats) -> int:
    """RISE where a value between 0 and 1 is an alarm, else 0."""
    add(own, value, time)
    p, n = own[MEAN], own[N]
    s = math.sqrt(max(p * (1.0 - p), 0.0) / n)
    if n <= limits[WARM_START]:
        return 0
    if own[READY] == 0.0 or p + s <= own[P_MIN] + own[S_MIN]:
        own[READY], own[P_MIN], own[S_MIN] = 1.0, p, s
        mark(own, RISE)
    own[WARNING] = 1.0 if p + s > own[P_MIN] + limits[WARN] * own[S_MIN] else 0.0
    if p + s > own[P_MIN] + limits[DRIFT] * own[S_MIN]:
        own[WARNING] = 0.0
        return raise_alarm(own, RISE)
    return 0


@kernel
def _watch(
    codes: Ints, numbers: Floats, n: Ints, log: Ints, log_numbers: Floats, count: Ints,
    state: Floats, limits: Floats,
) -> None:  # fmt: skip
    for i in range(n[0]):
        own = state[codes[i, ROW], codes[i, PART]]
        value = min(numbers[i, VALUE] / limits[BOUND], 1.0)
        at = update(own, value, codes[i, TIME], limits)
        if at:
            say(codes, numbers, i, log, log_numbers, count, own, at, limits[WRITER])


def build(
    signal: Signal,
    capacity: int,
    *,
    warm_start: int = 30,
    warning_threshold: float = 2.0,
    drift_threshold: float = 3.0,
    bound: float = 1.0,
) -> PerPart:
    """A detector for the errors of up to `capacity` devices.

    `warm_start` is the number of errors before the first alarm, `warning_threshold` and
    `drift_threshold` the standard deviations beyond the best. `bound` is the largest error, 1 of a
    classification: errors are divided by it, larger ones count as 1, and events are in parts of it.

    Gama, Medas, Castillo and Rodrigues (2004), "Learning with drift detection", SBIA.
    """
    refuse("ddm", signal, RATES, "it takes error rates; use cusum or page_hinkley")
    if warm_start < 1:
        raise ValueError(f"warm_start is {warm_start}; it counts errors, at least 1")
    if not 0.0 < warning_threshold <= drift_threshold < np.inf:
        raise ValueError(
            f"warning_threshold is {warning_threshold} and drift_threshold {drift_threshold}; "
            "they are standard deviations, above 0, the warning first, such as 2 and 3"
        )
    if not 0.0 < bound < np.inf:
        raise ValueError(f"bound is {bound}; it is the largest error, above 0")
    limits = np.array([warm_start, warning_threshold, drift_threshold, bound], np.float64)
    return PerPart(
        ("ddm", VERSION), _watch, signal, capacity, OWN + 3, limits,
        lambda state: state[..., N] >= warm_start,
    )  # fmt: skip
