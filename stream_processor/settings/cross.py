"""Checks what no single key can tell: names that must exist, and keys that must fit each other."""

from collections.abc import Mapping, Sequence

from monitoring.alerts.condition import parsed
from monitoring.alerts.rule import matches
from stream_processor.features import calendar, rolling
from stream_processor.settings.actions import QUIET, check_action
from stream_processor.settings.channels import ChannelSettings
from stream_processor.settings.classes import check_classes
from stream_processor.settings.document import KeyPath
from stream_processor.settings.features import Refused, build_features, choose_inputs, implied
from stream_processor.settings.horizons import check_horizons
from stream_processor.settings.kinds import check_name
from stream_processor.settings.labels import check_label, check_label_channels
from stream_processor.settings.model import Settings
from stream_processor.settings.problems import Findings
from stream_processor.settings.sharing import check_scopes, check_start
from stream_processor.settings.task_models import check_models
from stream_processor.settings.tasks import TaskSettings
from stream_processor.settings.topics import check_topics
from stream_processor.settings.trial import try_selection
from stream_processor.settings.watching import watching
from streamgauge.durations import text
from streamgauge.output import SCORE_COLUMNS
from streamgauge.schema import Kind
from streamgauge.signal import Kind as Signal

__all__ = ["NO_SOURCE", "check_channels", "check_whole"]

USUALLY = dict.fromkeys(Signal, "cusum") | {
    Signal.ERROR: "adwin", Signal.SHAPE: "chunk_ks", Signal.MISSING: "adwin",
    Signal.FLAGGED: "adwin",
}  # fmt: skip
"""A detector that suits each signal."""
NO_SOURCE = "no source, so nothing comes in"


def check_whole(settings: Settings, findings: Findings, *, for_replay: bool) -> None:
    """Everything that does not depend on which channels there are."""
    devices = settings.devices
    if devices.expected is not None and devices.expected > devices.limit:
        findings.add(
            ("devices", "expected"),
            f"more devices than devices.limit = {devices.limit} lets in",
            f"set limit to {devices.expected} or more",
        )
    _check_arrangement(settings, findings)
    if not for_replay:
        _check_sources(settings, findings)
        check_topics(settings, findings)
    elif not settings.sources:
        findings.notes.append("no [[source]]: good for replay, not for run")
    for i, entry in enumerate(settings.features.rolling):
        path: KeyPath = ("features", "rolling", i, "stats")
        _check_names(entry.stats, rolling.STATS, "statistic", path, findings)
    clock = settings.features.calendar
    if clock is not None:
        path = ("features", "calendar")
        _check_names(clock.of, calendar.FIELDS, "calendar field", path, findings)
    for name, task in settings.tasks.items():
        _check_task(name, task, settings.channels, findings)
    check_scopes(settings, findings)
    _check_alerts(settings, findings)
    if not settings.tasks and not findings.within("tasks"):
        findings.notes.append("no [tasks.NAME]: readings are kept and shown, nothing is predicted")


def _check_alerts(settings: Settings, findings: Findings) -> None:
    alerts = settings.alerts
    for name, rule in alerts.rules.items():
        path: KeyPath = ("alerts", "rules", name)
        if rule.when == "score" and not findings.within(*path, "condition"):
            try:
                parsed(rule.condition, SCORE_COLUMNS)
            except ValueError as refused:
                findings.refuse((*path, "condition"), str(refused))
        elif rule.condition and rule.when != "score":
            findings.add(
                (*path, "condition"), f'means nothing with when = "{rule.when}"', "remove it"
            )
        actions = settings.drift.actions.values()
        if rule.when == "action" and all(one.use in QUIET for one in actions):
            findings.add(
                (*path, "when"),
                "can never be: no drift changes a model",
                'add [drift.actions] with error = "restart"',
            )
        kind = {"new_cluster": "clustering", "anomaly": "anomaly"}.get(rule.when)
        of = [key for key, one in settings.tasks.items() if one.kind == kind]
        if kind and not any(matches(rule.tasks, one) for one in of):
            findings.add(
                (*path, "when"),
                f"can never be: no task that fits is of kind {kind}",
                f'add a task with kind = "{kind}", or see `tasks` of the rule',
            )
        _check_names(rule.inhibits, tuple(alerts.rules), "rule", (*path, "inhibits"), findings)
    if alerts.rules and not alerts.receivers:
        findings.notes.append(
            "no [alerts.receivers.NAME]: alerts are shown under /v1/alerts, nobody is told"
        )


