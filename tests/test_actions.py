"""What is done about drift: from when on, whatever batches there are, and what it brings."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import linear_model, optim

from stream_processor.consequences import apart
from stream_processor.pipeline import Pipeline
from stream_processor.settings import Problems, load_text
from stream_processor.settings.actions import ActionSettings
from stream_processor.snapshot import capture, restore
from streamgauge.delivery import Readings
from streamgauge.events import Event, EventKind
from streamgauge.output import SCORE_COLUMNS, Output
from tests.recordings import recording
from tests.streams import BEGIN, COMPILED, CONFIG, RIVER, SECOND, stream
from tests.test_walk import run, state, told

NONE = ""
"""No model is named."""
ALL = """
[drift.actions]
error = "restart"
missing = { use = "learn_faster", for = "2m", factor = 3 }
"""
FASTER = """
[drift.actions]
error = { use = "learn_faster", for = "2m", factor = 3 }
missing = { use = "restart", tasks = ["load*"] }
"""
RIVALS = """
[drift.actions]
error = { use = "relearn", for = "4m", tasks = ["load*"] }
"""
SIGNALS = """
missing = { use = "adwin", delta = 0.9, clock = 1, grace_period = 1, min_window_length = 1 }
"""


def acting(model: str, actions: str = ALL, more: str = SIGNALS) -> Pipeline:
    """The pipeline of the walk's tests, with actions."""
    text = CONFIG.format(model=model, limit=8, evict_after="3m", pending=2)
    text = text.replace("[scores]", f"{more}{actions}[scores]").replace("model = \n", "")
    return Pipeline(load_text(text, Path("test.toml"), {}, for_replay=True))


def happened(outputs: list[Output], *kinds: EventKind) -> list[Event]:
    """The events of these kinds, in order."""
    return [event for output in outputs for event in output.events if event.kind in kinds]


def gaps(readings: Readings) -> Readings:
    """The same, but that most values of a channel are missing from the middle on."""
    random = np.random.default_rng(0)
    late = np.arange(len(readings)) > len(readings) // 2
    values = readings.values.copy()
    values[late & (random.random(len(readings)) < 0.8), 0] = np.nan
    return replace(readings, values=values)


@given(
    st.integers(0, 50),
    st.lists(st.integers(1, 1_499), max_size=30),
    st.sampled_from([ALL, FASTER, RIVALS]),
)
@settings(max_examples=15, deadline=None)
def test_any_cut_gives_the_same_actions_and_state(seed: int, cuts: list[int], how: str) -> None:
    """Records, events and every state array are the same bits as without any cut."""
    readings = gaps(stream(1_500, seed))
    whole, pieces = acting(NONE, how), acting(NONE, how)
    assert told(run(whole, readings, [])) == told(run(pieces, readings, cuts))
    assert state(whole) == state(pieces)


OUTCOMES = {
    ALL: (EventKind.RESTARTED, EventKind.LEARNS_FASTER),
    FASTER: (EventKind.RESTARTED, EventKind.LEARNS_FASTER),
    RIVALS: (EventKind.RELEARNS, EventKind.KEPT),
}


@pytest.mark.parametrize("how", OUTCOMES)
@pytest.mark.parametrize("model", [COMPILED, RIVER, NONE])
def test_one_reading_at_a_time_is_the_same_as_all_at_once(model: str, how: str) -> None:
    """The hardest cut, for a compiled model, one that runs as River, and the one of no name."""
    readings = gaps(stream(1_200, 3))
    whole, single = acting(model, how), acting(model, how)
    together = run(whole, readings, [])
    assert told(together) == told(run(single, readings, list(range(1, 1_200))))
    assert state(whole) == state(single)
    for kind in OUTCOMES[how]:
        assert len(happened(together, kind)) > 2
    assert happened(together, EventKind.EFFECT) or how == RIVALS


ONE = """
[channels.a]
range = [-1e6, 1e6]
[channels.y]
range = [-1e6, 1e6]
[features]
raw = ["a"]
[tasks.t]
kind = "regression"
target = "y"
ready_after = {ready}
model = ["linear_model.LinearRegression"]
[drift]
level = "none"
noise = "none"
shape = "none"
detector = {{ use = "page_hinkley", threshold = 20.0, min_instances = 30, delta = 0.5 }}
"""
ACT = '[drift.actions]\nerror = "restart"\n'


