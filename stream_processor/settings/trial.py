"""Builds what the settings name once, for the reasons that only a plug-in itself can give."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from ingest.rejects import Rejects
from stream_processor.settings.document import KeyPath
from stream_processor.settings.fields import PluginUse
from stream_processor.settings.model import Settings
from stream_processor.settings.problems import Findings
from stream_processor.settings.tasks import TaskSettings
from stream_processor.settings.uses import CODECS, RECEIVERS, SELECTIONS, SINKS, SOURCES
from stream_processor.settings.watching import DETECTORS, watching
from streamgauge.devices import Devices
from streamgauge.plugins import UnknownPlugin, load
from streamgauge.signal import Kind, Signal
from streamgauge.state import Keys

__all__ = [
    "try_cleaners",
    "try_detectors",
    "try_receivers",
    "try_selection",
    "try_sinks",
    "try_sources",
]

STAND_INS: Mapping[Any, Any] = {
    str: "http://localhost",
    list[str]: ["a"],
    Path: Path(__file__),
    float: 1.0,
    int: 1,
}
"""What may stand for a required option that is wrong, so that the others can be tried."""

Build = Callable[..., object]
Options = Mapping[str, Any]


def try_detectors(settings: Settings, findings: Findings) -> None:
    """Every detector, for one device."""
    watched = watching(settings)
    for kind, (key, use) in watched.uses.items():
        plugin = _known(DETECTORS, use)
        if plugin is not None:
            build = partial(plugin.build, Signal(kind, "channels", [""], 1), 1)
            _attempt(build, use.options, ("drift", key), findings)
            if kind is Kind.RELATION and len(watched.channels) < 2:
                findings.add(
                    ("drift", key),
                    f"is of two channels of numbers or more, and there are {len(watched.channels)}",
                    "remove it, or declare another channel",
                )
            if kind is Kind.ERROR:
                _refuse_no_bound(plugin, use.options, settings, ("drift", key), findings)


def _refuse_no_bound(
    plugin: ModuleType, given: Options, settings: Settings, path: KeyPath, findings: Findings
) -> None:
    """Refuse a detector of errors up to `bound`, 1 of a classification, where errors have a unit:
    larger ones would all count as 1."""
    if "bound" in given or "bound" not in inspect.signature(plugin.build).parameters:
        return
    use = plugin.__name__.rpartition(".")[2]
    for name, task in settings.tasks.items():
        if task.kind in ("forecast", "regression"):
            findings.add(
                path,
                f"takes errors up to 1, and those of {name} are in the unit of its target",
                f'say the largest, as in {{ use = "{use}", bound = 4.0 }}',
            )
            return


def try_selection(
    task: TaskSettings,
    path: KeyPath,
    inputs: Sequence[int],
    names: Sequence[str],
    findings: Findings,
) -> None:
    """A task's selection, in front of its model for one device; `path` is that of `select`."""
    from models.compile import compile as compile_model
    from models.spec import build as build_model

    plugin = _known(SELECTIONS, task.select and PluginUse(task.select.by))
    if task.select is not None and not task.model:
        findings.add(path, "a selection needs a model that it is for", "name a model, or remove it")
    elif task.select is not None and plugin is not None:
        keys = Keys.shared_by(task.scope)
        learner = compile_model(build_model(task.model), 0, inputs, names, 1, keys).learner
        chosen = [names[column] for column in inputs]
        build = partial(plugin.build, learner, inputs, chosen, 1)
        _attempt(build, task.select.options, path, findings)


def try_cleaners(settings: Settings, findings: Findings) -> None:
    """Every cleaning policy, for one device."""
    schema = settings.schema()
    for column, (name, channel) in enumerate(settings.channels.items()):
        for key, package, use in channel.cleaners():
            plugin = _known(package, use)
            if plugin is not None:
                build = partial(plugin.build, schema, 1, column)
                _attempt(build, use.options, ("channels", name, key), findings)


def try_sources(settings: Settings, findings: Findings) -> None:
    """Every source and its codec. To open a source neither starts nor connects anything."""
    schema = settings.schema()
    for i, source in enumerate(settings.sources):
        path: KeyPath = ("source", i)
        plugin = _known(SOURCES, source)
        if plugin is None:
            continue
        codec = _known(CODECS, source.codec)
        if codec is not None and source.codec is not None:
            build = partial(codec.build, schema, Devices(1))
            _attempt(build, source.codec.options, path, findings)
        begin = partial(plugin.open, schema, i, lambda: 0, Rejects())
        if _attempt(begin, source.options, path, findings):
            _tell(plugin, source.options, findings)


