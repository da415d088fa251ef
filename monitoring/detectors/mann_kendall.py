"""Mann-Kendall test on means of whole days: says when values slowly go one way.

What moves by a fifth of its noise in a month passes every detector of sudden changes, and those
that adapt follow it. Whether later means are larger than earlier ones needs no distribution.
Mann (1945), "Nonparametric tests against trend"; Kendall (1975), "Rank correlation methods".

Means of days depend on each other, which looks like a trend. The variance of the test is raised by
what the autocorrelation of the ranks around the line says of that: Yue and Wang (2004), "The
Mann-Kendall test modified by effective sample size to detect trend in serially correlated
hydrological series", Water Resources Management 18.
"""

import math

import numpy as np

from monitoring.detectors._evidence import refuse
from monitoring.detectors._per_part import PerPart, tell
from streamgauge.arrays import Floats, Ints
from streamgauge.durations import DAY
from streamgauge.events import EventKind
from streamgauge.kernels import kernel
from streamgauge.signal import MOVING, PART, ROW, SEEN, TIME, Signal

__all__ = ["VERSION", "build", "inflation", "slope", "trend"]

VERSION = 1

UP, DOWN = int(EventKind.DRIFT_UP), int(EventKind.DRIFT_DOWN)
# Fields of a part: the number of this block, its values and their mean, blocks that are known, when
# the first value came; then the number of each block and its mean, oldest first.
BLOCK, COUNT, MEAN, KNOWN, FIRST, BLOCKS = range(6)
# Settings; the writer's number follows.
LENGTH, MANY, ALPHA, OWN_WRITER = range(4)
_MOST_SHARED = 0.95


@kernel
def trend(y: Floats) -> tuple[float, float]:
    """How many more pairs rise than fall, and the variance of that if there is no trend."""
    n, rising, ties = len(y), 0.0, 0.0
    for i in range(n):
        same = 0
        for j in range(n):
            if j > i:
                rising += float(np.sign(y[j] - y[i]))
            same += y[j] == y[i]
        # A group of t is met t times.
        ties += (same - 1.0) * (2.0 * same + 5.0)
    return rising, (n * (n - 1.0) * (2.0 * n + 5.0) - ties) / 18.0


