"""A new device is served by a model of all devices until its own is better, or ready."""

import math
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from river import linear_model, neighbors, preprocessing

from benchmarks.coldstart import MODELS
from models.cold_start import FADES, HEAD_START, LABELS, MOST, SETTLED, SHARP, WILD, ColdStart
from models.compiled import linear
from models.learner import Learner
from models.river_fleet import RiverFleet
from stream_processor.changes import compare
from stream_processor.definition import definition
from stream_processor.pipeline import Pipeline
from stream_processor.settings import Problems, load_text
from stream_processor.snapshot import capture, restore
from streamgauge.arrays import Floats
from streamgauge.delivery import Readings
from streamgauge.output import Output
from streamgauge.predictions import LANE, ROW, SEQUENCE, STATUS, STEP, VALUE, VERSION
from streamgauge.schedule import ROW as DEVICE
from streamgauge.schedule import SLOT, TARGET
from streamgauge.state import Keys
from streamgauge.words import Status, Step
from tests.contracts import learners
from tests.contracts.learner_subjects import INPUTS, NAMES
from tests.contracts.learner_subjects import LANE as OWN_LANE
from tests.contracts.schedules import CANARY, ROWS, Steps, make
from tests.left_out import FIRST, LEFT_OUT, left_out
from tests.recordings import recording
from tests.streams import share_evicted
from tests.test_eviction import evictions, shifts
from tests.test_walk import run, state

N = 900


def line(keys: Keys) -> Learner:
    """A compiled fleet of lines."""
    model = preprocessing.StandardScaler() | linear_model.LinearRegression(clip_gradient=3.0)
    built = linear.build(model, OWN_LANE, INPUTS, NAMES, ROWS, keys)
    assert not isinstance(built, str)
    return built


def near(keys: Keys) -> Learner:
    """A fleet of River's own models."""
    return RiverFleet(partial(neighbors.KNNRegressor, 3), OWN_LANE, INPUTS, NAMES, keys)


def beside(of: Any, ready_after: int | None = None) -> Learner:
    """Models of each device beside one of all."""
    own, fleet = of(Keys.DEVICE), of(Keys.FLEET)
    return ColdStart(own, fleet, ROWS, pending=400, ready_after=ready_after)


def by_hand(steps: Steps, own: Floats, fleet: Floats, ready_after: int | None) -> Floats:
    """What is to be served, of what both models say, event by event."""
    known: dict[int, list[float]] = {}
    waiting: dict[tuple[int, int], tuple[float, float, float]] = {}
    served = np.full(len(steps), CANARY)
    ours = steps.are(OWN_LANE, Step.PREDICT, Step.LEARN)
    for i in np.flatnonzero(ours).tolist():
        d, slot = steps.codes[i, [DEVICE, SLOT]].tolist()
        cell = known.setdefault(d, [0.0, 0.0, 0.0, 0.0])
        taught, scale, lost_fleet, lost_own = cell
        if steps.codes[i, STEP] == Step.LEARN:
            taught += 1
            said_fleet, said_own, was = waiting.get((d, slot), (0.0, 0.0, 0.0))
            label = float(steps.numbers[i, TARGET])
            error = abs(label - was)
            if math.isfinite(error):
                error = min(error, WILD * scale) if taught > SETTLED else error
                scale += (error - scale) / min(taught, LABELS)
            if scale > 0:
                lost_fleet, lost_own = (
                    FADES * lost + (miss if miss < MOST else MOST)
                    for lost, miss in (
                        (lost_fleet, abs(label - said_fleet) / scale),
                        (lost_own, abs(label - said_own) / scale),
                    )
                )
            known[d] = [taught, scale, lost_fleet, lost_own]
            continue
        behind = lost_own - lost_fleet + HEAD_START * FADES**taught
        share = 1.0 / (1.0 + math.exp(SHARP * behind))
        if ready_after is not None:
            share = float(taught >= ready_after)
        one, all_of = own[i], fleet[i]
        if math.isfinite(one) and math.isfinite(all_of):
            found = (1 - share) * all_of + share * one
        else:
            found = all_of if math.isfinite(all_of) else one
        served[i] = found
        waiting[d, slot] = (all_of, one, found)
    return served


@pytest.mark.parametrize("ready_after", [None, 4])
@pytest.mark.parametrize("of", [line, near])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_mixture_of_two_learners(of: Any, ready_after: int | None, seed: int) -> None:
    """What is served follows from what either would say alone, and from their errors."""
    steps = make(seed, 400, devices=4)
    own = learners.play(learners.opened(lambda: of(Keys.DEVICE)), steps)
    fleet = learners.play(of(Keys.FLEET), steps.shared())
    found = learners.play(learners.opened(lambda: beside(of, ready_after)), steps)
    wanted = by_hand(steps, own, fleet, ready_after)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
    asked = steps.are(OWN_LANE, Step.PREDICT)
    assert not np.array_equal(found[asked], own[asked], equal_nan=True)
    assert not np.array_equal(found[asked], fleet[asked], equal_nan=True)


