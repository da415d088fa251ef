"""Arranges readings before admission: in order of event time, assembled into rows, interpolated."""

from collections.abc import Iterator, Sequence

import numpy as np

from stream_processor.arrange.assemble import NOT, WAITING, WITH_LAST
from stream_processor.arrange.flow import HEAD, HELD, arrive, tick
from stream_processor.arrange.interpolate import ITEM, SPARE
from stream_processor.clean._range import limits
from stream_processor.duplicates import Policy
from streamgauge.arrays import Bools
from streamgauge.batch import Batch
from streamgauge.schema import Schema
from streamgauge.state import Block, Field

__all__ = ["ROOMIEST", "Arrange"]

ROOMIEST = 256
"""Readings of one device that may be held back: a few of them must fit a batch of the walk."""

_HOWS = {"": NOT, "last": WITH_LAST, "wait": WAITING}


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
        k = schema.width
        head = Block([Field(name) for name in HEAD], capacity)
        # At least two layers: a block of one layer keeps no depth of its own.
        held = Block([Field("reading", (HELD + 2 * k,))], capacity, layers=max(2, room + 1))
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
        plan = np.array([*own_plan, *gaps, *[0] * (k - len(gaps))], np.int64)
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
            done, m = arrive(done, n, *given, self._codes, self._numbers)
            if m:
                yield self._filled(out, m)

    def tick(self, clock: int, rows: int, out: Batch) -> Iterator[Batch]:
        """What of the devices in the first rows has waited for long enough at `clock`."""
        done = 0
        self._fit(out)
        while done < rows:
            done, m = tick(done, rows, clock, *self._state, self._codes, self._numbers)
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