def _check_arrangement(settings: Settings, findings: Findings) -> None:
    devices, path = settings.devices, ("devices", "assemble")
    if devices.assemble is not None and not findings.within(*path):
        use = devices.assemble.use
        wanted, other = ("within", "up_to") if use == "last" else ("up_to", "within")
        if getattr(devices.assemble, wanted) is None:
            findings.add((*path, wanted), f'"{use}" does not say how long', f'add {wanted} = "10s"')
        if getattr(devices.assemble, other) is not None:
            findings.add((*path, other), f'means nothing with "{use}"', f"write {wanted} instead")
    waits = devices.reorder.up_to if devices.reorder else 0
    waits += (devices.assemble.up_to or 0) if devices.assemble else 0
    gaps = [c.interpolate.up_to for c in settings.channels.values() if c.interpolate]
    waits += max(gaps, default=0)
    if gaps:
        _check_silences(settings, waits, findings)
    if devices.evict_after is not None and devices.evict_after <= waits:
        findings.add(
            ("devices", "evict_after"),
            "a device would be evicted while its readings wait for others",
            f"write more than {text(waits)}",
        )


def _check_silences(settings: Settings, waits: int, findings: Findings) -> None:
    """What waits is not heard of, so silence begins after the longest wait."""
    limits: list[tuple[KeyPath, int | None]] = [
        (("devices", "silent_after"), settings.devices.silent_after)
    ]
    limits += [
        (("channels", name, "silent_after"), channel.silent_after)
        for name, channel in settings.channels.items()
    ]
    for path, limit in limits:
        if limit is not None and limit <= waits and not findings.within(*path):
            findings.add(
                path,
                "readings that wait to be interpolated would be taken for silence",
                f"write more than {text(waits)}",
            )


def _check_sources(settings: Settings, findings: Findings) -> None:
    if not settings.sources and not findings.within("source"):
        findings.add(("source",), NO_SOURCE, 'add [[source]] with use = "mqtt"')
    posted = [i for i, source in enumerate(settings.sources) if source.use == "http"]
    for i in posted[1:]:
        findings.add(
            ("source", i, "use"),
            "a second http source, but there is only one POST /v1/readings",
            "remove one; the other takes what everybody posts",
        )
    if settings.sources and not settings.channels and not findings.within("channels"):
        findings.add(
            ("channels",),
            "no channels, so nothing is read from messages",
            "add a table [channels.NAME] for each",
        )


def _check_names(
    names: Sequence[str], known: Sequence[str], what: str, path: KeyPath, findings: Findings
) -> None:
    """Each of the names, listed at `path` or in its `of`, must be known."""
    for i, name in enumerate(names):
        if name not in known:
            places: list[KeyPath] = [(*path, i), (*path, "of", i)]
            found = (place for place in places if findings.document.found(place) is not None)
            findings.unknown(next(found, path), f"unknown {what}", list(known), name)


def _check_task(
    name: str, task: TaskSettings, channels: Mapping[str, ChannelSettings], findings: Findings
) -> None:
    path: KeyPath = ("tasks", name)
    try:
        check_name(name)
    except ValueError as refused:
        findings.refuse(path, str(refused))
    if not findings.within(*path, "kind"):
        check_horizons(task, (*path, "horizons"), findings)
        check_label(task, path, findings)
    check_classes(task, channels, path, findings)
    if task.select is not None and task.by_itself:
        why = f"a selection learns from labels, and a task of kind {task.kind} from readings"
        findings.add((*path, "select"), why, "remove it, and choose with inputs")
    check_start(task, path, findings)
    check_models(task, channels, path, findings)
    if task.calibrate and task.kind != "classification":
        findings.add((*path, "calibrate"), "it is for tasks of kind classification", "remove it")
    if task.alarms and task.kind != "anomaly":
        findings.add((*path, "alarms"), "it is for tasks of kind anomaly", "remove it")
    if task.learn_after and (task.model or task.kind != "anomaly"):
        why = "it is for a task of kind anomaly that names no model"
        findings.add((*path, "learn_after"), why, "remove it")


