"""Two-sided CUSUM on a standardised residual: says when level or noise of a channel has moved.

Page (1954), "Continuous inspection schemes". Sums grow by what a residual has beyond `k` standard
deviations, and alarm beyond `h`. How often they do so without a reason follows from both: Siegmund
(1985), "Sequential analysis", section 2.6, for one side (e^{2kb} - 2kb - 1) / 2k² values between
two alarms, where b = h + 1.166.
"""

import math

import numpy as np

from monitoring.detectors._per_part import PerPart, tell
from streamgauge.arrays import Bools, Floats, Ints
from streamgauge.durations import DAY
from streamgauge.events import EventKind
from streamgauge.kernels import kernel
from streamgauge.rhythm import RHYTHM, tick
from streamgauge.signal import LEVELS, PART, ROW, SEEN, TIME, UNIT, USUAL, VALUE, Kind, Signal

__all__ = ["VERSION", "build", "threshold"]

VERSION = 2

UP, DOWN = int(EventKind.DRIFT_UP), int(EventKind.DRIFT_DOWN)
# Fields of a part: what a residual is around, and a level around its usual one, since the last
# alarm, and how many values ago that was; how often values come; and how much more their means
# scatter than those of independent values.
CENTRE, SHIFT, AGE, COUNT, _, GAP, BLOCK_SUM, BLOCK_COUNT, BLOCKS, EXCESS = range(10)
# Then for either side: the sum, and since it was last low what it was then, how many values, seen,
# usual, since when.
RISE, FALL, FIELDS = 10, 16, 22
SUM, BASE, N, SEEN_SUM, USUAL_SUM, SINCE_WHEN = range(6)
# Settings.
K, H, ALARMS, VARIANCE, KNOWN, ROOTED, TIMES, HOLD, OWN_WRITER = range(9)
# Values that the centre looks back on; values of a block mean, and blocks that their scatter does.
_MEMORY, _BLOCK, _BLOCKS = 5_000.0, 100.0, 100.0
# The scatter of means of real sensors is known from few blocks and is itself scattered: so many of
# its standard errors are added.
_DOUBT = 1.5
# Of each kind of signal the variance, if values were independent and normal; for how many values
# its mean is known at first: that of a level is 0, that of the size of a residual is learned;
# whether sums are of square roots: of the root of a normal's size the variance is that below; and
# how many times `h` alarms: the noise of real sensors comes in storms.
_OF_ROOTS = math.sqrt(2.0 / math.pi) - math.sqrt(2.0) * math.gamma(0.75) ** 2 / math.pi
STANDARD = {
    **dict.fromkeys(LEVELS, (1.0, _MEMORY, 0.0, 1.0)),
    Kind.NOISE: (_OF_ROOTS, 0.0, 1.0, 1.15),
    Kind.RELATION: (1.0, 0.0, 0.0, 1.0),
}
_LEAST = 10.0
# A sum that is seldom exceeded while nothing changes: its mean is then 1 / 2k.
_LOW = 10.0
_OVERSHOOT = 1.166


@kernel
def threshold(k: float, values: float) -> float:
    """The `h` at which two sides together alarm once in so many independent values; at least 10."""
    one_sided = 4.0 * k * k * max(values, 1.0)
    x = math.log(one_sided + 1.0)
    for _ in range(4):
        x = math.log(one_sided + x + 1.0)
    return max(x / (2.0 * k) - _OVERSHOOT, _LEAST)


@kernel
def _scatter(own: Floats, value: float, variance: float) -> None:
    """Learn how means of 100 values scatter, against those of independent ones."""
    own[BLOCK_SUM] += value
    own[BLOCK_COUNT] += 1.0
    if own[BLOCK_COUNT] < _BLOCK:
        return
    square = own[BLOCK_SUM] * own[BLOCK_SUM] / _BLOCK
    own[BLOCKS] = min(own[BLOCKS] + 1.0, _BLOCKS)
    # A block in which the level moves must not hide that it does.
    bounded = min(square, 9.0 * max(own[EXCESS], variance))
    own[EXCESS] += (bounded - own[EXCESS]) / own[BLOCKS]
    own[BLOCK_SUM], own[BLOCK_COUNT] = 0.0, 0.0


@kernel
def _sums(own: Floats, at: int, beyond: float, seen: float, usual: float, time: int) -> None:
    """One side's sum goes on by what is beyond, and what it rests on with it."""
    if own[at + SUM] <= _LOW:
        own[at + BASE] = own[at + SUM]
        own[at + N], own[at + SEEN_SUM], own[at + USUAL_SUM] = 0.0, 0.0, 0.0
        own[at + SINCE_WHEN] = time
    own[at + SUM] = max(own[at + SUM] + beyond, 0.0)
    own[at + N] += 1.0
    own[at + SEEN_SUM] += seen
    own[at + USUAL_SUM] += usual


