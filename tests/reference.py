"""The reference under docs/reference, made of the code: `scripts/reference` writes it, a test
holds it."""

import ast
import dataclasses
import inspect
import io
import json
import sys
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal, NamedTuple

from serving.listing import listing
from stream_processor.settings import Settings
from stream_processor.settings.fields import Options, PluginUse
from stream_processor.settings.kinds import Span
from streamgauge.durations import text
from tests.services.stand import Stand

__all__ = ["FOLDER", "pages"]

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
WORDS = {
    "Duration": 'duration, "10m"', "Ever": 'duration or "never"',
    "Horizon": "duration, or { readings = n }", "Size": 'size, "5GB"',
    "JournalSize": "size of 16 MB at least", "Names": "list of names", "bool": "true or false",
    "str": "text", "float": "number", "int": "integer", "AtLeastOne": "integer from 1",
    "Steps": "name of a model, or list of steps", "Limits": "[lowest, highest]",
    "Zone": "name of a time zone", "Path": "path", "Port": "port", "PluginUse": "name, or a table",
    "Any": "anything", "Rate": "number above 0", "Raw": "list of channels, true or false",
    "Scope": '"device", "fleet" or "tag:NAME"', "Class": "text, true, false or number",
    "Alarms": '"2 per device per week", or "none"', "Coverage": "number from 0 to below 1",
    "Share": "number from 0 to 1", "Name": "name", "Host": "host", "Bind": "address",
    "Match": '"id", or { time_within = "5m" }',
    "Options": "options of the plug-in of that name", "Span": "duration, or { readings = n }",
    "LabelPlace": '"topic:FILTER", "http" or "column:NAME"',
}  # fmt: skip
"""What annotations of settings mean to whoever writes a file."""
PLAIN = (PluginUse, Options, Span)
"""Tables that have a plain form, or whose keys are a plug-in's."""
TIMES = ("Duration", "Ever")
SIZES = ("Size", "JournalSize")


class Said(NamedTuple):
    """What the source says of a field."""

    annotation: str
    meaning: str


def pages() -> dict[str, str]:
    """The text of each page by its name."""
    return {
        "configuration.md": "".join(_configuration()),
        "plug-ins.md": _plugins(),
        "http.md": "".join(_http()),
    }


def _configuration() -> Iterator[str]:
    yield (
        "# Configuration\n\nEvery table of a `pipeline.toml` and its keys. `streamgauge check` "
        "names every mistake in one.\n"
    )
    yield from _tables(Settings, "")


def _tables(kind: type, name: str) -> Iterator[str]:
    """A part for this table, and for each below it."""
    hints = typing.get_type_hints(kind)
    inner, rows = [], []
    said = _said(kind)
    for field in dataclasses.fields(kind):
        key = field.metadata.get("key", field.name)
        if not key or field.metadata.get("rest"):
            continue
        below = _below(hints[field.name], f"{name}.{key}" if name else key)
        if below is None:
            rows.append(_row(key, field, said[field.name], kind))
        else:
            inner.append(below)
    if rows:
        plain = name.replace("[]", "")
        title = (
            f"`[[{plain}]]`" if name.endswith("[]") else f"`[{plain}]`" if plain else "At the top"
        )
        yield f"\n## {title}\n"
        about = _about(kind)
        yield f"\n{about}\n" if about else ""
        yield "\n| key | is | usual |\n|---|---|---|\n"
        yield from rows
        if any(field.metadata.get("rest") for field in dataclasses.fields(kind)):
            yield "\nFurther keys are options of the plug-in: [plug-ins](plug-ins.md).\n"
    for of, named in inner:
        yield from _tables(of, named)


def _below(hint: Any, name: str) -> tuple[type, str] | None:
    """The class and the name of the table that a field stands for; None where it is a key."""
    members = typing.get_args(hint)
    if isinstance(hint, types.UnionType):
        hint = next((one for one in members if dataclasses.is_dataclass(one)), None)
    elif typing.get_origin(hint) is dict and dataclasses.is_dataclass(members[1]):
        hint, name = members[1], f"{name}.NAME"
    elif typing.get_origin(hint) is tuple and dataclasses.is_dataclass(members[0]):
        hint, name = members[0], f"{name}[]"
    if not isinstance(hint, type) or not dataclasses.is_dataclass(hint) or hint in PLAIN:
        return None
    return hint, name


