"""EDDM: says when errors have come closer together than they ever were far apart.

As River 0.26 computes it. It knows only whether an answer was wrong.
"""

import math

import numpy as np

from monitoring.detectors._evidence import (
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

ERRORS, LAST, DISTANCE, SQUARES, FARTHEST = range(OWN, OWN + 5)
# Settings.
WARM_START, ALPHA, BETA, ABOVE, WRITER = range(5)


@kernel
def _apart(own: Floats) -> float:
    """Take in an error; mean and two deviations of the distances between errors so far."""
    own[ERRORS] += 1.0
    distance = own[N] - own[LAST]
    own[LAST] = own[N]
    miss = distance - own[DISTANCE]
    own[DISTANCE] += (1.0 / own[ERRORS]) * miss
    own[SQUARES] += miss * (distance - own[DISTANCE])
    variance = own[SQUARES] / (own[ERRORS] - 1.0) if own[ERRORS] > 1.0 else 0.0
    return float(own[DISTANCE] + 2.0 * math.sqrt(max(variance, 0.0)))


@kernel
def update(own: Floats, value: float, time: int, limits: Floats) -> int:
    """RISE where a value, 1 for an error and else 0, is an alarm, else 0."""
    add(own, value, time)
    if value != 1.0:
        return 0
    apart = _apart(own)
    if own[N] <= limits[WARM_START]:
        return 0
    if own[FARTHEST] == 0.0 or apart > own[FARTHEST]:
        own[FARTHEST] = apart
        mark(own, RISE)
    elif own[ERRORS] > limits[WARM_START]:
        level = apart / own[FARTHEST]
        if level < limits[BETA]:
            return raise_alarm(own, RISE)
        own[WARNING] = 1.0 if level < limits[ALPHA] else 0.0
    return 0


@kernel
def _watch(
    codes: Ints, numbers: Floats, n: Ints, log: Ints, log_numbers: Floats, count: Ints,
    state: Floats, limits: Floats,
) -> None:  # fmt: skip
    for i in range(n[0]):
        own = state[codes[i, ROW], codes[i, PART]]
        value = 1.0 if numbers[i, VALUE] > limits[ABOVE] else 0.0
        at = update(own, value, codes[i, TIME], limits)
        if at:
            say(codes, numbers, i, log, log_numbers, count, own, at, limits[WRITER])


def build(
    signal: Signal,
    capacity: int,
    *,
    warm_start: int = 30,
    alpha: float = 0.95,
    beta: float = 0.9,
    above: float = 0.5,
) -> PerPart:
    """A detector for the errors of up to `capacity` devices.

    `warm_start` is the number of errors before the first alarm; `alpha` and `beta` are the parts of
    the largest distance below which a warning and an alarm are. An answer is wrong where it is off
    by more than `above`: events are in shares of wrong answers.

    Baena-García et al. (2006), "Early drift detection method", IWKDDS.
    """
    refuse("eddm", signal, RATES, "it takes error rates; use cusum or page_hinkley")
    if warm_start < 1:
        raise ValueError(f"warm_start is {warm_start}; it counts errors, at least 1")
    if not 0.0 < beta <= alpha <= 1.0:
        raise ValueError(
            f"alpha is {alpha} and beta {beta}; both are parts of 1, beta the smaller one, such as "
            "0.95 and 0.9"
        )
    if not 0.0 <= above < np.inf:
        raise ValueError(f"above is {above}; it is an error in the target's unit, at least 0")
    limits = np.array([warm_start, alpha, beta, above], np.float64)
    return PerPart(
        ("eddm", VERSION), _watch, signal, capacity, OWN + 5, limits,
        lambda state: state[..., ERRORS] >= warm_start,
    )  # fmt: skip