@kernel
def _watch(
    codes: Ints, numbers: Floats, n: Ints, log: Ints, log_numbers: Floats, count: Ints,
    state: Floats, limits: Floats,
) -> None:  # fmt: skip
    k = limits[K]
    for i in range(n[0]):
        time = codes[i, TIME]
        own = state[codes[i, ROW], codes[i, PART]]
        seen, usual = numbers[i, SEEN], numbers[i, USUAL]
        if own[COUNT] == 0.0:
            own[AGE] = limits[KNOWN]
        tick(own[COUNT : COUNT + RHYTHM], time)
        own[AGE] = min(own[AGE] + 1.0, _MEMORY)
        value = numbers[i, VALUE]
        value = (math.sqrt(value) if limits[ROOTED] == 1.0 else value) - own[CENTRE]
        own[CENTRE] += value / own[AGE]
        own[SHIFT] += (seen - usual - own[SHIFT]) / own[AGE]
        _scatter(own, value, limits[VARIANCE])
        if min(own[AGE], own[COUNT]) <= limits[HOLD]:
            continue
        doubt = 1.0 + _DOUBT * math.sqrt(2.0 / max(own[BLOCKS], 1.0))
        scale = math.sqrt(max(doubt * own[EXCESS], limits[VARIANCE]))
        # A centre that was learned from few values may be off by two of its standard errors.
        borne = k + 2.0 / math.sqrt(own[AGE]) - 2.0 / math.sqrt(_MEMORY)
        _sums(own, RISE, value / scale - borne, seen, usual, time)
        _sums(own, FALL, -value / scale - borne, seen, usual, time)
        at = RISE if own[RISE + SUM] >= own[FALL + SUM] else FALL
        if own[at + SUM] <= _LEAST:
            continue
        h = limits[H]
        if limits[ALARMS] > 0.0:
            h = max(h, threshold(k, DAY / max(own[GAP], 1.0) / limits[ALARMS]))
        if own[at + SUM] <= limits[TIMES] * h:
            continue
        lasted = own[at + N]
        before = own[at + USUAL_SUM] / lasted + own[SHIFT]
        after = own[at + SEEN_SUM] / lasted
        moved = (own[at + SUM] - own[at + BASE]) / lasted + borne
        moved *= scale / math.sqrt(limits[VARIANCE])
        if (after > before) != (at == RISE):
            # One value far off says much of a mean, and little of a sum that is limited.
            step = max(moved * numbers[i, UNIT], 1e-9 * abs(after))
            before = after - step if at == RISE else after + step
        tell(
            log, log_numbers, count, codes, i, limits[OWN_WRITER], UP if at == RISE else DOWN,
            own[at + SINCE_WHEN], before, after, lasted, moved,
        )  # fmt: skip
        # What is so now is usual from now on.
        own[AGE], own[BLOCK_SUM], own[BLOCK_COUNT] = 0.0, 0.0, 0.0
        own[RISE:FIELDS] = 0.0


def build(
    signal: Signal,
    capacity: int,
    *,
    k: float = 0.1,
    h: float = 40.0,
    alarms_per_day: float = 0.0,
    hold: int = 500,
) -> PerPart:
    """A detector for the level or the noise of up to `capacity` devices.

    An event's `since` is when the sum was last as low as it often is, `after` the mean of what was
    seen since, `before` the mean of what was usual at these times, `magnitude` the mean of the
    residual beyond its centre, in standard deviations of independent ones. After an alarm the mean
    of the next `hold` values is the new centre, so that one shift is told once.

    Where residuals are not quite independent, their means of 100 scatter more than those of
    independent ones: so much less is then added to the sums, and less still while that is known
    from few of them. Of a noise square roots are summed, in which single storms count less.

    `k` is the shift, in standard deviations, beyond half of which sums grow; `h` the sum that
    alarms, of a noise 1.15 times that. `alarms_per_day`, where it is not 0, is how many false
    alarms a day one channel of one device may give: `h` is then raised to what follows from it and
    from how often values come.
    `hold` is the number of values at first and after an alarm in which nothing is told: from them
    centre and scatter are learned.
    """
    if signal.kind not in STANDARD:
        raise ValueError(
            f"cusum watches a level or noise, not {signal.kind}: values must be standardised; "
            "use adwin"
        )
    if not 0.0 < k <= 2.0:
        raise ValueError(f"k is {k}; it is a part of a standard deviation, such as 0.1")
    if not h >= _LEAST:
        raise ValueError(f"h is {h}; it must be at least {_LEAST:g}")
    if not 0 <= hold <= _MEMORY:
        raise ValueError(f"hold is {hold}; it counts values, from 0 to {_MEMORY:,.0f}")
    if not 0.0 <= alarms_per_day <= 1e6:
        raise ValueError(f"alarms_per_day is {alarms_per_day}; write how many, such as 0.01")
    limits = np.array([k, h, alarms_per_day, *STANDARD[signal.kind], hold], np.float64)

    def ready(state: Floats) -> Bools:
        return np.minimum(state[..., AGE], state[..., COUNT]) >= max(hold, 1)

    return PerPart(("cusum", VERSION), _watch, signal, capacity, FIELDS, limits, ready)
