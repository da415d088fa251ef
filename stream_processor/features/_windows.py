"""The ring behind rolling features: one queue of readings per device, and its running sums.

A device's window is a first-in-first-out queue of readings in a ring of slots. Sums follow the
queue by adding what enters and reverting what leaves, in River's arithmetic and order
(`river.utils.Rolling` over `stats.Mean` and `stats.Var`); extremes by the two-stack method: the
older part of the queue (the front) has suffix extremes stored with each slot, the newer part (the
back) one running extreme. When the front is used up, the whole queue becomes the front, and the
sums are computed afresh, and replace the running ones where those have drifted: amortised O(1), and
no rounding error grows beyond 1e-11.
"""

import numpy as np
from numpy.typing import NDArray

from streamgauge.kernels import inlined

__all__ = [
    "CHANNELS",
    "COLUMN",
    "HEADER",
    "MEAN",
    "OVERFLOWED",
    "PRESENT",
    "QUEUE",
    "SPREAD",
    "SUMS",
    "drop_expired",
    "enter",
    "extreme",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Plan: window (microseconds, 0 = counts readings), most readings in it, slots per layer, columns of
# a slot per channel, first column of the features, channels; then the channels' columns in a batch,
# then the statistics.
WINDOW, LIMIT, SLOTS, PARTS, COLUMN, CHANNELS, HEADER = range(7)
# State of a device: place of the oldest reading, readings in the window, of which in the front, and
# readings lost to `readings_max`; then for each channel present values, mean, sum of squared
# deviations, the largest that it was since it was computed afresh, and extremes of the back.
HEAD, SIZE, FRONT, OVERFLOWED = range(4)
PRESENT, MEAN, SPREAD, PEAK, BACK_LOW, BACK_HIGH = range(6)
QUEUE, SUMS = 4, 6
# A slot is its event time, then for each channel the value and, where extremes are wanted, the
# lowest and the highest value from this reading to the end of the front.
FRONT_LOW, FRONT_HIGH = 1, 2

ABSENT = np.nan
# When the spread falls this far below its peak, an outlier left and took the digits with it: the
# rounding error of the peak (1e-16 of it) would be more than 1e-10 of what is left.
_WORN_OUT = 1e-6
# Rounding error that the running sums may have, of what they should be, before they are replaced.
_DRIFT = 1e-11


@inlined
def _read(ring: Floats, place: int, part: int, plan: Integers) -> float:
    """A part of the slot at this place of a device's ring [layers, width]."""
    length = 1 + plan[PARTS] * plan[CHANNELS]
    if place < plan[SLOTS]:
        return float(ring[0, place * length + part])
    return float(ring[place // plan[SLOTS], place % plan[SLOTS] * length + part])


@inlined
def _store(ring: Floats, place: int, part: int, value: float, plan: Integers) -> None:
    length = 1 + plan[PARTS] * plan[CHANNELS]
    if place < plan[SLOTS]:
        ring[0, place * length + part] = value
    else:
        ring[place // plan[SLOTS], place % plan[SLOTS] * length + part] = value


@inlined
def _after(place: int, steps: int, length: int) -> int:
    """The place this many steps (at most one turn) behind another."""
    place += steps
    return place - length if place >= length else place


@inlined
def _smaller(a: float, b: float) -> float:
    """The smaller one; NaN only where both are."""
    return a if a <= b or b != b else b


@inlined
def _larger(a: float, b: float) -> float:
    return a if a >= b or b != b else b


@inlined
def _add(device: Floats, at: int, value: float) -> None:
    """Let the sums of the channel whose state begins at `at` follow a value that enters."""
    device[at + PRESENT] += 1.0
    before = device[at + MEAN]
    mean = before + (1.0 / device[at + PRESENT]) * (value - before)
    spread = device[at + SPREAD] + (value - before) * (value - mean)
    device[at + MEAN] = mean
    device[at + SPREAD] = spread
    if not spread <= device[at + PEAK]:
        device[at + PEAK] = spread


@inlined
def _clear(device: Floats, at: int) -> None:
    device[at + PRESENT] = device[at + MEAN] = device[at + SPREAD] = device[at + PEAK] = 0.0


@inlined
def _revert(device: Floats, at: int, value: float) -> None:
    """Let the sums follow a value that leaves."""
    if device[at + PRESENT] <= 1.0:
        _clear(device, at)
        return
    device[at + PRESENT] -= 1.0
    before = device[at + MEAN]
    mean = before - (1.0 / device[at + PRESENT]) * (value - before)
    device[at + MEAN] = mean
    device[at + SPREAD] -= (value - before) * (value - mean)


@inlined
def _sum_afresh(device: Floats, ring: Floats, length: int, plan: Integers, c: int) -> None:
    at = QUEUE + c * SUMS
    _clear(device, at)
    head = int(device[HEAD])
    for k in range(int(device[SIZE])):
        value = _read(ring, _after(head, k, length), 1 + c * plan[PARTS], plan)
        if value == value:
            _add(device, at, value)


@inlined
def _check_sums(device: Floats, ring: Floats, length: int, plan: Integers, c: int) -> None:
    """Compute the sums afresh and keep the running ones, River's own, unless they have drifted."""
    at = QUEUE + c * SUMS
    mean, spread = device[at + MEAN], device[at + SPREAD]
    _sum_afresh(device, ring, length, plan, c)
    drift = abs(mean - device[at + MEAN])
    if drift <= _DRIFT * abs(device[at + MEAN]):
        drift = abs(spread - device[at + SPREAD])
        if drift <= _DRIFT * device[at + SPREAD]:
            device[at + MEAN], device[at + SPREAD] = mean, spread


@inlined
def _suffix_extremes(device: Floats, ring: Floats, length: int, plan: Integers, c: int) -> None:
    """For each reading the extremes from it to the newest."""
    head = int(device[HEAD])
    at = 1 + c * plan[PARTS]
    low = high = ABSENT
    for k in range(int(device[SIZE]) - 1, -1, -1):
        place = _after(head, k, length)
        value = _read(ring, place, at, plan)
        low, high = _smaller(value, low), _larger(value, high)
        _store(ring, place, at + FRONT_LOW, low, plan)
        _store(ring, place, at + FRONT_HIGH, high, plan)


@inlined
def _drop(device: Floats, ring: Floats, length: int, plan: Integers) -> None:
    """Take the oldest reading out of the window; when the front is used up, all becomes front."""
    turn = device[FRONT] == 0
    if turn:
        device[FRONT] = device[SIZE]
    head = int(device[HEAD])
    for c in range(plan[CHANNELS]):
        if turn:
            _check_sums(device, ring, length, plan, c)
            if plan[PARTS] > 1:
                _suffix_extremes(device, ring, length, plan, c)
        value = _read(ring, head, 1 + c * plan[PARTS], plan)
        if value == value:
            _revert(device, QUEUE + c * SUMS, value)
    device[HEAD] = _after(head, 1, length)
    device[SIZE] -= 1
    device[FRONT] -= 1


@inlined
def drop_expired(time: int, device: Floats, ring: Floats, depth: int, plan: Integers) -> None:
    """Make room for a reading of this time: what is not in (time - window, time] leaves, and the
    oldest reading where the window holds `limit`."""
    length = depth * plan[SLOTS]
    while device[SIZE] > 0 and plan[WINDOW] > 0:
        if _read(ring, int(device[HEAD]), 0, plan) > time - plan[WINDOW]:
            break
        _drop(device, ring, length, plan)
    if device[SIZE] == plan[LIMIT]:
        if plan[WINDOW] > 0:
            device[OVERFLOWED] += 1
        _drop(device, ring, length, plan)
    for c in range(plan[CHANNELS]):
        at = QUEUE + c * SUMS
        # "Not at least" and not "less": a spread that overflowed to NaN is worn out, too.
        if device[at + PEAK] > 0 and not device[at + SPREAD] >= device[at + PEAK] * _WORN_OUT:
            _sum_afresh(device, ring, length, plan, c)


@inlined
def _deepen(device: Floats, ring: Floats, depth: int, plan: Integers) -> int:
    """Double the ring's layers; readings that had wrapped around move behind the others."""
    if depth == 0:
        return 1
    length = depth * plan[SLOTS]
    for place in range(int(device[HEAD])):
        for part in range(1 + plan[PARTS] * plan[CHANNELS]):
            _store(ring, length + place, part, _read(ring, place, part, plan), plan)
    return 2 * depth


@inlined
def enter(
    time: int, values: Floats, device: Floats, ring: Floats, depth: int, plan: Integers
) -> int:
    """Put a reading into the window; gives the layers that the ring has now."""
    size = int(device[SIZE])
    if size == depth * plan[SLOTS]:
        depth = _deepen(device, ring, depth, plan)
    place = _after(int(device[HEAD]), size, depth * plan[SLOTS])
    _store(ring, place, 0, float(time), plan)
    back_is_empty = device[FRONT] == size
    for c in range(plan[CHANNELS]):
        value = values[plan[HEADER + c]]
        value = value if np.isfinite(value) else ABSENT
        at = QUEUE + c * SUMS
        _store(ring, place, 1 + c * plan[PARTS], value, plan)
        if value == value:
            _add(device, at, value)
        low, high = device[at + BACK_LOW], device[at + BACK_HIGH]
        device[at + BACK_LOW] = value if back_is_empty else _smaller(value, low)
        device[at + BACK_HIGH] = value if back_is_empty else _larger(value, high)
    device[SIZE] = size + 1
    return depth


@inlined
def extreme(device: Floats, ring: Floats, plan: Integers, c: int, highest: bool) -> float:
    """The lowest or highest value of channel `c` in a window that is not empty; NaN if none."""
    back = float(device[QUEUE + c * SUMS + (BACK_HIGH if highest else BACK_LOW)])
    if device[FRONT] == 0:
        return back
    part = 1 + c * plan[PARTS] + (FRONT_HIGH if highest else FRONT_LOW)
    front = _read(ring, int(device[HEAD]), part, plan)
    if device[FRONT] == device[SIZE]:
        return front
    return _larger(front, back) if highest else _smaller(front, back)