@pytest.mark.parametrize("of", [line, near])
@pytest.mark.parametrize("scale", ["calm", "extreme"])
def test_cuts_and_the_bound_call_change_nothing(of: Any, scale: str) -> None:
    """Answers and state are the same bits however a stream is cut, called plainly or in a chain."""
    steps = make(9, 160, devices=3, scale=scale)
    learners.check_cut(lambda: beside(of), steps, (3, 40, 41))
    learners.check_chain(lambda: beside(of), steps, (3, 40, 41))


def test_a_restarted_device_begins_as_a_new_one() -> None:
    """Its own model is empty and it is told by the fleet's, which stays; others go on as before,
    and what waits for labels stays where it is."""
    steps = make(3, 300, devices=4)
    learner = learners.opened(lambda: beside(line))
    learners.play(learner, steps)
    assert isinstance(learner, ColdStart)
    one, other = np.unique(steps.codes[steps.are(OWN_LANE, Step.LEARN), DEVICE])[:2].tolist()
    before = {name: block.array.copy() for name, block in learner.blocks.items()}
    told = learner.shares([other])
    learner.restart(np.array([one]))
    assert learner.shares([one])["own"] == pytest.approx(1 / (1 + math.exp(SHARP * HEAD_START)))
    assert learner.shares([other]) == told
    after = {name: block.array for name, block in learner.blocks.items()}
    assert before["model"][one].any()
    assert not after["model"][one].any()
    assert after["model"][other].tobytes() == before["model"][other].tobytes()
    assert after["fleet_model"].tobytes() == before["fleet_model"].tobytes()
    assert after["waiting"].tobytes() == before["waiting"].tobytes()
    slots = learner.blocks["start"].view("slots")
    assert slots[one] == before["start"][one, -1] > 0


CONFIG = """
[devices]
limit = 9
evict_after = "4m"
[channels.load]
[channels.heat]
[channels.state]
kind = "category"
values = ["on", "off"]
[features]
lags = {{ load = [1, 3] }}
[tasks.line]
kind = "forecast"
target = "heat"
horizons = ["20s"]
{more}
model = ["preprocessing.StandardScaler", "linear_model.LinearRegression"]
[tasks.kinds]
kind = "classification"
target = "state"
{more}
model = ["naive_bayes.GaussianNB"]
[tasks.near]
kind = "forecast"
target = "heat"
horizons = ["20s"]
{more}
model = ["preprocessing.StandardScaler", {{ use = "neighbors.KNNRegressor", n_neighbors = 3 }}]
[drift]
detector = "none"
"""
ODD = """
[tasks.odd]
kind = "anomaly"
alarms = "none"
{more}
[tasks.strange]
kind = "anomaly"
alarms = "none"
{more}
model = [
  "preprocessing.MinMaxScaler",
  {{ use = "anomaly.HalfSpaceTrees", n_trees = 3, height = 3, window_size = 20 }},
]
"""


def made(more: str, text: str = CONFIG) -> Pipeline:
    """A pipeline whose tasks all have these keys too."""
    return Pipeline(load_text(text.format(more=more), Path("p.toml"), {}, for_replay=True))


def answers(outputs: list[Output]) -> dict[tuple[int, str, int], tuple[int, int, float]]:
    """Of each prediction, by lane, device and number, its status, version and value."""
    found = {}
    for output in outputs:
        records = output.predictions
        asked = records.codes[:, STEP] == Step.PREDICT
        for code, value in zip(records.codes[asked], records.numbers[asked, VALUE], strict=True):
            key = (int(code[LANE]), str(records.names[code[ROW]]), int(code[SEQUENCE]))
            found[key] = (int(code[STATUS]), int(code[VERSION]), float(value))
    return found