def one(actions: str, ready: int = 0) -> Pipeline:
    """One task, one device's worth of settings."""
    text = ONE.format(ready=ready) + actions
    return Pipeline(load_text(text, Path("test.toml"), {}, for_replay=True))


def turned(n: int = 1_000) -> Readings:
    """Two devices by turns: y is 3 a; of the first one -3 a from the middle on."""
    random = np.random.default_rng(1)
    a = random.normal(size=n)
    k = np.arange(n)
    way = np.where((k % 2 == 0) & (k >= n // 2), -3.0, 3.0)
    values = np.stack([a, way * a], axis=1)
    time = BEGIN + k * SECOND
    return Readings([f"d{place}" for place in (k % 2).tolist()], time, time, values)


def answers(outputs: list[Output]) -> dict[tuple[int, int], float]:
    """What was predicted, by device row and number of the reading."""
    found = {}
    for output in outputs:
        records = output.predictions
        for code, number in zip(records.codes.tolist(), records.numbers.tolist(), strict=True):
            if code[0] == 0:
                found[code[2], code[3]] = number[0]
    return found


def test_a_model_begins_anew_with_the_next_reading_of_its_device() -> None:
    """It then answers 0, as a new linear regression does; until then, and elsewhere, nothing is
    different."""
    readings = turned()
    acted, not_acted = (run(one(actions), readings, []) for actions in (ACT, ""))
    restarted, *_ = happened(acted, EventKind.RESTARTED)
    (rise, *_), (plain, *_) = (happened(o, EventKind.DRIFT_UP) for o in (acted, not_acted))
    assert replace(rise, source=0) == replace(plain, source=0)
    assert restarted == replace(rise, kind=EventKind.RESTARTED)
    number = (rise.time - BEGIN) // SECOND // 2
    with_it, without = answers(acted), answers(not_acted)
    assert with_it[0, number + 1] == 0.0 != without[0, number + 1]
    same = [key for key in without if key[0] == 1 or key[1] <= number]
    assert all(with_it[key] == without[key] for key in same)
    assert len(same) > 700


def test_a_new_model_is_not_served_before_it_is_ready() -> None:
    """After a restart it needs as many labels as one of a new device."""
    outputs = run(one(ACT, ready=7), turned(), [])
    restarted, *_ = happened(outputs, EventKind.RESTARTED)
    first = (restarted.time - BEGIN) // SECOND // 2 + 1
    statuses = {
        (code[2], code[3]): code[6]
        for output in outputs
        for code in output.predictions.codes.tolist()
        if code[0] == 0
    }
    warming = statuses[0, 0]
    assert [statuses[0, first + k] == warming for k in range(8)] == [True] * 7 + [False]


def test_the_effect_is_the_mean_error_before_and_after() -> None:
    """Of the hundred predictions that follow the action; before it is what the detector says."""
    readings = turned(3_000)
    outputs = run(one(ACT), readings, [])
    restarted, *_ = happened(outputs, EventKind.RESTARTED)
    effect, *_ = happened(outputs, EventKind.EFFECT)
    first = (restarted.time - BEGIN) // SECOND // 2 + 1
    said = answers(outputs)
    errors = [abs(readings.values[2 * k, 1] - said[0, k]) for k in range(first, first + 100)]
    assert effect.after == pytest.approx(np.mean(errors), rel=1e-12)
    assert (effect.before, effect.size) == (restarted.after, 100.0)
    assert effect.since == restarted.time
    assert (effect.signal, effect.detector) == ("error", "page_hinkley")
    assert effect.time == readings.time[2 * (first + 99)]


def test_no_second_action_before_the_first_one_could_show() -> None:
    """There are a hundred readings of the device between two actions on one of its models."""
    outputs = run(acting(COMPILED), stream(4_000, 5), [])
    found = happened(outputs, EventKind.RESTARTED)
    assert len(happened(outputs, EventKind.DRIFT_UP)) > 2 * len(found) > 20


RECORDED = """
[devices]
limit = 4
[channels.x0]
[channels.x1]
[tasks.t]
kind = "classification"
classes = ["n", "p"]
label = { from = "column:label", delay = { readings = 1 } }
model = ["naive_bayes.GaussianNB"]
[drift]
level = "none"
noise = "none"
shape = "none"
"""


def accuracy(actions: str, frame: pd.DataFrame) -> float:
    """Share of right answers on a recording."""
    made = Pipeline(load_text(RECORDED + actions, Path("test.toml"), {}, for_replay=True))
    made.replay(frame)
    numbers = made.walk.stages.scorer.numbers(-1, 0)
    return float(numbers[SCORE_COLUMNS.index("accuracy")])


def test_errors_are_fewer_on_a_recording_whose_labels_change() -> None:
    """SINE1 turns its labels round every 20,000 readings."""
    everything = pd.read_csv(recording("drift_synth.csv.gz"))
    own = everything["device"].str.startswith("sine1")
    frame = everything.loc[own, ["device", "time", "x0", "x1", "label"]].iloc[:50_000]
    plain = accuracy("", frame)
    again = accuracy('[drift.actions]\nerror = "restart"\n', frame)
    faster = accuracy(FAST.format(3_600, 5), frame)
    rivals = accuracy(RELEARN, frame)
    assert again > faster + 0.05 > plain + 0.1
    assert rivals > again - 0.02


def test_parts_hold_no_row_twice() -> None:
    """They are as long as they can be."""
    rows = np.array([0, 1, 2, 1, 0, 0, 3])
    assert list(apart(rows)) == [3, 5, 7]
    assert list(apart(rows[:0])) == []


@pytest.mark.parametrize(
    ("written", "said", "key"),
    [
        ('errors = "restart"', "no such signal", "drift.actions.errors"),
        ('level = "restart"', "nothing watches level", "drift.actions.level"),
        ('error = "reboot"', "not an allowed value", "drift.actions.error"),
        (
            'error = { use = "note", tasks = ["t"] }',
            "means nothing",
            "drift.actions.error.tasks",
        ),
        ('error = { use = "restart", factor = 3 }', "means nothing", "drift.actions.error.factor"),
        ('error = { use = "alert", for = "2d" }', "means nothing", "drift.actions.error.for"),
        (
            'error = { use = "learn_faster", factor = 1 }',
            "not an allowed value",
            "drift.actions.error.factor",
        ),
        ('error = { use = "restart", tasks = ["u"] }', "no task that fits", "drift.actions.error"),
    ],
)
def test_what_cannot_be_done_is_refused(written: str, said: str, key: str) -> None:
    """At its key, with a remedy."""
    with pytest.raises(Problems) as refused:
        one(f"[drift.actions]\n{written}\n")
    (problem,) = refused.value.problems
    assert problem.key == key
    assert said in problem.message
    assert problem.remedy


def test_models_that_all_share_are_left_alone() -> None:
    """One device's drift must not restart everybody's model."""
    text = ONE.format(ready=0).replace("[tasks.t]", '[tasks.t]\nscope = "fleet"')
    with pytest.raises(Problems, match="must not"):
        load_text(text + ACT, Path("test.toml"), {}, for_replay=True)


def test_an_action_is_written_by_its_name_or_as_a_table() -> None:
    """Both mean the same."""
    made = one(ACT).settings.drift.actions
    assert made == one('[drift.actions]\nerror = { use = "restart" }\n').settings.drift.actions
    assert made == {"error": ActionSettings("restart")}


FAST = '[drift.actions]\nerror = {{ use = "learn_faster", for = "{}s", factor = {} }}\n'
RELEARN = '[drift.actions]\nerror = { use = "relearn", for = "2h" }\n'


@pytest.mark.parametrize("river", [False, True])
def test_for_a_while_each_label_teaches_several_times(river: bool) -> None:
    """The answers are those of River's model that learns as often from these labels, and once from
    others; the other device's are as without."""
    readings, seconds, times = turned(2_000), 300, 4
    text = FAST.format(seconds, times)
    text = ONE.format(ready=0) + text
    if river:
        text = text.replace('"linear_model.LinearRegression"', _AS_RIVER)
    made = Pipeline(load_text(text, Path("test.toml"), {}, for_replay=True))
    assert (made.walk.stages.learners[0].blobs is not None) == river
    outputs = run(made, readings, [700, 701, 1_500])
    faster = happened(outputs, EventKind.LEARNS_FASTER)
    said, taught = answers(outputs), 0
    for device in range(2):
        optimizer = {"optimizer": optim.Newton(lr=0.01)} if river else {}
        model = linear_model.LinearRegression(**optimizer)
        for k in range(1_000):
            (a, y), now = readings.values[2 * k + device], readings.time[2 * k + device]
            assert said[device, k] == pytest.approx(model.predict_one({"a": a}), abs=1e-9)
            fast = any(
                one.row == device and 0 < now - one.time < seconds * SECOND for one in faster
            )
            taught += fast
            for _ in range(times if fast else 1):
                model.learn_one({"a": a}, y)
    assert 100 < taught < 1_000


_AS_RIVER = (
    '{ use = "linear_model.LinearRegression", optimizer = { use = "optim.Newton", lr = 0.01 } }'
)


def test_the_fleet_s_model_does_not_learn_faster() -> None:
    """A device that drifted teaches what new devices begin with no more than others do."""
    text = ONE.format(ready=0).replace('model = ["linear_model.LinearRegression"]', "")
    made = [
        Pipeline(load_text(text + actions, Path("test.toml"), {}, for_replay=True))
        for actions in ("", FAST.format(300, 4))
    ]
    plain, fast = ([*run(one, turned(2_000), [])] for one in made)
    assert happened(fast, EventKind.LEARNS_FASTER)
    assert answers(plain) != answers(fast)
    fleets = [one.walk.stages.learners[0].blocks["fleet"] for one in made]
    # What of a label it learns is told by the device's model; how often, by nobody.
    counted = [fleet.view("counted")[0] for fleet in fleets]
    assert counted[0] == counted[1] > 0.0


def relearning(*, river: bool, actions: str = RELEARN) -> Pipeline:
    """The pipeline of one task whose models may have rivals."""
    text = ONE.format(ready=0) + actions
    if river:
        text = text.replace('"linear_model.LinearRegression"', _AS_RIVER)
    return Pipeline(load_text(text, Path("test.toml"), {}, for_replay=True))


@pytest.mark.parametrize("river", [False, True])
def test_a_better_model_replaces_the_one_that_answers(river: bool) -> None:
    """Until then nothing is different; from the device's next reading on answers are those of a
    model that learned from the predictions since the drift alone."""
    readings = turned(3_000)
    outputs = run(relearning(river=river), readings, [777, 1_601, 1_602])
    plain = answers(run(relearning(river=river, actions=""), readings, []))
    replaced, *more = [one for one in happened(outputs, EventKind.REPLACED) if one.row == 0]
    *_, began = [
        one
        for one in happened(outputs, EventKind.RELEARNS)
        if one.row == 0 and one.time < replaced.time
    ]
    ends = (*[one.time for one in more], BEGIN + 2_998 * SECOND)
    first, last, end, *_ = (
        (time - BEGIN) // SECOND // 2 + 1 for time in (began.time, replaced.time, *ends)
    )
    said = answers(outputs)
    assert all(said[0, k] == plain[0, k] for k in range(last))
    model = linear_model.LinearRegression(**({"optimizer": optim.Newton(lr=0.01)} if river else {}))
    for k in range(first, end):
        a, y = readings.values[2 * k]
        answer = model.predict_one({"a": a})
        if k >= last:
            assert said[0, k] == pytest.approx(answer, abs=1e-9)
        model.learn_one({"a": a}, y)
    assert end - last > 50
    assert replaced.after < replaced.before
    assert (replaced.signal, replaced.detector) == ("error", "page_hinkley")
    assert replaced.size >= 100


def test_a_model_that_does_not_become_better_is_forgotten() -> None:
    """After the time that it was given; the one that answers has not changed by that."""
    readings = turned(3_000)
    text = RELEARN.replace("2h", "30s")
    outputs = run(relearning(river=False, actions=text), readings, [])
    began, kept = (happened(outputs, kind) for kind in (EventKind.RELEARNS, EventKind.KEPT))
    assert len(kept) >= 1
    assert kept[0].time - began[0].time == 32 * SECOND
    assert not happened(outputs, EventKind.REPLACED)
    assert answers(outputs) == answers(run(one(""), readings, []))


@pytest.mark.parametrize("river", [False, True])
def test_rivals_are_in_a_checkpoint(river: bool) -> None:
    """What goes on from one ends with the same bits, wherever it was taken."""
    readings = turned(2_400)
    whole = relearning(river=river)
    rest = told(run(whole, readings.part(0, 1_250), []))
    taken = capture(whole.walk, {}, {})
    again = relearning(river=river)
    restore(again.walk, taken)
    left = readings.part(1_250, 2_400)
    rest, other = told(run(whole, left, [])), told(run(again, left, []))
    assert rest == other
    assert state(whole) == state(again)
    assert any("REPLACED" in event for event in map(str, rest[2]))
