"""The checks that every operator must pass, each over one stream."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_processor.operator import Operator
from streamgauge.batch import Batch, Features
from streamgauge.state import put_rows, reset_rows, take_rows
from tests.contracts.invariance import (
    Cut,
    assert_only_finite_or_nan,
    assert_same_bits,
    assert_same_state,
    pieces,
    singles,
)
from tests.contracts.streams import CAPACITY, SCHEMA, Stream
from tests.contracts.subjects import Subject

__all__ = [
    "COLUMN",
    "check_alone",
    "check_cut",
    "check_finite",
    "check_left",
    "check_move",
    "check_reset",
    "check_restart",
    "play",
    "unseen",
]

COLUMN = 2
"""First column of the operator under test; the columns around it are not its own."""
_CANARY = 12345.0

Build = Callable[[int], Operator]
Outputs = dict[str, NDArray[Any]]


def play(operator: Operator, stream: Stream, cut: Cut = ()) -> Outputs:
    """Send a stream through an operator, cut into batches; all that it wrote, by column."""
    width = len(getattr(operator, "names", ()))
    batch = Batch(len(stream) + 1, len(SCHEMA))
    names = [f"f{k}" for k in range(COLUMN + width + 1)]
    features = Features(names, [frozenset()] * len(names), batch.capacity)
    spans = pieces(len(stream), cut)
    parts = [_process(operator, stream, batch, features, *span) for span in spans]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _process(
    operator: Operator, stream: Stream, batch: Batch, features: Features, start: int, stop: int
) -> Outputs:
    stream.fill(batch, start, stop)
    features.x[:] = _CANARY
    written = ("values", "flags", "verdict")
    before = {name: getattr(batch, name)[batch.n :].copy() for name in written}
    operator.call(batch, features).run(n=batch.n)
    n, last = batch.n, features.x.shape[1] - 1
    others = (features.x[:, :COLUMN], features.x[:, last], features.x[n:])
    assert all((part == _CANARY).all() for part in others), "wrote features that are not its own"
    assert_same_bits(before, {name: getattr(batch, name)[n:] for name in before})
    same = {name: getattr(batch, name)[:n] for name in ("row", "time", "received", "sequence")}
    assert_same_bits(same, {name: getattr(stream, name)[start:stop] for name in same})
    return {
        "x": features.x[:n, COLUMN:last].copy(),
        "values": batch.values[:n].copy(),
        "flags": batch.flags[:n].copy(),
        "verdict": batch.verdict[:n].copy(),
    }


def check_cut(build: Build, stream: Stream, cut: Cut) -> None:
    """Outputs and state are the same for the stream whole, one by one, and cut anywhere."""
    whole = build(COLUMN)
    wanted = play(whole, stream)
    for other in (cut, singles(len(stream))):
        operator = build(COLUMN)
        assert_same_bits(play(operator, stream, other), wanted)
        assert_same_state(operator.blocks, whole.blocks, np.arange(CAPACITY))


def check_finite(build: Build, stream: Stream) -> None:
    """No infinity leaves, whatever came in; readings not admitted have no features."""
    operator = build(COLUMN)
    outputs = play(operator, stream)
    assert_only_finite_or_nan("x", outputs["x"])
    assert np.isnan(outputs["x"][outputs["verdict"] != 0]).all(), "features of a refused reading"
    touched = outputs["values"].tobytes() != stream.values.tobytes()
    if not getattr(operator, "names", ()) and (touched or hasattr(operator, "verdicts")):
        admitted = outputs["values"][outputs["verdict"] == 0]
        assert_only_finite_or_nan("values", admitted)


def check_alone(build: Build, stream: Stream) -> None:
    """A device fares the same in a fleet and alone, in whatever row it lives."""
    fleet = build(COLUMN)
    outputs = play(fleet, stream)
    elsewhere = np.arange(CAPACITY)[::-1].copy()
    for row in stream.rows:
        own = stream.row == row
        operator = build(COLUMN)
        alone = play(operator, stream.chosen(own).moved(elsewhere))
        assert_same_bits(alone, {name: array[own] for name, array in outputs.items()})
        one = np.array([row])
        assert_same_state(operator.blocks, fleet.blocks, elsewhere[one], one, devices_only=True)


def check_move(build: Build, stream: Stream, at: int, cut: Cut = ()) -> None:
    """Some devices, moved into other rows of a used instance, go on as if they had stayed."""
    here, there = build(COLUMN), build(COLUMN)
    if at:
        play(here, stream.chosen(slice(0, at)))
    moving = stream.rows[::2]
    target = (np.arange(CAPACITY) + 17) % CAPACITY
    # Whoever lived in the target rows before must leave no trace.
    play(there, stream.moved(target))
    put_rows(there.blocks, target[moving], take_rows(here.blocks, moving))
    later = np.arange(len(stream)) >= at
    rest = stream.chosen(later & np.isin(stream.row, moving))
    if len(rest):
        stayed = play(here, rest)
        inside = tuple(place for place in cut if place < len(rest))
        assert_same_bits(play(there, rest.moved(target), inside), stayed)
    assert_same_state(here.blocks, there.blocks, moving, target[moving])


def check_reset(build: Build, stream: Stream) -> None:
    """A row whose device was forgotten is like a row that never had one."""
    used, fresh = build(COLUMN), build(COLUMN)
    play(used, stream)
    reset_rows(used.blocks, stream.rows)
    assert_same_state(used.blocks, fresh.blocks, stream.rows, devices_only=True)
    assert_same_bits(play(used, stream), play(fresh, stream))
    assert_same_state(used.blocks, fresh.blocks, stream.rows, devices_only=True)


def check_restart(build: Build, stream: Stream, at: int, cut: Cut = ()) -> None:
    """An instance that was given all state of another goes on as that one does."""
    here, there = build(COLUMN), build(COLUMN)
    every = np.arange(CAPACITY)
    if at:
        play(here, stream.chosen(slice(0, at)))
    put_rows(there.blocks, every, take_rows(here.blocks, every))
    rest = stream.chosen(slice(at, len(stream)))
    if len(rest):
        stayed = play(here, rest)
        inside = tuple(place for place in cut if place < len(rest))
        assert_same_bits(play(there, rest, inside), stayed)
    assert_same_state(here.blocks, there.blocks, every)


def check_left(build: Any, stream: Stream) -> None:
    """Devices that are evicted leave nothing in what they have in common with others."""
    used, fresh = build(COLUMN), build(COLUMN)
    play(used, stream)
    for rows in (stream.rows[1::2], stream.rows[::2]):
        getattr(used, "evict", lambda _: None)(rows)
        reset_rows(used.blocks, rows)
    assert_same_state(used.blocks, fresh.blocks, np.arange(CAPACITY))


def unseen(subject: Subject, streams: Iterable[Stream]) -> set[str]:
    """Outcomes of the subject that none of the streams brought about."""
    missing = set(subject.outcomes)
    for stream in streams:
        operator = subject.build(COLUMN)
        play(operator, stream)
        missing -= {name for name in missing if subject.outcomes[name](operator)}
        if not missing:
            break
    return missing