def test_until_it_is_ready_the_fleet_answers() -> None:
    """`before_ready = "fleet"`: the answers are, bit for bit, those of a model that all devices
    share until the device's own has learned so many labels, then its own; where the fleet's has
    not, the last value. For numbers, classes and anomalies, with a model named and without."""
    text, readings = CONFIG + ODD, shifts(N, 3)
    both = answers(run(made('before_ready = "fleet"\nready_after = 30', text), readings, []))
    own = answers(run(made("ready_after = 30", text), readings, []))
    fleet = answers(run(made('ready_after = 30\nscope = "fleet"', text), readings, []))
    seen: set[tuple[int, str]] = set()
    for key, (status, version, value) in both.items():
        assert version == own[key][1]
        least = 30
        if version >= least:
            assert (status, value) == own[key][::2] or math.isnan(own[key][2])
            seen.add((key[0], "own"))
        elif fleet[key][1] >= least:
            assert status == Status.WARMING_UP
            assert value == fleet[key][2] or math.isnan(value)
            seen.add((key[0], "fleet" if not math.isnan(value) else "none"))
        else:
            assert value == own[key][2] or math.isnan(own[key][2])
            seen.add((key[0], "last"))
    assert {(lane, how) for lane in range(5) for how in ("own", "fleet", "last")} <= seen


def test_an_unnamed_model_answers_at_once() -> None:
    """A mixture begins as the fleet's model, so that it need not wait for labels of its own."""
    text = (
        '[channels.load]\n[channels.heat]\n[channels.state]\nkind = "category"\n'
        'values = ["on", "off"]\n[tasks.t]\nkind = "forecast"\ntarget = "heat"\n'
        'horizons = ["20s"]\nready_after = 50\n{more}\n'
    )
    readings = shifts(N, 3)
    early = answers(run(made('before_ready = "fleet"', text), readings, []))
    ready = answers(
        run(made("ready_after = 0", text.replace("ready_after = 50", "")), readings, [])
    )
    late = [key for key in early if key[1] == "d7"]
    assert sum(early[key][0] == Status.WARMING_UP for key in late) > 30
    assert [early[key][2] for key in late] == [ready[key][2] for key in late]


def shares(pipeline: Pipeline, task: str, device: str) -> float:
    """The share of the device's own model as the board tells it."""
    (view,) = pipeline.board.scores(task, device)
    assert sum(view.follows.values()) == pytest.approx(1.0)
    (told,) = [p for p in pipeline.board.predictions(device) or [] if p.task == task]
    assert told.own_share == view.follows["own"]
    return view.follows["own"]


def together(n: int, slopes: dict[str, float], start: int, seed: int) -> Readings:
    """Devices in turn, n readings of each: the next heat is a line of the load, of that slope."""
    random, m = np.random.default_rng(seed), len(slopes)
    clock = (1_700_000_000 + start + 10 * np.arange(n * m)) * 10**6
    load = random.normal(size=n * m)
    heat = np.zeros(n * m)
    heat[m:] = np.tile(list(slopes.values()), n - 1) * load[:-m]
    on = (heat > 0) * 1.0
    values = np.stack([load, heat + 0.1 * random.normal(size=n * m), on], axis=1)
    return Readings(list(slopes) * n, clock, clock, values)


LEVELS = """
[channels.load]
[channels.heat]
[channels.state]
kind = "category"
values = ["on", "off"]
[features]
raw = ["load"]
[tasks.line]
kind = "forecast"
target = "heat"
horizons = [{{ readings = 1 }}]
predict = "level"
{more}
model = ["preprocessing.StandardScaler", "linear_model.LinearRegression"]
[tasks.kinds]
kind = "classification"
target = "state"
horizons = [{{ readings = 1 }}]
{more}
model = ["preprocessing.StandardScaler", "linear_model.LogisticRegression"]
"""


def test_a_device_like_the_others_gains_and_one_that_differs_moves_away() -> None:
    """A new device begins with what others taught; where it is as they are it is better from the
    start than an empty one, where it is not it soon follows its own model alone."""
    errors: dict[tuple[str, str], float] = {}
    for start in ("fleet", "empty"):
        pipeline = made(f'start = "{start}"\nready_after = 0', LEVELS)
        others = {f"old{k}": 2.0 for k in range(4)}
        run(pipeline, together(300, others, 0, 1), [])
        run(pipeline, together(40, {"like": 2.0}, 20_000, 2), [])
        run(pipeline, together(500, others | {"other": -2.0}, 30_000, 3), [])
        for task, score in (("line", "mae"), ("kinds", "log_loss")):
            for device in ("like", "other"):
                (view,) = pipeline.board.scores(task, device)
                errors[start, f"{task} of {device}"] = view.scores[score] or 0.0
        if start == "fleet":
            assert all("until its own is better" in view.why for view in pipeline.board.tasks())
            assert shares(pipeline, "line", "other") > 0.99
            assert shares(pipeline, "kinds", "other") > 0.9
            assert shares(pipeline, "line", "like") < 0.5
    assert errors["fleet", "line of like"] < 0.3 * errors["empty", "line of like"]
    assert errors["fleet", "kinds of like"] < 0.8 * errors["empty", "kinds of like"]
    assert errors["fleet", "line of other"] < 1.5 * errors["empty", "line of other"]


