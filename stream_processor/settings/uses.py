"""Checks the plug-ins that a configuration names, and their options against their signatures."""

import dataclasses
import inspect
import typing
from pathlib import Path
from types import ModuleType
from typing import Any

from stream_processor.settings.alerts import ReceiverSettings
from stream_processor.settings.channels import ChannelSettings
from stream_processor.settings.document import KeyPath
from stream_processor.settings.fields import Options, PluginUse
from stream_processor.settings.model import FeatureSettings, Settings, SourceSettings
from stream_processor.settings.problems import Findings
from stream_processor.settings.read import MISSING, check
from stream_processor.settings.tasks import SelectSettings, TaskSettings
from stream_processor.settings.watching import AUTO, DETECTORS, USUAL
from streamgauge import plugins
from streamgauge.signal import Kind

__all__ = ["check_uses"]

Known = dict[str, inspect.Parameter]

CODECS = "ingest.codecs"
SOURCES = "ingest.sources"
SINKS = "monitoring.sinks"
RECEIVERS = "monitoring.receivers"
SELECTIONS = "models.selections"
FEATURES = "stream_processor.features"


def check_uses(settings: Settings, folder: Path, findings: Findings) -> Settings:
    """The settings with every plug-in's options checked and typed.

    Options of type `Path` become absolute; a source's or codec's `zone` is `devices.timezone`
    unless given.
    """
    uses = _Uses(folder, settings.devices.timezone, findings)
    drift = settings.drift
    keys = [key for key in ("detector", *Kind) if hasattr(drift, key)]
    given = {key: getattr(drift, key) for key in keys}
    detectors: dict[str, Any] = {
        key: uses.plugin(DETECTORS, use, ("drift", key))
        for key, use in given.items()
        if use is not None and (key not in USUAL or use.use != AUTO)
    }
    return dataclasses.replace(
        settings,
        sources=tuple(uses.source(s, ("source", i)) for i, s in enumerate(settings.sources)),
        sinks=tuple(uses.sink(s, ("sink", i)) for i, s in enumerate(settings.sinks)),
        drift=dataclasses.replace(drift, **detectors),
        alerts=dataclasses.replace(
            settings.alerts,
            receivers={
                name: uses.receiver(one, ("alerts", "receivers", name))
                for name, one in settings.alerts.receivers.items()
            },
        ),
        features=uses.features(settings.features),
        channels={
            name: uses.cleaning(channel, name) for name, channel in settings.channels.items()
        },
        tasks={name: uses.task(task, name) for name, task in settings.tasks.items()},
    )


