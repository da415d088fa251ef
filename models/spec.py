"""River pipelines from a configuration: `["preprocessing.StandardScaler", {use = "...", ...}]`."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import river
from river import base, cluster, compose

from models.clip import Clip
from models.last_step import last_step
from models.learner import Estimator, Make
from models.series import is_series
from models.ways import tells_two
from streamgauge.schedule import TaskKind

__all__ = ["NotAModel", "Step", "build", "refuse_task"]

Step = str | Mapping[str, Any]
"""A name, or a table whose `use` is the name and whose other keys are the options."""


class NotAModel(ValueError):
    """The steps describe no model that answers the task.

    `problems` is all that was found: the step's place in the list, from 0 (None where it is not one
    step's fault), and what is wrong with it.
    """

    def __init__(self, message: str, problems: Sequence[tuple[int | None, str]] = ()) -> None:
        super().__init__(message)
        self.problems = list(problems) or [(None, message)]


class Answers(NamedTuple):
    """What answers a task, in River's terms and in words."""

    method: str
    kinds: tuple[type, ...]
    verb: str
    noun: str
    example: str


_DETECTORS = (base.AnomalyDetector, base.SupervisedAnomalyDetector, base.AnomalyFilter)
_REGRESSOR = Answers(
    "predict_one",
    (base.Regressor, base.MultiTargetRegressor),
    "predict",
    "a regressor",
    "linear_model.LinearRegression",
)
ANSWERS: Mapping[TaskKind, Answers] = {
    "forecast": _REGRESSOR,
    "regression": _REGRESSOR,
    "classification": Answers("predict_one", (base.Classifier, base.MultiLabelClassifier),
                              "predict", "a classifier",
                              "naive_bayes.GaussianNB"),
    "anomaly": Answers("score_one", _DETECTORS, "score",
                       "an anomaly detector", "anomaly.HalfSpaceTrees"),
    "clustering": Answers("predict_one", (base.Clusterer,), "predict", "a clusterer",
                          "cluster.KMeans"),
}  # fmt: skip
# Our own steps beside River's.
OWN: Mapping[str, Callable[..., Any]] = {"clip": Clip}
# Their positional arguments are steps themselves.
COMPOSED = (compose.Pipeline, compose.TransformerUnion, compose.TransformerProduct)
# What takes the options of another, its seed among them, as keywords.
HANDS_ON: Mapping[Callable[..., Any], type] = {cluster.STREAMKMeans: cluster.KMeans}
# River draws a new seed where none is given; a replay must give what the live run gave.
SEED = 0
MAX_NODES = 500
"""Of each tree of a Mondrian forest, where nothing is said: River's grow with every reading, to a
hundred megabytes after 20,000; ten such trees take one."""


def build(steps: Step | Sequence[Step], kind: TaskKind = "regression") -> Make:
    """A function that gives a new estimator each time, as described by `steps`.

    `steps` is one step or several in order. A step is the name of a class below `river`
    ("preprocessing.StandardScaler"), "clip", or a table {use = name, option = value, ...} in which
    an option may be such a table itself, or a function as "module:function". A single
    "module:function" is a Python function without arguments that returns an estimator. It must fit
    the task's `kind`. Options named `seed` are 0 unless given, also those of what River makes by
    itself where an option is left out; those named `max_nodes` are MAX_NODES.

    Raises NotAModel, a ValueError, with every wrong step, what was found, and what there is.
    """
    parts = [steps] if isinstance(steps, str | Mapping) else list(steps)
    only = parts[0] if len(parts) == 1 else None
    if isinstance(only, str) and ":" in only:
        make, where = _function(only), f"model {only!r}"
    else:
        make, where = _pipeline(parts), "model"
    _check(make(), where, kind)
    return make


def _pipeline(parts: Sequence[Step]) -> Make:
    if not parts:
        raise NotAModel("model: no steps; name at least one, such as linear_model.LinearRegression")

    _refuse_steps(parts)

    def make() -> Estimator:
        made = [_step(part, f"model step {k}") for k, part in enumerate(parts, 1)]
        estimator: Estimator = made[0] if len(made) == 1 else compose.Pipeline(*made)
        return estimator

    return make


