"""Readings that wait for labels: one list per device, oldest first, as kernels on packed arrays.

An entry holds a reading's features once, for all lanes (task and horizon); each lane has its own
cursor into the list. An entry's slot never moves while it is used, so a step may name it. Slots are
handed out from the device's free list, and the ring's layers are paid for only as deep as a device
has needed.
"""

import numpy as np

from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel
from streamgauge.schedule import (
    BASE,
    DUE,
    LABEL,
    LANE,
    MADE,
    ROW,
    SEQUENCE,
    SLOT,
    SOURCE,
    STEP,
    TARGET,
    WEIGHT,
)

__all__ = [
    "BASES",
    "FREE",
    "LAST_RECEIVED",
    "LAST_TIME",
    "LINK",
    "NEWEST",
    "OLDEST",
    "OVERFLOWED",
    "PER_LANE",
    "PUSHED",
    "P_CHANGE",
    "P_DELAY",
    "P_READINGS",
    "P_TARGET",
    "P_TOLERANCE",
    "SEQ",
    "SIZE",
    "TIME",
    "emit",
    "know",
    "predicted",
    "push",
    "release",
    "settle",
]

OVERFLOWED = 2.0
"""Weight of an expire step whose reading was pushed out before its label could come."""

# Columns of the head block; then cursor, last and known, one per lane each. Slots are stored plus
# one, so that zero, what a fresh row holds, means none.
PUSHED, SIZE, FREE, OLDEST, NEWEST, LAST_TIME, LAST_RECEIVED, PER_LANE = range(8)
# Columns of a ring entry; then base, one per lane; then the features.
SEQ, TIME, LINK, BASES = range(4)
# Columns of the lanes' parameters.
P_TARGET, P_DELAY, P_READINGS, P_TOLERANCE, P_CHANGE = range(5)


@kernel
def emit(
    step: int,
    lane: int,
    d: int,
    source: int,
    slot: int,
    due: int,
    lanes: Ints,
    ring: Floats,
    codes: Ints,
    numbers: Floats,
    sx: Floats,
    m: int,
) -> None:
    """Write step m about the entry in `slot` of device d."""
    entry = ring[slot, d]
    codes[m, STEP] = step
    codes[m, LANE] = lane
    codes[m, ROW] = d
    codes[m, SOURCE] = source
    codes[m, SLOT] = slot
    codes[m, SEQUENCE] = int(entry[SEQ])
    codes[m, MADE] = int(entry[TIME])
    codes[m, DUE] = due
    numbers[m, TARGET] = np.nan
    numbers[m, LABEL] = np.nan
    numbers[m, BASE] = entry[BASES + lane]
    numbers[m, WEIGHT] = 1.0
    first = BASES + len(lanes)
    for f in range(sx.shape[1]):
        sx[m, f] = entry[first + f]


@kernel
def predicted(d: int, lane: int, slot: int, lanes: Ints, ring: Floats) -> bool:
    """Whether the lane predicted from this entry: a change needs a value to start from."""
    base = ring[slot, d, BASES + lane]
    return bool(base == base or lanes[lane, P_CHANGE] == 0)


@kernel
def settle(
    step: int,
    lane: int,
    d: int,
    source: int,
    slot: int,
    due: int,
    lanes: Ints,
    head: Floats,
    ring: Floats,
    codes: Ints,
    numbers: Floats,
    sx: Floats,
    m: int,
) -> int:
    """Write what became of the lane's entry in `slot`, if it was predicted from, and move its
    cursor on; the new m. There is room for one step."""
    if predicted(d, lane, slot, lanes, ring):
        emit(step, lane, d, source, slot, due, lanes, ring, codes, numbers, sx, m)
        m += 1
    head[d, PER_LANE + lane] = ring[slot, d, LINK]
    return m


@kernel
def know(d: int, lane: int, y: float, head: Floats, count: int) -> None:
    """Remember a lane's target value as the last known one."""
    if y == y:
        head[d, PER_LANE + count + lane] = y
        head[d, PER_LANE + 2 * count + lane] = 1.0


@kernel
def release(head: Floats, ring: Floats, d: int, count: int) -> None:
    """Give back the oldest entries that no lane waits on any more."""
    while head[d, OLDEST] != 0.0:
        oldest = head[d, OLDEST]
        for lane in range(count):
            if head[d, PER_LANE + lane] == oldest:
                return
        slot = int(oldest) - 1
        head[d, OLDEST] = ring[slot, d, LINK]
        if head[d, OLDEST] == 0.0:
            head[d, NEWEST] = 0.0
        ring[slot, d, LINK] = head[d, FREE]
        head[d, FREE] = oldest


@kernel
def push(d: int, t: int, x: Floats, lanes: Ints, head: Floats, ring: Floats) -> int:
    """Store a reading's features in a free slot of the device; returns the slot."""
    if head[d, FREE] != 0.0:
        slot = int(head[d, FREE]) - 1
        head[d, FREE] = ring[slot, d, LINK]
    else:
        slot = int(head[d, SIZE])
        head[d, SIZE] += 1.0
    entry = ring[slot, d]
    count = len(lanes)
    entry[SEQ] = head[d, PUSHED]
    entry[TIME] = t
    entry[LINK] = 0.0
    for lane in range(count):
        known = head[d, PER_LANE + 2 * count + lane] != 0.0
        entry[BASES + lane] = head[d, PER_LANE + count + lane] if known else np.nan
    for f in range(len(x)):
        entry[BASES + count + f] = x[f]
    if head[d, NEWEST] != 0.0:
        ring[int(head[d, NEWEST]) - 1, d, LINK] = slot + 1.0
    else:
        head[d, OLDEST] = slot + 1.0
    head[d, NEWEST] = slot + 1.0
    for lane in range(count):
        if head[d, PER_LANE + lane] == 0.0:
            head[d, PER_LANE + lane] = slot + 1.0
    head[d, PUSHED] += 1.0
    return slot
