"""The label join against a plain reference, however the stream is cut."""

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_processor.labels import OVERFLOWED, LabelJoin
from streamgauge.batch import Batch, Features
from streamgauge.schedule import LANE, ROW, SEQUENCE, SOURCE, STEP, TARGET, WEIGHT, Lane, Schedule
from streamgauge.words import Step

SECOND = 10**6
PENDING = 4
AHEAD = 10**14
"""Our clock is years ahead of these devices': they send old readings."""


def lane(delay: int, readings: int, *, tolerance: int = 2, change: bool = False) -> Lane:
    """A lane with these seconds or readings to its label."""
    return Lane(
        task=f"t{delay}.{readings}",
        horizon="",
        target=0,
        delay=delay * SECOND,
        readings=readings,
        tolerance=tolerance * SECOND,
        change=change,
        inputs=(0,),
        ready_after=0,
        before_ready="none",
    )


Stream = tuple[Any, Any, Any, Any]
Told = tuple[int, int, int, int, float | None, float]
"""Step, lane, reading, sequence, target, weight."""

LANES = (lane(3, 0), lane(0, 2), lane(0, 0), lane(5, 0, change=True))


def stream(n: int, seed: int) -> Stream:
    """Rows, times, targets (some missing) and verdicts of a stream with gaps."""
    random = np.random.default_rng(seed)
    rows = random.integers(0, 3, n).astype(np.int32)
    time = np.cumsum(random.choice([0, 1, 1, 1, 2, 9], n)) * SECOND + 10**15
    y = random.normal(size=n)
    y[random.random(n) < 0.25] = np.nan
    verdict = (random.random(n) < 0.1).astype(np.uint8)
    return rows, time, y, verdict


class Reference:
    """What the join promises, as plainly as possible."""

    def __init__(self, data: Stream, lanes: Sequence[Lane], pending: int) -> None:
        self.rows, self.time, self.y, self.verdict = data
        self.lanes, self.pending = lanes, pending
        self.told: list[Told] = []
        self.waiting: dict[int, list[deque[Any]]] = {}
        self.known: dict[int, float] = {}
        self.pushed: Counter[int] = Counter()

    def steps(self) -> list[Told]:
        for i in np.flatnonzero(self.verdict == 0).tolist():
            self.reading(i, int(self.rows[i]))
        return self.told

    def tell(self, step: Step, k: int, i: int, entry: Any, weight: float = 1.0) -> None:
        sequence, _, base = entry
        if self.lanes[k].change and base is None:
            return
        target = None
        if step is Step.LEARN:
            target = self.y[i] - base if self.lanes[k].change else self.y[i]
        self.told.append((int(step), k, i, sequence, target, weight))

    def meaning(self, k: int, i: int, entry: Any, count: int) -> Step | None:
        lane, (sequence, made, _) = self.lanes[k], entry
        there = self.y[i] == self.y[i]
        if lane.readings:
            if count - sequence < lane.readings:
                return None
            return Step.LEARN if there else Step.EXPIRE
        due = made + lane.delay
        if self.time[i] < due:
            return None
        if self.time[i] > due + lane.tolerance:
            return Step.EXPIRE
        return Step.LEARN if there else None

    def settle(self, k: int, i: int, d: int) -> None:
        queue = self.waiting[d][k]
        while queue and (step := self.meaning(k, i, queue[0], self.pushed[d])) is not None:
            self.tell(step, k, i, queue.popleft())

    def make_room(self, i: int, d: int) -> None:
        queues = self.waiting[d]
        alive = {entry[0] for queue in queues for entry in queue}
        if len(alive) == self.pending:
            for k, queue in enumerate(queues):
                if queue and queue[0][0] == min(alive):
                    self.tell(Step.EXPIRE, k, i, queue.popleft(), OVERFLOWED)

    def reading(self, i: int, d: int) -> None:
        queues = self.waiting.setdefault(d, [deque() for _ in self.lanes])
        for k in range(len(self.lanes)):
            self.settle(k, i, d)
        self.make_room(i, d)
        last = self.known.get(d)
        now = self.y[i] if self.y[i] == self.y[i] else last
        at_once = [not lane.delay and not lane.readings for lane in self.lanes]
        for k, queue in enumerate(queues):
            queue.append((self.pushed[d], self.time[i], last if at_once[k] else now))
            self.tell(Step.PREDICT, k, i, queue[-1])
        self.pushed[d] += 1
        for k in range(len(self.lanes)):
            if at_once[k]:
                self.settle(k, i, d)
        if now is not None:
            self.known[d] = now


