"""The walk: readings in, records out. One page, readable top to bottom.

admit → clean → features → label join → selection → models → scores → drift → actions → output

Everything is chosen while building; the walk only calls. Batches are cut into parts that fit the
scratch arrays, which changes nothing: any cut of a stream gives the same results and state.
"""

from collections.abc import Callable, Iterator

import numpy as np

from stream_processor.consequences import apart
from stream_processor.copying import Copy
from stream_processor.elsewhere import ROW as LABEL_ROW
from stream_processor.eviction import Eviction
from stream_processor.labels import LabelBatch
from stream_processor.losses import Losses
from stream_processor.operator import Operator
from stream_processor.stages import Stages
from streamgauge.arrays import Floats, Ints, Rows
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Chain, Now
from streamgauge.events import Event, EventKind
from streamgauge.output import SCORE_COLUMNS, Output, Scores
from streamgauge.predictions import HALF, Predictions
from streamgauge.schedule import Schedule
from streamgauge.state import reset_rows
from streamgauge.timing import Stage, Timing

__all__ = ["PART", "Walk"]

PART = 1_024
"""Readings walked at a time: the scratch of one part stays in the processor's cache."""
ROOM = 16 * PART
"""Records gathered before they must be sealed."""


class Walk:
    """Runs the stages over batches and gathers their output until it is sealed.

    `lost` is told of each part of a batch in which something was refused or dropped: which of its
    readings, what they lost, the part as it is now, and where in the batch it begins.
    """

    def __init__(
        self,
        stages: Stages,
        eviction: Eviction,
        *,
        evict_after: int | None = None,
        lost: Callable[[Ints, Losses, Batch, int], None] | None = None,
        timing: Timing | None = None,
    ) -> None:
        self.stages = stages
        self.eviction = eviction
        self.timing = timing or Timing()
        self._lost = lost
        self.evict_after = evict_after
        self.copying: Copy | None = None
        """A copy of the state that is under way: it takes rows before they change."""
        self.clock = 0
        """The log clock of the last tick, microseconds UTC."""
        self.blocks = stages.blocks()
        self._columns = Batch(PART, stages.schema.width)
        self._losses = Losses(self._columns, len(stages.schema))
        self.batch = self._columns.part(0, PART)
        """To be filled with readings, up to PART of them without growing."""
        names = [name for op in stages.features for name in op.names]
        channels = [used for op in stages.features for used in op.channels]
        self._features = Features(names, channels, PART)
        parts = max((lane.parts for lane in stages.lanes), default=0)
        self._schedule = Schedule(stages.join.steps(PART), len(names), parts)
        self.labels = LabelBatch(PART)
        """To be filled with labels from elsewhere, up to PART of them."""
        room = ROOM + self._schedule.capacity
        self._told: list[Event] = []
        self._codes = np.zeros((room, 8), np.int64)
        self._numbers = np.zeros((room, HALF + 1))
        self._parts = np.zeros((room, parts))
        self._classes = stages.classify.of if stages.classify else ()
        self._now = np.zeros(len(Now), np.int64)
        self._leave = [op.evict for op in stages.features if hasattr(op, "evict")]
        """A device that leaves first leaves what knows it beside its own state."""
        self._sealed: list[Output] = []
        self._scores: list[Scores] = []
        self._chain()
        self._compile()

    def _compile(self) -> None:
        """Call what only some messages and ticks call, on nothing: it is compiled, or read from the
        cache, before the stream runs and not while it waits."""
        self.stages.join.expire(0, 0, 0, self._schedule)
        self.stages.retained.keep(self._columns.part(0, 0))
        list(self.stages.silence.tick(0, 0))
        list(self.overdue(0))

    def _chain(self) -> None:
        """Bind every kernel call to the arrays above, once."""
        stages, schedule, now, timing = self.stages, self._schedule, self._now, self.timing
        given = (self._columns, self._features)
        # Before cleaning, which may fill in what was not heard.
        hearing = [stages.silence] if stages.silence.watching else []
        vetting: list[Operator] = [stages.clocks, stages.admit, *hearing]
        admit = [stage.call(*given) for stage in vetting]
        cleaning = {name: stage.call(*given) for name, stage in stages.cleaners.items()}
        clean = list(cleaning.values())
        if self._lost is not None:
            admit = self._losses.before(admit)
            clean = self._losses.after(cleaning, stages.schema)
        calls = [(learner, *stages.taught(learner, schedule)) for learner in stages.learners]
        classify = [stages.classify.call(schedule)] if stages.classify else []
        included = [selection.includes for selection in stages.selections]
        group = [stages.groups.call(schedule)] if len(stages.groups) else []
        of_lanes: list[list[Call]] = [[] for _ in calls]
        for selection in stages.selections:
            of_lanes[selection.lane].append(selection.call(schedule))
        for lane, (learner, own, _) in enumerate(calls):
            of_lanes[lane] += own if learner not in included else []
        models = [*group, *classify, *timing.by_lane(of_lanes)]
        records = (self._codes, self._numbers, self._parts)
        acting = stages.consequences.calls(schedule) if stages.consequences else []
        after = timing.on(
            (Stage.SCORES, stages.scorer.calls(schedule, *records)),
            (Stage.ERROR_DRIFT, [*stages.drift.schedules(schedule), *acting]),
        )
        self._judge = Chain([*timing.around(), *after], now)
        self._settle = Chain([*timing.around((Stage.MODELS, [*group, *classify])), *after], now)
        self._in_python = [(lane, run) for lane, (_, own, run) in enumerate(calls) if not own]
        answer = timing.on((Stage.MODELS, models))
        if not self._in_python:
            answer += after
        join = timing.on((Stage.LABEL_JOIN, [stages.join.call(*given, schedule)]))
        before = timing.around(
            (Stage.ADMIT, admit),
            (Stage.CLEAN, [*clean, stages.flags.call(*given)]),
            (Stage.FEATURES, [stage.call(*given) for stage in stages.features]),
            (Stage.CHANNEL_DRIFT, stages.drift.batches(*given)),
        )
        # Where drift has consequences, what follows is done part by part.
        self._first = Chain(before if stages.consequences else [*before, *join, *answer], now)
        self._next = Chain([*timing.around(), *join, *answer], now)
        met = [stages.join.meet(self.labels, schedule)] if stages.join.elsewhere else []
        self._met = Chain([*timing.around((Stage.LABEL_JOIN, met)), *answer] if met else [], now)

    @property
    def feature_names(self) -> tuple[str, ...]:
        return self._features.names

    @property
    def gathered(self) -> int:
        """Records that wait to be sealed."""
        return int(self._now[Now.AT])

    def readings(self, batch: Batch) -> int:
        """Walk a batch: admit, compute, predict, learn, judge. Returns how many were refused.

        The verdicts are written into the batch. `walk.batch` itself is walked in place.
        """
        self.timing.sizes.add(batch.n)
        self.open()
        if batch is self.batch and batch.capacity == PART:
            return self._part(batch.n)
        refused = 0
        for start in range(0, batch.n, PART):
            stop = min(start + PART, batch.n)
            self._columns.take(batch, start, stop)
            refused += self._part(stop - start, start)
            batch.verdict[start:stop] = self._columns.verdict[: stop - start]
        if batch is self.batch:
            # It grew, so its arrays are no longer those that the calls are bound to.
            self.batch = self._columns.part(0, PART)
        return refused

    def touch(self, rows: Ints | Rows) -> None:
        """To be called before the state of these device rows changes."""
        if self.copying is not None:
            self.copying.ahead(rows)

    def copied(self) -> None:
        """Finish the copy that is under way."""
        if self.copying is not None:
            self.copying.finish()
            self.copying = None

    def arranged(self, batch: Batch) -> Iterator[Batch]:
        """What the readings of a batch other than `walk.batch` set free, to be walked at once."""
        arrange = self.stages.arrange
        assert arrange is not None, "nothing is arranged"
        self.open()
        self.touch(batch.row[: batch.n])
        return arrange.readings(batch, self.batch)

    def retain(self, batch: Batch) -> None:
        """Take the readings of a batch for retained ones: known, and marked so that they teach
        nothing."""
        self.open()
        self.touch(batch.row[: batch.n])
        self.stages.retained.keep(batch)

    def overdue(self, clock: int) -> Iterator[Batch]:
        """What has waited for long enough at a tick that comes next, to be walked at once."""
        arrange, rows = self.stages.arrange, len(self.stages.devices)
        if arrange is None:
            return iter(())
        self.copied()
        return arrange.tick(clock, rows, self.batch)

    def open(self) -> None:
        """Give devices that were handed a row their state: that of a new one, or their own where it
        was kept."""
        devices = self.stages.devices
        if not devices.has_fresh:
            return
        rows = np.unique(devices.fresh())
        self.touch(rows)
        for block in self.blocks.values():
            block.open_device(rows)
        if not (devices.retired or self.eviction.store):
            return
        for row in rows.tolist():
            readings = devices.returned(row)
            if not self.eviction.bring_back(row) and readings:
                self.stages.join.returned(row, readings)

    def _part(self, n: int, start: int = 0) -> int:
        """Walk the first n readings of the bound columns, which begin at `start` of their batch;
        returns how many were refused."""
        if self._leave:
            # Such an operator may change the state of any device.
            self.copied()
        self.touch(self._columns.row[:n])
        self._run(self._first, self._next, self._columns.row[:n])
        if self._lost is not None and self._now[Now.LOST]:
            rows = self._losses.rows(int(self._now[Now.LOST]))
            self._lost(rows, self._losses, self._columns, start)
        return int(self._now[Now.REFUSED])

    def meet(self) -> None:
        """Walk the labels from elsewhere that `labels` holds: learn and judge."""
        self.open()
        self.touch(self.labels.rows)
        rows = self.labels.codes[: self.labels.n, LABEL_ROW]
        self._run(None if self.stages.consequences else self._met, self._met, rows)

    def _run(self, chain: Chain | None, following: Chain, rows: Ints | Rows) -> None:
        """Run a chain, and the other one until the readings or labels of these device rows are
        worked off: all at once, or, where drift has consequences, so that they take effect before
        the device's next one."""
        now, n = self._now, len(rows)
        now[Now.N], now[Now.DONE] = n, 0
        if not self.stages.consequences:
            self._work_off(chain or following, following, n)
            return
        if chain is not None:
            chain.run()
            self.timing.tell()
        for stop in apart(rows):
            now[Now.N] = stop
            self._work_off(following, following, stop)

    def _work_off(self, chain: Chain, following: Chain, n: int) -> None:
        """Run the chain, then the other one, until n readings or labels are worked off."""
        now = self._now
        while True:
            chain.run()
            self.timing.tell()
            if self._in_python:
                began = self.timing.now()
                self._schedule.n = int(now[Now.STEPS])
                for lane, run in self._in_python:
                    alone = self.timing.now()
                    run(self._schedule)
                    self.timing.spent_on(lane, alone)
                self.timing.spent(Stage.MODELS, began)
                self._judge.run()
                self.timing.tell()
            self._tell(int(now[Now.DONE]))
            if now[Now.DONE] >= n:
                return
            chain = following

    def _tell(self, until: int) -> None:
        """Gather what the steps of one schedule, up to reading `until`, say beside their records,
        in the order of the readings; seal what has become much."""
        acting, drifts = self.stages.consequences, self.stages.drift.told(until)
        told = self.stages.silence.told(until)
        told += acting.of(drifts, until) + acting.told(until) if acting else drifts
        told += self.stages.scorer.told()
        if told:
            self._told += sorted(told, key=lambda event: event.source)
        if self._now[Now.AT] >= ROOM or len(self._told) >= ROOM:
            self._seal()

    def _expired(self) -> None:
        """Judge what the label join found to be overdue."""
        self._now[Now.STEPS] = self._schedule.n
        self._settle.run()
        self.timing.tell()
        self._tell(-1)

    def tick(self, clock: int) -> None:
        """Our clock moved: settle what silent devices owe, evict those long idle.

        It may touch any row, so a copy under way is finished first. A clock that was put back is
        followed: silence is then judged later, never too soon.
        """
        self.copied()
        self.open()
        self.clock = clock
        rows = len(self.stages.devices)
        done = 0
        while done < rows:
            done = self.stages.join.expire(clock, done, rows, self._schedule)
            self._expired()
        for event in self.stages.silence.tick(clock, rows):
            self._told.append(event)
            if len(self._told) >= ROOM:
                self._seal()
        self._forget_refused(rows)
        self.eviction.store.prune()
        if self.evict_after is not None:
            idle = self.eviction.idle(clock, self.evict_after)
            if len(idle):
                self.evict(idle)

    def _forget_refused(self, rows: int) -> None:
        """Free the rows of devices of which nothing was ever admitted, nor is anything retained:
        junk must not use up the limit."""
        arrange = self.stages.arrange
        count = self.stages.admit.blocks["admit"].view("count")[:rows]
        if arrange is not None:
            count = count + arrange.waits(rows)
        if not count.all():
            ids, unseen = self.stages.devices.ids, self.stages.retained.received[:rows] == 0.0
            empty = np.flatnonzero((count == 0.0) & unseen)
            junk = [row for row in empty.tolist() if ids[row] is not None]
            if junk:
                self._free(np.array(junk))

    def evict(self, rows: Ints) -> None:
        """Take these devices out of the memory, into what is kept of evicted ones; their rows
        become free. Where they cannot be kept they stay."""
        self.copied()
        for leave in self._leave:
            leave(rows)
        if not self.eviction.keep(rows):
            return
        nothing = float("nan")
        self._told += [
            Event(EventKind.EVICTED, row, -1, self.clock, -1, nothing, nothing, nothing)
            for row in rows.tolist()
        ]
        self._seal()
        self._free(rows)

    def _free(self, rows: Ints) -> None:
        """Make these rows those of nobody."""
        counts = self.stages.join.blocks["head"].view("pushed")[rows].astype(np.int64).tolist()
        reset_rows(self.blocks, rows)
        for learner in self.stages.learners:
            learner.evict(rows)
        self.stages.devices.evict(rows.tolist(), counts)

    def tell(self, event: Event) -> None:
        """Put an event into the output."""
        self._told.append(event)

    def score(self, clock: int) -> None:
        """Put the scores over all devices, as they stand, into the output."""
        lanes = range(len(self.stages.lanes))
        numbers = np.array([self.stages.scorer.numbers(-1, lane) for lane in lanes], np.float64)
        shape = (len(self.stages.lanes), len(SCORE_COLUMNS))
        everyone = np.full(len(self.stages.lanes), -1, np.int64)
        self._scores.append(Scores(clock, np.arange(shape[0]), everyone, numbers.reshape(shape)))

    def _seal(self) -> None:
        n = self.gathered
        if not (n or self._told or self._scores):
            return
        codes: Ints = self._codes[:n].copy()
        numbers: Floats = self._numbers[:n].copy()
        parts = self._parts[:n].copy()
        places = (self.stages.devices.ids, self.stages.lanes)
        records = Predictions(codes, numbers, *places, parts, self._classes)
        self._sealed.append(Output(records, tuple(self._told), tuple(self._scores)))
        self._now[Now.AT] = 0
        self._told = []
        self._scores = []

    def sealed(self) -> list[Output]:
        """Everything since the last call, oldest first."""
        self._seal()
        ready, self._sealed = self._sealed, []
        return ready
