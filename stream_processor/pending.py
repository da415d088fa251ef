"""Readings that wait for labels: one list per device, oldest first, as kernels on packed arrays.

An entry holds a reading's features once, for all lanes (task and horizon); each lane has its own
cursor, at the first entry that it still waits on. An entry's slot never moves while it is used, so
a step may name it. Slots are handed out from the device's free list, and the ring's layers are paid
for only as deep as a device has needed.

Where a lane's labels come from elsewhere they come in any order, so behind the features an entry
has when it was received and, for each such lane, a mark: what became of it (`WAITS`, `GONE`, or the
time of the label that it met). A device's head then also has, for each such lane, where the search
begins (`HINT`) and how far predictions have expired, and the time of the newest released entry.
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
    MODEL,
    ROW,
    SEQUENCE,
    SLOT,
    SOURCE,
    STEP,
    TARGET,
    WEIGHT,
)

__all__ = [
    "ASIDE",
    "BASES",
    "EXPIRED",
    "EXPIRED_TIME",
    "FREE",
    "GONE",
    "HINT",
    "LAST_RECEIVED",
    "LAST_TIME",
    "LINK",
    "NEWEST",
    "NO_LABEL",
    "OLDEST",
    "OVERFLOWED",
    "PARAMETERS",
    "PER_LANE",
    "PUSHED",
    "P_ASIDE",
    "P_CHANGE",
    "P_COUNTS",
    "P_DELAY",
    "P_FLEET",
    "P_MARK",
    "P_READINGS",
    "P_RECEIVED",
    "P_SERIES",
    "P_TARGET",
    "P_TEACH",
    "P_TOLERANCE",
    "P_WITHIN",
    "SEQ",
    "SIZE",
    "TIME",
    "WAITS",
    "drop_oldest",
    "emit",
    "know",
    "predicted",
    "push",
    "release",
    "settle",
    "skip_settled",
    "told",
]

NO_LABEL = -1
"""The tolerance of a lane that learns by itself: nothing waits for a label."""
OVERFLOWED = 2.0
"""Weight of an expire step whose reading was pushed out before its label could come."""

# Columns of the head block; then cursor, last and known, one per lane each. Slots are stored plus
# one, so that zero, what a fresh row holds, means none.
PUSHED, SIZE, FREE, OLDEST, NEWEST, LAST_TIME, LAST_RECEIVED, PER_LANE = range(8)
# Columns of a ring entry; then base, one per lane; then the features.
SEQ, TIME, LINK, BASES = range(4)
# Columns of the lanes' parameters. P_MARK is the lane's column in an entry, 0 where the label is a
# channel; P_ASIDE where its part of the head begins; P_WITHIN is negative unless labels name times.
P_TARGET, P_DELAY, P_READINGS, P_TOLERANCE, P_CHANGE, P_FLEET = range(6)
P_MARK, P_RECEIVED, P_ASIDE, P_WITHIN, P_TEACH, P_COUNTS, P_SERIES, PARAMETERS = range(6, 14)
# A lane's part of the head, where labels come from elsewhere. Sequences are stored plus one.
HINT, EXPIRED, EXPIRED_TIME, ASIDE = range(4)
# What a mark says, if it is not the time of a label.
WAITS, GONE = 0.0, -1.0


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
    codes[m, MODEL] = 0 if lanes[lane, P_FLEET] == 1 else d
    numbers[m, TARGET] = np.nan
    numbers[m, LABEL] = np.nan
    numbers[m, BASE] = entry[BASES + lane]
    numbers[m, WEIGHT] = 1.0
    first = BASES + len(lanes)
    for f in range(sx.shape[1]):
        sx[m, f] = entry[first + f]


@kernel
def told(lane: int, lanes: Ints, head: Floats) -> bool:
    """Whether the lane's labels come from elsewhere; where no lane's do, its parameters are not
    even looked at."""
    return bool(head.shape[1] > PER_LANE + 3 * len(lanes) and lanes[lane, P_MARK] != 0)


@kernel
def predicted(d: int, lane: int, slot: int, lanes: Ints, ring: Floats) -> bool:
    """Whether the lane predicted from this entry: a change needs a value to start from."""
    base = ring[slot, d, BASES + lane]
    return bool(base == base or lanes[lane, P_CHANGE] == 0)


@kernel
def skip_settled(d: int, lane: int, lanes: Ints, head: Floats, ring: Floats) -> None:
    """Move the lane's cursor on to an entry that it waits on, from one that it may not."""
    cursor = PER_LANE + lane
    mark = lanes[lane, P_MARK]
    while head[d, cursor] != 0.0 and ring[int(head[d, cursor]) - 1, d, mark] != WAITS:
        head[d, cursor] = ring[int(head[d, cursor]) - 1, d, LINK]


@kernel
def give_up(d: int, lane: int, slot: int, lanes: Ints, head: Floats, ring: Floats) -> None:
    """Note that the entry in `slot` has expired in a lane whose labels come from elsewhere."""
    ring[slot, d, lanes[lane, P_MARK]] = GONE
    aside = lanes[lane, P_ASIDE]
    head[d, aside + EXPIRED] = ring[slot, d, SEQ] + 1.0
    head[d, aside + EXPIRED_TIME] = ring[slot, d, TIME]
    skip_settled(d, lane, lanes, head, ring)


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
    if told(lane, lanes, head):
        give_up(d, lane, slot, lanes, head, ring)
    return m


@kernel
def know(d: int, lane: int, y: float, head: Floats, count: int) -> None:
    """Remember a lane's target value as the last known one."""
    if y == y:
        head[d, PER_LANE + count + lane] = y
        head[d, PER_LANE + 2 * count + lane] = 1.0


@kernel
def needs(d: int, lane: int, lanes: Ints, head: Floats, ring: Floats) -> bool:
    """Whether the lane needs the device's oldest entry.

    Where labels name times, an entry that is settled stays as long as a label that it met could
    come again and be nearer to one that still waits: the same label must not teach twice.
    """
    cursor = head[d, PER_LANE + lane]
    oldest = head[d, OLDEST]
    if cursor == oldest:
        return True
    if not told(lane, lanes, head):
        return False
    within = lanes[lane, P_WITHIN]
    if within < 0:
        return False
    first = cursor if cursor != 0.0 else head[d, NEWEST]
    apart = ring[int(first) - 1, d, TIME] - ring[int(oldest) - 1, d, TIME]
    return bool(apart <= 2 * within)


@kernel
def drop_oldest(d: int, lanes: Ints, head: Floats, ring: Floats) -> None:
    """Give the oldest entry back; no lane waits on it."""
    oldest = head[d, OLDEST]
    slot = int(oldest) - 1
    if head.shape[1] > PER_LANE + 3 * len(lanes):
        head[d, head.shape[1] - 1] = ring[slot, d, TIME]
    head[d, OLDEST] = ring[slot, d, LINK]
    if head[d, OLDEST] == 0.0:
        head[d, NEWEST] = 0.0
    ring[slot, d, LINK] = head[d, FREE]
    head[d, FREE] = oldest


@kernel
def release(d: int, lanes: Ints, head: Floats, ring: Floats) -> None:
    """Give back the oldest entries that no lane needs any more."""
    while head[d, OLDEST] != 0.0:
        for lane in range(len(lanes)):
            if needs(d, lane, lanes, head, ring):
                return
        drop_oldest(d, lanes, head, ring)


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
    after = BASES + count + len(x)
    for f in range(len(x)):
        entry[BASES + count + f] = x[f]
    if len(entry) > after:
        entry[after] = head[d, LAST_RECEIVED]
        entry[after + 1 :] = WAITS
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
