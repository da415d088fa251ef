"""`streamgauge list`: what can stand in a pipeline.toml."""

import inspect
import re
from typing import TextIO

from streamgauge.plugins import find, options

__all__ = ["FOLDERS", "listing"]

FOLDERS = (
    ("sources", "ingest.sources", "open"),
    ("codecs", "ingest.codecs", "build"),
    ("cleaning of a channel", "stream_processor.clean", "build"),
    ("cleaning: outlier", "stream_processor.clean.outlier", "build"),
    ("cleaning: missing", "stream_processor.clean.missing", "build"),
    ("features", "stream_processor.features", "build"),
    ("detectors", "monitoring.detectors", "build"),
    ("sinks", "monitoring.sinks", "open"),
    ("compiled models (all of River runs; these run compiled)", "models.compiled", "build"),
)

MODULES = re.compile(r"\b(?:[a-z_]+\.)+(?=[A-Z])")
"""The modules in front of a type's name."""


def listing(out: TextIO) -> int:
    """Print every plug-in with its purpose and options."""
    for title, package, function in FOLDERS:
        print(f"{title}:", file=out)
        for name, module in find(package).items():
            purpose = (inspect.getdoc(module) or "").partition("\n")[0]
            print(f"  {name:<16} {purpose}", file=out)
            for option in options(module, function).values():
                print(f"    {_option(option)}", file=out)
        print(file=out)
    return 0


def _option(option: inspect.Parameter) -> str:
    # A keyword of Python's has an underscore behind it that the file does not have.
    name = option.name.rstrip("_")
    kind = MODULES.sub("", inspect.formatannotation(option.annotation))
    if option.default is inspect.Parameter.empty:
        return f"{name}: {kind} (required)"
    return f"{name}: {kind} = {option.default!r}"
