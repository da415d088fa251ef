"""Models of several outputs, given the one target that a task has."""

from typing import Any

import numpy as np
import pytest

from tests.kinds import channels, loaded, problems, rows, toml

LINEAR = {"use": "linear_model.LinearRegression"}
LOGISTIC = {"use": "linear_model.LogisticRegression"}
BAYES = {"use": "naive_bayes.GaussianNB"}
MARKET = ("nswprice", "nswdemand", "period", "transfer")


def market(model: Any, kind: str = "regression") -> str:
    """A number, or a class, of a market's half hours."""
    target = "transfer" if kind == "regression" else "label"
    return f"""{channels(MARKET)}
[channels.label]
kind = "category"
values = ["DOWN", "UP"]
[tasks.t]
kind = "{kind}"
target = "{target}"
inputs = ["nsw*", "period"]
ready_after = 0
before_ready = "none"
model = {toml(model)}
"""


def chain(kind: str, model: Any, target: str) -> dict[str, Any]:
    """Without an order River's chains only note the name of their first label."""
    return {"use": f"multioutput.{kind}Chain", "model": model, "order": [target]}


@pytest.mark.parametrize(
    ("several", "one", "kind"),
    [
        (chain("Regressor", LINEAR, "transfer"), LINEAR, "regression"),
        ({"use": "multioutput.PerOutputRegressor", "model": LINEAR}, LINEAR, "regression"),
        (chain("Classifier", BAYES, "label"), BAYES, "classification"),
        (chain("Classifier", LOGISTIC, "label"), LOGISTIC, "classification"),
        ({"use": "multioutput.PerOutputClassifier", "classifier": BAYES}, BAYES, "classification"),
    ],
)
def test_of_one_target_it_is_the_model_within(several: Any, one: Any, kind: str) -> None:
    """It answers as the model that it wraps, also behind a scaler; at first nothing is known."""
    data = rows("elec2", 400)
    scaler = "preprocessing.StandardScaler"
    found, expected = (
        loaded(market([scaler, model], kind)).replay(data)["prediction"] for model in (several, one)
    )
    assert found.isna().sum() <= 1
    answers, known = found[1:].to_numpy(), expected[1:].to_numpy()
    if kind == "regression":
        np.testing.assert_allclose(answers.astype(float), known.astype(float), 1e-9)
    else:
        # Where two classes are alike, after the first label, River's chain takes the first.
        assert (answers != known).sum() <= (one is LOGISTIC)
        assert set(answers) == {"DOWN", "UP"}


def test_words_are_two_classes_of_an_encoder() -> None:
    """What makes booleans of labels is told no and yes, and its answers are the words."""
    model = {"use": "multioutput.MultiClassEncoder", "model": BAYES}
    found = loaded(market([model], "classification")).replay(rows("elec2", 400))
    expected = loaded(market([BAYES], "classification")).replay(rows("elec2", 400))
    assert (found["prediction"][1:] == expected["prediction"][1:]).all()
    assert set(found["prediction"][1:]) == {"DOWN", "UP"}


def test_a_leaf_model_is_called_as_the_target() -> None:
    """A tree of several targets has its leaf models by the names of channels."""
    made = loaded(market([{"use": "tree.ISOUPTreeRegressor", "leaf_model": {"transfer": LINEAR}}]))
    found = made.replay(rows("elec2", 400))
    assert np.isfinite(found["prediction"][10:].to_numpy(float)).all()
    assert not sum(made.models[0].learner.failures.values())


def test_an_option_that_is_a_function_is_named() -> None:
    """As module:function; what is none of these is a mistake at its step."""
    named = {"use": "compose.TargetTransformRegressor", "regressor": LINEAR}
    right = {"func": "math:log1p", "inverse_func": "math:expm1"}
    assert not problems(market([named | right]))
    for wrong, said in (("math:log7", "no 'log7'"), ("maths:log", "import"), ("math:pi", "not a")):
        found = problems(market([named | right | {"func": wrong}]))
        assert said in found["tasks.t.model[0]"].message
