"""models.selection, models.selections"""

import io
import math
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from river import feature_selection, linear_model, stats

from models.compile import compile as compile_model
from models.selection import Selection
from serving.check import summary
from serving.replay import _report_selections
from stream_processor.settings import Problems, Settings, load_text
from streamgauge.plugins import load
from streamgauge.schedule import LANE, MODEL, STEP, TARGET, Schedule
from streamgauge.state import Keys, put_rows, take_rows
from streamgauge.words import Step
from tests.streams import COMPILED, RIVER, pipeline, stream
from tests.test_walk import run, state, told

NAMES = ["a", "b", "c", "d", "e"]
INPUTS = [1, 2, 3, 5, 6]
OPTIONS: dict[str, dict[str, Any]] = {
    "correlation": {"keep": 2},
    "mutual_information": {"keep": 2, "every": 3},
    "redundancy": {"threshold": 0.9, "every": 7},
    "variance": {"threshold": 0.5},
}
MODEL_NAMES = ["z", *NAMES[:3], "y", *NAMES[3:]]


def made(by: str, keys: Keys = Keys.DEVICE) -> Selection:
    """A selection among five features in lane 1."""
    make = linear_model.LinearRegression
    learner = compile_model(make, 1, INPUTS, MODEL_NAMES, 4, keys).learner
    built: Selection = load("models.selections", by).build(learner, INPUTS, NAMES, 4, **OPTIONS[by])
    return built


def steps(seed: int, n: int = 600, fleet: bool = False) -> Schedule:
    """Predict and learn steps of two lanes and four models; features of all kinds, with gaps."""
    random = np.random.default_rng(seed)
    schedule = Schedule(n, 7)
    schedule.n = n
    schedule.codes[:, STEP] = random.choice([Step.PREDICT, Step.LEARN], n)
    schedule.codes[:, LANE] = random.integers(0, 2, n)
    schedule.codes[:, MODEL] = 0 if fleet else random.integers(0, 4, n)
    x = random.normal(0.0, 1.0, (n, 7)) * [1, 1, 0.3, 30, 1, 1e-3, 1] + 5.0
    x[:, 6] = 2.0
    x[:, 2] += 0.9 * x[:, 1]
    schedule.numbers[:, TARGET] = x[:, 1] - 0.05 * x[:, 3] + random.normal(0, 1.0, n)
    x[random.random(x.shape) < 0.15] = np.nan
    schedule.x[:] = x
    return schedule


def played(selection: Selection, schedule: Schedule, parts: int) -> Any:
    """What the models see, the steps handed over in so many parts."""
    for places in np.array_split(np.arange(schedule.n), parts):
        part = Schedule(len(places), 7)
        part.n = len(places)
        part.codes[:], part.numbers[:] = schedule.codes[places], schedule.numbers[places]
        part.x[:] = schedule.x[places]
        selection.call(part).run(steps=part.n)
        schedule.x[places] = part.x
    return schedule.x


class Informative:
    """The best by mutual information: pairs, each with its two bins, and all scores from them."""

    def __init__(self) -> None:
        self.bins: dict[int, tuple[Standard, Standard]] = {}
        self.pairs: dict[int, list[tuple[int, int]]] = {}
        self.labels = 0
        self.out: set[int] = set()

    def transform_one(self, x: dict[int, float]) -> dict[int, float]:
        return {j: value for j, value in x.items() if j not in self.out}

    def learn_one(self, x: dict[int, float], y: float) -> None:
        for j, value in x.items():
            own, its = self.bins.setdefault(j, (Standard(), Standard()))
            self.pairs.setdefault(j, []).append((own.bin(value), its.bin(y)))
        self.labels += 1
        if self.pairs and self.labels % OPTIONS["mutual_information"]["every"] == 0:
            score = {j: round(information(pairs), 9) for j, pairs in self.pairs.items()}
            ranked = sorted(score, key=lambda j: -score[j])
            self.out = set(INPUTS) - set(ranked[: OPTIONS["mutual_information"]["keep"]])


