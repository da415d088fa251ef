"""The checks that every learner must pass, each over one series of steps."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import base

from models.last_step import last_step
from models.learner import Learner
from streamgauge.calls import Chain, Now
from streamgauge.schedule import MADE, ROW, SEQUENCE, STEP, TARGET
from streamgauge.state import Keys, put_rows, take_rows
from streamgauge.words import Step
from tests.contracts.invariance import Cut, assert_same_bits, assert_same_state, pieces, singles
from tests.contracts.learner_subjects import INPUTS, LANE, Subject
from tests.contracts.schedules import CANARY, ROWS, Steps, make
from tests.series_by_hand import ByHand

__all__ = [
    "check_alone",
    "check_chain",
    "check_cut",
    "check_dirty",
    "check_evict",
    "check_fleet",
    "check_learning_alone_changes",
    "check_move",
    "check_river",
    "play",
    "unseen",
]

ELSEWHERE = (np.arange(ROWS) + 5) % ROWS

Build = Callable[[], Learner]
Floats = NDArray[np.float64]


def opened(build: Build) -> Learner:
    """A new learner, all of its rows handed out."""
    learner = build()
    for block in learner.blocks.values():
        block.open_device(np.arange(ROWS))
    return learner


def play(learner: Learner, steps: Steps, cut: Cut = (), *, chained: bool = False) -> Floats:
    """Send steps through a learner, cut into schedules; float64[n], `CANARY` where none asked."""
    schedule = steps.schedule()
    now = np.zeros(len(Now), np.int64)
    run: Callable[[], Any] = partial(learner.run, schedule)
    if chained:
        call = learner.call(schedule)
        assert call is not None
        run = Chain([call], now).run
    answers = []
    for start, stop in pieces(len(steps), cut):
        steps.fill(schedule, start, stop)
        now[Now.STEPS] = schedule.n
        given = {name: getattr(schedule, name).copy() for name in ("codes", "numbers", "x")}
        run()
        assert_same_bits({name: getattr(schedule, name) for name in given}, given)
        asked = np.append(steps.are(LANE, Step.PREDICT)[start:stop], False)
        silent = np.resize(~asked, len(schedule.answers))
        silent[schedule.n :] = True
        assert (schedule.answers[silent] == CANARY).all(), "answers where nobody asked"
        assert (schedule.answers[~silent] != CANARY).all(), "no answer, not even NaN"
        answers.append(schedule.answers[: schedule.n].copy())
    return np.concatenate(answers)


def _same_answers(ours: Floats, theirs: Floats) -> None:
    assert_same_bits({"answers": ours}, {"answers": theirs})


def _same_fleet(
    ours: Learner,
    theirs: Learner,
    rows: NDArray[np.int64],
    target: NDArray[np.int64] | None = None,
    *,
    devices_only: bool = False,
) -> None:
    """These rows are equal bit by bit; models that only River understands go on alike."""
    homes = np.arange(ROWS) if target is None else target
    assert_same_state(ours.blocks, theirs.blocks, rows, homes[rows], devices_only=devices_only)
    assert (ours.blobs is None) == (theirs.blobs is None)
    if ours.blobs is not None:
        probe = make(5, 90, devices=ROWS)
        probe = probe.chosen(np.isin(probe.codes[:, ROW], rows))
        _same_answers(play(ours, probe), play(theirs, probe.moved(homes)))


def check_cut(build: Build, steps: Steps, cut: Cut) -> None:
    """Answers and state are the same for the steps whole, one by one, and cut anywhere."""
    for other in (cut, singles(len(steps))):
        whole, learner = opened(build), opened(build)
        _same_answers(play(learner, steps, other), play(whole, steps))
        _same_fleet(learner, whole, np.arange(ROWS))


def check_chain(build: Build, steps: Steps, cut: Cut) -> None:
    """The bound kernel call does what `run` does."""
    plain, chained = opened(build), opened(build)
    if chained.call(steps.schedule()) is not None:
        _same_answers(play(chained, steps, cut, chained=True), play(plain, steps, cut))
        _same_fleet(chained, plain, np.arange(ROWS))


def check_alone(build: Build, steps: Steps) -> None:
    """A device fares the same in a fleet and alone, in whatever row it lives; rows without steps
    of the lane stay as they were."""
    fleet, fresh = opened(build), opened(build)
    answers = play(fleet, steps)
    own = steps.are(LANE, Step.PREDICT, Step.LEARN)
    busy = np.unique(steps.codes[own, ROW])
    for row in busy:
        its = own & (steps.codes[:, ROW] == row)
        learner = opened(build)
        _same_answers(play(learner, steps.chosen(its).moved(ELSEWHERE)), answers[its])
        _same_fleet(fleet, learner, np.array([row]), ELSEWHERE, devices_only=True)
    idle = np.setdiff1d(np.arange(ROWS), busy)
    _same_fleet(fleet, fresh, idle, devices_only=True)


def check_learning_alone_changes(build: Build, steps: Steps, lessons: Step = Step.LEARN) -> None:
    """Neither predictions, nor labels that came too late or never, nor other lanes change state;
    of what learns when it is asked, predictions alone do."""
    fleet, taught = opened(build), opened(build)
    play(fleet, steps)
    play(taught, steps.chosen(steps.are(LANE, lessons)))
    _same_fleet(fleet, taught, np.arange(ROWS))


def check_move(build: Build, steps: Steps, at: int, cut: Cut = ()) -> None:
    """Some devices, moved into other rows of a used fleet, go on as if they had stayed."""
    here, there = opened(build), opened(build)
    # Whoever lived in the target rows before must leave no trace.
    play(there, steps.moved(ELSEWHERE))
    play(here, steps.chosen(slice(0, at)))
    moving = np.unique(steps.codes[:, ROW])[::2]
    saved = take_rows(here.blocks, moving)
    blobs = None if here.blobs is None else here.blobs.dump(moving)
    rest = steps.chosen((np.arange(len(steps)) >= at) & np.isin(steps.codes[:, ROW], moving))
    stayed = play(here, rest)
    put_rows(there.blocks, ELSEWHERE[moving], saved)
    if blobs is not None:
        assert there.blobs is not None
        there.blobs.load(ELSEWHERE[moving], blobs)
    inside = tuple(place for place in cut if place < len(rest))
    _same_answers(play(there, rest.moved(ELSEWHERE), inside), stayed)
    _same_fleet(here, there, moving, ELSEWHERE)


def check_dirty(build: Build, steps: Steps, at: int) -> None:
    """A copy that gets the rows marked as dirty, and no others, is up to date."""
    learner, copy = opened(build), opened(build)
    if learner.blobs is None or copy.blobs is None:
        return
    play(learner, steps.chosen(slice(0, at)))
    copy.blobs.load(np.arange(ROWS), learner.blobs.dump(np.arange(ROWS)))
    learner.blobs.dirty.clear()
    play(learner, steps.chosen(slice(at, None)))
    learner.evict(np.unique(steps.codes[:, ROW])[:1])
    dirty = sorted(learner.blobs.dirty)
    copy.blobs.load(dirty, learner.blobs.dump(dirty))
    _same_fleet(learner, copy, np.arange(ROWS))


def check_evict(build: Build, steps: Steps, forget: str = "evict") -> None:
    """A row whose device was forgotten, or whose model is to begin anew (`forget` = "restart"), is
    like one that never had any; the others stay."""
    used, fresh, kept = opened(build), opened(build), opened(build)
    play(used, steps)
    play(kept, steps)
    rows = np.unique(steps.codes[:, ROW])
    gone, others = rows[::2], rows[1::2]
    getattr(used, forget)(gone)
    _same_fleet(used, fresh, gone, devices_only=True)
    again = steps.chosen(np.isin(steps.codes[:, ROW], others))
    _same_answers(play(used, again), play(kept, again))
    getattr(used, forget)(rows)
    fresh = opened(build)
    _same_answers(play(used, steps), play(fresh, steps))
    _same_fleet(used, fresh, rows, devices_only=True)


def check_fleet(build: Callable[[Keys], Learner], steps: Steps, cut: Cut = ()) -> None:
    """One model for all: it fares as that of a single device which had all the steps; no device
    that is forgotten, and no cut, changes it."""
    fleet, single = build(Keys.FLEET), opened(lambda: build(Keys.DEVICE))
    assert fleet.keys is Keys.FLEET
    assert all(block.keys is Keys.FLEET for block in fleet.blocks.values())
    alone = steps.moved(np.zeros(ROWS, np.int64))
    _same_answers(play(fleet, steps.shared(), cut), play(single, alone))
    fleet.evict(np.arange(ROWS))
    _same_answers(play(fleet, steps.shared()), play(single, alone))
    if fleet.blobs is not None:
        other = build(Keys.FLEET)
        assert other.blobs is not None
        other.blobs.load([0], fleet.blobs.dump([0]))
        _same_answers(play(other, steps.shared()), play(single, alone))


def ask(subject: Subject, model: Any, x: dict[Any, float]) -> Any:
    """What learns by itself is asked for a cluster or a score, and learns whatever came of that."""
    if not subject.watched:
        groups = isinstance(last_step(model), base.Clusterer)
        try:
            return model.predict_one(x) if groups else model.score_one(x)
        finally:
            model.learn_one(x)
    y = x.pop(subject.watched, None)
    if y is None:
        return np.nan
    try:
        return model.score_one(x, y)
    finally:
        model.learn_one(x, y)


def by_river(subject: Subject, steps: Steps) -> Floats:
    """What River's own estimators answer, one per device; NaN where they raise."""
    models: dict[int, Any] = {}
    answers = np.full(len(steps), CANARY)
    for i in np.flatnonzero(steps.are(LANE, Step.PREDICT, Step.LEARN)).tolist():
        row = int(steps.codes[i, ROW])
        if row not in models:
            ahead = subject.ahead
            models[row] = ByHand(subject.make, ahead) if ahead else subject.make()
        model = models[row]
        values = steps.x[i, list(INPUTS)].tolist()
        x = {name: v for name, v in zip(subject.names, values, strict=True) if v == v}
        asked = steps.codes[i, STEP] == Step.PREDICT
        try:
            with np.errstate(all="ignore"):
                if asked and subject.ahead is not None:
                    place = SEQUENCE if subject.ahead.readings else MADE
                    position = float(steps.codes[i, place])
                    answers[i] = model.ask(position, float(steps.numbers[i, TARGET]), x)
                elif asked and subject.by_itself:
                    answers[i] = ask(subject, model, x)
                elif asked:
                    answers[i] = model.predict_one(x)
                elif not subject.by_itself:
                    model.learn_one(x, subject.target(float(steps.numbers[i, TARGET])))
        except (ArithmeticError, LookupError, TypeError, ValueError):
            if asked:
                answers[i] = np.nan
    return answers


