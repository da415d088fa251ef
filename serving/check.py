"""The `check` command: every problem of a configuration at once, or what it amounts to."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table

from ingest.codecs._units import is_unit
from models.footprint import READINGS, footprint
from monitoring.detectors.cusum import threshold
from stream_processor.changes import compare
from stream_processor.checkpoint import CheckpointRefused, facts_of
from stream_processor.compose import compose
from stream_processor.definition import definition
from stream_processor.duplicates import Policy
from stream_processor.settings import Problem, Problems, Settings, load
from stream_processor.settings.cross import NO_SOURCE
from stream_processor.settings.features import build_features
from stream_processor.settings.kinds import Span
from stream_processor.settings.tasks import SelectSettings, TaskSettings
from stream_processor.settings.watching import FEW, Watching, watching
from stream_processor.stages import Stages
from stream_processor.worker import CHECKPOINT
from streamgauge import plugins
from streamgauge.durations import WEEK, text
from streamgauge.signal import Kind

__all__ = ["check", "print_problems", "print_summary", "summary"]

MINUTES = 1_440
MORE = 1.4
"""Times the size after half the readings, from which on a model is said to grow."""
WRONG = 2
"""Exit code where the configuration cannot be used."""


def check(path: Path, env: Mapping[str, str], out: TextIO) -> int:
    """Print what is wrong with the file, or a summary of it; the exit code, 0 or 2.

    A file that lacks nothing but a source is good for replay, and passes with a note.
    """
    try:
        settings = _load(path, env)
    except Problems as found:
        print_problems(path, found.problems, out)
        return WRONG
    print_summary(summary(settings), out)
    return 0


def _load(path: Path, env: Mapping[str, str]) -> Settings:
    try:
        return load(path, env)
    except Problems as found:
        if all(problem.message != NO_SOURCE for problem in found.problems):
            raise
    return load(path, env, for_replay=True)


def print_problems(path: Path, problems: list[Problem], out: TextIO) -> None:
    """A table on a terminal; elsewhere one line per problem, as editors and grep like them."""
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''} in {path}"
    if not out.isatty():
        for problem in problems:
            place = f"{path}:{problem.line}" if problem.line else str(path)
            found = f" = {problem.value}" if problem.value else ""
            out.write(f"{place}: {problem.key}{found}: {problem.message}; {problem.remedy}\n")
        out.write(f"{count}\n")
        return
    table = Table(title=count, title_justify="left")
    table.add_column("line", justify="right")
    for title in ("key", "found", "problem", "remedy"):
        table.add_column(title, overflow="fold")
    for problem in problems:
        line = str(problem.line or "")
        table.add_row(line, problem.key, problem.value, problem.message, problem.remedy)
    Console(file=out, markup=False, highlight=False).print(table)


def print_summary(rows: list[tuple[str, str]], out: TextIO) -> None:
    """Two columns: what, and how it is configured."""
    if not out.isatty():
        out.writelines(f"{what}: {how}\n" for what, how in rows)
        return
    table = Table(show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for what, how in rows:
        table.add_row(what, how)
    Console(file=out, markup=False, highlight=False).print(table)


def summary(settings: Settings) -> list[tuple[str, str]]:
    """What the settings amount to, as pairs of a word and a sentence."""
    devices = settings.devices
    return [
        ("stream", settings.stream.name),
        ("devices", f"at most {devices.limit:,}, clocks without a zone are {devices.timezone}"),
        ("duplicates", _duplicates(settings)),
        *_order(settings),
        *_sources(settings),
        *_channels(settings),
        *_features(settings),
        *(("task", _task(name, task)) for name, task in settings.tasks.items()),
        *_models(settings),
        *_drift(settings),
        *(("sink", sink.use) for sink in settings.sinks),
        *_alerts(settings),
        *(("note", note) for note in settings.notes),
        *_restart(settings),
    ]


def _alerts(settings: Settings) -> Iterator[tuple[str, str]]:
    for name, rule in settings.alerts.rules.items():
        told = [
            k for k, one in settings.alerts.receivers.items() if rule.severity in one.severities
        ]
        lasting = f" for {text(rule.lasting)}" if rule.lasting else ""
        who = f"tells {', '.join(told)}" if told else "tells nobody"
        what = rule.condition or rule.when
        yield "alert", f"{name}, {rule.severity}: {what}{lasting}; {who}"


def _duplicates(settings: Settings) -> str:
    policy, remembered = settings.devices.duplicates.kept
    if policy is Policy.NONE:
        return "not recognised: what is delivered twice is learned twice"
    return f"by {policy}, among the last {remembered} readings of a device"


def _order(settings: Settings) -> Iterator[tuple[str, str]]:
    reorder, assemble = settings.devices.reorder, settings.devices.assemble
    if reorder is not None:
        room = f"at most {reorder.readings} readings of a device wait"
        yield "order", f"what is up to {text(reorder.up_to)} late finds its place; {room}"
    if assemble is not None and assemble.within is not None:
        yield (
            "rows",
            f"each message with the last known values, at most {text(assemble.within)} old",
        )
    if assemble is not None and assemble.up_to is not None:
        yield (
            "rows",
            f"messages are joined until all channels are there, {text(assemble.up_to)} at most",
        )
    for name, channel in settings.channels.items():
        if channel.interpolate is not None:
            room = f"at most {channel.interpolate.readings} readings of a device wait"
            yield (
                "rows",
                f"{name} is interpolated through {text(channel.interpolate.up_to)}; {room}",
            )


def _sources(settings: Settings) -> Iterator[tuple[str, str]]:
    for source in settings.sources:
        codec = f", decoded as {source.codec.use}" if source.codec else ""
        yield "source", f"{source.use}{codec}"


def _channels(settings: Settings) -> Iterator[tuple[str, str]]:
    if not settings.channels:
        yield "channels", "the numeric columns of the file that is replayed"
    for name, channel in settings.channels.items():
        limits = f" from {channel.range[0]:g} to {channel.range[1]:g}" if channel.range else ""
        unit = f" {channel.unit}" if channel.unit else ""
        yield "channel", f"{name}, {channel.kind}{limits}{unit}"
        if channel.unit and not is_unit(channel.unit):
            unknown = f"channels.{name}: {channel.unit!r} is no unit that is known here, so values"
            yield "note", f"{unknown} in another one cannot be converted to it"


def _features(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.channels:
        built = build_features(settings, settings.schema(), 1)
        names = [name for operator in built for name in operator.names]
        yield "features", f"{len(names)}: {', '.join(names)}"


def _task(name: str, task: TaskSettings) -> str:
    ahead = "".join(f", {_horizon(task, horizon)} ahead" for horizon in task.horizons)
    told = f"labels from {task.label.source}" if task.label else "all inputs"
    shared = ", one model for the fleet" if task.scope == "fleet" else ""
    shared = f", one model for each {task.tag}" if task.tag else shared
    chosen = f", features by {_selection(task.select)}" if task.select else ""
    of = f"{task.kind} of {task.target or told}{ahead}{shared}"
    weekly = WEEK / task.alarm_every if task.alarm_every else 0.0
    alarms = f"; {weekly:.3g} alarms per device and week" if weekly else ""
    return f"{name}: {of}; {task.model_words}{chosen}{alarms}"


def _selection(chosen: SelectSettings) -> str:
    known = plugins.options(plugins.load("models.selections", chosen.by))
    given = {name: chosen.options.get(name, option.default) for name, option in known.items()}
    return f"{chosen.by} ({', '.join(f'{name} = {value}' for name, value in given.items())})"


def _drift(settings: Settings) -> Iterator[tuple[str, str]]:
    """What is watched for drift, and on which false alarms."""
    found = watching(settings)
    named = [(kind, use.use) for kind, (_, use) in found.uses.items()]
    yield "drift", ", ".join(f"{kind} by {use}" for kind, use in named) or "not watched"
    if found.by_channel:
        alarms = f"{settings.drift.alarms_per_day:g} false alarms a day"
        shared = f"{alarms} shared by {', '.join(found.each)} of {found.devices:,} devices"
        if found.each:
            yield "drift", shared + _height(found)
        yield (
            "drift",
            "channels are calibrating until 5,000 values, or 300 in 20 days, and 3 days at least",
        )
    elif found.channels and settings.drift.level is not None:
        where = "devices.limit" if settings.devices.expected is None else "devices.expected"
        why = f"since {where} is {found.devices:,}, above {FEW:,}"
        remedy = 'declare fewer, or write [drift] level = "cusum" (0.4 KB per channel)'
        yield "note", f"channels are not watched for drift, {why}; {remedy}"


def _height(found: Watching) -> str:
    """What the budget makes of the threshold of a level."""
    each = found.each.get(Kind.LEVEL)
    if each is None or found.uses[Kind.LEVEL][1].use != "cusum":
        return ""
    h = max(40.0, threshold(0.1, MINUTES / each))
    return f"; at a value a minute h of a level is {h:.0f}, and 11.5 more for each tenth of them"


def _models(settings: Settings) -> Iterator[tuple[str, str]]:
    """What was compiled and what was not, and what a device costs."""
    if not settings.channels or not settings.tasks:
        return
    stages, models = compose(settings)
    for k, (lane, model) in enumerate(zip(stages.lanes, models, strict=True)):
        yield "model", f"{lane.name}: {model.why}{_takes(stages, k, lane.parts)}"
    least, most = stages.bytes_per_device()
    devices = settings.devices.expected or settings.devices.limit
    all_of_them = f"{least * devices / 1e6:,.0f} MB at {devices:,} devices"
    full = f"at most {most / 1e3:,.0f} KB where every window and waiting list is full"
    said = f"this configuration: {least / 1e3:.1f} KB per device, {all_of_them}; {full}"
    yield "memory", said
    own = stages.bytes_per_group()
    if own[1]:
        names = ", ".join(name for name in stages.groups.names if "=" in name)
        said = f"{len(stages.groups)} groups of devices, {own[0] / 1e3:.1f} KB each"
        yield "memory", f"{said}, at most {own[1] / 1e3:,.0f} KB: {names}, and devices without"


def _takes(stages: Stages, lane: int, parts: int) -> str:
    """How large a lane's models are that River runs: a device's, or the one of all."""
    columns = sum(len(operator.names) for operator in stages.features)
    learner, classes = stages.learners[lane], stages.classify.of[lane]
    first, second = footprint(learner, columns, parts, classes)
    if not second:
        return ""
    grows = f", and grows: {first / 1e3:.1f} KB after half of them" if second > MORE * first else ""
    return f"; {second / 1e3:.1f} KB each in a checkpoint after {2 * READINGS} readings{grows}"


def _restart(settings: Settings) -> Iterator[tuple[str, str]]:
    """What the next start would make of the state that there is."""
    path = settings.state.dir / CHECKPOINT
    if not path.exists() or not settings.channels:
        return
    try:
        saved = facts_of(path)["definition"]
    except CheckpointRefused as refused:
        yield "restart", str(refused)
        return
    changes = compare(saved, definition(settings, compose(settings)[0]))
    if not changes:
        yield "restart", "goes on with the state that there is"
        return
    yield "restart", "needs --accept, for the configuration is not the one of the state"
    for how, parts in (("starts anew", changes.anew), ("drops", changes.dropped)):
        yield from (("restart", f"{how}: {part}") for part in parts)


def _horizon(task: TaskSettings, horizon: Span) -> str:
    if horizon.readings:
        return horizon.text
    return f"{horizon.text} (label at most {text(task.tolerance_of(horizon))} later)"
