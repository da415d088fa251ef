"""Drift of channels through the whole walk, as a user sees it."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from monitoring.sentence import sentence
from stream_processor.pipeline import Pipeline
from stream_processor.settings import Settings, load_text
from stream_processor.settings.watching import watching
from streamgauge.delivery import Readings
from streamgauge.events import Event, EventKind
from streamgauge.signal import Kind
from streamgauge.state import take_rows
from tests.drifting import MINUTE, START, stream

CONFIG = """
[devices]
expected = 2
limit = 4
[channels.heat]
[channels.mode]
kind = "category"
values = ["a", "b"]
[channels.flow]
[tasks.ahead]
kind = "forecast"
target = "heat"
horizons = [{ readings = 1 }]
model = ["preprocessing.StandardScaler", "linear_model.LinearRegression"]
"""
N, CHANGE = 12_000, 9_000
SIGNALS, LANES = 4, 1
"""Errors, levels, noises and shapes share the budget; there is one task with one horizon."""


def loaded(text: str = CONFIG) -> Settings:
    """The settings of a text."""
    return load_text(text, Path("test.toml"), {}, for_replay=True)


def recorded() -> Readings:
    """Two devices; of the second the level of heat moves, of the first the noise of flow grows."""
    heat = [20.0 + 2.0 * stream("AR(1) .9, daily", N, seed) for seed in (1, 2)]
    heat[1][CHANGE:] += 4.0
    flow = [stream("AR(1) .9", N, 3, change=CHANGE, scale=2.0), stream("AR(1) .9", N, 4)]
    mode = np.zeros(2 * N)
    values = np.stack([np.stack(heat, 1).ravel(), mode, np.stack(flow, 1).ravel()], axis=1)
    time = START + np.repeat(np.arange(N), 2) * MINUTE
    return Readings(["one", "two"] * N, time, time.copy(), values)


def walked(made: Pipeline, readings: Readings, cuts: list[int]) -> list[Event]:
    """All that detectors of channels said."""
    pieces = [readings.part(a, b) for a, b in pairwise([0, *cuts, len(readings)])]
    return [
        event
        for piece in pieces
        for output in made.record(piece)
        for event in output.events
        if event.signal not in ("", "error")
    ]


def facts(event: Event) -> tuple[object, ...]:
    """What does not depend on how a stream was cut."""
    return (event.kind, event.row, event.channel, event.signal, event.time, event.since,
            event.before, event.after, event.magnitude)  # fmt: skip


def test_a_level_and_a_noise_that_change_are_told_once_and_in_words() -> None:
    """Each of its channel and device, with what was before and is now; nothing else is."""
    made = Pipeline(loaded())
    told = walked(made, recorded(), [])
    level = next(event for event in told if event.signal == "level")
    noise = next(event for event in told if event.signal == "noise")
    assert (level.row, level.channel, level.kind) == (1, "heat", EventKind.DRIFT_UP)
    assert (noise.row, noise.channel, noise.kind) == (0, "flow", EventKind.DRIFT_UP)
    changed = START + CHANGE * MINUTE
    for event in (level, noise):
        assert changed <= event.time < changed + 600 * MINUTE
        assert abs(event.since - changed) < 180 * MINUTE
        assert event.lane == -1
    assert level.after - level.before == pytest.approx(4.0, abs=1.5)
    assert noise.after / noise.before == pytest.approx(2.0, abs=0.4)
    assert {(e.row, e.channel) for e in told} == {(1, "heat"), (0, "flow")}
    assert sum(e.signal == "level" for e in told) == 1
    words = sentence(
        level.kind, level.signal, level.channel, level.before, level.after, level.since
    )
    assert words.startswith("level of heat rose from 2")
    counts = made.board.counts()
    assert counts["drifts"]["level_up"] == sum(e.signal == "level" for e in told)
    assert counts["channels_calibrating"] == 0


def test_any_cut_tells_the_same() -> None:
    """Events, their order and every bit of state."""
    readings = recorded()
    whole, pieces = Pipeline(loaded()), Pipeline(loaded())
    wanted = walked(whole, readings, [])
    cuts = sorted(np.random.default_rng(1).choice(np.arange(1, 2 * N), 300, replace=False).tolist())
    assert [facts(e) for e in walked(pieces, readings, cuts)] == [facts(e) for e in wanted] != []
    rows = np.arange(2)
    ours, theirs = (take_rows(made.walk.blocks, rows) for made in (whole, pieces))
    assert {k: a.tobytes() for k, a in ours.items()} == {k: a.tobytes() for k, a in theirs.items()}


def test_until_it_is_known_what_is_usual_a_channel_is_calibrating() -> None:
    """For numbers only; /metrics counts them."""
    made = Pipeline(loaded())
    readings = recorded()
    walked(made, readings.part(0, 4_000), [])
    view = made.board.device("one")
    assert view is not None
    assert view.watched == {"heat": "calibrating", "flow": "calibrating"}
    assert made.board.counts()["channels_calibrating"] == 4
    assert view.signals["level"] == {"heat": "calibrating", "flow": "calibrating"}
    assert made.board.counts()["signals_calibrating"]["shape"] == 4
    walked(made, readings.part(4_000, 12_000), [])
    view = made.board.device("one")
    assert view is not None
    assert view.watched == {"heat": "watched", "flow": "watched"}
    assert view.signals["level"] == view.signals["noise"] == view.watched
    assert set(view.signals["shape"].values()) == {"calibrating"}
    counts = made.board.counts()["signals_calibrating"]
    assert (counts["level"], counts["noise"], counts["shape"]) == (0, 0, 4)


def test_channels_of_a_large_fleet_are_watched_where_that_is_asked_for() -> None:
    """Their state costs memory; a fleet that is declared small has it, another may."""
    large = loaded(CONFIG.replace("expected = 2\nlimit = 4", "limit = 10001"))
    assert list(watching(large).uses) == [Kind.ERROR]
    asked = loaded(CONFIG.replace("expected = 2\nlimit = 4", "") + '[drift]\nlevel = "cusum"\n')
    assert list(watching(asked).uses) == [Kind.ERROR, Kind.LEVEL]
    none = '[drift]\ndetector = "none"\nlevel = "none"\nnoise = "none"\nshape = "none"\n'
    nothing = Pipeline(loaded(CONFIG + none))
    assert not watching(loaded(CONFIG + none)).uses
    assert walked(nothing, recorded().part(0, 100), []) == []


def test_the_budget_is_shared_and_what_is_given_itself_stays() -> None:
    """Evenly by the signals whose threshold follows from it, and by devices and channels."""
    uses = watching(loaded()).uses
    assert uses[Kind.LEVEL][1].options == {"alarms_per_day": 2.0 / (SIGNALS * 2 * 2)}
    own = watching(
        loaded(CONFIG + '[drift]\nalarms_per_day = 8\nnoise = { use = "cusum", h = 50 }\n')
    )
    assert own.uses[Kind.LEVEL][1].options == {"alarms_per_day": 8.0 / ((SIGNALS - 1) * 2 * 2)}
    assert own.uses[Kind.NOISE][1].options == {"h": 50.0}


def test_all_signals_together_give_no_more_than_the_budget() -> None:
    """Whatever they are of: channels, tasks with their horizons, features, or all of a device."""
    drift = """