@pytest.mark.slow
def test_an_engine_left_out() -> None:
    """When others have been learned, a named model too is well below an empty start and the last
    value over its first hundred labels; ten engines, each in turn."""
    data = pd.read_csv(recording("cmapss_train.csv.gz"), dtype={"device": str})
    data = data[data["device"].isin(data["device"].unique()[:30])]
    [engines] = [known for known in LEFT_OUT if known.recording == "cmapss_train"]
    found = list(islice(left_out(engines, data, MODELS["line"]), 10))
    errors = [[e[:FIRST].mean() for e in (one.fleet, one.empty, one.last)] for one in found]
    begun, empty, last = np.mean(errors, axis=0)
    assert begun < 0.9 * empty
    assert begun < 0.9 * last


def test_a_cut_a_restart_and_evictions_change_nothing(tmp_path: Path) -> None:
    """Half a stream, a checkpoint, the other half in another process: the same answers and state,
    with devices that leave the memory and come back."""
    readings = shifts(N, 5)
    whole, first, second = (made('start = "fleet"') for _ in range(3))
    outputs = run(whole, readings, [])
    expected = answers(outputs)
    assert evictions(outputs) > 0
    share_evicted(tmp_path, first)
    begun = answers(run(first, readings.part(0, 433), [7, 200, 201]))
    share_evicted(tmp_path, second)
    now = definition(first.settings, first.walk.stages)
    restore(second.walk, capture(first.walk, now, {}))
    rest = answers(run(second, readings.part(433, N), [67]))
    np.testing.assert_equal(begun | rest, expected)
    assert state(second) == state(whole)


def test_it_may_be_added_to_models_that_have_learned() -> None:
    """The own models stay as they were; the new one of the fleet is listed, and so is its end."""
    readings = shifts(N, 7)
    old, new = made(""), made('start = "fleet"')
    run(old, readings, [])
    before, after = (definition(k.settings, k.walk.stages) for k in (old, new))
    changes = compare(before, after)
    assert changes.anew == [
        f"model of all devices beside {name} (new)" for name in ("line@20s", "kinds", "near@20s")
    ]
    restore(new.walk, capture(old.walk, before, {}), changes)
    for name in ("models.line@20s.model", "models.kinds.model"):
        ours, theirs = new.walk.blocks[name], old.walk.blocks[name]
        assert ours.array.tobytes() == theirs.array.tobytes()
    assert np.any(old.walk.blocks["models.line@20s.model"].array)
    back = compare(after, before)
    assert [entry.rpartition(" ")[2] for entry in back.dropped] == ["kinds", "line@20s", "near@20s"]
    again = made("")
    restore(again.walk, capture(new.walk, after, {}), back)
    assert again.walk.blocks["models.line@20s.model"].array.tobytes() == (
        old.walk.blocks["models.line@20s.model"].array.tobytes()
    )


@pytest.mark.parametrize(
    ("task", "key", "message"),
    [
        ('start = "fleet"\nscope = "fleet"', "start", "share one model already"),
        ('before_ready = "fleet"\nscope = "fleet"', "before_ready", "share one model already"),
        ('start = "fleet"\nselect = { by = "variance" }', "select", "sees its own features"),
        ('start = "empty"\nbefore_ready = "fleet"\nmodel = []', "before_ready", "begin empty"),
        ('start = "fleet"\nkind = "anomaly"', "start", "has no errors"),
        ('before_ready = "fleet"\nkind = "clustering"', "before_ready", "numbers of their own"),
    ],
)
def test_a_start_that_cannot_be(task: str, key: str, message: str) -> None:
    """What makes no sense is named with what to write instead."""
    models = {"anomaly": "anomaly.HalfSpaceTrees", "clustering": "cluster.KMeans"}
    kind = task.partition('kind = "')[2].rstrip('"')
    model = f'"{models.get(kind, "linear_model.LinearRegression")}"'
    lines = {"kind": 'kind = "regression"', "model": f"model = [{model}]", "target": 'target = "a"'}
    if "kind" in task:
        del lines["target"]
    given = {text.partition(" =")[0]: text for text in task.split("\n")}
    table = lines | given
    if table["model"] == "model = []":
        del table["model"]
    text = "[channels.a]\n[channels.b]\n[tasks.t]\n" + "\n".join(table.values()) + "\n"
    with pytest.raises(Problems) as refused:
        load_text(text, Path("p.toml"), {}, for_replay=True)
    (problem,) = refused.value.problems
    assert problem.key == f"tasks.t.{key}"
    assert message in problem.message
    assert problem.remedy
