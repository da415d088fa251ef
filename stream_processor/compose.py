"""From settings to the stages of a walk: every choice is made here, once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from models import candidates
from models.compile import Compiled, beside_fleet, unnamed
from models.compile import compile as compile_model
from models.relearning import Relearning
from models.selection import Selection
from models.series import Ahead
from models.spec import build as build_model
from models.ways import Question
from monitoring.answer_residual import AnswerResidual
from monitoring.drift import OF_SCHEDULE, Drift, Watched
from monitoring.effects import Effects
from monitoring.errors import Errors
from monitoring.feature_residual import FeatureResidual
from monitoring.presence import Presence
from monitoring.relation import Relation
from monitoring.residual import Residual
from monitoring.scores import Scorer
from monitoring.signals import Signals
from stream_processor.admit import Admit
from stream_processor.arrange import Arrange
from stream_processor.classify import Classify
from stream_processor.clocks import Clocks
from stream_processor.consequences import Consequences
from stream_processor.duplicates import Policy
from stream_processor.flag_counts import FlagCounts
from stream_processor.groups import Groups
from stream_processor.labels import LabelJoin
from stream_processor.operator import FeatureOperator
from stream_processor.reactions import reactions_of, relearning, repeats_of
from stream_processor.repeats import Repeats
from stream_processor.retained import Retained
from stream_processor.settings.classes import classes_of
from stream_processor.settings.cleaning import build_cleaners
from stream_processor.settings.features import build_features, choose_inputs, implied
from stream_processor.settings.kinds import LONGEST, Span, Steps
from stream_processor.settings.model import Settings
from stream_processor.settings.tasks import (
    DEFAULT,
    LEARN_AFTER,
    LabelSettings,
    TaskSettings,
    continues,
)
from stream_processor.settings.watching import THRESHOLDS, Watching, watching
from stream_processor.silence import Silence
from stream_processor.stages import Stages
from stream_processor.walk import PART
from streamgauge.classes import Classes
from streamgauge.plugins import load
from streamgauge.schedule import Elsewhere, Lane
from streamgauge.schema import Schema
from streamgauge.signal import Kind as SignalKind
from streamgauge.state import Keys

__all__ = ["AT_ONCE", "compose", "most_pending"]

AT_ONCE = Span("", 0, 0)
"""The horizon of a regression: its label belongs to the same reading."""


def compose(settings: Settings) -> tuple[Stages, list[Compiled]]:
    """The stages that the settings describe, and for each lane how its model was compiled."""
    schema = settings.schema()
    limit = settings.devices.limit
    devices = settings.known_devices(limit)
    features = build_features(settings, schema, limit, devices)
    names = [name for operator in features for name in operator.names]
    lanes = list(_lanes(settings, schema, features))
    pending = max(map(most_pending, settings.tasks.values()), default=1)
    classify = Classify([classes_of(settings.tasks[k.task], settings.channels) for k in lanes])
    groups = Groups(lanes, devices.tags, limit)
    rooms = (limit, len(groups), pending)
    models = [
        _model(settings.tasks[lane.task], k, lane, names, classify.of[k], *rooms)
        for k, lane in enumerate(lanes)
    ]
    skew = settings.devices.max_ahead
    arrange = _arrange(settings, schema)
    # What is arranged has been looked at for duplicates already.
    nothing = (Policy.NONE, 0)
    join = LabelJoin(lanes, len(names), limit, pending=pending, skew=skew)
    duplicates, remember = settings.devices.duplicates.kept if arrange is None else nothing
    drift = _drift(settings, lanes, join.steps(PART), features)
    reactions = reactions_of(settings, lanes, features, drift)
    scorer = Scorer(
        lanes, limit, pending=pending, window=settings.scores.window,
        half_life=settings.scores.half_life, room=join.steps(PART), groups=len(groups),
        restarting=bool(reactions),
    )  # fmt: skip
    rivalled = relearning(settings, lanes)
    for k in rivalled:
        task = settings.tasks[lanes[k].task]
        fresh = _model(replace(task, start="empty"), k, lanes[k], names, classify.of[k], *rooms)
        learner = Relearning(
            models[k].learner, fresh.learner, [lane.name for lane in lanes], limit, pending=pending,
            classes=classify.of[k] is not None, ready_after=task.ready_after, room=join.steps(PART),
        )  # fmt: skip
        models[k] = replace(models[k], learner=learner)
    learners = [model.learner for model in models]
    stages = Stages(
        schema=schema,
        devices=devices,
        clocks=Clocks(limit),
        silence=Silence(
            schema,
            limit,
            device=settings.devices.silent_after,
            channels=[channel.silent_after for channel in settings.channels.values()],
            part=PART,
        ),
        admit=Admit(
            schema,
            limit,
            max_ahead_us=skew,
            duplicates=duplicates,
            remember=remember,
        ),
        cleaners=dict(build_cleaners(settings, schema, limit)),
        flags=FlagCounts(schema, limit),
        retained=Retained(schema, limit),
        features=features,
        lanes=lanes,
        join=join,
        learners=learners,
        scorer=scorer,
        drift=drift,
        classify=classify,
        groups=groups,
        arrange=arrange,
        selections=list(_selections(settings, lanes, names, models, len(groups))),
        consequences=Consequences(
            reactions,
            Effects(lanes, limit, detectors=drift.detectors(), room=join.steps(PART)),
            Repeats(repeats_of(settings, lanes), lanes, limit),
            lanes,
            learners,
            scorer,
            join.blocks["head"].view("pushed"),
        )
        if reactions
        else None,
    )
    return stages, models


def _selections(
    settings: Settings, lanes: Sequence[Lane], names: Sequence[str], models: Sequence[Compiled],
    groups: int,
) -> Iterator[Selection]:  # fmt: skip
    for lane, model in zip(lanes, models, strict=True):
        chosen = settings.tasks[lane.task].select
        if chosen is not None:
            inputs = [names[column] for column in lane.inputs]
            rows = groups if lane.tag else settings.devices.limit
            yield load("models.selections", chosen.by).build(
                model.learner, lane.inputs, inputs, rows, **chosen.options
            )


def _arrange(settings: Settings, schema: Schema) -> Arrange | None:
    """The stage that comes first where readings are put in order or assembled."""
    devices = settings.devices
    reorder, assemble = devices.reorder, devices.assemble
    gaps = [channel.interpolate for channel in settings.channels.values()]
    queue = max((gap.readings for gap in gaps if gap), default=0)
    if reorder is None and assemble is None and not queue:
        return None
    duplicates, remember = devices.duplicates.kept
    return Arrange(
        schema,
        devices.limit,
        max_ahead_us=devices.max_ahead,
        duplicates=duplicates,
        remember=remember,
        lateness=reorder.up_to if reorder else 0,
        room=reorder.readings if reorder else 0,
        assemble=assemble.use if assemble else "",
        span=((assemble.within or assemble.up_to) if assemble else 0) or 0,
        gaps=[gap.up_to if gap else 0 for gap in gaps],
        queue=queue,
    )


def _lanes(
    settings: Settings, schema: Schema, features: Sequence[FeatureOperator]
) -> Iterator[Lane]:
    names = [name for operator in features for name in operator.names]
    channels = [used for operator in features for used in operator.channels]
    unasked = implied(settings, features)
    for name, task in settings.tasks.items():
        for horizon in task.horizons or (AT_ONCE,):
            inputs = choose_inputs(task, names, channels, unasked)
            yield Lane(
                task=name,
                horizon=horizon.text,
                target=schema.index.get(task.target, -1),
                delay=horizon.duration,
                readings=horizon.readings,
                tolerance=task.tolerance_of(horizon),
                change=task.change,
                inputs=inputs,
                ready_after=task.ready_after,
                before_ready=task.meanwhile,
                scope=task.scope,
                elsewhere=_elsewhere(task.label) if task.label else None,
                kind=task.kind,
                parts=_parts(task, settings),
                interval=task.interval if task.kind in ("forecast", "regression") else 0.0,
                by_itself=task.by_itself,
                series=task.series,
                calibrate=task.calibrated,
                alarm_every=task.alarm_every,
                causes=_causes(task, inputs, names, channels),
            )


def _causes(
    task: TaskSettings, inputs: Sequence[int], names: Sequence[str],
    channels: Sequence[frozenset[str]],
) -> tuple[str, ...]:  # fmt: skip
    """Of each input the channel that it is made of, or its own name where that is several."""
    if task.kind != "anomaly" or task.model:
        return ()
    own = ((names[k], sorted(channels[k])) for k in inputs)
    return tuple(of[0] if len(of) == 1 else name for name, of in own)


def _parts(task: TaskSettings, settings: Settings) -> int:
    """Numbers that belong to an answer of the task: see `Lane.parts`."""
    classes = classes_of(task, settings.channels)
    return classes.most if classes is not None else 2 * int(task.kind == "clustering")


def _model(
    task: TaskSettings, k: int, lane: Lane, names: Sequence[str], classes: Classes | None,
    limit: int, groups: int, pending: int,
) -> Compiled:  # fmt: skip
    """The models of lane k."""
    given = (k, lane, names, limit, groups, classes, pending)
    keys = Keys.shared_by(lane.scope)
    if not task.candidates:
        own = _one(task.model, task, *given, keys)
        if not task.beside_fleet:
            return own
        fleet = _one(task.model, task, *given, Keys.FLEET)
        return beside_fleet(own, fleet, limit, lane, pending, mixes=task.start == "fleet")
    found = [_one(() if of == (DEFAULT,) else of, task, *given, keys) for of in task.candidates]
    named = dict(zip(task.candidate_words, found, strict=True))
    learner = candidates.build(
        {name: one.learner for name, one in named.items()}, k, limit, keys,
        choose=task.choose, classes=classes.most if classes else 0, pending=pending,
        round_labels=task.halve_after, groups=groups,
    )  # fmt: skip
    why = "; ".join(f"{name}: {one.why}" for name, one in named.items())
    return Compiled(learner, compiled=all(one.compiled for one in found), why=why)


def _one(
    model: Steps, task: TaskSettings, k: int, lane: Lane, names: Sequence[str], limit: int,
    groups: int, classes: Classes | None, pending: int, keys: Keys,
) -> Compiled:  # fmt: skip
    """One model of lane k for each of these keys, or the default where it has no steps."""
    if not model:
        from_fleet = task.start != "empty" and keys is not Keys.FLEET
        return unnamed(
            k, lane, limit, keys, pending, from_fleet=from_fleet,
            learn_after=task.learn_after or LEARN_AFTER, classes=classes, groups=groups,
        )  # fmt: skip
    watched = task.target if task.kind == "anomaly" else ""
    series = lane.series and continues(model)
    ahead = Ahead(lane.delay, lane.readings, task.step or 0, lane.change) if series else None
    question = Question(task.kind, classes, watched, ahead, task.target or "label")
    make = build_model(model, task.kind)
    rows = groups if keys is Keys.GROUP else limit
    # Those of the other candidates may be made of the target.
    inputs = () if series and task.candidates else lane.inputs
    return compile_model(make, k, inputs, names, rows, keys, question)


def _elsewhere(label: LabelSettings) -> Elsewhere:
    within = None if label.by_id else label.match or 0
    # A recording's column says itself where there is no label.
    expire_after = LONGEST if label.column else label.expire_after
    return Elsewhere(within, expire_after, label.teach_until or expire_after)


def most_pending(task: TaskSettings) -> int:
    """Readings that may wait for a label: exactly enough where every horizon counts readings."""
    if task.by_itself and task.label is None:
        return 1
    if task.label is not None:
        delay = task.label.delay
        return delay.readings + 2 if delay is not None and delay.readings else task.pending
    horizons: Iterable[Span] = task.horizons or (AT_ONCE,)
    if all(horizon.readings for horizon in horizons):
        return max(horizon.readings for horizon in horizons)
    return task.pending


def _drift(
    settings: Settings, lanes: Sequence[Lane], room: int, features: Sequence[FeatureOperator]
) -> Drift:
    """The detectors of the settings, each on its signal; `room` is the most steps of a schedule."""
    # What is computed of the clock alone says nothing of a sensor.
    numbers = set(watching(settings).channels)
    used = [used for operator in features for used in operator.channels]
    columns = [k for k, of in enumerate(used) if of & numbers]
    found = watching(settings, len(columns))
    signals = _signals(settings, found, lanes, room, features, columns)
    by_kind, limit = signals.by_kind(), settings.devices.limit
    return Drift(
        signals,
        [
            Watched(
                by_kind[kind],
                load("monitoring.detectors", use.use).build(by_kind[kind], limit, **use.options),
                [
                    use.use,
                    {k: v for k, v in use.options.items() if k not in THRESHOLDS},
                    *([found.channels] if kind is SignalKind.RELATION else []),
                ],
                _looked_at(kind, settings, found, len(lanes), columns),
                load("monitoring.detectors", use.use).VERSION,
            )
            for kind, (_, use) in found.uses.items()
        ],
    )


def _looked_at(
    kind: SignalKind, settings: Settings, found: Watching, lanes: int, columns: Sequence[int]
) -> Sequence[int]:
    """Places of a signal's parts of which there are values."""
    if kind in OF_SCHEDULE:
        return range(lanes)
    if kind is SignalKind.RELATION:
        return [0]
    if kind is SignalKind.FEATURE:
        return columns
    channels = list(settings.channels)
    every = kind in (SignalKind.MISSING, SignalKind.FLAGGED)
    return range(len(channels)) if every else [channels.index(name) for name in found.channels]