class Standard:
    """Mean and deviation of what was seen, and the bin of the newest of it."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def bin(self, value: float) -> int:
        self.seen.append(value)
        deviation = float(np.std(self.seen))
        if deviation < 1e-12:
            return 4
        parts = [NormalDist().inv_cdf(k / 8) for k in range(1, 8)]
        z = (value - float(np.mean(self.seen))) / deviation
        return int(np.searchsorted(parts, z, side="right"))


def information(pairs: list[tuple[int, int]]) -> float:
    """Mutual information of the bins: the sum of p(a, b) log(p(a, b) / (p(a) p(b)))."""
    joint = np.zeros((8, 8))
    np.add.at(joint, tuple(np.array(pairs).T), 1.0 / len(pairs))
    alone = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
    return float((joint[joint > 0] * np.log(joint[joint > 0] / alone[joint > 0])).sum())


class Filter:
    """The correlation filter, by pandas, over all that was learned."""

    def __init__(self) -> None:
        self.rows: list[dict[Any, float]] = []
        self.out: set[int] = set()

    def transform_one(self, x: dict[int, float]) -> dict[int, float]:
        return {j: value for j, value in x.items() if j not in self.out}

    def learn_one(self, x: dict[int, float], y: float) -> None:
        self.rows.append({**x, "label": y})
        if len(self.rows) % OPTIONS["redundancy"]["every"]:
            return
        table = pd.DataFrame(self.rows, columns=[*INPUTS, "label"])
        label = table.corr(min_periods=2)["label"].abs().fillna(0.0).to_dict()
        alike = table.corr(min_periods=10).abs().fillna(0.0).to_dict()
        worth = {j: label[j] + (0.0 if j in self.out else 0.01) for j in INPUTS}
        self.out, kept = set(), list[int]()
        for j in sorted(INPUTS, key=lambda j: -worth[j]):
            if any(alike[j][k] > OPTIONS["redundancy"]["threshold"] for k in kept):
                self.out.add(j)
            else:
                kept.append(j)


def plainly(schedule: Schedule, by: str) -> Any:
    """The same by River's selectors, in the order in which its pipelines call them, or by pandas'
    correlations."""
    seen = schedule.x.copy()
    selectors: dict[int, Any] = {}
    for i in range(schedule.n):
        if schedule.codes[i, LANE] != 1:
            continue
        selector: Any = selectors.setdefault(int(schedule.codes[i, MODEL]), selector_of(by))
        x = {j: float(seen[i, j]) for j in INPUTS if not math.isnan(seen[i, j])}
        learns = schedule.codes[i, STEP] == Step.LEARN
        if learns and by == "variance":
            selector.learn_one(x)
        kept = selector.transform_one(x)
        if learns and by != "variance":
            selector.learn_one(x, float(schedule.numbers[i, TARGET]))
        seen[i, [j for j in INPUTS if j not in kept]] = np.nan
    return seen


def selector_of(by: str) -> Any:
    """A selector of this kind, plain and slow."""
    if by == "variance":
        return feature_selection.VarianceThreshold(OPTIONS[by]["threshold"])
    if by == "redundancy":
        return Filter()
    if by == "mutual_information":
        return Informative()
    score = stats.PearsonCorr()
    return feature_selection.SelectKBest(score, OPTIONS[by]["keep"], use_abs=True)


@pytest.mark.parametrize("by", OPTIONS)
@pytest.mark.parametrize("keys", [Keys.DEVICE, Keys.FLEET])
@pytest.mark.parametrize("seed", range(3))
def test_equals_a_plain_selector(by: str, keys: Keys, seed: int) -> None:
    """The models see the features that River's selectors leave, or pandas' correlations, however
    the steps are cut; other lanes see all of theirs."""
    wanted = plainly(steps(seed, fleet=keys is Keys.FLEET), by)
    for parts in (1, 9, 600):
        found = played(made(by, keys), steps(seed, fleet=keys is Keys.FLEET), parts)
        np.testing.assert_array_equal(found, wanted)
    assert np.isnan(wanted).sum() > np.isnan(steps(seed).x).sum() + 100


@pytest.mark.parametrize("by", OPTIONS)
def test_goes_on_from_a_snapshot(by: str) -> None:
    """A selection that was given another's state decides as that one does."""
    here, there = made(by), made(by)
    played(here, steps(1), 1)
    put_rows(there.blocks, np.arange(4), take_rows(here.blocks, np.arange(4)))
    later = [played(one, steps(2), 1) for one in (here, there)]
    np.testing.assert_array_equal(*later)


