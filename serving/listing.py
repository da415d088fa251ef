"""`streamgauge list`: what can stand in a pipeline.toml."""

import inspect
import re
from collections.abc import Iterable
from types import ModuleType
from typing import TextIO

from serving.examples import SCHEMA, operator_of, selection_of
from serving.starter.write import toml_value
from streamgauge.plugins import find, options
from streamgauge.signal import Kind, Signal
from streamgauge.state import Block, Keys

__all__ = ["FOLDERS", "listing"]

SELECTIONS = "models.selections"
FOLDERS = (
    ("sources", "ingest.sources", "open"),
    ("codecs", "ingest.codecs", "build"),
    ("cleaning of a channel", "stream_processor.clean", "build"),
    ("cleaning: outlier", "stream_processor.clean.outlier", "build"),
    ("cleaning: missing", "stream_processor.clean.missing", "build"),
    ("features", "stream_processor.features", "build"),
    ("detectors", "monitoring.detectors", "build"),
    ("sinks", "monitoring.sinks", "open"),
    ("receivers of alerts", "monitoring.receivers", "open"),
    ("selection of features", SELECTIONS, "build"),
    ("compiled models (all of River runs; these run compiled)", "models.compiled", "build"),
)
DETECTORS = "monitoring.detectors"
OPERATORS = "stream_processor."
"""Folders whose plug-ins keep state per device."""
OF = 20
"""Features among which the state of a selection is reckoned."""

MODULES = re.compile(r"\b(?:[a-z_]+\.)+(?=[A-Z])")
"""The modules in front of a type's name."""
_PAPER = re.compile(r"[A-Z][\w-]*(?:(?:, | and )[A-Z][\w-]*)*(?: et al\.)? \((?:19|20)\d\d\).*")


def listing(out: TextIO) -> int:
    """Print every plug-in with its purpose and options; cleaners, features and detectors with the
    state that they keep of a device, and where they come from."""
    for title, package, function in FOLDERS:
        print(f"{title}:", file=out)
        for name, module in find(package).items():
            purpose = (inspect.getdoc(module) or "").partition("\n")[0]
            print(f"  {name:<16} {purpose}", file=out)
            for option in options(module, function).values():
                print(f"    {_option(option)}", file=out)
            if package.startswith((OPERATORS, SELECTIONS, DETECTORS)):
                state = _STATE.get(package, _state)(module)
                print(f"    state: {state}", file=out)
                for reference in _references(module):
                    print(f"    reference: {reference}", file=out)
        print(file=out)
    return 0


def _option(option: inspect.Parameter) -> str:
    # A keyword of Python's has an underscore behind it that the file does not have.
    name = option.name.rstrip("_")
    kind = MODULES.sub("", inspect.formatannotation(option.annotation))
    if option.default is inspect.Parameter.empty:
        return f"{name}: {kind} (required)"
    return f"{name}: {kind} = {option.default!r}"


def _state(module: ModuleType) -> str:
    """Bytes of a device with the plug-in's EXAMPLE, which has what has no default."""
    example = getattr(module, "EXAMPLE", {})
    try:
        blocks = operator_of(module, SCHEMA).blocks.values()
    except (TypeError, ValueError):
        return "depends on the options"
    shown = ", ".join(f"{key.rstrip('_')} = {toml_value(value)}" for key, value in example.items())
    return f"{_size(blocks)} per device{f' with {shown}' if shown else ''}"


def _state_of_detector(module: ModuleType) -> str:
    """Bytes for one part of a signal that it watches, a task or a channel."""
    for kind in Kind:
        try:
            blocks = module.build(Signal(kind, "channels", ["one"], 1), 1).blocks.values()
        except ValueError:
            continue
        return f"{_size(blocks)} per device and task or channel"
    return "depends on the options"


def _size(blocks: Iterable[Block]) -> str:
    own = [block for block in blocks if block.keys is Keys.DEVICE]
    least = sum(block.bytes_per_row for block in own)
    most = sum(block.bytes_per_row * block.layers for block in own)
    size = f"{least:,} bytes" if least == most else f"{least:,} to {most:,} bytes"
    return size if most else "none"


def _selection_state(module: ModuleType) -> str:
    blocks = selection_of(module, OF).blocks.values()
    return f"{sum(block.bytes_per_row for block in blocks):,} bytes per model with {OF} features"


def _references(module: ModuleType) -> list[str]:
    """What its docstring says from the name of a paper on to the end of the paragraph."""
    paragraphs = (inspect.getdoc(module.build) or "").split("\n\n")
    return [one for part in paragraphs for one in _PAPER.findall(" ".join(part.split()))]


_STATE = {SELECTIONS: _selection_state, DETECTORS: _state_of_detector}
"""How the state of a folder's plug-ins is reckoned, where they are no operators."""
