"""From [features] to operators, and which of their features a task may use."""

from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatchcase
from inspect import signature
from types import ModuleType
from typing import Any

from stream_processor.operator import FeatureOperator
from stream_processor.settings.document import KeyPath
from stream_processor.settings.model import FeatureSettings, Settings
from stream_processor.settings.tasks import TaskSettings
from streamgauge.devices import Devices
from streamgauge.plugins import load
from streamgauge.schema import Kind, Schema

__all__ = ["Refused", "build_features", "choose_inputs", "feature_options", "implied", "taken_by"]

PACKAGE = "stream_processor.features"
EVERYTHING = TaskSettings().inputs
BESIDE = ("devices", "earlier")
"""What a plug-in's `build` may take beside schema, capacity and column."""


class Refused(ValueError):
    """A feature's plug-in does not take its options; `path` is the feature's key."""

    def __init__(self, path: KeyPath, reason: str) -> None:
        super().__init__(reason)
        self.path = path


def feature_options(settings: Settings, schema: Schema) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """For each feature operator, in order, its key and the options of its plug-in's `build`.

    The plug-in's name is the second part of the key: `("features", "rolling", 0)`.
    """
    features = settings.features
    # A category's code is no quantity, unless someone says that it is.
    words = (Kind.CATEGORY, Kind.TEXT)
    plain = tuple(one.name for one in schema.channels if one.kind not in words)
    of = plain if features.raw is None else features.raw
    if of:
        yield ("features", "raw"), {"of": of}
    if features.lags:
        yield ("features", "lags"), {"lags": features.lags}
    for i, entry in enumerate(features.rolling):
        yield (
            ("features", "rolling", i),
            {
                "of": entry.of,
                "window": entry.window.written,
                "stats": entry.stats,
                "readings_max": entry.readings_max,
            },
        )
    if features.calendar is not None:
        clock, zone = features.calendar, settings.devices.timezone
        where = {"country": clock.country, "subdivision": clock.subdivision}
        options = {"of": clock.of, "as_": clock.encoding, "zone": zone, **where}
        yield ("features", "calendar"), options
    uses = [(key, use.options, taken_by(load(PACKAGE, use.use))) for key, use in features.uses()]
    # What is made of features comes behind all those that are not.
    for key, options, _ in sorted(uses, key=lambda use: "earlier" in use[2]):
        yield key, options
    if _implies(settings):
        numbers = tuple(one.name for one in schema.channels if one.kind is Kind.NUMBER)
        yield ("features", "differences"), {"of": numbers}


def _implies(settings: Settings) -> bool:
    """Whether nothing is said of features, and a model that nobody named wants to see how every
    number moved, beside what it is."""
    return (
        settings.features == FeatureSettings()
        and any(_moves(task) for task in settings.tasks.values())
        and any(one.kind is Kind.NUMBER for one in settings.channels.values())
    )


def _moves(task: TaskSettings) -> bool:
    """Whether it wants to see how channels moved; what scores values by themselves does not."""
    return task.unnamed and task.kind != "anomaly"


def implied(settings: Settings, built: Sequence[FeatureOperator]) -> frozenset[str]:
    """Names of the features that nobody asked for: they come last, and are for models that nobody
    named, so that such a task changes nothing for others."""
    return frozenset(built[-1].names) if _implies(settings) else frozenset()


def build_features(
    settings: Settings, schema: Schema, capacity: int, devices: Devices | None = None
) -> list[FeatureOperator]:
    """All feature operators, each writing its columns after those of the one before.

    A plug-in whose `build` has a parameter `devices` looks at more than the device of a reading:
    it is given them. One that has `earlier` is made of features: it is given the names of all that
    are not, in the order of their columns, and their channels. `Refused` where one of them does
    not take its options.
    """
    built: list[FeatureOperator] = []
    taken: dict[str, frozenset[str]] = {}
    devices = settings.known_devices(1) if devices is None else devices
    beside: dict[str, Any] = {"devices": devices, "earlier": {}}
    for path, options in feature_options(settings, schema):
        plugin = load(PACKAGE, str(path[1]))
        takes = taken_by(plugin)
        try:
            given = (schema, capacity, len(taken), *(beside[name] for name in takes))
            operator: FeatureOperator = plugin.build(*given, **options)
        except ValueError as refused:
            raise Refused(path, str(refused)) from refused
        twice = [name for name in operator.names if name in taken]
        if twice:
            raise Refused(path, f"a feature {twice[0]!r} exists already; rename that channel")
        taken.update(zip(operator.names, operator.channels, strict=True))
        if "earlier" not in takes:
            beside["earlier"] = dict(taken)
        built.append(operator)
    return built


def taken_by(plugin: ModuleType) -> list[str]:
    """Which of `devices` and `earlier` a feature's `build` takes beside what each is given."""
    return [name for name in BESIDE if name in signature(plugin.build).parameters]


def choose_inputs(
    task: TaskSettings,
    names: Sequence[str],
    channels: Sequence[frozenset[str]],
    implied: Collection[str] = (),
) -> tuple[int, ...]:
    """Columns of the features that a task may use, in the features' order; those of `implied` only
    where they are for it.

    Patterns apply in the order given, "!" excludes. Without a horizon, what the target was computed
    into is never an input: at that reading it would be the answer. Nor is it one of a series, which
    has no inputs at all unless they are named: they are taken to stay as they are.
    """
    series = task.series and not task.candidates
    if series and task.inputs == EVERYTHING:
        return ()
    chosen: list[int] = []
    for column, name in enumerate(names):
        if name in implied and not _moves(task):
            continue
        wanted = False
        for pattern in task.inputs:
            if fnmatchcase(name, pattern.removeprefix("!")):
                wanted = not pattern.startswith("!")
        # A horizon makes the target a later one.
        at_once = task.kind in ("regression", "classification") and not task.horizons
        if (at_once or series) and task.target and task.target in channels[column]:
            wanted = False
        if wanted:
            chosen.append(column)
    return tuple(chosen)
