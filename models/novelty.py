"""The model of an anomaly task that names none: how far a value is from all that were seen before.

Each input is seen three ways: its value, its slow mean, and how it stands to what is usual at this
time of day. Of each a model remembers up to 64 values that are not alike, and a value's novelty is
its distance from the nearest of them, on the scale of how the input varies. The score is the
largest novelty of any input; which one that is, is the cause. So a value that was never near
anything scores high whether it is too large, too small, or between two ways of being; one that was
seen is no news, however rare. Novelty of single values does better on the Numenta Anomaly Benchmark
than the random cut forest, and than most of what else is published for it (docs/how-to/tasks.md).

What is strange is not learned, unless it persists for `learn_after`: then it is a new way of being.
"""

import math
from collections.abc import Sequence

import numpy as np

from models.kernel_fleet import KernelFleet, models_of
from streamgauge.arrays import Floats, Ints
from streamgauge.durations import DAY
from streamgauge.kernels import kernel, lean
from streamgauge.rhythm import GAP, RHYTHM, tick
from streamgauge.schedule import LANE, MADE, MODEL, ROW, STEP
from streamgauge.state import Block, Field, Keys
from streamgauge.words import Step

__all__ = ["WHY", "build"]

WHY = "no model is named: how far values are from all that were seen before"
PREDICT = int(Step.PREDICT)

VALUE, SLOW, IN_DAY = range(3)
VIEWS = 3
WEIGHTS = np.array([1.0, 0.5, 0.5])
"""What the novelty of each view counts."""
REMEMBERED = 64
"""Values of a view that are not alike. Of more, the one between the two that are nearest goes."""
ALIKE = 0.2
"""Deviations within which two values are one."""
RANGE = 0.25
"""The scale is the deviation to the power of three quarters times the range to that of one: what
varies by spikes is less easily surprised by the next."""
STRANGE = 0.5
"""Novelty from which on a value is not learned at once."""
SETTLED = 30.0
"""Values after which a model can tell what is strange."""
LONG = 10_000.0
"""Values that mean and deviation look back on."""
SLOWNESS = 0.1
SLOTS = 48
SELDOM = 0.9
"""Of `learn_after`: readings that come no more often than this are all learned."""
USUAL = 0.05
"""What today counts in what is usual at its time of day."""

# Numbers of a view: values learned, their mean and variance, how many are remembered; those follow.
COUNT, MEAN, VARIANCE, KEPT, FIRST = range(5)
VIEW = FIRST + REMEMBERED + 1
# Numbers of a device, behind its rhythm: slow mean, and for how long it has been strange, of each
# input; then what is usual of each.
INPUT = RHYTHM
# Columns of the settings; those of the inputs in `schedule.x` follow.
LEARN_AFTER, INPUTS = range(2)


@lean
def _place(view: Floats, value: float) -> int:
    """Where the value belongs among those that are remembered, which are sorted."""
    kept, low = int(view[KEPT]), 0
    while low < kept:
        middle = (low + kept) // 2
        if view[FIRST + middle] < value:
            low = middle + 1
        else:
            kept = middle
    return low


@lean
def _apart(view: Floats, value: float, place: int) -> float:
    """How far the value is from the nearest that is remembered; infinite where none is."""
    apart = np.inf
    if place < int(view[KEPT]):
        apart = view[FIRST + place] - value
    if place > 0:
        apart = min(apart, value - view[FIRST + place - 1])
    return apart


@lean
def _novelty(view: Floats, apart: float) -> float:
    """What so far apart means, on the view's scale; 0 where nothing varies yet."""
    kept = int(view[KEPT])
    if kept < 2 or not view[VARIANCE] > 0.0:
        return 0.0
    spread = math.sqrt(view[VARIANCE])
    width = view[FIRST + kept - 1] - view[FIRST]
    found = apart / (spread ** (1.0 - RANGE) * width**RANGE)
    return found if found == found else 0.0


@lean
def _forget(view: Floats) -> None:
    """Drop the value whose neighbours are nearest to one another; the ends stay."""
    kept = int(view[KEPT])
    best, least = 1, np.inf
    for k in range(1, kept - 1):
        apart = view[FIRST + k + 1] - view[FIRST + k - 1]
        if apart < least:
            best, least = k, apart
    for k in range(best, kept - 1):
        view[FIRST + k] = view[FIRST + k + 1]
    view[KEPT] = kept - 1.0


