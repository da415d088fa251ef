"""The label join: which prediction meets which label, and when, in event order.

Readings that wait for a label are kept per device in `stream_processor/pending.py`; here is what a
new reading, or a clock that moved on, means for them.
"""

from collections.abc import Sequence

import numpy as np

from stream_processor.pending import (
    FREE,
    LAST_RECEIVED,
    LAST_TIME,
    OLDEST,
    OVERFLOWED,
    P_CHANGE,
    P_DELAY,
    P_READINGS,
    P_TARGET,
    P_TOLERANCE,
    PER_LANE,
    PUSHED,
    SEQ,
    SIZE,
    TIME,
    emit,
    know,
    predicted,
    push,
    release,
    settle,
)
from streamgauge.arrays import Bytes, Floats, Ints, Rows
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
from streamgauge.kernels import kernel
from streamgauge.schedule import BASE, LABEL, TARGET, WEIGHT, Lane, Schedule
from streamgauge.state import Block, Field
from streamgauge.words import Step, Verdict

__all__ = ["OVERFLOWED", "LabelJoin"]

_ADMITTED = int(Verdict.ADMITTED)
_PREDICT = int(Step.PREDICT)
_LEARN = int(Step.LEARN)
_EXPIRE = int(Step.EXPIRE)


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
        step = outcome(d, lane, slot, t, y, lanes, head, ring)
        if step < 0:
            break
        if m == len(codes):
            return -1 - m
        before = m
        m = settle(step, lane, d, source, slot, t, lanes, head, ring, codes, numbers, sx, m)
        if m > before and step == _LEARN:
            change = lanes[lane, P_CHANGE] == 1
            numbers[before, LABEL] = y
            numbers[before, TARGET] = y - numbers[before, BASE] if change else y
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
            before = m
            m = settle(_EXPIRE, lane, d, source, slot, t, lanes, head, ring, codes, numbers, sx, m)
            if m > before:
                numbers[before, WEIGHT] = OVERFLOWED
    release(head, ring, d, len(lanes))
    return m


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
            if not at_once:
                know(d, lane, y, head, count)
        head[d, LAST_TIME] = t
        head[d, LAST_RECEIVED] = batch_received[i]
        slot = push(d, t, x[i], lanes, head, ring)
        for lane in range(count):
            if predicted(d, lane, slot, lanes, ring):
                due = t + lanes[lane, P_DELAY] if lanes[lane, P_READINGS] == 0 else 0
                emit(_PREDICT, lane, d, i, slot, due, lanes, ring, codes, numbers, sx, m)
                m += 1
        for lane in range(count):
            if lanes[lane, P_DELAY] == 0 and lanes[lane, P_READINGS] == 0:
                y = values[i, lanes[lane, P_TARGET]]
                m = resolve(d, lane, i, t, y, lanes, head, ring, codes, numbers, sx, m)
                know(d, lane, y, head, count)
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
                if m == len(codes):
                    release(head, ring, d, len(lanes))
                    return d, m
                m = settle(
                    _EXPIRE, lane, d, -1, slot, now, lanes, head, ring, codes, numbers, sx, m
                )
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
            + [Field(name, (count,), along="lanes") for name in ("cursor", "last", "known")],
            capacity,
        )
        fields = [Field(name) for name in ("sequence", "time", "link")]
        fields += [
            Field("base", (count,), along="lanes"),
            Field("x", (features,), along="features", later=np.nan),
        ]
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
