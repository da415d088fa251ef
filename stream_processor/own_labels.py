"""Labels that a device's own later readings are: what a reading, or a clock that moved on, settles.

Readings that wait for a label are kept per device in `stream_processor/pending.py`; what a label
from elsewhere means is in `stream_processor/elsewhere.py`.
"""

from stream_processor.pending import (
    FREE,
    LAST_RECEIVED,
    LAST_TIME,
    NO_LABEL,
    OLDEST,
    OVERFLOWED,
    P_CHANGE,
    P_DELAY,
    P_READINGS,
    P_RECEIVED,
    P_SERIES,
    P_TARGET,
    P_TOLERANCE,
    PER_LANE,
    PUSHED,
    SEQ,
    SIZE,
    TIME,
    drop_oldest,
    emit,
    know,
    predicted,
    push,
    release,
    settle,
    told,
)
from streamgauge.arrays import Bytes, Floats, Ints, Rows
from streamgauge.kernels import kernel
from streamgauge.schedule import BASE, LABEL, TARGET, WEIGHT
from streamgauge.words import Step, Verdict

__all__ = ["expire", "join"]

_ADMITTED = int(Verdict.ADMITTED)
_PREDICT = int(Step.PREDICT)
_LEARN = int(Step.LEARN)
_EXPIRE = int(Step.EXPIRE)


@kernel
def outcome(
    d: int, lane: int, slot: int, t: int, r: int, y: float, lanes: Ints, head: Floats, ring: Floats
) -> int:
    """What a reading of time t, received at r, means for the prediction in `slot`: a step, or -1 to
    wait."""
    if told(lane, lanes, head):
        waited = r - int(ring[slot, d, lanes[lane, P_RECEIVED]])
        return _EXPIRE if waited > lanes[lane, P_TOLERANCE] else -1
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
    r: int,
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
        step = outcome(d, lane, slot, t, r, y, lanes, head, ring)
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
    drop_oldest(d, lanes, head, ring)
    return m


@kernel
def at_once(lane: int, lanes: Ints) -> bool:
    """Whether the lane's label comes with the very reading that it was predicted from."""
    return bool(lanes[lane, P_DELAY] == 0 and lanes[lane, P_READINGS] == 0)


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
        r = batch_received[i]
        for lane in range(count):
            y = values[i, lanes[lane, P_TARGET]]
            m = resolve(d, lane, i, t, r, y, lanes, head, ring, codes, numbers, sx, m)
            if m < 0:
                return i, -1 - m
        release(d, lanes, head, ring)
        if m + 3 * count > len(codes):
            return i, m
        if head[d, FREE] == 0.0 and head[d, SIZE] == len(ring):
            m = push_out(d, i, t, lanes, head, ring, codes, numbers, sx, m)
        for lane in range(count):
            y = values[i, lanes[lane, P_TARGET]]
            if not told(lane, lanes, head) and not at_once(lane, lanes):
                know(d, lane, y, head, count)
        head[d, LAST_TIME] = t
        head[d, LAST_RECEIVED] = r
        slot = push(d, t, x[i], lanes, head, ring)
        for lane in range(count):
            if predicted(d, lane, slot, lanes, ring):
                due = t + lanes[lane, P_DELAY] if lanes[lane, P_READINGS] == 0 else 0
                emit(_PREDICT, lane, d, i, slot, due, lanes, ring, codes, numbers, sx, m)
                if lanes[lane, P_SERIES] == 1:
                    numbers[m, TARGET] = values[i, lanes[lane, P_TARGET]]
                m += 1
        for lane in range(count):
            if not told(lane, lanes, head) and at_once(lane, lanes):
                if lanes[lane, P_TOLERANCE] == NO_LABEL:
                    head[d, PER_LANE + lane] = 0.0
                    continue
                y = values[i, lanes[lane, P_TARGET]]
                m = resolve(d, lane, i, t, r, y, lanes, head, ring, codes, numbers, sx, m)
                know(d, lane, y, head, count)
        release(d, lanes, head, ring)
    return n, m


@kernel
def expire(
    clock: int,
    skew: int,
    lanes: Ints,
    head: Floats,
    ring: Floats,
    codes: Ints,
    numbers: Floats,
    sx: Floats,
    start: int,
    n: int,
) -> tuple[int, int]:
    """Expire what is overdue at `clock`: (next device row, steps).

    A device is judged by its own clock, which has gone on since its last reading as ours has: one
    that sends old readings, or whose clock is wrong, owes nothing sooner than others. Labels from
    elsewhere are waited for by our clock alone.
    """
    m = 0
    for d in range(start, n):
        now = int(head[d, LAST_TIME]) + clock - int(head[d, LAST_RECEIVED])
        for lane in range(len(lanes)):
            elsewhere = told(lane, lanes, head)
            if lanes[lane, P_READINGS] > 0 and not elsewhere:
                continue
            while head[d, PER_LANE + lane] != 0.0:
                slot = int(head[d, PER_LANE + lane]) - 1
                due = int(ring[slot, d, TIME]) + lanes[lane, P_DELAY]
                waited = now - due - skew
                if elsewhere:
                    waited = clock - int(ring[slot, d, lanes[lane, P_RECEIVED]])
                if waited <= lanes[lane, P_TOLERANCE]:
                    break
                if m == len(codes):
                    release(d, lanes, head, ring)
                    return d, m
                m = settle(
                    _EXPIRE, lane, d, -1, slot, now, lanes, head, ring, codes, numbers, sx, m
                )
        release(d, lanes, head, ring)
    return n, m
