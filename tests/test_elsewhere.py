"""Labels from elsewhere against a plain reference, in any order and however the log is cut."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_processor.elsewhere import LAGS, TALLIES, bucket, lag_quantile
from stream_processor.labels import OVERFLOWED, LabelBatch, LabelJoin
from streamgauge.batch import Batch, Features
from streamgauge.schedule import (
    DUE,
    LANE,
    MODEL,
    ROW,
    SEQUENCE,
    SOURCE,
    STEP,
    TARGET,
    WEIGHT,
    Elsewhere,
    Lane,
    Schedule,
)
from streamgauge.words import Step
from tests.test_own_labels import lane as channel_lane

SECOND = 10**6
BEGIN = 10**15
EXPIRE, TEACH = 40 * SECOND, 15 * SECOND
DEVICES = 3


def lane(within: int | None, delay: int = 0, *, scope: Any = "device") -> Lane:
    """A lane whose labels name an id, or a time at most `within` seconds away."""
    return replace(
        channel_lane(delay, 0),
        task=f"e{within}.{delay}",
        target=-1,
        scope=scope,
        elsewhere=Elsewhere(None if within is None else within * SECOND, EXPIRE, TEACH),
    )


LANES = (lane(None), lane(3), channel_lane(3, 0), lane(2, 4), lane(None, scope="fleet"))
ASIDE = [k for k, one in enumerate(LANES) if one.elsewhere is not None]


@dataclass(frozen=True)
class Reading:
    """A reading of a device: time and received, in microseconds; y is the channel lane's."""

    row: int
    time: int
    received: int
    y: float


@dataclass(frozen=True)
class Told:
    """A label for one lane, by sequence or (-1 there) by time."""

    lane: int
    row: int
    sequence: int
    at: int
    received: int
    y: float


Log = list[Any]
"""Readings, labels, and integers: clock ticks."""


def make(seed: int, n: int) -> Log:
    """A log of readings, of labels of every fate and order, of repetitions, and of ticks."""
    random = np.random.default_rng(seed)
    log: Log = []
    clock, count = BEGIN, Counter[int]()
    made: list[Reading] = []
    told: list[Told] = []
    for _ in range(n):
        clock += int(random.choice([0, 1, 1, 2, 5, 20])) * SECOND
        luck = random.random()
        if luck < 0.45 or not made:
            reading = Reading(int(random.integers(DEVICES)), clock, clock, random.normal())
            log.append(reading)
            made.append(reading)
            count[reading.row] += 1
        elif luck < 0.5:
            log.append(clock)
        else:
            again = told and luck < 0.65
            label = (
                replace(told[-int(random.integers(1, min(9, len(told)) + 1))]) if again else None
            )
            label = label or _label(random, made, count)
            label = replace(label, received=clock)
            told.append(label)
            log.append(label)
    return log


def _label(random: np.random.Generator, made: list[Reading], count: Counter[int]) -> Told:
    """A new label for one of the last predictions, or for none."""
    k = int(random.choice(ASIDE))
    target = made[-int(random.integers(1, min(12, len(made)) + 1))]
    row = -1 if random.random() < 0.03 else target.row
    y = float(random.normal())
    if LANES[k].elsewhere.within is None:  # type: ignore[union-attr]  # each of these lanes has one
        back = int(random.integers(-1, 12))
        return Told(k, row, max(0, count[target.row] - 1 - back), -1, 0, y)
    away = int(random.integers(-4, 5)) * SECOND
    return Told(k, row, -1, target.time + LANES[k].delay + away, 0, y)


Steps = list[tuple[int, int, int, int, float | None]]
"""Step, lane, row, sequence and target, in order."""


