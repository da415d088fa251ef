"""Signals beside errors and channels: features, answers, labels, and what is missing or flagged."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring.answer_residual import AnswerResidual
from monitoring.feature_residual import FeatureResidual
from monitoring.presence import Presence
from monitoring.residual import Residual
from monitoring.sentence import sentence
from stream_processor.pipeline import Pipeline
from stream_processor.settings import load_text
from stream_processor.settings.problems import Problems
from streamgauge.batch import Batch, Features
from streamgauge.delivery import Readings
from streamgauge.events import Event, EventKind
from streamgauge.schedule import BASE, DUE, LABEL, LANE, MADE, SOURCE, STEP, Schedule
from streamgauge.schedule import ROW as STEP_ROW
from streamgauge.signal import PART, ROW, VALUE, Kind, Signal
from streamgauge.state import take_rows
from streamgauge.words import Flag, Step, Verdict
from tests.drifting import MINUTE, START, stream
from tests.outputs import lane
from tests.test_changes import moved

Floats = NDArray[np.float64]
NOTHING = 'detector = "none"\nlevel = "none"\nnoise = "none"\nshape = "none"\n'
CONFIG = """
[devices]
limit = 4
[channels.heat]
range = [-50, 50]
[channels.flow]
[features]
rolling = [{ of = ["heat"], window = { readings = 10 }, stats = ["mean"] }]
calendar = ["weekday"]
[tasks.ahead]
kind = "forecast"
target = "heat"
horizons = [{ readings = 1 }]
model = ["preprocessing.StandardScaler", "linear_model.LinearRegression"]
[drift]
"""
WATCHED = """
feature = "cusum"
prediction = "cusum"
label = { use = "cusum", h = 50.0 }
relation = "cusum"
missing = "adwin"
flagged = { use = "hddm_a", drift_confidence = 1e-6, warning_confidence = 1e-5 }
"""
N, CHANGE = 9_000, 7_000


def series(values: int) -> tuple[Batch, Floats]:
    """One value a minute of one device, as a batch of one channel."""
    batch = Batch(values, 1)
    batch.n = values
    batch.time[:] = START + np.arange(values) * MINUTE
    batch.values[:, 0] = 20.0 + stream("AR(1) .9, daily", values, 1)
    batch.verdict[5] = Verdict.LATE
    return batch, batch.values[:, 0]


def usual(batch: Batch) -> Residual:
    """The residual of the batch's channel."""
    found = Residual(["heat"], [0], 1, zone="UTC", part=batch.capacity)
    found.call(batch).run(n=batch.n)
    return found


def same(ours: Signal, theirs: Signal) -> bool:
    """Whether two signals hold the same values, and some."""
    n = len(ours)
    assert n == len(theirs) > 0
    columns = [ROW, PART]
    return bool(
        np.array_equal(ours.numbers[:n], theirs.numbers[:n])
        and np.array_equal(ours.codes[:n][:, columns], theirs.codes[:n][:, columns])
    )


def test_a_feature_has_the_residual_of_a_channel_with_its_values() -> None:
    """Bit by bit, and in the state."""
    batch, values = series(7_000)
    features = Features(["f"], [frozenset({"heat"})], 7_000)
    features.x[:, 0] = values
    ours, theirs = FeatureResidual(["f"], [0], 1, zone="UTC", part=7_000), usual(batch)
    ours.call(batch, features).run(n=7_000)
    assert same(ours.signal, theirs.level)
    assert ours.blocks["state"].array.tobytes() == theirs.blocks["state"].array.tobytes()


