"""The stage that arranges readings keeps to the contract of all operators, though it moves rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_processor.admit import Admit
from stream_processor.arrange import Arrange
from stream_processor.duplicates import Policy
from streamgauge.batch import Batch, Features
from streamgauge.state import put_rows, reset_rows, take_rows
from streamgauge.words import Flag, Verdict
from tests.contracts.invariance import (
    Cut,
    assert_only_finite_or_nan,
    assert_same_bits,
    assert_same_state,
    cuts,
    pieces,
    singles,
)
from tests.contracts.streams import CAPACITY, MAX_AHEAD, SCHEMA, Stream, make, streams

SECOND = 10**6
COLUMNS = ("row", "time", "received", "sequence", "values", "flags", "verdict")
ALL = np.arange(CAPACITY)


def build(policy: Policy = Policy.CONTENT, **options: Any) -> Callable[[], Arrange]:
    """A maker of the stage."""
    remember = 0 if policy is Policy.NONE else 4
    return lambda: Arrange(
        SCHEMA, CAPACITY, max_ahead_us=MAX_AHEAD, duplicates=policy, remember=remember, **options
    )


SUBJECTS = {
    "reorder": build(Policy.TIME, lateness=20 * SECOND, room=5),
    "reorder by sequence": build(Policy.SEQUENCE, lateness=200 * SECOND, room=40),
    "last": build(assemble="last", span=60 * SECOND),
    "wait": build(assemble="wait", span=60 * SECOND),
    "wait, duplicates taken": build(Policy.NONE, assemble="wait", span=5 * SECOND),
    "reorder and last": build(lateness=90 * SECOND, room=3, assemble="last", span=9 * SECOND),
    "interpolate": build(gaps=[60 * SECOND, 0, 20 * SECOND], queue=5),
    "interpolate, duplicates taken": build(Policy.NONE, gaps=[9 * SECOND] * 3, queue=40),
    "reorder, wait and interpolate": build(
        lateness=20 * SECOND,
        room=9,
        assemble="wait",
        span=30 * SECOND,
        gaps=[90 * SECOND] * 3,
        queue=9,
    ),
    "reorder and wait": build(lateness=20 * SECOND, room=9, assemble="wait", span=30 * SECOND),
}
every = pytest.mark.parametrize("name", SUBJECTS)
calm = settings(deadline=None, max_examples=40, derandomize=True)
Outputs = dict[str, np.ndarray[Any, Any]]


def play(
    arrange: Arrange, stream: Stream, cut: Cut = (), *, room: int = 600, first: int = 0
) -> Outputs:
    """All rows that go out; every tenth reading (counted from `first`) is followed by a tick, which
    ends a batch like any cut. `room` rows are handed out at a time."""
    batch, out = Batch(len(stream) + 1, len(SCHEMA)), Batch(room, len(SCHEMA))
    ticks = {k for k in range(1, len(stream) + 1) if (first + k) % 10 == 0}
    places = sorted({*cut, *(k for k in ticks if k < len(stream))})
    rows: list[dict[str, Any]] = []
    for start, stop in pieces(len(stream), tuple(places)):
        stream.fill(batch, start, stop)
        rows += [_taken(ready) for ready in arrange.readings(batch, out)]
        if stop in ticks:
            clock = int(stream.received[stop - 1]) + 40 * SECOND
            rows += [_taken(ready) for ready in arrange.tick(clock, CAPACITY, out)]
    empty = Batch(1, len(SCHEMA))
    empty.n = 0
    parts = [_taken(empty), *rows]
    return {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}


def _taken(batch: Batch) -> dict[str, Any]:
    return {name: getattr(batch, name)[: batch.n].copy() for name in COLUMNS}


@every
@calm
@given(data=st.data())
def test_cut(name: str, data: st.DataObject) -> None:
    """Rows and state depend neither on where a batch was cut nor on how many rows go out at a
    time."""
    stream = data.draw(streams(admitted=False))
    whole = SUBJECTS[name]()
    wanted = play(whole, stream)
    for cut, room in ((data.draw(cuts(len(stream))), 600), (singles(len(stream)), 85)):
        other = SUBJECTS[name]()
        assert_same_bits(play(other, stream, cut, room=room), wanted)
        assert_same_state(other.blocks, whole.blocks, ALL)


@every
@calm
@given(stream=streams(admitted=False))
def test_admission_takes_what_goes_out(name: str, stream: Stream) -> None:
    """Behind this stage admission finds nothing late that was not so before, each device's rows are
    in order of time, no value is infinite, and no reading is lost or doubled."""
    arrange = SUBJECTS[name]()
    out = play(arrange, stream)
    admit = Admit(SCHEMA, CAPACITY, max_ahead_us=MAX_AHEAD, duplicates=Policy.NONE, remember=0)
    batch = Batch(len(out["row"]) + 1, len(SCHEMA))
    batch.n = len(out["row"])
    for column in COLUMNS:
        getattr(batch, column)[: batch.n] = out[column]
    admit.call(batch, Features((), (), 0)).run(n=batch.n)
    taken = batch.verdict[: batch.n] == Verdict.ADMITTED
    assert_only_finite_or_nan("values", batch.values[: batch.n][taken])
    for row in stream.rows:
        assert (np.diff(batch.time[: batch.n][taken & (out["row"] == row)]) >= 0).all()
    if "last" not in name and "wait" not in name:
        blocks = [arrange.blocks[name] for name in ("head", "gaps") if name in arrange.blocks]
        waiting = sum(int(block.view("size").sum()) for block in blocks)
        assert len(out["row"]) + waiting == len(stream)


@every
@calm
@given(data=st.data())
def test_move(name: str, data: st.DataObject) -> None:
    """Devices move to another instance with all that waits, and go on there as here."""
    stream = data.draw(streams(admitted=False))
    at = data.draw(st.integers(1, len(stream)))
    here, there = SUBJECTS[name](), SUBJECTS[name]()
    play(here, stream.chosen(slice(0, at)))
    moving, target = stream.rows[::2], (ALL + 17) % CAPACITY
    play(there, stream.moved(target))
    put_rows(there.blocks, target[moving], take_rows(here.blocks, moving))
    rest = stream.chosen((np.arange(len(stream)) >= at) & np.isin(stream.row, moving))
    assert here.waits(CAPACITY)[moving].tolist() == there.waits(CAPACITY)[target[moving]].tolist()
    if len(rest):
        stayed = play(here, rest)
        moved = play(there, rest.moved(target))
        own = np.isin(stayed["row"], moving)
        theirs = np.isin(moved["row"], target[moving])
        stayed = {k: v[own] for k, v in stayed.items()}
        stayed["row"] = target[stayed["row"]].astype(np.int32)
        _same_by_device(stayed, {k: v[theirs] for k, v in moved.items()})
    assert_same_state(here.blocks, there.blocks, moving, target[moving])


def _same_by_device(ours: Outputs, theirs: Outputs) -> None:
    """A tick goes through devices by row: only within a device is the order the same."""
    for row in np.unique(ours["row"]):
        mine, other = ours["row"] == row, theirs["row"] == row
        assert_same_bits(
            {k: v[mine] for k, v in ours.items()}, {k: v[other] for k, v in theirs.items()}
        )
    assert len(ours["row"]) == len(theirs["row"])


@every
@calm
@given(stream=streams(admitted=False))
def test_alone(name: str, stream: Stream) -> None:
    """No device has an influence on another."""
    without_ticks = stream.chosen(slice(0, 9))
    out = play(SUBJECTS[name](), without_ticks)
    for row in without_ticks.rows:
        own = without_ticks.chosen(without_ticks.row == row)
        mine = out["row"] == row
        assert_same_bits(play(SUBJECTS[name](), own), {k: v[mine] for k, v in out.items()})


@every
@calm
@given(stream=streams(admitted=False))
def test_reset(name: str, stream: Stream) -> None:
    """A row whose device was forgotten is like a row that never had one."""
    used, fresh = SUBJECTS[name](), SUBJECTS[name]()
    play(used, stream)
    reset_rows(used.blocks, stream.rows)
    assert_same_bits(play(used, stream), play(fresh, stream))
    assert_same_state(used.blocks, fresh.blocks, stream.rows)


@every
def test_the_streams_bring_about_what_it_can_do(name: str) -> None:
    """Rows are held back, repetitions found and, where that can be, rows are late or joined."""
    arrange = SUBJECTS[name]()
    stream = make(7, 2_000, admitted=False, devices=2, odd=0.0, missing=0.5, gap=0)
    out = play(arrange, stream)
    words = set(out["verdict"].tolist())
    assert Verdict.LATE in words
    assert (Verdict.DUPLICATE in words) == ("taken" not in name)
    arranged = out["sequence"] == -1
    there = np.isfinite(out["values"][arranged]).mean()
    before = np.isfinite(stream.values[stream.verdict == 0]).mean()
    more = any(word in name for word in ("last", "wait", "interpolate"))
    assert (there > before + 0.1) == more
    filled = (out["flags"][arranged] & Flag.FILLED) != 0
    assert filled.any() == ("interpolate" in name)
    assert_only_finite_or_nan("values", out["values"][arranged])
