import math
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from river import compose, optim, preprocessing, tree

from models.clip import Clip
from models.spec import NotAModel, build


def steps_of(estimator: Any) -> list[Any]:
    """The steps of a pipeline, in order."""
    assert isinstance(estimator, compose.Pipeline)
    return list(estimator.steps.values())


def test_builds_rivers_pipeline_with_nested_options() -> None:
    """Names, options and options that are instances themselves become River's own objects."""
    make = build(
        [
            "preprocessing.StandardScaler",
            {"use": "clip", "limit": 4.0},
            {
                "use": "linear_model.LinearRegression",
                "l2": 1e-4,
                "optimizer": {
                    "use": "optim.Adam",
                    "lr": {"use": "optim.schedulers.InverseScaling", "learning_rate": 0.5},
                },
            },
        ]
    )
    scaler, clip, model = steps_of(make())
    assert type(scaler) is preprocessing.StandardScaler
    assert isinstance(clip, Clip)
    assert clip.limit == 4.0
    assert model.l2 == 1e-4
    assert type(model.optimizer) is optim.Adam
    assert model.optimizer.lr.learning_rate == 0.5


def test_every_call_gives_an_estimator_of_its_own() -> None:
    """Two devices share nothing, not even an optimizer."""
    make = build(
        {"use": "linear_model.LinearRegression", "optimizer": {"use": "optim.SGD", "lr": 0.1}}
    )
    one, other = make(), make()
    one.learn_one({"a": 1.0}, 5.0)
    assert one.predict_one({"a": 1.0}) > 0.0
    assert other.predict_one({"a": 1.0}) == 0.0


@pytest.mark.parametrize("steps", ["tree.HoeffdingTreeRegressor", ["tree.HoeffdingTreeRegressor"]])
def test_one_step_needs_no_pipeline(steps: Any) -> None:
    """A single regressor, written as a name or as a list of one, is that regressor."""
    assert type(build(steps)()) is tree.HoeffdingTreeRegressor


def test_lists_and_keyword_parts_are_built_too() -> None:
    """Ensembles take lists of models, unions take steps, selections take names."""
    make = build(
        [
            {
                "use": "compose.TransformerUnion",
                "transformers": [
                    {"use": "compose.Select", "keys": ["a", "b"]},
                    "preprocessing.MinMaxScaler",
                ],
            },
            {
                "use": "ensemble.EWARegressor",
                "models": [
                    {"use": "linear_model.LinearRegression"},
                    {
                        "use": "compose.Pipeline",
                        "steps": ["preprocessing.StandardScaler", "linear_model.PARegressor"],
                    },
                ],
            },
        ]
    )
    union, ensemble = steps_of(make())
    select = next(iter(union.transformers.values()))
    assert select.keys == {"a", "b"}
    assert [type(model).__name__ for model in ensemble.models] == ["LinearRegression", "Pipeline"]
    model = make()
    model.learn_one({"a": 1.0, "b": 2.0, "c": 3.0}, 1.0)
    assert math.isfinite(model.predict_one({"a": 1.0, "b": 2.0, "c": 3.0}))


def test_seeds_are_fixed_unless_given() -> None:
    """A replay gives what the live run gave: what River would draw by chance is 0."""
    assert build("forest.AMFRegressor")().seed == 0  # type: ignore[attr-defined]  # River's own
    chosen: Any = build({"use": "forest.AMFRegressor", "seed": 7})()
    assert chosen.seed == 7


def test_a_mondrian_forest_has_a_largest_size_unless_given() -> None:
    """River's own grows with every reading."""
    for name, kind in (("AMFRegressor", "regression"), ("AMFClassifier", "classification")):
        usual: Any = build(f"forest.{name}", kind)()  # type: ignore[arg-type]  # one of two
        given: Any = build({"use": f"forest.{name}", "max_nodes": 90}, kind)()  # type: ignore[arg-type]  # the same
        assert (usual.max_nodes, given.max_nodes) == (500, 90)