@pytest.mark.parametrize("kind", [Kind.PREDICTION, Kind.LABEL])
@pytest.mark.parametrize("change", [False, True])
def test_answers_and_labels_have_it_too(
    kind: Literal[Kind.PREDICTION, Kind.LABEL], change: bool
) -> None:
    """Of the steps that have them; of a change what is served; what comes too late is left out."""
    batch, values = series(7_000)
    steps = Schedule(21_000, 1)
    steps.codes[:, STEP] = np.tile([Step.EXPIRE, Step.PREDICT, Step.LEARN], 7_000)
    steps.codes[:, [MADE, DUE]] = np.repeat(batch.time, 3)[:, None]
    steps.codes[:, SOURCE] = np.repeat(np.arange(7_000), 3)
    steps.numbers[:, BASE] = 7.0 if change else 3.0
    steps.answers[:] = np.repeat(values, 3) - (7.0 if change else 0.0)
    steps.numbers[:, LABEL] = np.repeat(values, 3)
    steps.answers[15:18], steps.numbers[15:18, LABEL] = np.nan, np.nan
    late = slice(18_000, 18_003)
    steps.codes[late, MADE] = steps.codes[late, DUE] = START
    batch.verdict[6_000] = Verdict.LATE
    ours = AnswerResidual(
        kind, [replace(lane("heat", ""), change=change)], 1, zone="UTC", room=21_000
    )
    ours.call(steps).run(steps=21_000)
    theirs = usual(batch).level
    n = len(theirs)
    np.testing.assert_allclose(ours.signal.numbers[:n], theirs.numbers[:n], rtol=1e-9, atol=1e-9)
    assert len(ours.signal) == n > 1_500
    assert set(steps.codes[:, [LANE, STEP_ROW]].ravel().tolist()) == {0}


def test_what_is_missing_and_what_is_flagged() -> None:
    """By value and by flag, of admitted readings; a filled gap is missing and not flagged."""
    batch = Batch(5, 2)
    batch.n = 5
    batch.values[:] = [[1.0, np.nan], [np.nan, 2.0], [3.0, 3.0], [4.0, 4.0], [5.0, 5.0]]
    batch.flags[1, 0] = Flag.OUT_OF_RANGE
    batch.flags[2] = [Flag.FILLED, Flag.CAPPED]
    batch.verdict[3] = Verdict.DUPLICATE
    found = Presence(["a", "b"], [0, 1], part=5)
    found.call(batch).run(n=5)
    n = len(found.missing)
    assert found.missing.numbers[:n, VALUE].tolist() == [0, 1, 1, 0, 1, 0, 0, 0]
    assert found.flagged.numbers[:n, VALUE].tolist() == [0, 0, 1, 0, 0, 1, 0, 0]
    assert len(found.flagged) == n == 8


def recorded() -> Readings:
    """Two devices. Of the second, from a moment on, heat is higher, a third of flow does not come
    and a fifth of heat is out of range."""
    heat = np.stack([20.0 + 2.0 * stream("AR(1) .9", N, seed) for seed in (1, 2)], axis=1)
    flow = np.stack([stream("AR(1) .9", N, seed) for seed in (3, 4)], axis=1)
    rng = np.random.default_rng(5)
    heat[CHANGE:, 1] += 6.0
    heat[CHANGE:, 1][rng.random(N - CHANGE) < 0.2] = 100.0
    flow[CHANGE:, 1][rng.random(N - CHANGE) < 0.3] = np.nan
    time = START + np.repeat(np.arange(N), 2) * MINUTE
    values = np.stack([heat.ravel(), flow.ravel()], axis=1)
    return Readings(["one", "two"] * N, time, time.copy(), values)


def walked(text: str, cuts: list[int]) -> tuple[Pipeline, list[Event]]:
    """The pipeline after the recording, and what its detectors said."""
    made, readings = Pipeline(load_text(text, Path("test.toml"), {}, for_replay=True)), recorded()
    pieces = [readings.part(a, b) for a, b in pairwise([0, *cuts, len(readings)])]
    outputs = [output for piece in pieces for output in made.record(piece)]
    return made, [event for output in outputs for event in output.events if event.signal]


