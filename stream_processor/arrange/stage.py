"""Arranges readings before admission: in order of event time, assembled into rows, interpolated."""

from collections.abc import Iterator, Sequence

import numpy as np

from stream_processor.admit import clock_verdict
from stream_processor.arrange.assemble import (
    NOT,
    WAITING,
    WITH_LAST,
    close_row,
    overdue,
    pass_on,
    put,
)
from stream_processor.arrange.interpolate import ITEM, SPARE, enter, let_go
from stream_processor.clean._range import FINE, examine, limits
from stream_processor.duplicates import Policy, key_of, recognise
from streamgauge.arrays import Bools, Bytes, Floats, Ints, Rows, Words
from streamgauge.batch import Batch
from streamgauge.kernels import kernel
from streamgauge.schema import Schema
from streamgauge.state import Block, Field
from streamgauge.words import Verdict

__all__ = ["ROOMIEST", "Arrange"]

ROOMIEST = 256
"""Readings of one device that may be held back: a few of them must fit a batch of the walk."""

_HEAD = ("newest", "received", "released", "count", "size")
_NEWEST, _RECEIVED, _RELEASED, _COUNT, _SIZE = range(len(_HEAD))
_TIME, _CAME, _KEY, _ITEM = 0, 1, 2, 3
"""Columns of a reading that is held back."""
_LATENESS, _ROOM, _HOW, _SPAN, _POLICY, _MAX_AHEAD, _QUEUE, _FREED, _SPANS = range(9)
"""Places in the plan: what was configured."""
_HOWS = {"": NOT, "last": WITH_LAST, "wait": WAITING}

_ADMITTED = int(Verdict.ADMITTED)
_DUPLICATE = int(Verdict.DUPLICATE)
_LATE = int(Verdict.LATE)


@kernel
def _known_already(d: int, key: int, device: Floats, recent: Floats, held: Floats) -> bool:
    for s in range(int(device[_SIZE])):
        if held[s, d, _KEY] == key:
            return True
    return recognise(key, int(device[_COUNT]), d, recent)


@kernel
def _queue(
    start: int,
    m: int,
    d: int,
    plan: Ints,
    gaps: Floats,
    queue: Floats,
    codes: Ints,
    numbers: Floats,
) -> int:
    """Let the rows written since `start` wait for what they lack, where something is interpolated;
    the next free place."""
    if plan[_QUEUE] == 0:
        return m
    for k in range(start, m):
        enter(d, codes[k, 1], codes[k, 2], numbers[k], plan[_SPANS:], gaps, queue)
    return let_go(start, d, 0, plan[_QUEUE], plan[_SPANS:], gaps, queue, codes, numbers)


@kernel
def _release(
    m: int,
    d: int,
    plan: Ints,
    head: Floats,
    recent: Floats,
    held: Floats,
    known: Floats,
    part: Floats,
    gaps: Floats,
    queue: Floats,
    codes: Ints,
    numbers: Floats,
) -> int:
    """Let go the oldest reading that is held back."""
    device, oldest = head[d], held[0, d]
    time, received = int(oldest[_TIME]), int(oldest[_CAME])
    item, start = oldest[_ITEM:], m
    m = pass_on(
        m, d, time, received, plan[_HOW], plan[_SPAN], item, known[d], part[d], codes, numbers
    )
    if recent.shape[1] > 0:
        recent[d, int(device[_COUNT]) % recent.shape[1]] = oldest[_KEY]
    device[_RELEASED] = time
    device[_COUNT] += 1.0
    device[_SIZE] -= 1.0
    for s in range(int(device[_SIZE])):
        held[s, d] = held[s + 1, d]
    return _queue(start, m, d, plan, gaps, queue, codes, numbers)


@kernel
def _hold(
    d: int, time: int, received: int, key: int, values: Floats, flags: Words,
    device: Floats, held: Floats,
) -> None:  # fmt: skip
    """Keep a reading behind those of its time and before."""
    if time > device[_NEWEST] or device[_COUNT] + device[_SIZE] == 0.0:
        device[_NEWEST], device[_RECEIVED] = time, received
    s = int(device[_SIZE])
    while s > 0 and held[s - 1, d, _TIME] > time:
        held[s, d] = held[s - 1, d]
        s -= 1
    place = held[s, d]
    place[_TIME], place[_CAME], place[_KEY] = time, received, key
    for c in range(len(values)):
        place[_ITEM + c], place[_ITEM + len(values) + c] = values[c], flags[c]
    device[_SIZE] += 1.0


@kernel
def _copy(values: Floats, flags: Words, item: Floats) -> None:
    for c in range(len(values)):
        item[c], item[len(values) + c] = values[c], flags[c]