def _refuse_steps(parts: Sequence[Step]) -> None:
    """Raise NotAModel with all steps that cannot be made."""
    problems: list[tuple[int | None, str]] = []
    for k, part in enumerate(parts):
        try:
            _step(part, f"model step {k + 1}")
        except NotAModel as refused:
            problems.append((k, str(refused)))
    if problems:
        raise NotAModel("\n".join(message for _, message in problems), problems)


def _function(name: str) -> Make:
    found = _imported(name, f"model {name!r}")

    def make() -> Estimator:
        try:
            estimator: Estimator = found()
        except Exception as error:
            raise NotAModel(f"model {name!r}: {type(error).__name__}: {error}") from error
        return estimator

    return make


def _imported(name: str, where: str) -> Callable[..., Any]:
    """The function that "module:function" names."""
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except ImportError as error:
        raise NotAModel(
            f"{where}: cannot import {module!r} ({error}); it must be installed or on PYTHONPATH"
        ) from error
    except (AttributeError, ValueError) as error:
        raise NotAModel(f"{where}: {module} has no {function!r}") from error
    if not callable(found):
        raise NotAModel(f"{where}: {function} is {found!r}, not a function")
    made: Callable[..., Any] = found
    return made


def _step(part: Any, where: str) -> Any:
    """An instance of what one step or nested table describes."""
    if isinstance(part, str):
        return _instance(part, {}, where)
    if not isinstance(part, Mapping) or not isinstance(part.get("use"), str):
        raise NotAModel(f'{where}: {part!r} is neither a name nor a table with use = "name"')
    options = {key: value for key, value in part.items() if key != "use"}
    return _instance(part["use"], options, where)


def _instance(name: str, options: Mapping[str, Any], where: str) -> Any:
    where = f"{where} ({name})"
    made = OWN[name] if name in OWN else _river_class(name, where)
    parameters = dict(inspect.signature(made).parameters)
    if made in HANDS_ON:
        parameters |= inspect.signature(HANDS_ON[made]).parameters
    nested = _step if made in COMPOSED else _value
    positional: list[Any] = []
    usual = {"seed": SEED, "max_nodes": MAX_NODES}
    named: dict[str, Any] = {key: value for key, value in usual.items() if key in parameters}
    for option, value in options.items():
        _check_option(option, parameters, where)
        inside = f"{where}, {option}"
        if parameters[option].kind is inspect.Parameter.VAR_POSITIONAL:
            elements = value if isinstance(value, list | tuple) else [value]
            positional += [nested(element, inside) for element in elements]
        elif isinstance(value, str) and "Callable" in str(parameters[option].annotation):
            named[option] = _imported(value, inside)
        else:
            named[option] = _value(value, inside)
    try:
        instance = made(*positional, **named)
        drawn = {k: v for k, v in _seeded_defaults(instance).items() if k not in named}
        return made(*positional, **named, **drawn) if drawn else instance
    except Exception as error:
        raise NotAModel(f"{where}: {type(error).__name__}: {error}") from error


def _seeded_defaults(instance: Any) -> dict[str, base.Base]:
    """The parts of an estimator that River made by itself without a seed, with one."""
    if not isinstance(instance, base.Base):
        return {}
    names = inspect.signature(type(instance)).parameters
    parts = {name: getattr(instance, name, None) for name in names}
    bases = {name: part for name, part in parts.items() if isinstance(part, base.Base)}
    seeded = {name: _seeded(part) for name, part in bases.items()}
    return {name: part for name, part in seeded.items() if part is not bases[name]}


def _seeded(part: base.Base) -> base.Base:
    """A new one with the same options, every `seed` that was None set, at any depth; the same one
    where there is none."""
    changes: dict[str, Any] = dict(_seeded_defaults(part))
    if getattr(part, "seed", SEED) is None and "seed" in inspect.signature(type(part)).parameters:
        changes["seed"] = SEED
    return part.clone(changes) if changes else part


def _check_option(option: str, parameters: Mapping[str, Any], where: str) -> None:
    if option not in parameters:
        there = f"its options are {', '.join(parameters)}" if parameters else "it has no options"
        hint = _meant(option, parameters)
        raise NotAModel(f"{where}: unknown option {option!r};{hint} {there}")


