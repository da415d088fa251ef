"""A changed configuration: what did not change goes on bit for bit, the rest is listed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_processor.changes import Changes, compare
from stream_processor.checkpoint import CheckpointRefused
from stream_processor.definition import definition
from stream_processor.pipeline import Pipeline
from stream_processor.settings import load_text
from stream_processor.snapshot import capture, restore
from streamgauge.delivery import Delivery, Readings
from streamgauge.output import Output
from streamgauge.predictions import LANE
from tests.streams import COMPILED, RIVER, stream
from tests.test_walk import run

N, HALF = 1_200, 700

BEFORE = """
[devices]
limit = 8
[channels.load]
spike = {{}}
[channels.heat]
spike = {{ limit = 8 }}
[features]
raw = ["load", "heat"]
lags = {{ heat = [1] }}
rolling = [
  {{ of = ["load"], window = {{ readings = 4 }}, stats = ["mean", "std", "min"] }},
  {{ of = ["load", "heat"], window = "20s", stats = ["mean"] }},
]
[tasks.gone]
kind = "regression"
target = "heat"
inputs = ["load*"]
model = {model}
[tasks.soon]
kind = "forecast"
target = "load"
horizons = ["5s", {{ readings = 2 }}]
tolerance = "2s"
inputs = ["load*"]
pending = 6
ready_after = 3
model = {model}
[tasks.warm]
kind = "forecast"
target = "heat"
horizons = ["10s"]
tolerance = "4s"
inputs = ["heat*"]
pending = 6
model = {model}
[drift]
detector = {{ use = "adwin", delta = 0.9, clock = 1, grace_period = 1, min_window_length = 1 }}
[scores]
window = 20
"""

AFTER = """
[devices]
limit = 9
[channels.wind]
[channels.load]
spike = {{}}
[channels.heat]
spike = {{ limit = 9 }}
[features]
raw = ["wind", "load", "heat"]
lags = {{ heat = [1, 2] }}
rolling = [
  {{ of = ["wind"], window = {{ readings = 3 }}, stats = ["max"] }},
  {{ of = ["load"], window = {{ readings = 4 }}, stats = ["mean", "std", "min"] }},
  {{ of = ["load", "heat"], window = "20s", stats = ["mean"] }},
]
[tasks.warm]
kind = "forecast"
target = "heat"
horizons = ["10s"]
tolerance = "4s"
inputs = ["heat*"]
model = {model}
[tasks.soon]
kind = "forecast"
target = "load"
horizons = ["1m", "5s", {{ readings = 2 }}]
tolerance = "2s"
inputs = ["load_[!m]*", "load", "load_m*"]
ready_after = 3
model = {model}
[drift]
detector = {{ use = "adwin", delta = 0.9, clock = 1, grace_period = 1, min_window_length = 1 }}
[scores]
window = 20
"""
LOAD, HEAT = "[channels.load]\nspike = {{}}\n", "[channels.heat]\nspike = {{ limit = 8 }}\n"
KEPT = ("soon@5s", "soon@2 readings")


def made(text: str, model: str = COMPILED) -> Pipeline:
    """A pipeline of this configuration."""
    return Pipeline(load_text(text.format(model=model), Path("t.toml"), {}, for_replay=True))


def defined(pipeline: Pipeline) -> dict[str, Any]:
    """What its state is made for."""
    return definition(pipeline.settings, pipeline.walk.stages)


def between(old: Pipeline, new: Pipeline) -> Changes:
    """What changed."""
    return compare(defined(old), defined(new))


def moved(old: Pipeline, new: Pipeline) -> Changes:
    """Take the state over."""
    changes = between(old, new)
    restore(new.walk, capture(old.walk, defined(old), {}), changes)
    return changes


def windy(readings: Readings) -> Readings:
    """The same readings with a first channel more."""
    wind = np.random.default_rng(1).normal(size=(len(readings), 1))
    values = np.hstack([wind, readings.values])
    return Readings(readings.devices, readings.time, readings.received, values)


def lane_of(pipeline: Pipeline, name: str) -> int:
    """Number of the lane."""
    return [lane.name for lane in pipeline.walk.stages.lanes].index(name)


def told(pipeline: Pipeline, outputs: list[Output], name: str) -> tuple[bytes, bytes]:
    """Every record and number of one lane, as bits."""
    codes = np.concatenate([output.predictions.codes for output in outputs])
    numbers = np.concatenate([output.predictions.numbers for output in outputs])
    mine = codes[:, LANE] == lane_of(pipeline, name)
    assert mine.sum() > 100
    return np.delete(codes[mine], LANE, axis=1).tobytes(), numbers[mine].tobytes()


def learned(pipeline: Pipeline, name: str) -> list[bytes]:
    """State of one lane's models, detector and scores, as bits."""
    stages, lane = pipeline.walk.stages, lane_of(pipeline, name)
    rows = np.arange(len(stages.devices))
    blocks = stages.learners[lane].blocks.values()
    arrays = [array for block in blocks for array in block.take(rows).values()]
    for field, block in stages.drift.blocks()["error"].items():
        arrays += [block.view(field, k)[rows, lane] for k in range(block.layers)]
    for row in (-1, *rows.tolist()):
        arrays += [stages.scorer.cell(row)[:, lane], stages.scorer.recent(row, lane)]
    return [array.tobytes() for array in arrays]