def test_takes_a_python_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """module:function gives what the function returns."""
    (tmp_path / "my_slow_pumps.py").write_text(
        "from river import linear_model\n"
        "def slow():\n    return linear_model.LinearRegression(intercept_init=3.0)\n"
        "def broken():\n    return 1 / 0\n"
        "def scaler():\n    import models.clip\n    return models.clip.Clip()\n"
        "number = 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        assert build("my_slow_pumps:slow")().predict_one({}) == 3.0
        assert build(("my_slow_pumps:slow",))().predict_one({}) == 3.0
        for name, message in (
            ("broken", "ZeroDivisionError"),
            ("quick", "my_slow_pumps has no 'quick'"),
            ("number", "not a function"),
            ("scaler", "Clip, does not predict"),
        ):
            with pytest.raises(ValueError, match=message):
                build(f"my_slow_pumps:{name}")
    finally:
        sys.modules.pop("my_slow_pumps", None)


@pytest.mark.parametrize(
    ("steps", "messages"),
    [
        ([], ["no steps"]),
        (["linear_model.LinearRegresion"], ["step 1", "did you mean LinearRegression?"]),
        (["linear_modl.LinearRegression"], ["did you mean linear_model?", "preprocessing"]),
        (["LinearRegression"], ["not a module.Class of River", "linear_model"]),
        (["clipp"], ["did you mean clip?"]),
        (["linear_model.base"], ["river.linear_model has no 'base'"]),
        (["os.system"], ["not a module.Class of River"]),
        (["utils.nothing.Here"], ["cannot be imported"]),
        (["preprocessing.StandardScaler", 5], ["step 2", "5 is neither"]),
        ([{"l2": 1.0}], ["use"]),
        (
            [{"use": "linear_model.LinearRegression", "L2": 1e-4}],
            ["step 1 (linear_model.LinearRegression)", "unknown option 'L2'", "did you mean l2?"],
        ),
        (
            [{"use": "linear_model.LinearRegression", "optimizer": {"use": "optim.Sdg"}}],
            ["step 1 (linear_model.LinearRegression), optimizer", "did you mean SGD?"],
        ),
        (
            [{"use": "linear_model.LinearRegression", "l1": 1.0, "l2": 1.0}],
            ["joint use of L1 and L2"],
        ),
        ([{"use": "clip", "limit": -1}], ["limit is -1"]),
        (["preprocessing.StandardScaler"], ["StandardScaler, does not predict"]),
        (["linear_model.LogisticRegression"], ["LogisticRegression, is not a regressor"]),
        (
            ["linear_model.LinearRegression", "linear_model.LinearRegression"],
            ["step 1", "does not transform"],
        ),
        ("no_such_module:build", ["cannot import 'no_such_module'", "PYTHONPATH"]),
    ],
)
def test_says_what_is_wrong_and_what_there_is(steps: Any, messages: list[str]) -> None:
    """Errors name the step, what was found and what there is."""
    with pytest.raises(ValueError, match=r"^model") as refused:
        build(steps)
    for message in messages:
        assert message in str(refused.value)


RANDOM = [
    "neighbors.KNNRegressor",
    "forest.ARFRegressor",
    "ensemble.SRPRegressor",
    {"use": "ensemble.BaggingRegressor", "model": "tree.HoeffdingTreeRegressor"},
    {"use": "ensemble.BaggingRegressor", "model": {"use": "neighbors.KNNRegressor"}, "n_models": 2},
]


@pytest.mark.parametrize("step", RANDOM)
def test_what_draws_by_chance_draws_the_same_again(step: Any) -> None:
    """Two models of one description answer the same stream identically, to the last bit."""
    if isinstance(step, dict) and isinstance(step["model"], str):
        step = step | {"model": {"use": step["model"]}}
    make = build(["preprocessing.StandardScaler", step])
    chance = random.Random(5)
    rows = [({"a": chance.random(), "b": chance.gauss(0, 2)}, chance.random()) for _ in range(700)]
    answers: list[list[float]] = []
    for model in (make(), make()):
        answers.append([])
        for x, y in rows:
            answers[-1].append(model.predict_one(x))
            model.learn_one(x, y)
    assert answers[0] == answers[1]
    assert len(set(answers[0])) > 100


def test_every_seed_below_an_estimator_is_set() -> None:
    """What River makes by itself is seeded; what the description gives stays as it was given."""
    made: Any = build("neighbors.KNNRegressor")()
    assert made.engine.seed == 0
    engine = {"use": "neighbors.SWINN", "seed": 9, "maxlen": 50}
    given: Any = build({"use": "neighbors.KNNRegressor", "engine": engine})()
    assert (given.engine.seed, given.engine.maxlen) == (9, 50)


def test_all_wrong_steps_are_told() -> None:
    """Each with its place in the list."""
    with pytest.raises(NotAModel) as raised:
        build(
            [
                "preprocessing.StandrdScaler",
                "preprocessing.MinMaxScaler",
                {"use": "clip", "limt": 5},
                {"use": "linear_model.LinearRegression", "foo": 3},
            ]
        )
    assert [step for step, _ in raised.value.problems] == [0, 2, 3]
    for words in ("StandardScaler", "'limt'", "'foo'"):
        assert words in str(raised.value)