@kernel
def slope(t: Floats, y: Floats) -> float:
    """The median slope of all pairs (Theil 1950, Sen 1968)."""
    n, k = len(y), 0
    slopes = np.empty(n * (n - 1) // 2)
    for i in range(n):
        for j in range(i + 1, n):
            slopes[k] = (y[j] - y[i]) / (t[j] - t[i])
            k += 1
    return float(np.median(slopes))


@kernel
def inflation(t: Floats, y: Floats, a: float) -> float:
    """By how much dependence around a line of slope `a` raises the variance; at least 1."""
    n = len(y)
    rest = y - a * t
    # Twice the rank, around 0.
    ranks = np.zeros(n)
    for i in range(n):
        for j in range(n):
            ranks[i] += np.sign(rest[i] - rest[j])
    square = np.sum(ranks * ranks)
    if square == 0.0:
        return 1.0
    shared = float(np.sum(ranks[1:] * ranks[:-1]) / square)
    # Around a line an estimate is too small by (2 + 4 r) / n: van Giersbergen (2005), Economics
    # Letters 89.
    shared = min(max((n * shared + 2.0) / (n - 4.0), 0.0), _MOST_SHARED)
    more, power = 0.0, 1.0
    for k in range(1, n):
        power *= shared
        more += (1.0 - k / n) * power
    return float(1.0 + 2.0 * more)


@kernel
def _close(own: Floats, many: int) -> bool:
    """The mean of the block that ended joins the others; whether there are enough of them."""
    t, y = own[BLOCKS : BLOCKS + many], own[BLOCKS + many : BLOCKS + 2 * many]
    n = int(own[KNOWN])
    if n == many:
        t[:-1], y[:-1] = t[1:].copy(), y[1:].copy()
        n -= 1
    t[n], y[n] = own[BLOCK], own[MEAN]
    own[KNOWN] = n + 1.0
    return n + 1 == many


@kernel
def _judge(own: Floats, many: int, p_value: float) -> tuple[float, float]:
    """The slope per block and how many deviations pairs are from no trend, where that is an alarm;
    else 0."""
    t, y = own[BLOCKS : BLOCKS + many], own[BLOCKS + many : BLOCKS + 2 * many]
    rising, variance = trend(y)
    if abs(rising) <= 1.0 or variance <= 0.0:
        return 0.0, 0.0
    # An even count can only be reached from one side.
    far = (abs(rising) - 1.0) / math.sqrt(variance)
    if math.erfc(far / math.sqrt(2.0)) > p_value:
        return 0.0, 0.0
    a = slope(t, y)
    far /= math.sqrt(inflation(t, y, a))
    if a * rising <= 0.0 or math.erfc(far / math.sqrt(2.0)) > p_value:
        return 0.0, 0.0
    return a, far


@kernel
def _say(
    codes: Ints, i: int, log: Ints, log_numbers: Floats, count: Ints, own: Floats, limits: Floats,
    a: float, far: float,
) -> None:  # fmt: skip
    """Append the event of a slope `a`: both ends of the line, unless rounding makes them one."""
    many = int(limits[MANY])
    t, y = own[BLOCKS : BLOCKS + many], own[BLOCKS + many : BLOCKS + 2 * many]
    middle, half = float(np.median(y)), 0.5 * a * (t[-1] - t[0])
    since = max(t[0] * limits[LENGTH], own[FIRST])
    if middle - half != middle + half:
        tell(
            log, log_numbers, count, codes, i, limits[OWN_WRITER], UP if a > 0.0 else DOWN, since,
            middle - half, middle + half, float(many), far,
        )  # fmt: skip


@kernel
def _watch(
    codes: Ints, numbers: Floats, n: Ints, log: Ints, log_numbers: Floats, count: Ints,
    state: Floats, limits: Floats,
) -> None:  # fmt: skip
    length, many = int(limits[LENGTH]), int(limits[MANY])
    for i in range(n[0]):
        own, time = state[codes[i, ROW], codes[i, PART]], codes[i, TIME]
        block = float(time // length)
        ended = own[COUNT] > 0.0 and block > own[BLOCK]
        a, far = 0.0, 0.0
        if ended and _close(own, many):
            a, far = _judge(own, many, limits[ALPHA])
        if a != 0.0:
            _say(codes, i, log, log_numbers, count, own, limits, a, far)
            own[:] = 0.0
        if ended or own[COUNT] == 0.0:
            own[BLOCK], own[COUNT], own[MEAN] = block, 0.0, 0.0
        if own[FIRST] == 0.0:
            own[FIRST] = time
        own[COUNT] += 1.0
        own[MEAN] += (numbers[i, SEEN] - own[MEAN]) / own[COUNT]


def build(
    signal: Signal,
    capacity: int,
    *,
    block: float = 86_400.0,
    blocks: int = 28,
    p_value: float = 1e-3,
    alarms_per_day: float = 0.0,
) -> PerPart:
    """A detector for slow trends of any signal but a shape of up to `capacity` devices.

    Values are taken as they were measured. A mean is of `block` seconds, by UTC: a whole day, so
    that the time of day has no say. At the end of each the latest `blocks` of them that have values
    are tested; after an alarm as many have to come again.

    `p_value` is the probability of a false alarm at one test. `alarms_per_day`, where it is not 0,
    is how many false alarms a day one part of one device may give: `p_value` is then lowered to
    that.

    An event's `before` and `after` are the ends of the line through the means, `since` when the
    first of them began, `magnitude` how many deviations pairs are from no trend.
    """
    refuse("mann_kendall", signal, MOVING, "use chunk_ks")
    if not 1.0 <= block <= 366 * DAY / 1e6:
        raise ValueError(f"block is {block}; it is in seconds, up to a year, such as 86400")
    if not 8 <= blocks <= 1_000:
        raise ValueError(f"blocks is {blocks}; it counts means, from 8 to 1,000")
    if not 0.0 < p_value <= 0.1:
        raise ValueError(f"p_value is {p_value}; it is a probability up to 0.1, such as 0.001")
    if not 0.0 <= alarms_per_day <= 1e6:
        raise ValueError(f"alarms_per_day is {alarms_per_day}; write how many, such as 0.01")
    if alarms_per_day:
        p_value = min(p_value, alarms_per_day * block * 1e6 / DAY)
    limits = np.array([block * 1e6, blocks, p_value], np.float64)
    fields = BLOCKS + 2 * blocks
    return PerPart(
        ("mann_kendall", VERSION), _watch, signal, capacity, fields, limits,
        lambda state: state[..., KNOWN] >= blocks - 1,
    )  # fmt: skip