def test_each_signal_tells_of_its_change_and_of_nothing_else() -> None:
    """By name, in words, with before and after; on the device on which it happened."""
    made, told = walked(CONFIG + NOTHING + WATCHED, [])
    assert {event.row for event in told} == {1}
    assert all(event.time >= START + CHANGE * MINUTE and event.lane == -1 for event in told)
    first: dict[tuple[str, str], Event] = {}
    for event in told:
        first.setdefault((event.signal, event.channel), event)
    for known in (
        ("missing", "flow"),
        ("missing", "heat"),
        ("flagged", "heat"),
        ("feature", "heat"),
        ("prediction", "ahead@1 reading"),
        ("label", "ahead@1 reading"),
    ):
        assert first[known].kind is EventKind.DRIFT_UP, known
        assert first[known].severity == "alarm"
    assert any(name.startswith("weekday") for name in made.walk.feature_names)
    assert not [name for signal, name in first if signal == "feature" and name[0] == "w"]
    assert ("flagged", "flow") not in first
    missing = first["missing", "flow"]
    assert missing.before == 0.0
    assert 0.02 < missing.after < 0.4
    words = sentence(missing.kind, missing.signal, "flow", missing.before, missing.after, START)
    assert words.startswith("missing of flow rose from 0 to 0.")
    drifts = made.board.counts()["drifts"]
    assert drifts["missing_up"] == sum(event.signal == "missing" for event in told)
    assert {name.partition("_")[0] for name in drifts} == {str(kind) for kind in Kind}


def test_any_cut_tells_the_same() -> None:
    """Events, their order and every bit of state."""
    text = CONFIG + NOTHING + WATCHED
    cuts = sorted(np.random.default_rng(1).choice(np.arange(1, 2 * N), 200, replace=False).tolist())
    (whole, wanted), (pieces, told) = walked(text, []), walked(text, cuts)
    facts = [
        [(e.kind, e.row, e.channel, e.signal, e.time, e.before, e.after) for e in events]
        for events in (wanted, told)
    ]
    assert facts[0] == facts[1] != []
    ours, theirs = (take_rows(made.walk.blocks, np.arange(2)) for made in (whole, pieces))
    assert {k: a.tobytes() for k, a in ours.items()} == {k: a.tobytes() for k, a in theirs.items()}


def test_only_what_is_named_is_watched() -> None:
    """And costs state."""
    usual = Pipeline(load_text(CONFIG + NOTHING, Path("test.toml"), {}, for_replay=True))
    assert [name for name in usual.walk.blocks if name.startswith("drift")] == ["drift.all.totals"]


def test_a_signal_that_is_named_later_keeps_what_the_others_know() -> None:
    """And one that is no longer named leaves nothing."""
    old, _ = walked(CONFIG + NOTHING + 'missing = "adwin"\nfeature = "cusum"\n', [])
    lines = 'missing = "adwin"\nlabel = "cusum"\n'
    new = Pipeline(load_text(CONFIG + NOTHING + lines, Path("test.toml"), {}, for_replay=True))
    moved(old, new)
    before, after = old.board.counts()["drifts"], new.board.counts()["drifts"]
    assert after["missing_up"] == before["missing_up"] > 0
    assert after["label_up"] == 0
    assert "feature_up" in before.keys() - after.keys()
    kept = "drift.missing.windows"
    rows = np.arange(2)
    ours, theirs = (made.walk.blocks[kept].take(rows)["rows"] for made in (old, new))
    assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("kind", [Kind.MISSING, Kind.FLAGGED, Kind.ERROR])
def test_a_share_that_falls_is_good_news(kind: Kind) -> None:
    """A level that does is not."""
    event = Event(EventKind.DRIFT_DOWN, 0, -1, 0, 0, 1.0, 0.0, 1.0, "heat", str(kind))
    assert event.severity == "note"
    level = Event(EventKind.DRIFT_DOWN, 0, -1, 0, 0, 1.0, 0.0, 1.0, "heat", "prediction")
    assert level.severity == "alarm"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('missing = "nothing"', "nothing"),
        ('missing = "chunk_ks"', "chunk_ks watches a shape"),
        ('feature = "ddm"', "ddm watches"),
        ('label = { use = "cusum", hh = 1 }', "hh"),
    ],
)
def test_a_detector_that_makes_no_sense_of_a_signal_is_refused(line: str, message: str) -> None:
    """With the key under which it stands."""
    with pytest.raises(Problems, match=message) as refused:
        Pipeline(load_text(CONFIG + line, Path("test.toml"), {}, for_replay=True))
    assert line.split(" ", maxsplit=1)[0] in str(refused.value)
