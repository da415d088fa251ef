"""HDDM_W: says when a weighted mean of the latest errors has moved beyond McDiarmid's bound.

As River 0.26 computes it. The bound is of values between 0 and 1.
"""

import math

import numpy as np

from monitoring.detectors._evidence import (
    FALL,
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

# A sample: its weighted mean, the sum of its squared weights, and whether there is a value in it.
EWMA, WEIGHT, FILLED = range(3)
TOTAL = OWN
# For either mark: the best so far, the sample until it and the sample since then.
INCREASE, DECREASE = OWN + 3, OWN + 10
CUT, UNTIL, BEHIND = 0, 1, 4
FIELDS = OWN + 17
# Settings: logarithms of what River takes for both confidences.
DRIFT, WARN, LAMBDA, TWO_SIDED, BOUND, WRITER = range(6)


@kernel
def _take(sample: Floats, value: float, weight: float) -> None:
    """One value more in a sample."""
    if sample[FILLED] == 0.0:
        sample[EWMA], sample[WEIGHT], sample[FILLED] = value, 1.0, 1.0
    else:
        sample[EWMA] = weight * value + (1.0 - weight) * sample[EWMA]
    kept = (1.0 - weight) * (1.0 - weight)
    sample[WEIGHT] = weight * weight + kept * sample[WEIGHT]


@kernel
def _side(own: Floats, at: int, way: float, value: float, limits: Floats) -> None:
    """Move the mark if the mean with its bound is the best so far, else lengthen what is behind."""
    total, side = own[TOTAL : TOTAL + 3], own[at : at + 7]
    bound = math.sqrt(total[WEIGHT] * limits[DRIFT] / 2.0)
    best = total[EWMA] + way * bound
    if own[N] == 1.0 or way * best < way * side[CUT]:
        side[CUT] = best
        side[UNTIL : UNTIL + 3] = total
        side[BEHIND : BEHIND + 3] = 0.0
        mark(own, RISE if way > 0.0 else FALL)
    else:
        _take(side[BEHIND : BEHIND + 3], value, limits[LAMBDA])


@kernel
def _moved(own: Floats, at: int, way: float, logarithm: float) -> bool:
    """Whether what is behind the mark differs from what was until it."""
    until, behind = own[at + UNTIL : at + UNTIL + 3], own[at + BEHIND : at + BEHIND + 3]
    if until[FILLED] == 0.0 or behind[FILLED] == 0.0:
        return False
    bound = math.sqrt((until[WEIGHT] + behind[WEIGHT]) * logarithm / 2.0)
    return bool(way * (behind[EWMA] - until[EWMA]) > bound)


@kernel
def update(own: Floats, value: float, time: int, limits: Floats) -> int:
    """The mark against which a value between 0 and 1 is an alarm; 0 where it is none."""
    add(own, value, time)
    _take(own[TOTAL : TOTAL + 3], value, limits[LAMBDA])
    _side(own, INCREASE, 1.0, value, limits)
    _side(own, DECREASE, -1.0, value, limits)
    rose, fell = _moved(own, INCREASE, 1.0, limits[DRIFT]), False
    own[WARNING] = 1.0 if not rose and _moved(own, INCREASE, 1.0, limits[WARN]) else 0.0
    if limits[TWO_SIDED] == 1.0:
        fell = _moved(own, DECREASE, -1.0, limits[DRIFT])
        if not fell and _moved(own, DECREASE, -1.0, limits[WARN]):
            own[WARNING] = 1.0
    if rose or fell:
        return raise_alarm(own, RISE if rose else FALL)
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
    drift_confidence: float = 0.001,
    warning_confidence: float = 0.005,
    lambda_val: float = 0.05,
    two_sided_test: bool = False,
    bound: float = 1.0,
) -> PerPart:
    """A detector for the errors of up to `capacity` devices.

    `drift_confidence` and `warning_confidence` are the probabilities of a false alarm and warning,
    `lambda_val` is the weight of the newest value; with `two_sided_test` a fall is told as well.
    `bound` is the largest error, 1 of a classification: errors are divided by it, larger ones count
    as 1, and events are in parts of it.

    Frías-Blanco et al. (2014), "Online and non-parametric drift detection methods based on
    Hoeffding's bounds", IEEE TKDE 27(3), the test of weighted averages (W).
    """
    refuse("hddm_w", signal, RATES, "it takes error rates; use cusum or page_hinkley")
    if not 0.0 < drift_confidence <= warning_confidence < 1.0:
        raise ValueError(
            f"drift_confidence is {drift_confidence} and warning_confidence {warning_confidence}; "
            "both are probabilities, the warning's the larger one, such as 0.001 and 0.005"
        )
    if not 0.0 < lambda_val < 1.0:
        raise ValueError(f"lambda_val is {lambda_val}; it is a weight between 0 and 1")
    if not 0.0 < bound < np.inf:
        raise ValueError(f"bound is {bound}; it is the largest error, above 0")
    logs = (math.log(1.0 / drift_confidence), math.log(1.0 / warning_confidence))
    limits = np.array([*logs, lambda_val, two_sided_test, bound], np.float64)
    return PerPart(("hddm_w", VERSION), _watch, signal, capacity, FIELDS, limits)
