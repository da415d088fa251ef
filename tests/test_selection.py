"""models.selection"""

import io
import math
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from river import feature_selection, stats

from models.selection import Selection
from serving.replay import _report_selections
from stream_processor.settings import Problems
from streamgauge.schedule import LANE, MODEL, STEP, TARGET, Schedule
from streamgauge.state import Keys, put_rows, take_rows
from streamgauge.words import Step
from tests.streams import COMPILED, RIVER, pipeline, stream
from tests.test_walk import run, state, told

NAMES = ["a", "b", "c", "d", "e"]
INPUTS = [1, 2, 3, 5, 6]
OPTIONS: dict[str, dict[str, Any]] = {
    "correlation": {"keep": 2, "threshold": 0.0},
    "variance": {"keep": 1, "threshold": 0.5},
}


def made(by: Any, keys: Keys = Keys.DEVICE) -> Selection:
    """A selection among five features in lane 1."""
    return Selection(1, INPUTS, NAMES, 4, keys, by=by, **OPTIONS[by])


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


def by_river(schedule: Schedule, by: str) -> Any:
    """The same by River's selectors, in the order in which its pipelines call them."""
    seen = schedule.x.copy()
    selectors: dict[int, Any] = {}
    for i in range(schedule.n):
        if schedule.codes[i, LANE] != 1:
            continue
        selector: Any = selectors.setdefault(int(schedule.codes[i, MODEL]), river(by))
        x = {j: float(seen[i, j]) for j in INPUTS if not math.isnan(seen[i, j])}
        learns = schedule.codes[i, STEP] == Step.LEARN
        if learns and by == "variance":
            selector.learn_one(x)
        kept = selector.transform_one(x)
        if learns and by == "correlation":
            selector.learn_one(x, float(schedule.numbers[i, TARGET]))
        seen[i, [j for j in INPUTS if j not in kept]] = np.nan
    return seen


def river(by: str) -> Any:
    """River's selector of this kind."""
    if by == "variance":
        return feature_selection.VarianceThreshold(OPTIONS[by]["threshold"])
    return feature_selection.SelectKBest(stats.PearsonCorr(), OPTIONS[by]["keep"], use_abs=True)


@pytest.mark.parametrize("by", OPTIONS)
@pytest.mark.parametrize("keys", [Keys.DEVICE, Keys.FLEET])
@pytest.mark.parametrize("seed", range(3))
def test_equals_river(by: str, keys: Keys, seed: int) -> None:
    """The models see the features that River's selectors leave, however the steps are cut; other
    lanes see all of theirs."""
    wanted = by_river(steps(seed, fleet=keys is Keys.FLEET), by)
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


@pytest.mark.parametrize("model", [COMPILED, RIVER])
@pytest.mark.parametrize("scope", ["device", "fleet"])
def test_any_cut_gives_the_same_selection(model: str, scope: str) -> None:
    """Records and state are the same bits, one by one and all at once."""
    text = f"{model}\nselect = {{ by = 'correlation', keep = 3 }}\nscope = '{scope}'"
    readings = stream(500, 3)
    whole, single = pipeline(text), pipeline(text)
    assert told(run(whole, readings, [])) == told(run(single, readings, list(range(1, 500))))
    assert state(whole) == state(single)
    assert any(name.startswith("selection.heat_now.") for name in state(whole))


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
        ("{ by = 'correlation' }", "keep = 10"),
        ("{ by = 'variance', keep = 3 }", "threshold = 0.1"),
        ("{ by = 'correlation', threshold = 0.5 }", "write keep"),
        ("{ by = 'luck' }", "correlation"),
        ("{ by = 'correlation', keep = 0 }", "keep"),
    ],
)
def test_refusals_say_what_to_do(select: str, said: str) -> None:
    """Each wrong option is refused with its remedy."""
    with pytest.raises(Problems, match=said):
        pipeline(f"{COMPILED}\nselect = {select}")
