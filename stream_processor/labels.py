"""The label join: which prediction meets which label, and when, in event order.

Per device a list of readings that still wait for a label in at least one lane (task and horizon),
oldest first. An entry holds the reading's features once, for all lanes; each lane has its own
cursor. An entry's slot never moves while it is used, so a step may name it. Slots are handed out
from the device's free list, and the ring's layers are paid for only as deep as a device has needed.
"""

from collections.abc import Sequence

import numpy as np

from streamgauge.arrays import Bytes, Floats, Ints, Rows
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
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
    Lane,
    Schedule,
)
from streamgauge.state import Block, Field
from streamgauge.words import Step, Verdict

__all__ = ["OVERFLOWED", "LabelJoin"]

OVERFLOWED = 2.0
"""Weight of an expire step whose reading was pushed out before its label could come."""

# Columns of the head block; then cursor, last and known, one per lane each. Slots are stored plus
# one, so that zero, what a fresh row holds, means none.
PUSHED, SIZE, FREE, OLDEST, NEWEST, LAST_TIME, LAST_RECEIVED, PER_LANE = range(8)
# Columns of a ring entry; then base, one per lane; then the features.
SEQ, TIME, LINK, BASES = range(4)
# Columns of the lanes' parameters.
P_TARGET, P_DELAY, P_READINGS, P_TOLERANCE, P_CHANGE = range(5)

_ADMITTED = int(Verdict.ADMITTED)
_PREDICT = int(Step.PREDICT)
_LEARN = int(Step.LEARN)
_EXPIRE = int(Step.EXPIRE)


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
def outcome(
    d: int, lane: int, slot: int, t: int, y: float, lanes: Ints, head: Floats, ring: Floats
) -> int:
    """What this reading means for the prediction in `slot`: a step, or -1 to wait."""
    if lanes[lane, P_READINGS] > 0:
        if head[d, PUSHED] - ring[slot, d, SEQ] < lanes[lane, P_READINGS]:
            return -1
        return _LEARN if y == y else _EXPIRE
    due = int(ring[slot, d, TIME]) + lanes[lane, P_DELAY]
    if t < due:
        return -1
    if t > due + lanes[lane, P_TOLERANCE]:
        return _EXPIRE
    return _LEARN if y == y else -1


@kernel
def resolve(
    d: int,
    lane: int,
    source: int,
    t: int,
    y: float,
    lanes: Ints,
    head: Floats,
    ring: Floats,
    codes: Ints,
    numbers: Floats,
    sx: Floats,
    m: int,
) -> int:
    """Emit what the reading at time t settles in one lane; the new m, or -1 - m when it is full."""
    cursor = PER_LANE + lane
    while head[d, cursor] != 0.0:
        slot = int(head[d, cursor]) - 1
        base = ring[slot, d, BASES + lane]
        predicted = base == base or lanes[lane, P_CHANGE] == 0
        step = outcome(d, lane, slot, t, y, lanes, head, ring)
        if step < 0:
            break
        if predicted:
            if m == len(codes):
                return -1 - m
            emit(step, lane, d, source, slot, t, lanes, ring, codes, numbers, sx, m)
            if step == _LEARN:
                numbers[m, LABEL] = y
                numbers[m, TARGET] = y - base if lanes[lane, P_CHANGE] == 1 else y
            m += 1
        head[d, cursor] = ring[slot, d, LINK]
    return m


@kernel
def push_out(
    d: int,
    source: int,
    t: int,
    lanes: Ints,
    head: Floats,
    ring: Floats,
    codes: Ints,
    numbers: Floats,
    sx: Floats,
    m: int,
) -> int:
    """Expire the oldest entry in every lane that waits on it; needs one free step per lane."""
    oldest = head[d, OLDEST]
    slot = int(oldest) - 1
    for lane in range(len(lanes)):
        if head[d, PER_LANE + lane] == oldest:
            base = ring[slot, d, BASES + lane]
            if base == base or lanes[lane, P_CHANGE] == 0:
                emit(_EXPIRE, lane, d, source, slot, t, lanes, ring, codes, numbers, sx, m)
                numbers[m, WEIGHT] = OVERFLOWED
                m += 1
            head[d, PER_LANE + lane] = ring[slot, d, LINK]
    release(head, ring, d, len(lanes))
    return m


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


@kernel
def join(
    batch_row: Rows,
    batch_time: Ints,
    batch_received: Ints,
    verdict: Bytes,
    values: Floats,
    x: Floats,
    lanes: Ints,
    head: Floats,
    ring: Floats,
    codes: Ints,
    numbers: Floats,
    sx: Floats,
    start: int,
    n: int,
) -> tuple[int, int]:
    """Steps of readings start to n: (next reading, steps). Stops early when the steps are full.

    Every part can be entered again: what was settled is gone from its cursor, and a reading is
    pushed and predicted in one go, only when all its steps have room.
    """
    m = 0
    count = len(lanes)
    for i in range(start, n):
        if verdict[i] != _ADMITTED:
            continue
        d = int(batch_row[i])
        t = batch_time[i]
        for lane in range(count):
            y = values[i, lanes[lane, P_TARGET]]
            m = resolve(d, lane, i, t, y, lanes, head, ring, codes, numbers, sx, m)
            if m < 0:
                return i, -1 - m
        release(head, ring, d, count)
        if m + 3 * count > len(codes):
            return i, m
        if head[d, FREE] == 0.0 and head[d, SIZE] == len(ring):
            m = push_out(d, i, t, lanes, head, ring, codes, numbers, sx, m)
        for lane in range(count):
            y = values[i, lanes[lane, P_TARGET]]
            at_once = lanes[lane, P_DELAY] == 0 and lanes[lane, P_READINGS] == 0
            if y == y and not at_once:
                head[d, PER_LANE + count + lane] = y
                head[d, PER_LANE + 2 * count + lane] = 1.0
        head[d, LAST_TIME] = t
        head[d, LAST_RECEIVED] = batch_received[i]
        slot = push(d, t, x[i], lanes, head, ring)
        for lane in range(count):
            base = ring[slot, d, BASES + lane]
            if base == base or lanes[lane, P_CHANGE] == 0:
                due = t + lanes[lane, P_DELAY] if lanes[lane, P_READINGS] == 0 else 0
                emit(_PREDICT, lane, d, i, slot, due, lanes, ring, codes, numbers, sx, m)
                m += 1
        for lane in range(count):
            if lanes[lane, P_DELAY] == 0 and lanes[lane, P_READINGS] == 0:
                y = values[i, lanes[lane, P_TARGET]]
                m = resolve(d, lane, i, t, y, lanes, head, ring, codes, numbers, sx, m)
                if y == y:
                    head[d, PER_LANE + count + lane] = y
                    head[d, PER_LANE + 2 * count + lane] = 1.0
        release(head, ring, d, count)
    return n, m


