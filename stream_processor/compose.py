"""From settings to the stages of a walk: every choice is made here, once."""

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from models.compile import Compiled
from models.compile import compile as compile_model
from models.spec import build as build_model
from monitoring.detector import Detector
from monitoring.scores import Scorer
from stream_processor.admit import Admit
from stream_processor.labels import LabelJoin
from stream_processor.operator import FeatureOperator
from stream_processor.settings.kinds import Span
from stream_processor.settings.model import FeatureSettings, Settings, TaskSettings
from stream_processor.walk import Stages
from streamgauge.devices import Devices
from streamgauge.plugins import load
from streamgauge.schedule import Lane
from streamgauge.schema import Schema

__all__ = ["AT_ONCE", "choose_inputs", "compose"]

AT_ONCE = Span("", 0, 0)
"""The horizon of a regression: its label belongs to the same reading."""


def compose(settings: Settings) -> tuple[Stages, list[Compiled]]:
    """The stages that the settings describe, and for each lane how its model was compiled."""
    schema = settings.schema()
    limit = settings.devices.limit
    features = list(_features(settings.features, schema, limit, settings.devices.timezone))
    names = [name for operator in features for name in operator.names]
    lanes = list(_lanes(settings, schema, features))
    pending = _pending(settings)
    models = [
        compile_model(
            build_model(settings.tasks[lane.task].model), k, lane.inputs, names, limit
        )
        for k, lane in enumerate(lanes)
    ]
    stages = Stages(
        schema=schema,
        devices=Devices(limit),
        admit=Admit(schema, limit, max_ahead_us=settings.devices.max_ahead),
        features=features,
        lanes=lanes,
        join=LabelJoin(
            lanes, len(names), limit, pending=pending, skew=settings.devices.max_ahead
        ),
        learners=[model.learner for model in models],
        scorer=Scorer(lanes, limit, pending=pending, window=settings.scores.window),
        detectors=list(_detectors(settings, len(lanes))),
    )
    return stages, models


def _features(
    settings: FeatureSettings, schema: Schema, limit: int, zone: str
) -> Iterator[FeatureOperator]:
    column = 0
    for name, options in _feature_options(settings, schema, zone):
        operator: FeatureOperator = load("stream_processor.features", name).build(
            schema, limit, column, **options
        )
        column += len(operator.names)
        yield operator


def _feature_options(
    settings: FeatureSettings, schema: Schema, zone: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    raw = schema.names if settings.raw is None else settings.raw
    if raw:
        yield "raw", {"of": tuple(raw)}
    if settings.lags:
        yield "lags", {"lags": {name: list(lags) for name, lags in settings.lags.items()}}
    for entry in settings.rolling:
        yield "rolling", {"of": entry.of, "window": entry.window, "stats": entry.stats}
    if settings.calendar:
        calendar = settings.calendar
        yield "calendar", {"of": calendar.of, "as_": calendar.encoding, "zone": zone}


def _lanes(
    settings: Settings, schema: Schema, features: Sequence[FeatureOperator]
) -> Iterator[Lane]:
    names = [name for operator in features for name in operator.names]
    channels = [used for operator in features for used in operator.channels]
    for name, task in settings.tasks.items():
        for horizon in task.horizons or (AT_ONCE,):
            yield Lane(
                task=name,
                horizon=horizon.text,
                target=schema.index[task.target],
                delay=horizon.duration,
                readings=horizon.readings,
                tolerance=task.tolerance_of(horizon),
                change=task.change,
                inputs=choose_inputs(task, names, channels),
                ready_after=task.ready_after,
                before_ready=task.before_ready,
            )


def choose_inputs(
    task: TaskSettings, names: Sequence[str], channels: Sequence[frozenset[str]]
) -> tuple[int, ...]:
    """Columns of the features that a task may use, in the features' order.

    Patterns apply in the order given, "!" excludes. What a regression's target was computed into is
    never an input: at that reading it would be the answer.
    """
    chosen: list[int] = []
    for column, name in enumerate(names):
        wanted = False
        for pattern in task.inputs:
            if fnmatchcase(name, pattern.removeprefix("!")):
                wanted = not pattern.startswith("!")
        if task.kind == "regression" and task.target in channels[column]:
            wanted = False
        if wanted:
            chosen.append(column)
    return tuple(chosen)


def _pending(settings: Settings) -> int:
    """Readings of a device that may wait for labels: exactly enough where horizons count readings."""
    return max(map(_task_pending, settings.tasks.values()), default=1)


def _task_pending(task: TaskSettings) -> int:
    horizons: Iterable[Span] = task.horizons or (AT_ONCE,)
    if all(horizon.readings for horizon in horizons):
        return max(horizon.readings for horizon in horizons)
    return task.pending


def _detectors(settings: Settings, lanes: int) -> Iterator[Detector]:
    chosen = settings.drift.detector
    if chosen is None:
        return
    detector = load("monitoring.detectors", chosen.use)
    for lane in range(lanes):
        yield detector.build(lane, settings.devices.limit, **chosen.options)
