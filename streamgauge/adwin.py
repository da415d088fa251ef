"""ADWIN: a window over a stream of numbers that drops its older part once the mean has changed.

Bifet and Gavaldà (2007), "Learning from time-changing data with adaptive windowing", as River 0.26
computes it, operation by operation: `river.drift.ADWIN` and this kernel agree to the last bit in
total, variance, width and alarms. The window is an exponential histogram: bucket row r holds at
most `max_buckets` buckets of 2**r values each.

State is one layered block (:func:`window`). Layer 0 is the head of a device's window, layer 1 + r
its bucket row r: the number of buckets, their totals, their variances, oldest first.
"""

import math

import numpy as np

from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import lean
from streamgauge.state import Block, Field, Keys

__all__ = [
    "ALARM",
    "DEPTH",
    "GRACE",
    "LAYERS",
    "TICK",
    "TOTAL",
    "VARIANCE",
    "WIDTH",
    "settings",
    "update",
    "window",
]

# Columns of layer 0. `ALARM` is 1 after an update that dropped something, until the next update.
TICK, TOTAL, VARIANCE, WIDTH, ALARM = range(5)
# Where windows lie side by side, the next column has how many layers of one are in use, as a whole
# number (`stack[0].view(np.int64)`).
DEPTH = 5
# Columns of the layers above it; the buckets' totals and then their variances follow the count.
COUNT, TOTALS = range(2)
# Columns of the settings.
DELTA, CLOCK, MIN_LENGTH, GRACE = range(4)
# 2**39 values per bucket: more than a sensor at 1 MHz sends in ten years.
LAYERS = 41


def window(
    capacity: int, max_buckets: int, parts: int = 0, along: str = "", *, keys: Keys = Keys.DEVICE
) -> Block:
    """The windows of `capacity` devices, empty: one each, or one for each of so many `parts`, side
    by side in a field "windows" along them."""
    if max_buckets < 2:
        raise ValueError(
            f"max_buckets is {max_buckets}; at least 2 are needed to merge two and keep one"
        )
    slots = max_buckets + 1
    fields = [Field("count"), Field("totals", (slots,)), Field("variances", (slots,))]
    if parts:
        fields = [Field("windows", (parts, 1 + 2 * slots), along=along)]
    return Block(fields, capacity, keys=keys, layers=LAYERS)


def settings(delta: float, clock: int, min_window_length: int, grace_period: int) -> Floats:
    """The settings as the kernel takes them; ValueError for those that make no sense."""
    if not 0.0 < delta < 1.0:
        raise ValueError(f"delta is {delta}; it is a probability, between 0 and 1")
    if clock < 1:
        raise ValueError(f"clock is {clock}; it counts values between two checks, at least 1")
    if min_window_length < 1:
        raise ValueError(f"min_window_length is {min_window_length}; it must be at least 1")
    if grace_period < 0:
        raise ValueError(f"grace_period is {grace_period}; it must not be negative")
    return np.array([delta, clock, min_window_length, grace_period], np.float64)


@lean
def _restart(stack: Floats, depth: Ints, row: int) -> None:
    """After an alarm, the next value starts a new window."""
    for layer in range(depth[row]):
        stack[layer, row, :] = 0.0
    depth[row] = 2


@lean
def _shift(buckets: Floats, slots: int, by: int) -> None:
    """Remove the oldest `by` buckets of a row."""
    for first in (TOTALS, TOTALS + slots):
        for k in range(by, slots):
            buckets[first + k - by] = buckets[first + k]
        for k in range(slots - by, slots):
            buckets[first + k] = 0.0
    buckets[COUNT] -= by


@lean
def _merge(stack: Floats, depth: Ints, row: int, slots: int) -> None:
    """Where a row is full, its two oldest buckets become one of the next row."""
    layer = 1
    size = 1.0
    while stack[layer, row, COUNT] == slots:
        own, above = stack[layer, row], stack[layer + 1, row]
        if layer + 1 >= depth[row]:
            depth[row] = layer + 2
        difference = own[TOTALS] / size - own[TOTALS + 1] / size
        variances = TOTALS + slots
        k = int(above[COUNT])
        above[TOTALS + k] = own[TOTALS] + own[TOTALS + 1]
        between = size * 0.5 * difference * difference
        above[variances + k] = own[variances] + own[variances + 1] + between
        above[COUNT] += 1.0
        _shift(own, slots, 2)
        layer += 1
        size *= 2.0


@lean
def _changed(stack: Floats, depth: Ints, row: int, limits: Floats) -> bool:
    """Whether the means on both sides of some cut differ by more than chance allows."""
    head = stack[0, row]
    older, newer = 0.0, head[WIDTH]
    older_total, newer_total = 0.0, head[TOTAL]
    shortest = limits[MIN_LENGTH]
    spread = head[VARIANCE] / head[WIDTH]
    doubt = math.log(2.0 * math.log(head[WIDTH]) / limits[DELTA])
    for layer in range(depth[row] - 1, 0, -1):
        buckets = stack[layer, row]
        size = float(1 << (layer - 1))
        count = int(buckets[COUNT])
        for k in range(count):
            older += size
            newer -= size
            older_total += buckets[TOTALS + k]
            newer_total -= buckets[TOTALS + k]
            if layer == 1 and k == count - 1:
                return False
            if newer < shortest or older < shortest:
                continue
            harmonic = 1.0 / (older - shortest + 1.0) + 1.0 / (newer - shortest + 1.0)
            bound = math.sqrt(2.0 * harmonic * spread * doubt) + 2.0 / 3.0 * doubt * harmonic
            if abs(older_total / older - newer_total / newer) > bound:
                return True
    return False


@lean
def _drop_oldest(stack: Floats, depth: Ints, row: int, slots: int) -> None:
    head = stack[0, row]
    layer = depth[row] - 1
    buckets = stack[layer, row]
    size = float(1 << (layer - 1))
    total, variance = buckets[TOTALS], buckets[TOTALS + slots]
    head[WIDTH] -= size
    head[TOTAL] -= total
    difference = total / size - head[TOTAL] / head[WIDTH]
    head[VARIANCE] -= variance + size * head[WIDTH] * difference * difference / (size + head[WIDTH])
    _shift(buckets, slots, 1)
    if buckets[COUNT] == 0.0:
        depth[row] = layer


@lean
def update(stack: Floats, depth: Ints, row: int, value: float, limits: Floats) -> bool:
    """Add a finite value to the row's window; True if the window dropped its older part.

    `stack` and `depth` are those of a block from :func:`window`, `limits` is from :func:`settings`.
    """
    slots = (stack.shape[2] - 1) // 2
    head, newest = stack[0, row], stack[1, row]
    if depth[row] == 0 or head[ALARM] == 1.0:
        _restart(stack, depth, row)
    k = int(newest[COUNT])
    newest[TOTALS + k] = value
    newest[TOTALS + slots + k] = 0.0
    newest[COUNT] += 1.0
    head[WIDTH] += 1.0
    width = head[WIDTH]
    if width > 1.0:
        difference = value - head[TOTAL] / (width - 1.0)
        head[VARIANCE] += (width - 1.0) * difference * difference / width
    head[TOTAL] += value
    _merge(stack, depth, row, slots)
    head[TICK] += 1.0
    if int(head[TICK]) % int(limits[CLOCK]) == 0 and width > limits[GRACE]:
        while _changed(stack, depth, row, limits):
            head[ALARM] = 1.0
            _drop_oldest(stack, depth, row, slots)
    return bool(head[ALARM] == 1.0)
