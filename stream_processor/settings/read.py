"""Reads a parsed table into a typed settings class, key by key, so that one bad key hides no other.

Types are checked by pydantic in its strict mode: text is no number. A value that came from the
environment is always text, so there, and only there, "8000" may stand for 8000.
"""

import dataclasses
import json
import types
import typing
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from stream_processor.settings.document import KeyPath, holds
from stream_processor.settings.problems import Findings

__all__ = ["MISSING", "check", "read"]

MISSING: Any = dataclasses.MISSING


def read(kind: Any, value: Any, path: KeyPath, findings: Findings) -> Any:
    """`value` as `kind`: a settings class, a dict or tuple of them, or any type pydantic knows.

    MISSING where it cannot be; what is wrong is then in `findings`.
    """
    inner = _optional_class(kind)
    if inner is not None:
        return None if value == "none" else _table(inner, value, path, findings)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _table(kind, value, path, findings)
    if origin is dict and dataclasses.is_dataclass(arguments[1]):
        return _tables_by_name(arguments[1], value, path, findings)
    if origin is tuple and dataclasses.is_dataclass(arguments[0]):
        return _tables_in_order(arguments[0], value, path, findings)
    return check(kind, value, path, findings)


def _optional_class(kind: Any) -> Any:
    members = typing.get_args(kind) if isinstance(kind, types.UnionType) else ()
    return next((member for member in members if dataclasses.is_dataclass(member)), None)


def _tables_by_name(kind: Any, value: Any, path: KeyPath, findings: Findings) -> Any:
    if not isinstance(value, dict):
        findings.add(path, "not a table of tables", f"write a table [{path[-1]}.NAME] for each")
        return MISSING
    return {name: _table(kind, table, (*path, name), findings) for name, table in value.items()}


def _tables_in_order(kind: Any, value: Any, path: KeyPath, findings: Findings) -> Any:
    if not isinstance(value, list):
        findings.add(path, "not a list of tables", f"write [[{path[-1]}]] in double brackets")
        return MISSING
    return tuple(_table(kind, table, (*path, i), findings) for i, table in enumerate(value))


def _table(kind: Any, value: Any, path: KeyPath, findings: Findings) -> Any:
    shorthand = getattr(kind, "__shorthand__", "")
    if not isinstance(value, dict) and not shorthand:
        findings.add(path, "not a table", "write its keys in a table of that name")
        return kind()
    table = value if isinstance(value, dict) else {shorthand: value}
    fields = {field.metadata.get("key", field.name): field for field in dataclasses.fields(kind)}
    rest = next((field.name for field in fields.values() if field.metadata.get("rest")), "")
    known = {key: field for key, field in fields.items() if key and field.name != rest}
    hints = _hints(kind)
    taken: dict[str, Any] = {}
    for key, field in known.items():
        if key in table:
            place = (*path, key) if table is value else path
            taken[field.name] = read(hints[field.name], table[key], place, findings)
        elif field.metadata.get("required"):
            findings.add((*path, key), "missing", f"add {key} = ...")
    others = {key: item for key, item in table.items() if key not in known}
    if rest:
        taken[rest] = others
    else:
        for key in others:
            findings.unknown((*path, key), "unknown key", list(known))
    return kind(**{name: item for name, item in taken.items() if item is not MISSING})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def check(kind: Any, value: Any, path: KeyPath, findings: Findings) -> Any:
    """`value` as the type `kind`, or MISSING with the reasons in `findings`."""
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    try:
        if findings.document.found(path) != value:
            return adapter.validate_python(value)
        return adapter.validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as refused:
        for error in refused.errors(include_url=False, include_input=False):
            _explain(error, value, path, findings)
    except OverflowError:
        findings.add(path, "a number too large", "write a smaller one")
    return MISSING


def _explain(error: ErrorDetails, value: Any, path: KeyPath, findings: Findings) -> None:
    for part in error["loc"]:
        if not holds(value, part):
            break
        value, path = value[part], (*path, part)
    said = error["msg"]
    if error["type"] == "value_error":
        refused = str(error["ctx"]["error"])
    elif said.startswith("Input should be "):
        wanted = said.removeprefix("Input should be ")
        a_number = "a number " if wanted.startswith(("greater", "less")) else ""
        refused = f"not an allowed value; write {a_number}{wanted}"
    else:
        refused = f"{said[0].lower()}{said[1:]}; correct it"
    shown = findings.document.found(path)
    if isinstance(value, str) and isinstance(shown, str) and shown != value:
        if findings.within(*path):
            return  # what the environment lacks is a problem already
        refused = refused.replace(repr(value), repr(shown)).replace(value or repr(value), shown)
    findings.refuse(path, refused)
