"""Builds what the settings name once, for the reasons that only a plug-in itself can give."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ingest.rejects import Rejects
from stream_processor.settings.document import KeyPath
from stream_processor.settings.model import Settings
from stream_processor.settings.problems import Findings
from stream_processor.settings.uses import CODECS, DETECTORS, SOURCES
from streamgauge.devices import Devices
from streamgauge.plugins import load

__all__ = ["try_detector", "try_sources"]


def try_detector(settings: Settings, findings: Findings) -> None:
    """The detector, for one device."""
    use = settings.drift.detector
    if use is not None and not findings.within("drift"):
        build = partial(load(DETECTORS, use.use).build, 0, 1)
        _attempt(build, use.options, ("drift", "detector"), findings)


def try_sources(settings: Settings, findings: Findings) -> None:
    """Every source and its codec. To open a source neither starts nor connects anything."""
    schema = settings.schema()
    for i, source in enumerate(settings.sources):
        path: KeyPath = ("source", i)
        if findings.within(*path):
            continue
        if source.codec is not None:
            build = partial(load(CODECS, source.codec.use).build, schema, Devices(1))
            _attempt(build, source.codec.options, path, findings)
        begin = partial(load(SOURCES, source.use).open, schema, i, lambda: 0, Rejects())
        _attempt(begin, source.options, path, findings)


def _attempt(
    build: Callable[..., object], options: Mapping[str, Any], path: KeyPath, findings: Findings
) -> None:
    """Note what the plug-in says, at the option that it speaks of first."""
    try:
        build(**options)
    except (ValueError, OSError) as refused:
        said = str(refused)
    else:
        return
    for key, value in options.items():
        written = findings.document.found((*path, key))
        if isinstance(written, str) and isinstance(value, str) and value not in ("", written):
            said = said.replace(value, written)
    word = re.match(r"\w*", said)
    option = (*path, word[0]) if word else path
    findings.refuse(path if findings.document.found(option) is None else option, said)