@pytest.mark.parametrize("model", [COMPILED, RIVER])
def test_a_lane_that_did_not_change_goes_on_as_if_nothing_had_happened(model: str) -> None:
    """Channels, features, lanes come, go and change places around it: the same bits."""
    readings = stream(N, 11)
    whole, first, second = made(BEFORE, model), made(BEFORE, model), made(AFTER, model)
    run(whole, readings.part(0, HALF), [])
    expected = run(whole, readings.part(HALF, N), [])
    run(first, readings.part(0, HALF), [])
    changes = moved(first, second)
    assert changes.lane_names == set(KEPT)
    outputs = run(second, windy(readings.part(HALF, N)), [])
    for name in KEPT:
        assert told(second, outputs, name) == told(whole, expected, name)
        assert learned(second, name) == learned(whole, name)
    assert told(second, outputs, "warm@10s") != told(whole, expected, "warm@10s")


def test_what_starts_anew_knows_nothing_of_before() -> None:
    """A new lane has no scores and owes nothing; a new channel was never seen."""
    old, new = made(BEFORE), made(AFTER)
    run(old, stream(HALF, 11), [])
    moved(old, new)
    for name in ("soon@1m", "warm@10s"):
        assert not new.walk.stages.scorer.cell(-1)[:, lane_of(new, name)].any()
    device = new.board.device("d0")
    assert device is not None
    assert device.values["wind"] is None
    assert device.values == {"wind": None, **old.board.device("d0").values}  # type: ignore[union-attr] # seen above
    assert new.board.counts()["readings"] == old.board.counts()["readings"]


def test_the_lists_name_every_part() -> None:
    """What is kept, what starts anew and what is dropped, as a user reads it."""
    changes = between(made(BEFORE), made(AFTER))
    assert changes.text().splitlines() == [
        "kept:",
        "  channel load",
        "  channel heat",
        "  cleaning load.spike",
        "  features load_mean_4, load_std_4, load_min_4",
        "  features load_mean_20s, heat_mean_20s",
        "  model soon@5s",
        "  model soon@2 readings",
        "  detector of error",
        "  detector of level",
        "  detector of noise",
        "  detector of shape",
        "  the scores of every model and device",
        "starts anew:",
        "  channel wind (new)",
        "  cleaning heat.spike (changed)",
        "  features wind, load, heat (new)",
        "  features heat_lag1, heat_lag2 (new)",
        "  features wind_max_3 (new)",
        "  model warm@10s (changed)",
        "  model soon@1m (new)",
        "dropped:",
        "  features load, heat",
        "  features heat_lag1",
        "  model gone",
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ready_after = 3", "ready_after = 30"),
        ("limit = 8\n", "limit = 80\n"),
        ("[channels.load]", "[channels.load]\nrange = [-5, 5]"),
        (LOAD + HEAT, HEAT + LOAD),
    ],
)
def test_what_the_state_does_not_depend_on_changes_nothing(old: str, new: str) -> None:
    """Thresholds, limits, ranges and the order of channels need nobody's consent."""
    assert BEFORE.count(old) == 1
    assert not between(made(BEFORE), made(BEFORE.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "listed"),
    [
        ('tolerance = "4s"', 'tolerance = "5s"', "model warm@10s (changed)"),
        ('inputs = ["heat*"]', 'inputs = ["load*"]', "model warm@10s (changed)"),
        ('target = "heat"\nhorizons', 'target = "load"\nhorizons', "model warm@10s (changed)"),
        ("limit = 8 }}", "limit = 7 }}", "cleaning heat.spike (changed)"),
        ("delta = 0.9", "delta = 0.8", "detector of error (changed)"),
        ("window = 20", "window = 30", "the scores of every model and device"),
        ("limit = 8\n", 'limit = 8\ntimezone = "Asia/Tokyo"\n', "devices.timezone (changed)"),
    ],
)
def test_each_change_starts_anew_what_depends_on_it(old: str, new: str, listed: str) -> None:
    """And nothing else."""
    assert BEFORE.count(old) == 1
    changes = between(made(BEFORE), made(BEFORE.replace(old, new)))
    assert changes.anew == [listed]
    assert changes.dropped == []


