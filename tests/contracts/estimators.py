"""Every estimator of River, found by walking it, as a model of a configuration."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any

import river
from river import base, time_series

from models.spec import ANSWERS
from streamgauge.schedule import TaskKind

__all__ = ["EXCLUDED", "estimators", "kind_of", "model_of"]

RECOMMENDS = "it learns what a user thinks of an item, and a reading has neither"
EXCLUDED = {
    "active.EntropySampler": "it says of which readings somebody should be asked for a label, and "
    "nobody is; the classifier that it wraps is a model by itself",
    "cluster.ODAC": "it clusters the series of the features, not readings: its predict_one raises "
    "NotImplementedError",
    "compose.Pipeline": "the list of steps is one",
    "misc.ZstdClassifier": "it compresses with a module that Python has from 3.14 on",
    "reco.Baseline": RECOMMENDS,
    "reco.BiasedMF": RECOMMENDS,
    "reco.FunkMF": RECOMMENDS,
    "reco.RandomNormal": RECOMMENDS,
}
"""What no task can have, and why."""

_BAYES = {"use": "naive_bayes.GaussianNB"}
_LINEAR = {"use": "linear_model.LinearRegression"}
_WANTED = {"classifier": _BAYES, "desired_dist": {"UP": 0.5, "DOWN": 0.5}}
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    # Otherwise it asks for the time of each reading, which River's pipelines do not hand on.
    "cluster.TextClust": {"real_time_fading": False, "term_fading": False},
    "compose.TargetTransformRegressor": {
        "regressor": _LINEAR,
        "func": "math:log1p",
        "inverse_func": "math:expm1",
    },
    # Without it River divides by zero at the first reading, and answers nothing from then on.
    "anomaly.PredictiveAnomalyDetection": {"warmup_period": 5},
    "imblearn.RandomOverSampler": _WANTED,
    "imblearn.RandomSampler": {**_WANTED, "sampling_rate": 0.5},
    "imblearn.RandomUnderSampler": _WANTED,
    "model_selection.SuccessiveHalvingClassifier": {"budget": 500},
    "preprocessing.TargetMinMaxScaler": {"regressor": _LINEAR},
    "preprocessing.TargetStandardScaler": {"regressor": _LINEAR},
}
"""What must be given where River's own tests give nothing."""


def estimators() -> dict[str, type]:
    """Every public class of River that answers by itself, by its name in a configuration."""
    found = {}
    for module in pkgutil.iter_modules(river.__path__):
        package = importlib.import_module(f"river.{module.name}")
        for name in getattr(package, "__all__", []):
            one = getattr(package, name, None)
            if inspect.isclass(one) and issubclass(one, base.Estimator) and _answers(one):
                found[f"{module.name}.{name}"] = one
    return found


def _answers(one: type) -> bool:
    methods = ("predict_one", "score_one", "forecast")
    return not inspect.isabstract(one) and any(hasattr(one, name) for name in methods)


def kind_of(one: type) -> TaskKind | None:
    """The kind of task that such an estimator answers."""
    if issubclass(one, time_series.base.Forecaster):
        return "forecast"
    kinds: tuple[TaskKind, ...] = ("regression", "classification", "anomaly", "clustering")
    return next((kind for kind in kinds if issubclass(one, ANSWERS[kind].kinds)), None)


def model_of(name: str, one: Any) -> dict[str, Any]:
    """A step that River's own tests would build, as a configuration writes it."""
    given: dict[str, Any] = next(iter(one._unit_test_params()), {})
    options = {key: _written(value) for key, value in given.items()}
    return {"use": name, **options, **OPTIONS.get(name, {})}


def _written(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_written(inner) for inner in value]
    if isinstance(value, Mapping):
        return {key: _written(inner) for key, inner in value.items()}
    if not hasattr(value, "_get_params"):
        return value
    steps = getattr(value, "steps", None)
    if isinstance(steps, Mapping):
        return {"use": "compose.Pipeline", "steps": [_written(step) for step in steps.values()]}
    return {"use": _path(type(value)), **dict(_options(value))}


def _options(instance: Any) -> Iterator[tuple[str, Any]]:
    """The options that are not as by default."""
    for name, parameter in inspect.signature(type(instance)).parameters.items():
        value = getattr(instance, name, None)
        simple = isinstance(value, bool | int | float | str)
        if simple and value != parameter.default:
            yield name, value


def _path(one: type) -> str:
    """Where a class of River is found."""
    parts = one.__module__.split(".")[1:]
    for depth in range(1, len(parts) + 1):
        module = importlib.import_module(".".join(["river", *parts[:depth]]))
        if getattr(module, one.__name__, None) is one:
            return ".".join([*parts[:depth], one.__name__])
    raise AssertionError(f"{one} is nowhere in River")