class Reference:
    """What the join promises for lanes with labels from elsewhere, as plainly as possible: it
    remembers every prediction for ever."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self.lanes = lanes
        self.made: dict[int, list[Reading]] = defaultdict(list)
        self.fate: dict[tuple[int, int, int], Any] = {}
        """By lane, row and sequence: "expired", or the time or id that a label named."""
        self.counts: Counter[tuple[int, str]] = Counter()
        self.told: Steps = []

    def run(self, log: Log) -> Steps:
        for event in log:
            if isinstance(event, Reading):
                self.expire(event.received, [event.row], ASIDE)
                self.made[event.row].append(event)
                for k in ASIDE:
                    sequence = len(self.made[event.row]) - 1
                    self.told.append((int(Step.PREDICT), k, event.row, sequence, None))
            elif isinstance(event, Told):
                self.expire(event.received, [event.row], [event.lane])
                self.label(event)
            else:
                self.expire(event, range(DEVICES), ASIDE)
        return self.told

    def expire(self, clock: int, rows: Any, lanes: Any) -> None:
        for row in rows:
            for k in lanes:
                for sequence, reading in enumerate(self.made[row]):
                    late = clock - reading.received > EXPIRE
                    if late and (k, row, sequence) not in self.fate:
                        self.fate[k, row, sequence] = "expired"
                        self.told.append((int(Step.EXPIRE), k, row, sequence, None))

    def label(self, label: Told) -> None:
        sequence = self.meant(label)
        if not isinstance(sequence, int):
            self.counts[label.lane, sequence] += 1
            return
        place = (label.lane, label.row, sequence)
        if place in self.fate:
            expired = [
                k[2] for k, fate in self.fate.items() if fate == "expired" and k[:2] == place[:2]
            ]
            late = sequence <= max(expired, default=-1)
            self.counts[label.lane, "late" if late else "duplicate"] += 1
            return
        self.fate[place] = label.at
        age = label.received - self.made[label.row][sequence].received
        step = Step.LEARN if age <= TEACH else Step.SCORE
        self.counts[label.lane, "taught" if step is Step.LEARN else "scored"] += 1
        self.told.append((int(step), *place, label.y))

    def meant(self, label: Told) -> int | str:
        """The sequence of the prediction that the label is for, or why there is none."""
        made = self.made[label.row] if label.row >= 0 else []
        if label.sequence >= 0:
            return label.sequence if label.sequence < len(made) else "unmatched"
        terms = self.lanes[label.lane].elsewhere
        assert terms is not None
        assert terms.within is not None
        apart = [abs(r.time + self.lanes[label.lane].delay - label.at) for r in made]
        near = [k for k, gap in enumerate(apart) if gap <= terms.within]
        if any(self.fate.get((label.lane, label.row, k)) == label.at for k in near):
            return "duplicate"
        return min(near, key=lambda k: apart[k]) if near else "unmatched"


class Played:
    """A join that a log was sent through, in runs that were cut and with little room for steps."""

    def __init__(
        self, log: Log, cuts: Sequence[int], capacity: int, *, lanes: Sequence[Lane] = LANES,
        pending: int = 500,
    ) -> None:  # fmt: skip
        self.join = LabelJoin(lanes, 1, DEVICES, pending=pending, skew=0)
        self.schedule = Schedule(max(capacity, self.join.room()), 1)
        self.codes: list[Any] = []
        self.numbers: list[Any] = []
        self.x: list[float] = []
        self.labels = LabelBatch(64)
        edges = [0, *sorted(cuts), len(log)]
        for start, stop in pairwise(edges):
            for kind, run in groupby(log[start:stop], type):
                events = list(run)
                self.play(kind, events)

    def play(self, kind: type, events: list[Any]) -> None:
        if kind is Reading:
            self.read(events)
        elif kind is Told:
            for k in range(0, len(events), self.labels.capacity):
                self.tell(events[k : k + self.labels.capacity])
        else:
            for clock in events:
                done = 0
                while done < DEVICES:
                    done = self.join.expire(clock, done, DEVICES, self.schedule)
                    self.gather()

    def read(self, events: list[Reading]) -> None:
        batch = Batch(len(events), 1)
        batch.n = n = len(events)
        features = Features(("x",), (frozenset(),), n)
        for i, reading in enumerate(events):
            batch.row[i], batch.time[i] = reading.row, reading.time
            batch.received[i], batch.values[i] = reading.received, reading.y
            features.x[i] = reading.time
        self.work(self.join.call(batch, features, self.schedule), n)

    def tell(self, events: list[Told]) -> None:
        self.labels.n = n = len(events)
        for i, told in enumerate(events):
            self.labels.codes[i] = (told.lane, told.row, told.sequence, told.at, told.received)
            self.labels.values[i] = told.y
        self.work(self.join.meet(self.labels, self.schedule), n)

    def work(self, call: Any, n: int) -> None:
        done = 0
        while done < n:
            done, self.schedule.n = call.run(done=done, n=n)
            self.gather()

    def gather(self) -> None:
        n = self.schedule.n
        codes = self.schedule.codes[:n].copy()
        # The place of a reading in its batch is the one thing that a cut does change.
        codes[:, SOURCE] = 0
        self.codes += codes.tolist()
        self.numbers += self.schedule.numbers[:n].tolist()
        self.x += self.schedule.x[:n, 0].tolist()

    def steps(self, lanes: Sequence[int] = ASIDE) -> Steps:
        return [
            (c[STEP], c[LANE], c[ROW], c[SEQUENCE], None if y[TARGET] != y[TARGET] else y[TARGET])
            for c, y in zip(self.codes, self.numbers, strict=True)
            if c[LANE] in lanes
        ]

    def tallies(self) -> dict[tuple[int, str], float]:
        met = {k: self.join.met(k) for k in ASIDE}
        return {(k, name): met[k][name] or 0.0 for k in ASIDE for name in TALLIES}

    def bits(self) -> dict[str, bytes]:
        rows = np.arange(DEVICES)
        return {
            f"{name}.{part}": array.tobytes()
            for name, block in self.join.blocks.items()
            for part, array in block.take(rows if name != "elsewhere" else rows[:1]).items()
        }


cuts = st.lists(st.integers(1, 200), max_size=30)


@given(st.integers(0, 10_000), st.integers(1, 200), cuts, st.integers(0, 40))
@settings(max_examples=150, deadline=None)
def test_join_equals_reference_for_any_cut_and_any_room(
    seed: int, n: int, cuts: list[int], capacity: int
) -> None:
    """Steps, their order and targets are the reference's: no repetition teaches twice, and no
    label of any order or age is lost."""
    log = make(seed, n)
    wanted = Reference(LANES)
    steps = wanted.run(log)
    played = Played(log, [cut for cut in cuts if cut < n], capacity)
    assert played.steps() == steps
    found = played.tallies()
    for k in ASIDE:
        for name in ("taught", "scored"):
            assert found[k, name] == wanted.counts[k, name]
        if LANES[k].elsewhere.within is None:  # type: ignore[union-attr]  # each of these lanes has one
            assert {name: found[k, name] for name in TALLIES} == {
                name: wanted.counts[k, name] for name in TALLIES
            }
        assert sum(found[k, name] for name in TALLIES) == sum(
            wanted.counts[k, name] for name in TALLIES
        )


@given(st.integers(0, 10_000), st.sampled_from(ASIDE))
@settings(max_examples=80, deadline=None)
def test_a_lane_alone_equals_reference_too(seed: int, k: int) -> None:
    """No other lane keeps the entries that this one has done with: what it must remember of them,
    to know a repetition, it remembers itself."""
    log = make(seed, 200)
    wanted = [(step, 0, *rest) for step, lane, *rest in Reference(LANES).run(log) if lane == k]
    own = [e for e in log if not isinstance(e, Told) or e.lane == k]
    own = [replace(e, lane=0) if isinstance(e, Told) else e for e in own]
    # The label of another lane makes none of this one's predictions expire.
    played = Played(own, [], 1_000, lanes=(LANES[k],))
    assert played.steps([0]) == wanted


@given(st.integers(0, 1_000), cuts, st.integers(0, 40), st.sampled_from([3, 8, 500]))
@settings(max_examples=60, deadline=None)
def test_state_is_the_same_however_the_log_is_cut(
    seed: int, cuts: list[int], capacity: int, pending: int
) -> None:
    """Steps and blocks are the same bits whole, cut anywhere and event by event, also where more
    waits than there is room for."""
    log = make(seed, 200)
    whole = Played(log, [], 10_000, pending=pending)
    for some in ([cut for cut in cuts if cut < 200], list(range(1, 200))):
        parts = Played(log, some, capacity, pending=pending)
        assert parts.codes == whole.codes
        assert repr(parts.numbers) == repr(whole.numbers)
        assert parts.bits() == whole.bits()


def test_logs_reach_every_outcome() -> None:
    """The logs above bring about every step and tally in every lane, and overflow small rings."""
    log = make(1, 4_000)
    played = Played(log, [], 100)
    for k in ASIDE:
        assert {step for step, lane, *_ in played.steps() if lane == k} == set(map(int, Step))
    assert all(played.tallies().values()), played.tallies()
    small = Played(log, [], 100, pending=4)
    assert any(number[WEIGHT] == OVERFLOWED for number in small.numbers)


def test_other_lanes_do_not_notice() -> None:
    """A lane whose label is a channel has the very steps that it has alone."""
    log = make(3, 1_500)
    together = Played(log, [], 100)
    alone = Played(
        [event for event in log if not isinstance(event, Told)], [], 100, lanes=(LANES[2],)
    )
    assert [(s, 0, *rest) for s, _, *rest in together.steps([2])] == alone.steps([0])


def test_a_model_learns_on_the_very_features_it_predicted_with() -> None:
    """Every outcome carries the features of its prediction, and the row of its model."""
    played = Played(make(4, 2_000), [10, 500], 64)
    made: dict[tuple[int, int], float] = {}
    for code, x in zip(played.codes, played.x, strict=True):
        place = (code[ROW], code[SEQUENCE])
        assert made.setdefault(place, x) == x
        assert code[MODEL] == (0 if code[LANE] == 4 else code[ROW])


def by_id(pending: int) -> Iterator[tuple[Log, Steps]]:
    """Logs for one lane by id, with what a ring of that many entries makes of them."""
    for seed in range(20):
        random = np.random.default_rng(seed)
        log: Log = []
        steps: Steps = []
        waiting: list[int] = []
        for i in range(60):
            log.append(Reading(0, BEGIN + i, BEGIN, 0.0))
            if waiting and i - waiting[0] >= pending:
                steps.append((int(Step.EXPIRE), 0, 0, waiting.pop(0), None))
            steps.append((int(Step.PREDICT), 0, 0, i, None))
            waiting.append(i)
            if random.random() < 0.6:
                wanted = int(random.integers(max(0, i - 2 * pending), i + 1))
                log.append(Told(0, 0, wanted, -1, BEGIN, 1.0))
                if wanted in waiting:
                    waiting.remove(wanted)
                    steps.append((int(Step.LEARN), 0, 0, wanted, 1.0))
        yield log, steps


def test_memory_is_bounded() -> None:
    """Where more waits than `pending`, the oldest prediction expires, and only that one."""
    for log, steps in by_id(5):
        played = Played(log, [], 100, lanes=(LANES[0],), pending=5)
        assert played.steps([0]) == steps
        assert played.join.blocks["ring"].depth.max() <= 5


def test_a_label_before_its_prediction_meets_nothing() -> None:
    """The order of the log decides: a label is never kept for a prediction that may come."""
    log = [Told(0, 0, 0, -1, BEGIN, 1.0), Told(1, 0, -1, BEGIN, BEGIN, 1.0)]
    played = Played([*log, Reading(0, BEGIN, BEGIN, 0.0)], [], 100)
    assert {step for step, *_ in played.steps()} == {int(Step.PREDICT)}
    assert played.tallies()[0, "unmatched"] == played.tallies()[1, "unmatched"] == 1


def test_a_repetition_never_teaches_the_next_prediction() -> None:
    """The label of a prediction that was settled long ago, told again, is not taken for the label
    of its neighbour."""
    log: Log = [Reading(0, BEGIN + k * SECOND, BEGIN + k * SECOND, 0.0) for k in range(3)]
    told = Told(1, 0, -1, BEGIN, BEGIN + 3 * SECOND, 7.0)
    played = Played([*log, told, told, told], [], 100)
    learned = [step for step in played.steps() if step[0] == int(Step.LEARN)]
    assert learned == [(int(Step.LEARN), 1, 0, 0, 7.0)]
    assert played.tallies()[1, "duplicate"] == 2
    # It was nearest when it came; what came after it is nearer, and yet it is the same label.
    first = Told(1, 0, -1, BEGIN + 2 * SECOND, BEGIN + 3 * SECOND, 7.0)
    log = [Reading(0, BEGIN, BEGIN, 0.0), first, Reading(0, BEGIN + 2 * SECOND, BEGIN, 0.0), first]
    alone = [replace(e, lane=0) if isinstance(e, Told) else e for e in log]
    for played in (Played(log, [], 100), Played(alone, [], 100, lanes=(LANES[1],))):
        assert [s[3] for s in played.steps([0, 1]) if s[0] == int(Step.LEARN)] == [0]


def test_an_outcome_tells_the_time_that_its_label_is_for() -> None:
    """The label's own time where it names one, else that of the prediction."""
    later = BEGIN + 5 * SECOND
    log = [
        Reading(0, BEGIN, BEGIN, 0.0),
        Told(0, 0, 0, -1, later, 1.0),
        Told(1, 0, -1, BEGIN + SECOND, later, 1.0),
        Told(3, 0, -1, later, later, 1.0),
    ]
    played = Played(log, [], 100)
    due = {code[LANE]: code[DUE] for code in played.codes if code[STEP] == int(Step.LEARN)}
    assert due == {0: BEGIN, 1: BEGIN + SECOND, 3: later}


@pytest.mark.parametrize("seconds", [0.002, 0.5, 60.0, 86_400.0, 3e7])
def test_lags_are_told_within_five_percent(seconds: float) -> None:
    """The quantile of equal lags is that lag, for milliseconds as for a year."""
    lags = np.zeros(LAGS)
    lags[bucket(seconds * 1e6)] = 10
    found = lag_quantile(lags, 0.95)
    assert found == pytest.approx(seconds, rel=0.05)
    assert lag_quantile(np.zeros(LAGS), 0.5) is None