def _signals(
    settings: Settings,
    found: Watching,
    lanes: Sequence[Lane],
    room: int,
    features: Sequence[FeatureOperator],
    columns: Sequence[int],
) -> Signals:
    """What collects the signals that are watched; `columns` are the features that may be."""
    zone, limit = settings.devices.timezone, settings.devices.limit
    channels = list(settings.channels)
    numbers = [channels.index(name) for name in found.channels]
    names = [name for operator in features for name in operator.names]
    residual = None
    if found.by_channel:
        residual = Residual(channels, numbers, limit, zone=zone, part=PART)
    return Signals(
        Errors(lanes, room),
        residual,
        Presence(channels, range(len(channels)), part=PART) if found.presence else None,
        Relation(residual.level, numbers, limit, part=PART)
        if residual is not None and SignalKind.RELATION in found.uses
        else None,
        FeatureResidual(names, columns, limit, zone=zone, part=PART)
        if SignalKind.FEATURE in found.uses
        else None,
        AnswerResidual(SignalKind.PREDICTION, lanes, limit, zone=zone, room=room)
        if SignalKind.PREDICTION in found.uses
        else None,
        AnswerResidual(SignalKind.LABEL, lanes, limit, zone=zone, room=room)
        if SignalKind.LABEL in found.uses
        else None,
    )