def test_reports_what_was_kept_and_why() -> None:
    """Scores are the absolute correlations, and each feature has its reason."""
    selection = made("correlation", Keys.FLEET)
    assert {choice.reason for choice in selection.report(0)} == {"kept until labels come"}
    schedule = steps(4, fleet=True)
    x = schedule.x.copy()
    played(selection, schedule, 1)
    learned = (schedule.codes[:, LANE] == 1) & (schedule.codes[:, STEP] == Step.LEARN)
    report = selection.report(0)
    for choice, column in zip(report, INPUTS, strict=True):
        there = learned & ~np.isnan(x[:, column])
        both = x[there, column], schedule.numbers[there, TARGET]
        wanted = 0.0 if choice.feature == "e" else abs(np.corrcoef(*both)[0, 1])
        assert choice.score == pytest.approx(wanted, abs=1e-9)
    assert [choice.feature for choice in report if choice.kept] == ["a", "c"]
    assert report[4].reason == "correlation 0 is not among the best 2"
    varied = made("variance", Keys.FLEET)
    played(varied, steps(4, fleet=True), 1)
    assert varied.report(0)[4].reason == "variance 0 is not above 0.5"


def test_a_task_answers_as_rivers_pipeline_with_the_selector() -> None:
    """The selection in front of a compiled model gives what River's selector gives in one."""
    readings, varied = stream(900, 5), "{ by = 'variance', threshold = 20.0 }"
    selector = '[{ use = "feature_selection.VarianceThreshold", threshold = 20.0 },'
    ours = run(pipeline(f"{COMPILED}\nselect = {varied}"), readings, [])
    rivers = run(pipeline(selector + COMPILED[1:]), readings, [])
    plain = run(pipeline(COMPILED), readings, [])
    found, wanted, other = (
        np.concatenate([output.predictions.numbers for output in outputs])
        for outputs in (ours, rivers, plain)
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
    assert not np.allclose(found, other, equal_nan=True)


@pytest.mark.parametrize(
    ("model", "select"),
    [
        (COMPILED, "{ by = 'correlation', keep = 3 }"),
        (RIVER, "{ by = 'correlation', keep = 3 }"),
        (COMPILED, "{ by = 'mutual_information', keep = 3, every = 5 }"),
        (RIVER, "{ by = 'redundancy', threshold = 0.8, every = 5 }"),
        (COMPILED, "{ by = 'importance', threshold = 0.1, every = 4, retry = 3 }"),
    ],
)
@pytest.mark.parametrize("scope", ["device", "fleet"])
def test_any_cut_gives_the_same_selection(model: str, select: str, scope: str) -> None:
    """Records and state are the same bits, one by one and all at once."""
    text = f"{model}\nselect = {select}\nscope = '{scope}'"
    readings = stream(500, 3)
    whole, single = pipeline(text), pipeline(text)
    assert told(run(whole, readings, [])) == told(run(single, readings, list(range(1, 500))))
    assert state(whole) == state(single)
    assert any(name.startswith("selection.heat_now.") for name in state(whole))
    rows = range(1 if scope == "fleet" else len(whole.walk.stages.devices))
    for selection in whole.walk.stages.selections:
        assert min(share.kept for share in selection.kept(rows)) < 1.0


def test_replay_shows_what_was_kept() -> None:
    """A line for each input, with the reason where the fleet has one model."""
    text = f"{COMPILED}\nselect = {{ by = 'correlation', keep = 3 }}\nscope = 'fleet'"
    made = pipeline(text)
    run(made, stream(500, 3), [])
    out = io.StringIO()
    _report_selections(made, Console(file=out, width=200))
    shown = out.getvalue()
    assert shown.count("kept: correlation") == 3 * len(made.walk.stages.lanes)
    assert "features of heat_now" in shown
    assert "left out: correlation" in shown


@pytest.mark.parametrize(
    ("select", "said"),
    [
        ("{ by = 'correlation' }", "select.keep: missing; add keep"),
        ("{ by = 'variance', keep = 3 }", "select.keep = 3: unknown option; choose .* threshold"),
        ("{ by = 'luck' }", "select.by = .luck.: .* correlation, importance, mutual_information"),
        ("{ by = 'mutual_information', keep = 0 }", "keep = 0: .* write 1 or more"),
        ("{ by = 'mutual_information', keep = 2, every = 0 }", "every = 0: .* 1 or more"),
        ("{ by = 'variance', threshold = -1.0 }", "threshold = -1.0: .* write one from 0 on"),
        ("{ by = 'redundancy', threshold = 1.0 }", r"threshold = 1.0: .* such as 0\.95"),
        ("{ by = 'redundancy', every = 0 }", "every = 0: .* write 1 or more"),
        ("{ by = 'importance', threshold = 0.0 }", r"threshold = 0.0: .* such as 0\.01"),
        ("{ by = 'importance', retry = 0 }", "retry = 0: .* write 1 or more"),
    ],
)
def test_refusals_say_what_to_do(select: str, said: str) -> None:
    """Each wrong option is refused with its remedy."""
    with pytest.raises(Problems, match=said):
        pipeline(f"{COMPILED}\nselect = {select}")


def test_the_board_tells_of_one_device_and_of_all() -> None:
    """A decision with its reason of one, shares over all, nothing of who is unknown; without
    devices nothing is known."""
    made = pipeline(f"{COMPILED}\nselect = {{ by = 'redundancy', threshold = 0.8, every = 5 }}")
    [nobody] = made.board.selections("heat_now")
    assert {(one.kept, one.score) for one in nobody.choices} == {(None, None)}
    run(made, stream(500, 3), [])
    devices = made.board.device_ids()
    own = [made.board.selections("heat_now", device)[0] for device in devices]
    [everyone] = made.board.selections("heat_now")
    assert (everyone.by, everyone.scope, everyone.models) == ("redundancy", "device", len(devices))
    for j, choice in enumerate(everyone.choices):
        of = [view.choices[j] for view in own]
        assert choice.kept == pytest.approx(np.mean([one.kept for one in of]))
        assert choice.score == pytest.approx(np.median([one.score for one in of]))
        assert {one.feature for one in of} == {choice.feature}
        for one in of:
            assert ("which is kept" in one.why) == (one.kept == 0.0)
    assert min(choice.kept or 0.0 for choice in everyone.choices) < 0.5
    assert made.board.selections("heat_now", "nobody") == []
    assert pipeline().board.selections("heat_now") == []


def test_check_tells_what_selects_and_refuses_too_many_pairs() -> None:
    """The task's line has the way and its options; pairs of too many features are refused with
    what helps."""
    features = "\n".join(f"[channels.c{k}]" for k in range(34))
    text = f"{features}\n[tasks.t]\nkind = 'regression'\ntarget = 'c0'\nmodel = {COMPILED}\n"
    text += "select = { by = 'redundancy' }\n"
    assert len(settings_of(text + "inputs = ['c?']\n").tasks) == 1
    assert (
        "redundancy (threshold = 0.95, every = 100)"
        in dict(summary(settings_of(text + "scope = 'fleet'")))["task"]
    )
    said = 'pairs of 33 features, .* set scope = "fleet"; name fewer in inputs'
    with pytest.raises(Problems, match=said):
        settings_of(text)


def settings_of(text: str) -> Settings:
    """The settings that the text holds."""
    return load_text(text, Path("test.toml"), {}, for_replay=True)
