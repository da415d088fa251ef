"""The label join: which prediction meets which label, and when, in event order.

Readings that wait for a label are kept per device in `stream_processor/pending.py`; here is what a
new reading, or a clock that moved on, means for them; what a label from elsewhere means is in
`stream_processor/elsewhere.py`.
"""

from collections.abc import Sequence

import numpy as np

from stream_processor.elsewhere import LAGS, TALLIES, LabelBatch, lag_quantile, meet
from stream_processor.pending import (
    ASIDE,
    BASES,
    EXPIRED,
    FREE,
    LAST_RECEIVED,
    LAST_TIME,
    OLDEST,
    OVERFLOWED,
    P_CHANGE,
    P_DELAY,
    P_READINGS,
    P_RECEIVED,
    P_TARGET,
    P_TOLERANCE,
    PARAMETERS,
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
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
from streamgauge.kernels import kernel
from streamgauge.schedule import BASE, LABEL, TARGET, WEIGHT, Lane, Schedule
from streamgauge.state import Block, Field, Keys
from streamgauge.words import Step, Verdict

__all__ = ["OVERFLOWED", "LabelBatch", "LabelJoin"]

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
                m += 1
        for lane in range(count):
            if not told(lane, lanes, head) and at_once(lane, lanes):
                y = values[i, lanes[lane, P_TARGET]]
                m = resolve(d, lane, i, t, r, y, lanes, head, ring, codes, numbers, sx, m)
                know(d, lane, y, head, count)
        release(d, lanes, head, ring)
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
    that sends old readings, or whose clock is wrong, owes nothing sooner than others. Labels from
    elsewhere are waited for by our clock alone.
    """
    m = 0
    for d in range(start, n):
        now = int(head[d, LAST_TIME]) + clock - int(head[d, LAST_RECEIVED])
        for lane in range(len(lanes)):
            elsewhere = told(lane, lanes, head)
            if lanes[lane, P_READINGS] > 0 and not elsewhere and not every:
                continue
            while head[d, PER_LANE + lane] != 0.0:
                slot = int(head[d, PER_LANE + lane]) - 1
                due = int(ring[slot, d, TIME]) + lanes[lane, P_DELAY]
                waited = now - due - skew
                if elsewhere:
                    waited = clock - int(ring[slot, d, lanes[lane, P_RECEIVED]])
                if waited <= lanes[lane, P_TOLERANCE] and not every:
                    break
                if m == len(codes):
                    release(d, lanes, head, ring)
                    return d, m
                m = settle(
                    _EXPIRE, lane, d, -1, slot, now, lanes, head, ring, codes, numbers, sx, m
                )
        release(d, lanes, head, ring)
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
        self.parameters = _parameters(lanes, features)
        self.elsewhere = [k for k, lane in enumerate(lanes) if lane.elsewhere is not None]
        """Lanes whose labels come from elsewhere."""
        aside = len(self.elsewhere)
        heads = [Field(name) for name in ("pushed", "size", "free", "oldest", "newest")]
        heads += [Field("last_time"), Field("last_received")]
        heads += [Field(name, (count,), along="lanes") for name in ("cursor", "last", "known")]
        fields = [Field(name) for name in ("sequence", "time", "link")]
        fields += [
            Field("base", (count,), along="lanes"),
            Field("x", (features,), along="features", later=np.nan),
        ]
        if aside:
            heads += [Field("aside", (aside, ASIDE)), Field("released")]
            fields += [Field("received"), Field("mark", (aside,))]
        head = Block(heads, capacity)
        # At least two layers: a block of one layer keeps no depth of its own.
        ring = Block(fields, capacity, layers=max(2, pending))
        ring.depth = head.view("size")
        self.blocks = {"head": head, "ring": ring}
        if aside:
            tallies = [Field(name, (aside,)) for name in TALLIES]
            lags = Field("lag", (aside, LAGS))
            self.blocks["elsewhere"] = Block([*tallies, lags], 1, keys=Keys.FLEET)
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

    def meet(self, labels: LabelBatch, schedule: Schedule) -> Call:
        """Fill the schedule with what labels DONE to N bring; sets DONE and STEPS."""
        return Call(
            meet,
            (
                labels.codes,
                labels.values,
                self.parameters,
                self.blocks["head"].array,
                self._stack,
                self.blocks["elsewhere"].array[0],
                schedule.codes,
                schedule.numbers,
                schedule.x,
                Now.DONE,
                Now.N,
            ),
            (Now.DONE, Now.STEPS),
        )

    def met(self, lane: int) -> dict[str, float | None]:
        """What became of the labels from elsewhere of a lane so far, and the quantiles of how long
        they took, in seconds; empty where the label is a channel."""
        if lane not in self.elsewhere:
            return {}
        block, own = self.blocks["elsewhere"], self.elsewhere.index(lane)
        lags = block.view("lag")[0, own]
        tallies: dict[str, float | None] = {
            name: float(block.view(name)[0, own]) for name in TALLIES
        }
        return tallies | {"lag_p50": lag_quantile(lags, 0.5), "lag_p95": lag_quantile(lags, 0.95)}

    def returned(self, row: int, readings: int) -> None:
        """The device in this new row had so many readings before it was evicted, of which none
        waits for a label any more."""
        head = self.blocks["head"]
        head.view("pushed")[row] = readings
        if self.elsewhere:
            head.view("aside")[row, :, EXPIRED] = readings

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


def _parameters(lanes: Sequence[Lane], features: int) -> Ints:
    """int64[lanes, PARAMETERS]: what the kernels know of each lane."""
    count = len(lanes)
    received = BASES + count + features
    rows: list[list[int]] = []
    aside = 0
    for lane in lanes:
        row = [max(lane.target, 0), lane.delay, lane.readings, lane.tolerance, int(lane.change)]
        row += [int(lane.scope == "fleet")]
        if lane.elsewhere is None:
            row += [0, 0, 0, -1, 0, 0]
        else:
            terms = lane.elsewhere
            row[P_TOLERANCE] = terms.expire_after
            within = -1 if terms.within is None else terms.within
            place = PER_LANE + 3 * count + aside * ASIDE
            row += [received + 1 + aside, received, place, within, terms.teach_until, aside]
            aside += 1
        rows.append(row)
    return np.array(rows, np.int64).reshape(count, PARAMETERS)