@kernel
def expire(
    clock: int,
    skew: int,
    every: bool,
    lanes: Ints,
    head: Floats,
    ring: Floats,
    codes: Ints,
    numbers: Floats,
    sx: Floats,
    start: int,
    n: int,
) -> tuple[int, int]:
    """Expire what is overdue at `clock`, or all that is pending: (next device row, steps).

    A device is judged by its own clock, which has gone on since its last reading as ours has: one
    that sends old readings, or whose clock is wrong, owes nothing sooner than others.
    """
    m = 0
    for d in range(start, n):
        now = int(head[d, LAST_TIME]) + clock - int(head[d, LAST_RECEIVED])
        for lane in range(len(lanes)):
            if lanes[lane, P_READINGS] > 0 and not every:
                continue
            while head[d, PER_LANE + lane] != 0.0:
                slot = int(head[d, PER_LANE + lane]) - 1
                due = int(ring[slot, d, TIME]) + lanes[lane, P_DELAY]
                if now <= due + lanes[lane, P_TOLERANCE] + skew and not every:
                    break
                base = ring[slot, d, BASES + lane]
                if base == base or lanes[lane, P_CHANGE] == 0:
                    if m == len(codes):
                        release(head, ring, d, len(lanes))
                        return d, m
                    emit(_EXPIRE, lane, d, -1, slot, now, lanes, ring, codes, numbers, sx, m)
                    m += 1
                head[d, PER_LANE + lane] = ring[slot, d, LINK]
        release(head, ring, d, len(lanes))
    return n, m


class LabelJoin:
    """Turns admitted readings into the models' schedule.

    `pending` is how many readings of one device may wait for labels at a time; beyond it the oldest
    expires and is counted. `skew` (microseconds) is how much longer than the tolerance a silent
    device is waited for: its reading may be on its way.
    """

    def __init__(
        self, lanes: Sequence[Lane], features: int, capacity: int, *, pending: int, skew: int
    ) -> None:
        count = len(lanes)
        self.lanes = tuple(lanes)
        self.skew = skew
        self.parameters = np.array(
            [[k.target, k.delay, k.readings, k.tolerance, int(k.change)] for k in lanes], np.int64
        ).reshape(count, 5)
        head = Block(
            [Field(name) for name in ("pushed", "size", "free", "oldest", "newest")]
            + [Field("last_time"), Field("last_received")]
            + [Field(name, (count,)) for name in ("cursor", "last", "known")],
            capacity,
        )
        fields = [Field(name) for name in ("sequence", "time", "link")]
        fields += [Field("base", (count,)), Field("x", (features,))]
        # At least two layers: a block of one layer keeps no depth of its own.
        ring = Block(fields, capacity, layers=max(2, pending))
        ring.depth = head.view("size")
        self.blocks = {"head": head, "ring": ring}
        self._pending = pending
        self._stack = ring.stack[:pending]

    def call(self, batch: Batch, features: Features, schedule: Schedule) -> Call:
        """Fill the schedule with what readings DONE to N bring; sets DONE and STEPS."""
        return Call(
            join,
            (
                batch.row,
                batch.time,
                batch.received,
                batch.verdict,
                batch.values,
                features.x,
                self.parameters,
                self.blocks["head"].array,
                self._stack,
                schedule.codes,
                schedule.numbers,
                schedule.x,
                Now.DONE,
                Now.N,
            ),
            (Now.DONE, Now.STEPS),
        )

    def expire(self, clock: int, start: int, rows: int, schedule: Schedule) -> int:
        """Fill the schedule with what is overdue at `clock`; the first device row not yet done."""
        return self._expire(clock, False, start, rows, schedule)

    def drop(self, clock: int, row: int, schedule: Schedule) -> int:
        """Expire all that one device row still waits for; returns `row` until all is done."""
        return self._expire(clock, True, row, row + 1, schedule)

    def _expire(self, clock: int, every: bool, start: int, stop: int, schedule: Schedule) -> int:
        done, schedule.n = expire(
            clock,
            self.skew,
            every,
            self.parameters,
            self.blocks["head"].array,
            self._stack,
            schedule.codes,
            schedule.numbers,
            schedule.x,
            start,
            stop,
        )
        return done

    def room(self) -> int:
        """Steps that a schedule must at least hold: what one reading may need at once."""
        return 3 * len(self.lanes)