def check_river(build: Build, subject: Subject, steps: Steps) -> None:
    """The answers are River's own, at most 1e-9 apart; where River has none, neither have we."""
    ours, theirs = play(opened(build), steps), by_river(subject, steps)
    finite = np.isfinite(theirs)
    assert not np.isfinite(ours[~finite]).any(), "an answer where River has none"
    np.testing.assert_allclose(ours[finite], theirs[finite], rtol=1e-9, atol=1e-9)


def seen(subject: Subject, steps: Steps) -> set[str]:
    """Which outcomes these steps bring about."""
    learner, untaught = opened(subject.build), opened(subject.build)
    answers = play(learner, steps)
    asked = steps.are(LANE, Step.PREDICT)
    before, after = play(untaught, steps.chosen(asked)), answers[asked]
    if subject.by_itself:
        # What was asked before it first: nothing but its own answers can show what it learned.
        before = np.full(len(after), after[0] if len(after) else np.nan)
    finite = asked & np.isfinite(answers)
    gaps = np.isnan(steps.x[:, INPUTS])
    found_here = {
        "predicts": finite.any(),
        "learns": (np.isfinite(after) & (after != before)).any(),
        "does without": (finite & gaps.any(axis=1) & ~gaps.all(axis=1)).any(),
        "has nothing": (finite & gaps.all(axis=1)).any(),
        "diverges": (asked & ~np.isfinite(answers)).any(),
        "refuses": bool(learner.failures),
    }
    return {name for name, happened in found_here.items() if happened}


def unseen(subject: Subject, streams: Iterable[Steps]) -> set[str]:
    """Outcomes of the subject that none of the streams brought about."""
    missing = set(subject.outcomes)
    for steps in streams:
        if not missing:
            break
        missing -= seen(subject, steps)
    return missing