def check_channels(settings: Settings, findings: Findings) -> None:
    """Everything that depends on which channels there are; nothing while there are none."""
    channels = list(settings.channels)
    if not channels:
        return
    _check_references(settings, channels, findings)
    _check_words(settings, findings)
    _check_actions(settings, findings)
    check_label_channels(settings, findings)
    for name, task in settings.tasks.items():
        if task.target and task.target not in channels:
            path = ("tasks", name, "target")
            findings.unknown(path, "no such channel", channels, task.target)
    broken = findings.within("devices", "tags")
    if not (broken or findings.within("features") or findings.within("channels")):
        _check_inputs(settings, findings)
    boundless = [
        name
        for name, channel in settings.channels.items()
        if channel.range is None and channel.kind is Kind.NUMBER
    ]
    if boundless:
        findings.notes.append(
            f"no range for {', '.join(boundless)}: only values beyond 1e24 are taken for faults"
        )


def _check_actions(settings: Settings, findings: Findings) -> None:
    """What is acted on is watched, and fits the tasks."""
    watched = [kind.value for kind in watching(settings).uses]
    for name, action in settings.drift.actions.items():
        path: KeyPath = ("drift", "actions", name)
        if name not in list(Signal):
            findings.unknown(path, "no such signal", [kind.value for kind in Signal])
        elif name not in watched and not findings.within("drift"):
            key = "detector" if name == Signal.ERROR else name
            findings.add(
                path,
                f"nothing watches {name}",
                f'name a detector, such as {key} = "{USUALLY[Signal(name)]}"',
            )
        else:
            check_action(name, action, settings.tasks, findings)


def _check_words(settings: Settings, findings: Findings) -> None:
    """A category has its words, and nothing else has; the words of a text can be kept."""
    for name, channel in settings.channels.items():
        _check_text(name, channel, findings)
        path: KeyPath = ("channels", name, "values")
        is_category = channel.kind is Kind.CATEGORY
        if findings.within(*path) or findings.within("channels", name, "kind"):
            continue
        folded = {" ".join(word.casefold().split()) for word in channel.values}
        if not is_category and channel.values:
            findings.add(path, f"a {channel.kind} has no words", 'set kind = "category"')
        elif is_category and not channel.values:
            findings.add(path, "missing", 'add the words, such as values = ["idle", "run"]')
        elif is_category and (len(folded) < len(channel.values) or "" in folded):
            remedy = "name each once; case and whitespace make no difference"
            findings.add(path, "a word stands here twice, or is empty", remedy)


def _check_text(name: str, channel: ChannelSettings, findings: Findings) -> None:
    path: KeyPath = ("channels", name)
    if findings.within(*path):
        return
    if channel.words and channel.kind is not Kind.TEXT:
        findings.add((*path, "words"), f"a {channel.kind} has no words", 'set kind = "text"')
    for key, unused in (("ngrams", (1, 1)), ("stop_words", ())):
        if getattr(channel, key) != unused and not channel.words:
            findings.add((*path, key), "no words are kept", "add words = 30")


def _check_references(settings: Settings, channels: list[str], findings: Findings) -> None:
    features = settings.features
    _check_names(features.raw or (), channels, "channel", ("features", "raw"), findings)
    for name in features.lags:
        if name not in channels:
            findings.unknown(("features", "lags", name), "unknown channel", channels, name)
    for i, entry in enumerate(features.rolling):
        _check_names(entry.of, channels, "channel", ("features", "rolling", i, "of"), findings)


def _check_inputs(settings: Settings, findings: Findings) -> None:
    try:
        operators = build_features(settings, settings.schema(), 1)
    except Refused as refused:
        findings.refuse(refused.path, str(refused))
        return
    names = [name for operator in operators for name in operator.names]
    used = [channels for operator in operators for channels in operator.channels]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        findings.add(
            ("features",), f"two features are named {', '.join(twice)}", "ask for each once"
        )
    unasked = implied(settings, operators)
    for name, task in settings.tasks.items():
        path = ("tasks", name, "inputs")
        for i, pattern in enumerate(task.inputs):
            plain = pattern not in names and not set(pattern) & set("*?[!")
            if plain:
                findings.unknown((*path, i), "no feature of that name", names, pattern)
        inputs = choose_inputs(task, names, used, unasked)
        chosen = [names[column] for column in inputs]
        if task.kind == "anomaly" and task.target and task.target not in chosen:
            findings.add(
                ("tasks", name, "target"),
                f"what the detector watches must be one of its inputs, and {task.target} is none",
                f'add "{task.target}" to features.raw and to inputs',
            )
        if not findings.within(*path) and not chosen and (not task.series or task.candidates):
            findings.add(
                path,
                "no feature is left for this task",
                f'widen it, for example inputs = ["*"]; features: {", ".join(names) or "none"}',
            )
        if task.select is not None and not findings.within("tasks", name):
            try_selection(task, ("tasks", name, "select"), inputs, names, findings)