[drift]
feature = "cusum"
prediction = "cusum"
label = "cusum"
relation = "cusum"
missing = "adwin"
flagged = { use = "adwin", delta = 0.01 }
"""
    settings = loaded(CONFIG + drift)
    found = watching(settings, features=5)
    parts = dict.fromkeys((Kind.LEVEL, Kind.NOISE, Kind.SHAPE), 2)
    parts |= dict.fromkeys((Kind.ERROR, Kind.PREDICTION, Kind.LABEL), LANES)
    parts |= {Kind.RELATION: 1, Kind.MISSING: 3, Kind.FEATURE: 5}
    assert found.each.keys() == parts.keys()
    assert sum(2 * parts[kind] * each for kind, each in found.each.items()) == pytest.approx(2.0)
    assert found.uses[Kind.FLAGGED][1].options == {"delta": 0.01}
    built = {one.name: one for one in Pipeline(settings).walk.stages.drift.watched}
    assert set(built) == {*map(str, parts), "flagged"}


def test_every_detector_that_takes_a_budget_shares_it() -> None:
    """By its signature; not one that has none, or one with a threshold of its own."""
    drift = """
[drift]
detector = "window_ks"
level = "mann_kendall"
noise = { use = "window_ks", p_value = 1e-6 }
shape = "psi"
"""
    uses = watching(loaded(CONFIG + drift)).uses
    shared = {"alarms_per_day": 2.0 / (3 * 2 * 2)}
    assert {kind: use.options for kind, (_, use) in uses.items()} == {
        Kind.ERROR: {"alarms_per_day": 2.0 / (3 * 2 * LANES)},
        Kind.LEVEL: shared,
        Kind.NOISE: {"p_value": 1e-6},
        Kind.SHAPE: shared,
    }
    alone = watching(loaded(CONFIG + '[drift]\nlevel = "page_hinkley"\nshape = "none"\n')).uses
    assert alone[Kind.NOISE][1].options == {"alarms_per_day": 2.0 / (2 * 2 * 2)}
    assert alone[Kind.LEVEL][1].options == {}