@kernel
def _arrive(
    start: int,
    n: int,
    row: Rows,
    time: Ints,
    received: Ints,
    sequence: Ints,
    values: Floats,
    flags: Words,
    verdict: Bytes,
    rules: Floats,
    item: Floats,
    plan: Ints,
    head: Floats,
    recent: Floats,
    held: Floats,
    known: Floats,
    part: Floats,
    gaps: Floats,
    queue: Floats,
    codes: Ints,
    numbers: Floats,
) -> tuple[int, int]:
    """Work off readings `start` to `n`: (next reading, rows written). Stops while all that the next
    reading may set free still has room."""
    m = 0
    for i in range(start, n):
        if m + plan[_FREED] > len(codes):
            return i, m
        d, word = row[i], int(verdict[i])
        device, key, accepted = head[d], 0, False
        _copy(values[i], flags[i], item)
        # Admission has the last word on clocks and values; what it would refuse is not kept here.
        if word == _ADMITTED and clock_verdict(time[i], received[i], plan[_MAX_AHEAD]) == _ADMITTED:
            key = key_of(plan[_POLICY], time[i], received[i], sequence[i], values[i])
            if _known_already(d, key, device, recent, held):
                word = _DUPLICATE
            elif device[_COUNT] > 0.0 and time[i] < device[_RELEASED]:
                word = _LATE
            else:
                accepted = examine(i, values, flags, rules) == FINE
        if not accepted:
            m = put(m, d, time[i], received[i], sequence[i], word, item, codes, numbers)
            continue
        _hold(d, time[i], received[i], key, values[i], flags[i], device, held)
        passed = device[_NEWEST] - plan[_LATENESS]
        while device[_SIZE] > plan[_ROOM] or (device[_SIZE] > 0.0 and held[0, d, _TIME] <= passed):
            m = _release(m, d, plan, head, recent, held, known, part, gaps, queue, codes, numbers)
    return n, m


@kernel
def _tick(
    start: int,
    rows: int,
    clock: int,
    plan: Ints,
    head: Floats,
    recent: Floats,
    held: Floats,
    known: Floats,
    part: Floats,
    gaps: Floats,
    queue: Floats,
    codes: Ints,
    numbers: Floats,
) -> tuple[int, int]:
    """Let go what silent devices have waited for long enough: (next device row, rows written)."""
    m = 0
    for d in range(start, rows):
        if m + plan[_FREED] > len(codes):
            return d, m
        device = head[d]
        if device[_COUNT] + device[_SIZE] > 0.0:
            silent = max(0, clock - int(device[_RECEIVED]))
            passed = int(device[_NEWEST]) + silent - plan[_LATENESS]
            while device[_SIZE] > 0.0 and held[0, d, _TIME] <= passed:
                m = _release(
                    m, d, plan, head, recent, held, known, part, gaps, queue, codes, numbers
                )
            if plan[_HOW] == WAITING and overdue(passed, plan[_SPAN], part[d]):
                start = m
                m = close_row(m, d, part[d], codes, numbers)
                m = _queue(start, m, d, plan, gaps, queue, codes, numbers)
            if plan[_QUEUE] != 0:
                m = let_go(m, d, passed, plan[_QUEUE], plan[_SPANS:], gaps, queue, codes, numbers)
    return rows, m