def _value(value: Any, where: str) -> Any:
    """An option's value; tables with `use`, also in lists, become instances."""
    if isinstance(value, Mapping) and "use" in value:
        return _step(value, where)
    if isinstance(value, Mapping):
        return {key: _value(inner, f"{where}.{key}") for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_value(inner, where) for inner in value]
    return value


def _river_class(name: str, where: str) -> type:
    path, _, last = name.removeprefix("river.").rpartition(".")
    modules = sorted(m.name for m in pkgutil.iter_modules(river.__path__) if m.name[0] != "_")
    if not path or path.partition(".")[0] not in modules:
        known = [*modules, *OWN]
        hint = _meant(path or last, known)
        raise NotAModel(
            f"{where}: not a module.Class of River;{hint} modules are {', '.join(modules)}; "
            f"own steps are {', '.join(OWN)}"
        )
    try:
        module = importlib.import_module(f"river.{path}")
    except ImportError as error:
        raise NotAModel(f"{where}: river.{path} cannot be imported ({error})") from error
    classes = [key for key, value in vars(module).items() if _is_public_class(key, value)]
    if last not in classes:
        hint = _meant(last, classes)
        raise NotAModel(
            f"{where}: river.{path} has no {last!r};{hint} there are {', '.join(sorted(classes))}"
        )
    found: type = getattr(module, last)
    return found


def _is_public_class(name: str, value: Any) -> bool:
    return inspect.isclass(value) and not name.startswith("_") and not inspect.isabstract(value)


def _meant(found: str, known: Iterable[str]) -> str:
    by_lower = {name.lower(): name for name in known}
    close = get_close_matches(found.lower(), by_lower, n=1)
    return f" did you mean {by_lower[close[0]]}?" if close else ""


def _check(estimator: Any, where: str, kind: TaskKind) -> None:
    """Refuse what cannot answer a task of that kind, naming the step."""
    pipeline = isinstance(estimator, compose.Pipeline)
    steps = list(estimator.steps.values()) if pipeline else [estimator]
    for k, step in enumerate(steps[:-1], 1):
        if not hasattr(step, "transform_one"):
            raise NotAModel(
                f"{where} step {k}: {type(step).__name__} does not transform features, "
                "so only the last step can be one"
            )
    if kind == "forecast" and is_series(estimator):
        return
    answers = ANSWERS[kind]
    last = type(steps[-1]).__name__
    if not (callable(getattr(steps[-1], answers.method, None)) and hasattr(steps[-1], "learn_one")):
        raise NotAModel(
            f"{where}: the last step, {last}, does not {answers.verb}; end with {answers.noun}, "
            f"such as {answers.example}"
        )
    if isinstance(steps[-1], base.Base) and not isinstance(steps[-1], answers.kinds):
        raise NotAModel(
            f"{where}: the last step, {last}, is not {answers.noun}; end with one, such as "
            f"{answers.example}"
        )


def refuse_task(estimator: Any, classes: int | None, target: bool) -> None:
    """NotAModel where an estimator cannot take so many classes (None: no classification), or where
    an anomaly detector watches a target and there is none, or the other way round."""
    last = last_step(estimator)
    name = type(last).__name__
    if classes is not None and classes != 2 and tells_two(last):
        raise NotAModel(
            f"model: {name} tells two classes apart, the task has up to {classes}; declare two, as "
            'classes = ["no", "yes"], or wrap it: '
            '{ use = "multiclass.OneVsRestClassifier", classifier = ... }'
        )
    if classes is not None or not isinstance(last, ANSWERS["anomaly"].kinds):
        return
    watches = isinstance(_filtered(last), base.SupervisedAnomalyDetector)
    if watches and not target:
        raise NotAModel(f"model: {name} watches one channel; add target = ... to the task")
    if target and not watches:
        raise NotAModel(
            f"model: {name} looks at all its inputs together; remove target, and choose with inputs"
        )


def _filtered(detector: Any) -> Any:
    """What an anomaly filter filters."""
    return detector.anomaly_detector if isinstance(detector, base.AnomalyFilter) else detector