def test_scores_over_another_window_begin_again_and_models_do_not() -> None:
    """The labels that a model learned still count; the scores have no label yet."""
    readings = stream(N, 11)
    old, new = made(BEFORE), made(BEFORE.replace("window = 20", "window = 30"))
    run(old, readings.part(0, HALF), [])
    moved(old, new)
    before, after = old.board.scores("soon", "d0"), new.board.scores("soon", "d0")
    assert [s.scores["labels"] for s in after] == [0, 0]
    assert all(s.scores["rolling_mae"] is None for s in after)
    assert all(s.scores["labels"] for s in before)
    run(new, readings.part(HALF, N), [])
    rows = new.board.scores("soon", "d0")
    assert all(s.scores["rolling_mae"] is not None for s in rows)
    lane = lane_of(new, "soon@5s")
    versions = new.walk.stages.scorer.cell(0)[:, lane]
    assert versions.any()


def test_a_shorter_waiting_list_drops_what_waits_and_says_so() -> None:
    """Nothing is read from places that are no more; models go on."""
    readings = stream(N, 11)
    text = BEFORE.replace("[tasks.gone]", "[tasks.gone]\npending = 6")
    old, new = made(text), made(text.replace("pending = 6", "pending = 2"))
    run(old, readings.part(0, HALF), [])
    changes = moved(old, new)
    assert changes.dropped == ["predictions that wait for their label (pending went from 6 to 2)"]
    assert changes.lane_names == {"gone", *KEPT, "warm@10s"}
    assert not new.walk.stages.join.blocks["head"].view("size").any()
    outputs = run(new, readings.part(HALF, N), [])
    assert sum(len(output.predictions) for output in outputs) > 500


def test_a_block_of_another_make_is_refused() -> None:
    """Where nothing in the configuration explains it, the state is not guessed at."""
    old, new = made(BEFORE), made(AFTER)
    run(old, stream(100, 1), [])
    saved = capture(old.walk, defined(old), {})
    saved.facts["layout"]["labels.head"][1][0][0] = "renamed"
    with pytest.raises(CheckpointRefused, match=r"another layout in labels\.head"):
        restore(new.walk, saved, between(old, new))
    assert not new.walk.stages.devices.known


SOURCES = """
[channels.load]
{sources}
[tasks.soon]
kind = "forecast"
target = "load"
horizons = ["3s"]
model = "linear_model.LinearRegression"
"""


def sources(folder: Path, *listed: str) -> dict[str, Any]:
    """The definition with these sources."""
    for name in ("one.csv", "two.csv"):
        (folder / name).write_text("device,time,load\n")
    blocks = [f"[[source]]\n{each}\n" for each in listed]
    text = SOURCES.format(sources="\n".join(blocks))
    return defined(Pipeline(load_text(text, folder / "p.toml", {})))


ONE, TWO = 'use = "file"\npath = "one.csv"', 'use = "file"\npath = "two.csv"'
BROKER = 'use = "mqtt"\ntopics = ["a"]\n'


def test_a_position_belongs_to_what_the_source_reads(tmp_path: Path) -> None:
    """Not to its place in the file, nor to how it reads."""
    old = sources(tmp_path, ONE, BROKER, TWO)
    new = sources(tmp_path, TWO + "\nchunk = 7", ONE, BROKER)
    changes = compare(old, new)
    assert not changes
    saved = {"journal": 5, "sources": [{"rows": 1}, None, {"rows": 2}], "codecs": {"1": {"a": 1}}}
    assert changes.place(saved) == {
        "journal": 5,
        "sources": [{"rows": 2}, {"rows": 1}, None],
        "codecs": {"2": {"a": 1}},
    }


def test_another_file_begins_at_its_beginning(tmp_path: Path) -> None:
    """And is listed; what a codec with other options remembered is forgotten."""
    old = sources(tmp_path, ONE, BROKER + 'device = "field:a"')
    new = sources(tmp_path, TWO, BROKER + 'device = "field:b"')
    changes = compare(old, new)
    assert changes.anew == ["source file (changed)", "codec json of source mqtt (changed)"]
    saved = {"sources": [{"rows": 1}, None], "codecs": {"1": {"a": 1}}}
    assert changes.place(saved) == {"sources": [None, None], "codecs": {}}


def test_what_the_journal_holds_finds_its_source_and_its_channels(tmp_path: Path) -> None:
    """Messages are decoded as now; recorded columns stand where their channel is now."""
    changes = compare(sources(tmp_path, ONE, BROKER), sources(tmp_path, BROKER))
    assert changes.dropped == ["source file"]
    assert changes.gone == ["file", ""]
    assert changes.delivery(Delivery(1, [b"x"], ["a"], [1])).source == 0
    assert changes.delivery(Delivery(clock=7)).clock == 7
    wide = between(made(BEFORE), made(AFTER))
    wide.sources = [0]
    one = np.array([1])
    given = Delivery(0, readings=Readings(["d"], one, one, np.array([[2.0, 3.0]])))
    taken = wide.delivery(given).readings
    assert taken is not None
    np.testing.assert_array_equal(taken.values, [[np.nan, 2.0, 3.0]])