class _Uses:
    def __init__(self, folder: Path, zone: str, findings: Findings) -> None:
        self.folder = folder
        self.zone = zone
        self.findings = findings

    def features(self, features: FeatureSettings) -> FeatureSettings:
        """The features that have no keys of their own, and their options."""
        known = plugins.names(FEATURES)
        checked: dict[str, Any] = {}
        for path, use in features.uses():
            if use.use not in known:
                self.findings.unknown(path[:2], "unknown key", known)
            elif not isinstance(use.options, dict):
                self.findings.add(path, "not a table", f"write {use.use} = {{ ... }}")
            else:
                options = self._feature(use, path)
                alone = len(path) == 2
                checked[use.use] = options if alone else [*checked.get(use.use, []), options]
        return dataclasses.replace(features, others=checked)

    def _feature(self, use: PluginUse, path: KeyPath) -> dict[str, Any]:
        known = _typed_options(plugins.load(FEATURES, use.use))
        self._refuse_unknown(use.options, list(known), path)
        return self._zoned(known, use.options, path)

    def cleaning(self, channel: ChannelSettings, name: str) -> ChannelSettings:
        """The cleaning policies of a channel and their options."""
        checked: dict[str, Any] = {}
        for key, package, use in channel.cleaners():
            found = self.plugin(package, use, ("channels", name, key))
            own = isinstance(getattr(channel, key), Options)
            checked[key] = Options(found.options) if own else found
        return dataclasses.replace(channel, **checked)

    def task(self, task: TaskSettings, name: str) -> TaskSettings:
        """A task's selection of features and its options."""
        if task.select is None:
            return task
        use = PluginUse(task.select.by, task.select.options)
        found = self.plugin(SELECTIONS, use, ("tasks", name, "select"), key="by")
        return dataclasses.replace(task, select=SelectSettings(found.use, found.options))

    def sink(self, use: PluginUse, path: KeyPath) -> PluginUse:
        """A sink beside the store, which every service has."""
        if use.use == "store":
            self.findings.add(path, "the store is always there", "remove it; see [store]")
            return use
        return self.plugin(SINKS, use, path)

    def receiver(self, one: ReceiverSettings, path: KeyPath) -> ReceiverSettings:
        """Who is told of alerts."""
        checked = self.plugin(RECEIVERS, PluginUse(one.use, one.options), path)
        return dataclasses.replace(one, options=checked.options)

    def plugin(self, package: str, use: PluginUse, path: KeyPath, key: str = "use") -> PluginUse:
        """One plug-in, named at `key`, and its options."""
        known = self._options(package, use.use, path, key)
        if known is None:
            return use
        self._refuse_unknown(use.options, list(known), path)
        return PluginUse(use.use, self._typed(known, use.options, path))

    def source(self, source: SourceSettings, path: KeyPath) -> SourceSettings:
        """A source and its codec, whose options stand in one table; the source's come first."""
        own = self._options(SOURCES, source.use, path)
        if own is None:
            return source
        codec = source.codec or _default_codec(source.use)
        decoding = self._options(CODECS, codec.use, (*path, "codec")) if codec else {}
        if decoding is None:
            options = self._zoned(own, source.options, path)
            return dataclasses.replace(source, codec=None, options=options)
        for key in codec.options if codec else ():
            place = (*path, "codec", key)
            self.findings.add(place, "a codec in a table of its own", f"write {key} beside codec")
        self._refuse_unknown(source.options, [*own, *decoding], path)
        options = self._zoned(own, source.options, path)
        # What both take, such as the size of a message, holds for both.
        rest = {key: value for key, value in source.options.items() if key not in own}
        shared = {key: value for key, value in options.items() if key in decoding}
        if codec is not None:
            codec = PluginUse(codec.use, self._zoned(decoding, rest | shared, path))
        endless = codec is not None or ("once" in own and not options.get("once"))
        if source.first and endless:
            remedy = "write once = true beside it" if "once" in own else "remove it"
            self.findings.add(
                (*path, "first"), "a source that never ends: all others would wait for ever", remedy
            )
        return dataclasses.replace(source, codec=codec, options=options)

    def _zoned(self, known: Known, given: dict[str, Any], path: KeyPath) -> dict[str, Any]:
        default = {"zone": self.zone} if "zone" in known else {}
        return default | self._typed(known, given, path)

    def _options(self, package: str, name: str, path: KeyPath, key: str = "use") -> Known | None:
        if not name:
            return None
        try:
            module = plugins.load(package, name)
        except plugins.UnknownPlugin as unknown:
            shorthand = isinstance(self.findings.document.found(path), str)
            self.findings.refuse(path if shorthand else (*path, key), str(unknown))
            return None
        return _typed_options(module)

    def _refuse_unknown(self, given: dict[str, Any], known: list[str], path: KeyPath) -> None:
        for key in given:
            if key not in known:
                self.findings.unknown((*path, key), "unknown option", known)

    def _typed(self, known: Known, given: dict[str, Any], path: KeyPath) -> dict[str, Any]:
        typed: dict[str, Any] = {}
        for key, parameter in known.items():
            if key in given:
                value = check(parameter.annotation, given[key], (*path, key), self.findings)
                if value is not MISSING:
                    typed[key] = self.folder / value if isinstance(value, Path) else value
            elif parameter.default is parameter.empty:
                self.findings.add((*path, key), "missing", f"add {key} = ...")
        return typed


def _default_codec(source: str) -> PluginUse | None:
    """The codec that a source of undecoded messages names in its `CODEC`."""
    name = getattr(plugins.load(SOURCES, source), "CODEC", "")
    return PluginUse(name) if name else None


def _typed_options(module: ModuleType) -> Known:
    function = "open" if hasattr(module, "open") else "build"
    hints = typing.get_type_hints(getattr(module, function), include_extras=True)
    return {
        name: parameter.replace(annotation=hints.get(name, Any))
        for name, parameter in plugins.options(module, function).items()
    }