class Arrange:
    """Takes readings in and gives rows out, none, one or several for each: in order of event time
    for each device, and assembled. Repetitions and what comes too late go out with their verdict,
    at once, as does whatever has one already; what admission will refuse is given to it as it is.

    A device's watermark is its newest event time less `lateness`; while it is silent, its clock
    moves as ours does, by ticks. A reading goes on once the watermark has reached it, or once more
    than `room` of the device's readings wait. One that is older than what went on is late.

    - `max_ahead_us`, `duplicates`, `remember`: as for admission, which then need not look for
      duplicates itself
    - `lateness`: microseconds; 0: every reading goes on at once
    - `room`: readings of one device that are held back at most
    - `assemble`: "last": each message gives a row, in which channels that it lacks have their last
      known value, unless that is older than `span`; "wait": a row goes on when it has all channels,
      when a message has one that it has already, or `span` after its first message; "": neither
    - `span`: microseconds
    - `gaps`: for each channel, the longest time between two of its values through which missing
      ones between them are interpolated, microseconds, 0 = none; a row waits for as long, by its
      device's watermark, and those behind it with it
    - `queue`: rows of one device that wait for that at most; beyond it the oldest goes as it is

    Blocks, all per device: "head" (`newest` event time accepted and when it was `received`, event
    time last `released`, `count` released, `size` held back), "held" (a layer for each reading that
    is held back), "recent" (keys of the newest released), "known" and "part" (last known values,
    unfinished row), "gaps" and "queue" (last value of each interpolated channel, rows that wait).
    """

    def __init__(
        self,
        schema: Schema,
        capacity: int,
        *,
        max_ahead_us: int,
        duplicates: Policy,
        remember: int,
        lateness: int = 0,
        room: int = 0,
        assemble: str = "",
        span: int = 0,
        gaps: Sequence[int] = (),
        queue: int = 0,
    ) -> None:
        if not (0 <= room <= ROOMIEST and 0 <= queue <= ROOMIEST):
            raise ValueError(f"room for {room}, {queue} readings of a device; give 0 to {ROOMIEST}")
        k = len(schema)
        head = Block([Field(name) for name in _HEAD], capacity)
        # At least two layers: a block of one layer keeps no depth of its own.
        held = Block([Field("reading", (_ITEM + 2 * k,))], capacity, layers=max(2, room + 1))
        held.depth = head.view("size")
        self.blocks = {"head": head, "held": held}
        recent, known, part = (np.zeros((capacity, 0)) for _ in range(3))
        if remember:
            self.blocks["recent"] = Block([Field("keys", (remember,))], capacity)
            recent = self.blocks["recent"].array
        if assemble == "last":
            self.blocks["known"] = Block([Field("values", (k,)), Field("times", (k,))], capacity)
            known = self.blocks["known"].array
        if assemble == "wait":
            fields = [Field("first"), Field("time"), Field("received"), Field("item", (2 * k,))]
            self.blocks["part"] = Block(fields, capacity)
            part = self.blocks["part"].array
        waiting, entries = np.zeros((capacity, 0)), np.zeros((0, capacity, 0))
        if queue:
            known_at = [Field("known", (k,)), Field("times", (k,))]
            own = Block([Field("size"), Field("newest"), *known_at], capacity)
            rows = Block([Field("row", (ITEM + 2 * k,))], capacity, layers=queue + SPARE)
            rows.depth = own.view("size")
            self.blocks |= {"gaps": own, "queue": rows}
            waiting, entries = own.array, rows.stack
        policy = list(Policy).index(duplicates)
        # One reading may set free all that is held back, each as two rows, and all that waits.
        freed = 2 * (room + 2) + queue
        own_plan = [lateness, room, _HOWS[assemble], span, policy, max_ahead_us, queue, freed]
        plan = np.array([*own_plan, *gaps], np.int64)
        self._rules, self._item = limits(schema), np.zeros(2 * k)
        self._state = (plan, head.array, recent, held.stack, known, part, waiting, entries)
        self._codes, self._numbers = np.zeros((0, 5), np.int64), np.zeros((0, 2 * k))
        self._waiting = [head.view("size")]
        self._waiting += [self.blocks["part"].view("first")] if assemble == "wait" else []
        self._waiting += [self.blocks["gaps"].view("size")] if queue else []

    def readings(self, batch: Batch, out: Batch) -> Iterator[Batch]:
        """What the readings of a batch set free, in `out`, as often as it must be filled for that;
        values and flags of the batch are changed."""
        columns = (batch.row, batch.time, batch.received, batch.sequence, batch.values)
        given = (*columns, batch.flags, batch.verdict, self._rules, self._item, *self._state)
        done, n = 0, batch.n
        self._fit(out)
        while done < n:
            done, m = _arrive(done, n, *given, self._codes, self._numbers)
            if m:
                yield self._filled(out, m)

    def tick(self, clock: int, rows: int, out: Batch) -> Iterator[Batch]:
        """What of the devices in the first rows has waited for long enough at `clock`."""
        done = 0
        self._fit(out)
        while done < rows:
            done, m = _tick(done, rows, clock, *self._state, self._codes, self._numbers)
            if m:
                yield self._filled(out, m)

    def waits(self, rows: int) -> Bools:
        """bool[rows]: whether something of the device is still held back."""
        waiting = np.zeros(rows, np.bool_)
        for column in self._waiting:
            waiting |= column[:rows] != 0.0
        return waiting

    def _fit(self, out: Batch) -> None:
        if len(self._codes) != out.capacity:
            self._codes = np.zeros((out.capacity, 5), np.int64)
            self._numbers = np.zeros((out.capacity, self._numbers.shape[1]))

    def _filled(self, out: Batch, m: int) -> Batch:
        k = out.values.shape[1]
        out.n = m
        out.row[:m], out.time[:m], out.received[:m], out.sequence[:m], out.verdict[:m] = (
            self._codes[:m].T
        )
        out.values[:m], out.flags[:m] = self._numbers[:m, :k], self._numbers[:m, k:]
        return out