@lean
def _learn(view: Floats, value: float, place: int, apart: float) -> None:
    """Remember a value that is like no other; let mean and deviation see it."""
    kept = int(view[KEPT])
    if not apart <= ALIKE * math.sqrt(view[VARIANCE]):
        for k in range(kept, place, -1):
            view[FIRST + k] = view[FIRST + k - 1]
        view[FIRST + place] = value
        view[KEPT] = kept + 1.0
        if kept + 1 > REMEMBERED:
            _forget(view)
    view[COUNT] += 1.0
    share = 1.0 / min(view[COUNT], LONG)
    off = value - view[MEAN]
    mean = view[MEAN] + share * off
    variance = view[VARIANCE] + share * (off * (value - mean) - view[VARIANCE])
    # What is beyond the numbers leaves them as they are.
    if np.isfinite(mean) and np.isfinite(variance):
        view[MEAN], view[VARIANCE] = mean, variance


@lean
def _see(own: Floats, j: int, f: int, value: float, made: int, seen: Floats) -> None:
    """The value of input j of f as the three views have it, by the device's past, which goes on."""
    slow = own[INPUT + j]
    slow = value if slow != slow else slow + SLOWNESS * (value - slow)
    slot = INPUT + 2 * f + j * SLOTS + int(made % DAY // (DAY // SLOTS))
    usual = own[slot]
    seen[VALUE], seen[SLOW], seen[IN_DAY] = value, slow, value - usual
    own[INPUT + j] = slow
    own[slot] = value if usual != usual else usual + USUAL * (value - usual)


@lean
def _look(views: Floats, seen: Floats, places: Ints, apart: Floats) -> float:
    """The novelty of one input; where its values belong, and how far apart from others they are."""
    worst = 0.0
    for v in range(VIEWS):
        if seen[v] == seen[v]:
            view = views[v * VIEW : (v + 1) * VIEW]
            places[v] = _place(view, seen[v])
            apart[v] = _apart(view, seen[v], places[v])
            worst = max(worst, WEIGHTS[v] * _novelty(view, apart[v]))
    return worst


@lean
def _lasts(own: Floats, place: int, strange: bool, learn_after: float) -> bool:
    """Whether an input has been strange for so long, or readings come too seldom to tell."""
    gap = own[GAP]
    lasted = own[place] + (gap if strange else -gap)
    own[place] = min(max(lasted, 0.0), learn_after)
    return bool(own[place] >= learn_after or gap >= SELDOM * learn_after)


@kernel
def _run(
    codes: Ints, _numbers: Floats, x: Floats, answers: Floats, _parts: Floats, causes: Floats,
    model: Floats, device: Floats, settings: Floats, lane: int, n: int,
) -> None:  # fmt: skip
    f = len(settings) - INPUTS
    seen, places, apart = np.empty(VIEWS), np.empty(VIEWS, np.int64), np.empty(VIEWS)
    for i in range(n):
        if codes[i, LANE] != lane or codes[i, STEP] != PREDICT:
            continue
        own, made = device[codes[i, ROW]], codes[i, MADE]
        tick(own[:RHYTHM], made)
        answers[i], causes[i] = np.nan, np.nan
        for j in range(f):
            value = x[i, int(settings[INPUTS + j])]
            # What is so large that its square is no number varies by nothing that is one.
            if not np.isfinite(value * value):
                continue
            _see(own, j, f, value, made, seen)
            views = model[codes[i, MODEL], j * VIEWS * VIEW : (j + 1) * VIEWS * VIEW]
            novelty = _look(views, seen, places, apart)
            strange = novelty > STRANGE and views[COUNT] >= SETTLED
            lasts = _lasts(own, INPUT + f + j, strange, settings[LEARN_AFTER])
            for v in range(VIEWS):
                if seen[v] == seen[v] and (lasts or not strange):
                    view = views[v * VIEW : (v + 1) * VIEW]
                    _learn(view, seen[v], places[v], apart[v])
            if not novelty <= answers[i]:
                answers[i], causes[i] = novelty, j


def build(
    lane: int, inputs: Sequence[int], capacity: int, keys: Keys, *, learn_after: int,
    groups: int = 0,
) -> KernelFleet:  # fmt: skip
    """Models of one lane: one for each device, for each of `groups`, or for the fleet.

    What is strange for `learn_after` microseconds of a device's time is learned.
    """
    f = len(inputs)
    model = models_of(
        [Field("views", (f, VIEWS * VIEW))], groups if keys is Keys.GROUP else capacity, keys
    )
    device = [
        Field("rhythm", (RHYTHM,)), Field("slow", (f,), math.nan), Field("lasted", (f,)),
        Field("usual", (f, SLOTS), math.nan),
    ]  # fmt: skip
    blocks = {"model": model, "device": Block(device, capacity)}
    settings = np.array([learn_after, *inputs], np.float64)
    return KernelFleet(_run, blocks, settings, lane, keys)
