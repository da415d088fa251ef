"""`streamgauge list`: what can stand in a pipeline.toml."""

import inspect
from typing import TextIO

from streamgauge.plugins import find, options

__all__ = ["FOLDERS", "listing"]

FOLDERS = (
    ("sources", "ingest.sources", "open"),
    ("codecs", "ingest.codecs", "build"),
    ("features", "stream_processor.features", "build"),
    ("detectors", "monitoring.detectors", "build"),
    ("sinks", "monitoring.sinks", "open"),
    ("compiled models (all of River runs; these run compiled)", "models.compiled", "build"),
)


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
    kind = inspect.formatannotation(option.annotation)
    if option.default is inspect.Parameter.empty:
        return f"{option.name}: {kind} (required)"
    return f"{option.name}: {kind} = {option.default!r}"