def run(
    data: Stream, lanes: Sequence[Lane], cuts: list[int], capacity: int, pending: int = PENDING
) -> tuple[list[Told], list[tuple[int, int, float]], LabelJoin]:
    """The join's steps over a stream cut at `cuts`, with room for `capacity` steps at a time."""
    rows, time, y, verdict = data
    join = LabelJoin(lanes, 1, 8, pending=pending, skew=0)
    schedule = Schedule(max(capacity, join.room()), 1)
    steps: list[Told] = []
    carried: list[tuple[int, int, float]] = []
    for start, stop in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        batch = Batch(max(1, stop - start), 1)
        batch.n = stop - start
        part = slice(start, stop)
        batch.row[: batch.n], batch.time[: batch.n] = rows[part], time[part]
        batch.received[: batch.n] = time[part] + AHEAD
        batch.values[: batch.n, 0], batch.verdict[: batch.n] = y[part], verdict[part]
        features = Features(("x",), (frozenset(),), batch.capacity)
        features.x[: batch.n, 0] = np.arange(start, stop)
        done = 0
        while done < batch.n:
            done, schedule.n = join.call(batch, features, schedule).run(done=done, n=batch.n)
            for code, number, x in zip(
                schedule.codes[: schedule.n], schedule.numbers, schedule.x, strict=False
            ):
                target = None if np.isnan(number[TARGET]) else number[TARGET]
                step, k, sequence = (int(code[column]) for column in (STEP, LANE, SEQUENCE))
                steps.append((step, k, int(code[SOURCE]) + start, sequence, target, number[WEIGHT]))
                carried.append((int(code[ROW]), sequence, x[0]))
    return steps, carried, join


@given(
    st.integers(0, 10_000),
    st.integers(1, 200),
    st.lists(st.integers(0, 200), max_size=12),
    st.integers(0, 40),
)
@settings(max_examples=150, deadline=None)
def test_join_equals_reference_for_any_cut_and_any_room(
    seed: int, n: int, cuts: list[int], capacity: int
) -> None:
    """Steps, their order and their targets are the reference's, whatever the cut and the room."""
    data = stream(n, seed)
    inside = sorted({cut for cut in cuts if 0 < cut < n})
    steps, _, _ = run(data, LANES, inside, capacity)
    assert steps == Reference(data, LANES, PENDING).steps()


def test_streams_reach_every_outcome() -> None:
    """The generated streams learn, expire and overflow in lanes of every kind."""
    steps, _, _ = run(stream(2_000, 1), LANES, [], 10_000)
    seen = {(step, lane) for step, lane, *_ in steps}
    assert {(int(Step.LEARN), k) for k in range(4)} <= seen
    assert {(int(Step.EXPIRE), k) for k in (0, 1, 2, 3)} <= seen
    assert any(weight == OVERFLOWED for *_, weight in steps)


def test_a_model_learns_on_the_very_features_it_predicted_with() -> None:
    """Learn and expire steps carry the features of the reading that was predicted from."""
    steps, carried, _ = run(stream(1_000, 3), LANES, [10, 500, 501], 64)
    made: dict[tuple[int, int], float] = {}
    for (step, *_), (row, sequence, x) in zip(steps, carried, strict=True):
        if step == Step.PREDICT:
            assert made.setdefault((row, sequence), x) == x
        else:
            assert made[row, sequence] == x


@pytest.mark.parametrize("cuts", [[], list(range(1, 400))])
def test_state_is_the_same_however_the_stream_is_cut(cuts: list[int]) -> None:
    """The join's blocks hold identical bits after one batch and after batches of one."""
    data = stream(400, 9)
    _, _, whole = run(data, LANES, [], 10_000)
    _, _, parts = run(data, LANES, cuts, 12)
    rows = np.arange(3)
    for name in ("head", "ring"):
        for part, array in whole.blocks[name].take(rows).items():
            assert array.tobytes() == parts.blocks[name].take(rows)[part].tobytes()


def test_expire_settles_what_a_silent_device_owes() -> None:
    """A clock past horizon, tolerance and skew expires time lanes; reading lanes go on waiting."""
    rows, time = np.zeros(1, np.int32), np.array([10**15])
    data = (rows, time, np.array([1.0]), np.zeros(1, np.uint8))
    _, _, join = run(data, LANES[:2], [], 100)
    schedule = Schedule(10, 1)
    assert join.owes(np.zeros(1, np.int64)).tolist() == [True]
    assert join.expire(10**15 + AHEAD + 5 * SECOND, 0, 1, schedule) == 1
    assert schedule.n == 0
    assert join.expire(10**15 + AHEAD + 5 * SECOND + 1, 0, 1, schedule) == 1
    assert schedule.codes[: schedule.n, [STEP, LANE]].tolist() == [[int(Step.EXPIRE), 0]]
    assert join.owes(np.zeros(1, np.int64)).tolist() == [False]