def try_sinks(settings: Settings, folder: Path, findings: Findings) -> None:
    """Every sink beside the store: opened, which connects nothing, and closed again."""
    for i, sink in enumerate(settings.sinks):
        plugin = _known(SINKS, sink) if sink.use != "store" else None
        if plugin is not None:
            begin = partial(plugin.open, (), settings.stream.name, folder, lambda: 0)
            if _attempt(begin, sink.options, ("sink", i), findings):
                _tell(plugin, sink.options, findings)
                _refuse_loop(plugin, i, settings, findings)


def try_receivers(settings: Settings, findings: Findings) -> None:
    """Every receiver of alerts. To open one connects nothing."""
    for name, receiver in settings.alerts.receivers.items():
        plugin = _known(RECEIVERS, receiver)
        path: KeyPath = ("alerts", "receivers", name)
        if plugin is not None and _attempt(partial(plugin.open), receiver.options, path, findings):
            _tell(plugin, receiver.options, findings)


def _tell(plugin: ModuleType, options: Options, findings: Findings) -> None:
    """Note what the plug-in thinks may surprise: its `notes(options)`, where it has them."""
    if hasattr(plugin, "notes"):
        findings.notes.extend(plugin.notes(options))


def _refuse_loop(plugin: ModuleType, place: int, settings: Settings, findings: Findings) -> None:
    """Refuse a sink whose results a source would read: `comes_back(stream, options, source)` of a
    sink's file says why a source of the same name would."""
    sink = settings.sinks[place]
    for source in settings.sources:
        if source.use == sink.use and hasattr(plugin, "comes_back"):
            said = plugin.comes_back(settings.stream.name, sink.options, source.options)
            if said:
                key = ("sink", place, "topic")
                written = findings.document.found(key) is not None
                findings.refuse(key if written else ("sink", place), said)


def _known(package: str, use: Any) -> ModuleType | None:
    """The plug-in; None where none is named or there is none, which is a problem already."""
    try:
        return load(package, use.use) if use is not None else None
    except UnknownPlugin:
        return None


def _attempt(build: Build, given: Options, path: KeyPath, findings: Findings) -> bool:
    """Note what the plug-in says of each wrong option, at that option; whether none is wrong.

    What it refuses is left out, or replaced where it is required, until it takes the rest.
    """
    hints = get_type_hints(build.func) if isinstance(build, partial) else {}
    parameters = inspect.signature(build).parameters.values()
    required = [p.name for p in parameters if p.default is p.empty and p.kind is p.KEYWORD_ONLY]
    spare = {name: STAND_INS[hints[name]] for name in required if hints[name] in STAND_INS}
    if any(name not in given and name not in spare for name in required):
        return False
    options, right = spare | dict(given), True
    while said := _refusal(build, options):
        wrong = _culprit(build, options, spare, said)
        if not wrong and any(options.get(name) is stand_in for name, stand_in in spare.items()):
            # What does not fit is what stands in, which nobody wrote.
            return False
        _note(said, wrong, given, path, findings)
        right = False
        if not wrong:
            break
        options = _without(options, wrong, spare)
    return right


def _refusal(build: Build, options: Options) -> str:
    """Why the plug-in does not take these options; "" where it does."""
    try:
        built = build(**options)
    except (ValueError, OSError) as refused:
        return str(refused) or type(refused).__name__
    if hasattr(built, "write") and hasattr(built, "close"):
        built.close()
    return ""


def _culprit(build: Build, options: Options, spare: Options, said: str) -> str:
    """The option without which it says something else, first of all the one that it begins with.

    "" where there is none.
    """
    word = re.match(r"\w*", said)
    first = word[0] if word and word[0] in options else ""
    names = [first] if first else []
    tried = [name for name in names + list(options) if options[name] != spare.get(name)]
    for name in tried:
        if _refusal(build, _without(options, name, spare)) != said:
            return name
    return first if first in tried else ""


def _without(options: Options, name: str, spare: Options) -> dict[str, Any]:
    left = {key: value for key, value in options.items() if key != name}
    return left | ({name: spare[name]} if name in spare else {})


def _note(said: str, option: str, given: Options, path: KeyPath, findings: Findings) -> None:
    for key, value in given.items():
        written = findings.document.found((*path, key))
        if isinstance(written, str) and isinstance(value, str) and value not in ("", written):
            said = said.replace(value, written)
    place = (*path, option)
    if not option or findings.document.found(place) is None:
        findings.refuse(path, said)
    elif not findings.within(*place):
        findings.refuse(place, said)
