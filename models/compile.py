"""Choose how a fleet runs: compiled where every step has a compiled equivalent, else as River."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models import class_mixture, cold_start, novelty
from models import mixture as number_mixture
from models.compiled import _pipeline
from models.learner import Estimator, Learner, Make
from models.one_output import OneOutput, has_several
from models.river_fleet import RiverFleet
from models.series import Series
from models.ways import Question, way_of
from streamgauge.classes import Classes
from streamgauge.plugins import find, options
from streamgauge.schedule import Lane
from streamgauge.state import Keys

__all__ = ["Compiled", "beside_fleet", "compile", "unnamed"]

NUMBER = Question()
EACH = {Keys.DEVICE: "per device", Keys.FLEET: "for the fleet", Keys.GROUP: "per value of the tag"}


@dataclass(frozen=True, slots=True)
class Compiled:
    """A lane's learner, and how it came to be what it is."""

    learner: Learner
    compiled: bool
    why: str
    """What was compiled and what was not, in words."""


def compile(  # noqa: A001 - the module is the name's space; nothing here needs the builtin
    make: Make,
    lane: int,
    inputs: Sequence[int],
    feature_names: Sequence[str],
    capacity: int,
    keys: Keys = Keys.DEVICE,
    question: Question = NUMBER,
) -> Compiled:
    """The quickest learner that gives River's own answers for the estimators that `make` gives.

    `inputs` are the columns of `schedule.x` that the lane uses, `feature_names` the names of all
    columns; `keys` says who shares a model, `capacity` is the number of device rows, or of groups
    where those have one each, `question` what they are asked. The file of `models/compiled` whose
    MODELS has the last step's type is asked: its
    `build(estimator, lane, inputs, names, capacity, keys)` returns a learner, or why it has none;
    one that tells many classes apart has an option `classes`, how many there can be, one that
    scores a single feature `watched`, its name, and one that continues a series `ahead`.
    """
    estimator = make()
    names = [feature_names[column] for column in inputs]
    model = type(_pipeline.last(estimator))
    reason = f"{model.__name__} has no compiled equivalent"
    given: dict[str, Any] = {"watched": question.watched}
    if question.ahead is not None:
        given["ahead"] = question.ahead
    if question.classes is not None:
        given["classes"] = question.classes.most
    for name, module in find("models.compiled").items():
        if model in module.MODELS:
            own = {name: given[name] for name in options(module) if name in given}
            built = module.build(estimator, lane, inputs, names, capacity, keys, **own)
            if not isinstance(built, str):
                if getattr(built, "order", None) is not None and question.classes is not None:
                    built.order = question.classes.order
                steps = _pipeline.words(estimator)
                return Compiled(built, compiled=True, why=f"all of it runs compiled: {steps}")
            reason = f"not compiled by {name}: {built}"
    why = f"runs as River, one instance {EACH[keys]}; {reason}"
    way = way_of(question, make)
    return Compiled(
        RiverFleet(_each(make, estimator, question), lane, inputs, names, keys, way),
        compiled=False,
        why=why,
    )


def _each(make: Make, estimator: Estimator, question: Question) -> Make:
    """What a River fleet has of each such estimator."""
    if question.ahead is not None:
        return lambda: Series(make())
    if has_several(estimator):
        return lambda: OneOutput(make(), question.target)
    return make


def unnamed(
    number: int, lane: Lane, capacity: int, keys: Keys, pending: int, *, from_fleet: bool,
    learn_after: int, classes: Classes | None = None, groups: int = 0,
) -> Compiled:  # fmt: skip
    """The learner of a lane whose task names no model; `capacity` is the number of device rows,
    `groups` how many have a model where `keys` says so. `pending` predictions of a device wait, and
    with `from_fleet` a new model begins with what all devices have taught. An anomaly that lasts
    for `learn_after` microseconds is learned."""
    if lane.kind == "anomaly":
        learner = novelty.build(
            number, lane.inputs, capacity, keys, learn_after=learn_after, groups=groups
        )
        return Compiled(learner, compiled=True, why=novelty.WHY)
    if classes is not None:
        learner = class_mixture.build(
            number, lane.inputs, capacity, keys,
            classes=classes.most, declared=bool(classes.declared), pending=pending,
            from_fleet=from_fleet, groups=groups,
        )  # fmt: skip
        return Compiled(learner, compiled=True, why=class_mixture.WHY)
    learner = number_mixture.build(
        number, lane.inputs, capacity, keys,
        delay=lane.delay, level=not lane.change, pending=pending, from_fleet=from_fleet,
        groups=groups,
    )  # fmt: skip
    return Compiled(learner, compiled=True, why=number_mixture.WHY)


def beside_fleet(
    own: Compiled, fleet: Compiled, capacity: int, lane: Lane, pending: int, *, mixes: bool
) -> Compiled:
    """Models of each device, of `capacity` rows, beside one that all devices teach.

    What is served `mixes` both by their recent errors; else it is the fleet's model's until a
    device's own is ready. `pending` predictions of a device wait.
    """
    learner = cold_start.ColdStart(
        own.learner, fleet.learner, capacity, pending=pending, by_itself=lane.by_itself,
        classes=lane.parts if lane.kind == "classification" else 0,
        ready_after=None if mixes else lane.ready_after,
    )  # fmt: skip
    until = "its own is better" if mixes else f"its own has learned {lane.ready_after}"
    return Compiled(
        learner, own.compiled, f"{own.why}; a new device is served by a model of all until {until}"
    )