def _row(key: str, field: Any, said: Said, of: type) -> str:
    usual = "required" if field.metadata.get("required") else _value(field, said.annotation)
    meaning = f". {said.meaning}" if said.meaning else ""
    return f"| `{key}` | {_kind(said.annotation, of)}{meaning} | {usual} |\n"


def _kind(annotation: str, of: type) -> str:
    """An annotation in words; its names are those of the module of the class."""
    tree = ast.parse(annotation, mode="eval").body
    return _words(tree, vars(sys.modules[of.__module__])).replace("|", "\\|")


def _words(tree: ast.expr, names: Mapping[str, Any]) -> str:
    if isinstance(tree, ast.BinOp):
        return _words(tree.left, names)  # "or None" is told by what is usual
    if isinstance(tree, ast.Subscript):
        of = ast.unparse(tree.value)
        inside = tree.slice.elts if isinstance(tree.slice, ast.Tuple) else [tree.slice]
        if of == "Literal":
            return " or ".join(f'"{ast.literal_eval(one)}"' for one in inside)
        if of == "tuple":
            return f"list of: {_words(inside[0], names)}"
        return f"table of: {_words(inside[1], names)}" if of == "dict" else _words(inside[0], names)
    name = ast.unparse(tree)
    found = names.get(name)
    if isinstance(found, type) and issubclass(found, Enum):
        return " or ".join(f'"{one}"' for one in found)
    if typing.get_origin(found) is Literal:
        return " or ".join(f'"{one}"' for one in typing.get_args(found))
    return WORDS[name]


def _value(field: Any, annotation: str) -> str:
    """A default as it stands in a file."""
    value = field.default
    if value is dataclasses.MISSING or value in ((), "", None, {}):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int) and annotation.split(" ", maxsplit=1)[0] in TIMES:
        return f'`"{text(value) if value else "0s"}"`'
    if isinstance(value, int) and annotation in SIZES:
        return f'`"{value / 1e9:g}GB"`' if value >= 10**9 else f'`"{value / 1e6:g}MB"`'
    if hasattr(value, "use"):
        return f'`"{value.use}"`'
    if isinstance(value, Enum | str | Path):
        return f'`"{value}"`'
    if isinstance(value, tuple):
        return f"`{json.dumps(value)}`"
    return f"`{value:_}`" if isinstance(value, int) else f"`{value:g}`"


def _said(kind: type) -> Mapping[str, Said]:
    """Annotations and docstrings of a class's fields, from its source."""
    [tree] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for one, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            told = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                told = " ".join(str(after.value.value).split()).replace("|", "\\|")
            found[one.target.id] = Said(ast.unparse(one.annotation), told)
    return found


def _about(kind: type) -> str:
    """What a class says of its table, without the table's name in front."""
    doc = " ".join((inspect.getdoc(kind) or "").split())
    told = doc.partition(": ")[2] or doc.partition("; ")[2]
    return told[:1].upper() + told[1:]


def _plugins() -> str:
    out = io.StringIO()
    listing(out)
    return (
        "# Plug-ins\n\nWhat can stand in a `pipeline.toml`, with options and what is usual: the "
        f"answer of `streamgauge list`.\n\n```text\n{out.getvalue().strip()}\n```\n"
    )


def _http() -> Iterator[str]:
    yield (
        "# HTTP\n\nThe routes of the service; `GET /openapi.json` describes them in full, problems "
        "come as `application/problem+json`.\n\n| route | gives | asks for |\n|---|---|---|\n"
    )
    for path, methods in sorted(Stand().app().openapi()["paths"].items()):
        for method, one in methods.items():
            asked = ", ".join(f"`{p['name']}`" for p in one.get("parameters", [])) or "nothing"
            told = (one.get("description") or one["summary"]).partition("\n\n")[0]
            gives = " ".join(told.split()).replace("|", "\\|")
            yield f"| `{method.upper()} {path}` | {gives} | {asked} |\n"


def write() -> None:
    """Write every page."""
    FOLDER.mkdir(exist_ok=True)
    for name, page in pages().items():
        (FOLDER / name).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    write()
