"""How an estimator is asked and taught, by the kind of its task: what a River fleet does per step.

`ask` writes the answer of a predict step into the schedule, `teach` gives a learn step's target to
the estimator. What learns by itself does so when it is asked, right after it has answered.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from models.last_step import last_step
from models.learner import Make
from models.series import Ahead, asking
from streamgauge.classes import Class, Classes
from streamgauge.schedule import TARGET, Schedule, TaskKind

__all__ = ["Question", "Way", "tells_two", "way_of"]

Features = dict[Any, Any]
Ask = Callable[[Any, Features, Schedule, int], None]


class Question(NamedTuple):
    """What the models of a lane are asked."""

    kind: TaskKind = "regression"
    classes: Classes | None = None
    """Of a classification: targets and answers are places in them."""
    watched: str = ""
    """The feature that an anomaly detector with a target watches; the others explain it."""
    ahead: Ahead | None = None
    """How far a time series model is to continue the target; None for all others."""
    target: str = "target"
    """What a model of several outputs calls this one."""


class Way(NamedTuple):
    """`ask(estimator, x, schedule, i)` and `teach(estimator, x, schedule, i)`, for step i."""

    ask: Ask
    teach: Ask


def way_of(question: Question, make: Make) -> Way | None:
    """How to ask it of such estimators; None for a number, which a fleet does by itself. A fleet of
    time series models has them as `models.series.Series`."""
    if question.ahead is not None:
        return Way(asking(question.ahead, make), _nothing)
    estimator = make()
    if question.classes is not None:
        return _classification(estimator, question.classes)
    if question.kind == "anomaly":
        return _watching(question.watched) if question.watched else Way(_score, _nothing)
    if question.kind == "clustering":
        return Way(_cluster, _nothing)
    return None


def _classification(estimator: Any, classes: Classes) -> Way:
    names: list[Class] = []
    places: dict[Class, int] = {}
    # Such a model computes with its label, so two words will not do.
    binary = tells_two(estimator)

    def known() -> None:
        """Take over the classes that were learned since."""
        if len(names) != len(classes):
            names[:] = [False, True] if binary else classes.known()
            places.clear()
            places.update((name, k) for k, name in enumerate(names))

    def ask(model: Any, x: Features, schedule: Schedule, i: int) -> None:
        known()
        parts = schedule.parts[i]
        parts[:] = np.nan
        schedule.answers[i] = np.nan
        chances = chances_of(model, x)
        asks = own or not chances
        answer = model.predict_one(x) if asks else max(chances, key=chances.__getitem__)
        if chances:
            parts[: classes.most] = 0.0
            for name, chance in chances.items():
                place = places.get(name)
                if place is not None:
                    parts[place] = chance
        schedule.answers[i] = places.get(answer, math.nan)

    def teach(model: Any, x: Features, schedule: Schedule, i: int) -> None:
        known()
        model.learn_one(x, names[int(schedule.numbers.item(i, TARGET))])

    own, chances_of = _how_it_answers(estimator)
    known()
    return Way(ask, teach)


def _how_it_answers(estimator: Any) -> tuple[bool, Callable[[Any, Features], Mapping[Any, float]]]:
    """Whether a classifier decides by itself, not for the most probable class; and how it gives
    probabilities."""
    from river import base

    last = type(last_step(estimator))
    if not issubclass(last, base.Classifier):
        # Wrappers say nothing of what they wrap, and functions may give anything.
        return True, _chances if hasattr(last, "predict_proba_one") else _none
    own = last.predict_one is not base.Classifier.predict_one
    gives = last.predict_proba_one is not base.Classifier.predict_proba_one
    return own or not gives, _chances if gives else _none


def _chances(model: Any, x: Features) -> Mapping[Any, float]:
    try:
        return model.predict_proba_one(x) or {}
    except NotImplementedError:
        # An ensemble of classifiers without probabilities.
        return {}


def _none(model: Any, x: Features) -> Mapping[Any, float]:
    return {}


def tells_two(estimator: Any) -> bool:
    """Whether a classifier knows only yes and no. What chooses among several does not say so."""
    last = last_step(estimator)
    models = getattr(last, "models", ())
    inner = models if isinstance(models, list | tuple) else ()
    # It makes booleans of its labels.
    if type(last).__name__ == "MultiClassEncoder":
        return True
    return not getattr(last, "_multiclass", True) or any(map(tells_two, inner))


def _nothing(model: Any, x: Features, schedule: Schedule, i: int) -> None:
    """A label teaches nothing to what learns by itself."""


def _score(model: Any, x: Features, schedule: Schedule, i: int) -> None:
    schedule.answers[i] = np.nan
    try:
        schedule.answers[i] = model.score_one(x)
    finally:
        model.learn_one(x)


def _watching(target: str) -> Way:
    def score(model: Any, x: Features, schedule: Schedule, i: int) -> None:
        schedule.answers[i] = np.nan
        y = x.pop(target, None)
        if y is None:
            return
        try:
            # A pipeline's own `score_one` takes no target.
            schedule.answers[i] = last_step(model).score_one(_transformed(model, x), y)
        finally:
            model.learn_one(x, y)

    return Way(score, _nothing)


def _cluster(model: Any, x: Features, schedule: Schedule, i: int) -> None:
    schedule.answers[i] = np.nan
    schedule.parts[i, :2] = np.nan
    try:
        group = model.predict_one(x)
        schedule.answers[i] = np.nan if group is None else group
        schedule.parts[i, :2] = _distances(model, x, group)
    finally:
        model.learn_one(x)


def _distances(model: Any, x: Features, group: Any) -> tuple[float, float]:
    """Euclidean distances from the centre of the cluster and from the nearest other one, in the
    features that the clusterer sees; NaN where there is no such centre, or it is too far."""
    x = _transformed(model, x)
    centres = getattr(last_step(model), "centers", None)
    if not isinstance(centres, Mapping) or not centres.get(group):
        return math.nan, math.nan
    others: list[float] = []
    for name, centre in list(centres.items()):
        with suppress(OverflowError):
            if name != group and centre:
                others.append(_distance(x, centre))
    return _distance(x, centres[group]), min(others, default=math.nan)


def _distance(x: Features, centre: Mapping[Any, float]) -> float:
    return math.sqrt(sum((value - centre[name]) ** 2 for name, value in x.items()
                         if name in centre))  # fmt: skip


def _transformed(model: Any, x: Features) -> Features:
    """The features that the last step of a pipeline sees."""
    steps = getattr(model, "steps", None)
    for step in list(steps.values())[:-1] if isinstance(steps, Mapping) else ():
        x = step.transform_one(x)
    return x
