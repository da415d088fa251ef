"""Which models a drift is a matter of."""

from collections.abc import Mapping, Sequence

from monitoring.drift import Drift
from stream_processor.consequences import Action, Reaction
from stream_processor.operator import FeatureOperator
from stream_processor.settings.actions import acted_on
from stream_processor.settings.model import Settings
from streamgauge.schedule import Lane
from streamgauge.signal import Kind

__all__ = ["reactions_of", "relearning", "repeats_of"]


def reactions_of(
    settings: Settings, lanes: Sequence[Lane], features: Sequence[FeatureOperator], drift: Drift
) -> dict[str, Reaction]:
    """By signal what its drift makes of models; empty where it changes none.

    A task's error, answers and labels are its own matter, a feature one of those that use it, a
    channel one of those that predict it or use features made of it, and how channels lie to each
    other one of all.
    """
    found = {}
    watched = {one.signal.kind: one.signal.parts for one in drift.watched}
    for name, action in settings.drift.actions.items():
        tasks = set(acted_on(action, settings.tasks))
        own = [k for k, lane in enumerate(lanes) if lane.task in tasks]
        if own:
            kind = Kind(name)
            used = _used(kind, lanes, features, list(settings.channels))
            of_all = kind is Kind.RELATION
            parts = {part: [k for k in own if of_all or part in used[k]] for part in watched[kind]}
            found[name] = Reaction(Action(action.use), parts, action.span)
    return found


def repeats_of(settings: Settings, lanes: Sequence[Lane]) -> dict[int, int]:
    """By lane whose models may learn faster, how often a label teaches them then; where several
    signals make them, as often as the largest says."""
    found: dict[int, int] = {}
    for action in settings.drift.actions.values():
        if Action(action.use) is Action.LEARN_FASTER:
            tasks = set(acted_on(action, settings.tasks))
            for k, lane in enumerate(lanes):
                if lane.task in tasks:
                    found[k] = max(found.get(k, 0), action.factor)
    return found


def relearning(settings: Settings, lanes: Sequence[Lane]) -> set[int]:
    """Lanes whose models may have rivals."""
    tasks = {
        task
        for action in settings.drift.actions.values()
        if Action(action.use) is Action.RELEARN
        for task in acted_on(action, settings.tasks)
    }
    return {k for k, lane in enumerate(lanes) if lane.task in tasks}


def _used(
    kind: Kind, lanes: Sequence[Lane], features: Sequence[FeatureOperator], channels: Sequence[str]
) -> Mapping[int, set[str]]:
    """Of each lane the parts of such a signal that are a matter of it."""
    names = [name for operator in features for name in operator.names]
    made_of = [of for operator in features for of in operator.channels]
    used: dict[int, set[str]] = {}
    for k, lane in enumerate(lanes):
        if kind in (Kind.ERROR, Kind.PREDICTION, Kind.LABEL):
            used[k] = {lane.name}
        elif kind is Kind.FEATURE:
            used[k] = {names[column] for column in lane.inputs}
        else:
            used[k] = {channel for column in lane.inputs for channel in made_of[column]}
            if lane.target >= 0:
                used[k].add(channels[lane.target])
    return used
