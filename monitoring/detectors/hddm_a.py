"""HDDM_A: says when the mean of errors has moved beyond Hoeffding's bound, with no distribution.

As River 0.26 computes it. The bound is of values between 0 and 1.
"""

import math

import numpy as np

from monitoring.detectors._evidence import (
    FALL,
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

MIN_N, MIN_MEAN, MAX_N, MAX_MEAN = range(OWN, OWN + 4)
# Settings: logarithms of what River takes for both confidences.
DRIFT_CUT, DRIFT, WARN, TWO_SIDED, BOUND, WRITER = range(6)


@kernel
def _bound(n: float, logarithm: float) -> float:
    """How far a mean of n values is from that of all, at most."""
    return math.sqrt(1.0 / (2.0 * n) * logarithm)


@kernel
def _moved(n: float, before: float, moved: float, logarithm: float) -> bool:
    """Whether a mean of n values has moved so far from that of the first `before` of them."""
    if before == n:
        return False
    m = (n - before) / before * (1.0 / n)
    return bool(moved >= math.sqrt(m / 2.0 * logarithm))


@kernel
def _marks(own: Floats, logarithm: float) -> None:
    """Where the mean was lowest and highest, each with its bound."""
    n, mean = own[N], own[MEAN]
    bound = _bound(n, logarithm)
    if n == 1.0 or own[MIN_MEAN] + _bound(own[MIN_N], logarithm) >= mean + bound:
        own[MIN_N], own[MIN_MEAN] = n, mean
        mark(own, RISE)
    if n == 1.0 or own[MAX_MEAN] - _bound(own[MAX_N], logarithm) <= mean - bound:
        own[MAX_N], own[MAX_MEAN] = n, mean
        mark(own, FALL)


@kernel
def update(own: Floats, value: float, time: int, limits: Floats) -> int:
    """The mark against which a value between 0 and 1 is an alarm; 0 where it is none."""
    add(own, value, time)
    _marks(own, limits[DRIFT_CUT])
    n = own[N]
    rise, fall = own[MEAN] - own[MIN_MEAN], own[MAX_MEAN] - own[MEAN]
    rose, fell = _moved(n, own[MIN_N], rise, limits[DRIFT]), False
    own[WARNING] = 1.0 if not rose and _moved(n, own[MIN_N], rise, limits[WARN]) else 0.0
    if limits[TWO_SIDED] == 1.0:
        fell = _moved(n, own[MAX_N], fall, limits[DRIFT])
        if not fell and _moved(n, own[MAX_N], fall, limits[WARN]):
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
    two_sided_test: bool = False,
    bound: float = 1.0,
) -> PerPart:
    """A detector for the errors of up to `capacity` devices.

    `drift_confidence` and `warning_confidence` are the probabilities of a false alarm and warning;
    with `two_sided_test` a fall is told as well. `bound` is the largest error, 1 of a
    classification: errors are divided by it, larger ones count as 1, and events are in parts of it.

    Frías-Blanco et al. (2014), "Online and non-parametric drift detection methods based on
    Hoeffding's bounds", IEEE TKDE 27(3), the test of averages (A).
    """
    refuse("hddm_a", signal, RATES, "it takes error rates; use cusum or page_hinkley")
    if not 0.0 < drift_confidence <= warning_confidence < 1.0:
        raise ValueError(
            f"drift_confidence is {drift_confidence} and warning_confidence {warning_confidence}; "
            "both are probabilities, the warning's the larger one, such as 0.001 and 0.005"
        )
    if not 0.0 < bound < np.inf:
        raise ValueError(f"bound is {bound}; it is the largest error, above 0")
    cut, drift, warn = 1.0 / drift_confidence, 2.0 / drift_confidence, 2.0 / warning_confidence
    limits = np.array([*map(math.log, (cut, drift, warn)), two_sided_test, bound], np.float64)
    return PerPart(("hddm_a", VERSION), _watch, signal, capacity, OWN + 4, limits)
