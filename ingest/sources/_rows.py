"""Rows out of an answer: by JSON path, from columns, or by CSS selector from a page.

Each row becomes one JSON message. Where `fields` maps names to places, it is a flat object of
those; a channel's value stands where the codec will look for it.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import jsonpath
import msgspec
import soupsieve
from bs4 import BeautifulSoup, Tag
from jsonpath import JSONPathError

from ingest.codecs._origins import channel_path
from ingest.codecs._tolerant import parse
from streamgauge.schema import Channel, Kind, Schema

__all__ = [
    "Cut",
    "Unreadable",
    "columns_of",
    "fields_of",
    "rows_of",
    "selected",
    "whole",
    "without_errors",
]

Cut = Callable[[bytes], list[bytes]]
"""The messages in an answer; raises Unreadable."""
Row = dict[str, Any]
Constants = Mapping[str, str | int | float | bool]

MOST_ROWS = 100_000
MOST_NESTED = 64
_NAME = re.compile(r"[\w:.-]+")
_encode = msgspec.json.encode


class Unreadable(ValueError):
    """The answer is not what was expected; the text says what was found."""


def whole(body: bytes) -> list[bytes]:
    """The answer as one message."""
    return [body]


def without_errors(cut: Cut) -> Cut:
    """The same for answers of a GraphQL server, which says in the body what went wrong."""

    def checked(body: bytes) -> list[bytes]:
        answer = _json(body)
        errors = answer.get("errors") if isinstance(answer, dict) else None
        if errors:
            first = errors[0] if isinstance(errors, list) else errors
            said = first.get("message", first) if isinstance(first, dict) else first
            raise Unreadable(f"the query is answered with an error: {str(said)[:200]}")
        return cut(body)

    return checked


def rows_of(schema: Schema, rows: str, fields: Mapping[str, str], constants: Constants) -> Cut:
    """Rows at a JSON path, each one object; `fields` are paths inside a row. ValueError on a path
    that is none."""
    path, mapped = _path(rows or "$", "rows"), fields_of(schema, fields)

    def cut(body: bytes) -> list[bytes]:
        found = path.findall(_json(body))
        return _messages(
            [row for row in found if isinstance(row, dict)], len(found), mapped, constants
        )

    return cut


def columns_of(
    schema: Schema, columns: str, fields: Mapping[str, str], constants: Constants
) -> Cut:
    """Rows of an object at a JSON path that holds an array per name, all of one length."""
    path, mapped = _path(columns, "columns"), fields_of(schema, fields)

    def cut(body: bytes) -> list[bytes]:
        rows: list[Row] = []
        for found in path.findall(_json(body)):
            arrays = (
                {k: v for k, v in found.items() if isinstance(v, list)}
                if isinstance(found, dict)
                else {}
            )
            if len({len(array) for array in arrays.values()}) != 1:
                raise Unreadable(f"no arrays of one length at columns = {columns!r}")
            rows += [
                dict(zip(arrays, values, strict=True))
                for values in zip(*arrays.values(), strict=True)
            ]
        return _messages(rows, len(rows), mapped, constants)

    return cut


def fields_of(schema: Schema, fields: Mapping[str, str]) -> Callable[[Row], Row]:
    """From a row to a flat object of the named JSON paths; the row itself where none is named."""
    if not fields:
        return lambda row: row
    paths = [(_place(schema, name), _path(path, f"fields.{name}")) for name, path in fields.items()]

    def mapped(row: Row) -> Row:
        message: Row = {}
        for place, path in paths:
            found = path.match(row)
            if found is not None:
                _plant(message, place, found.value)
        return message

    return mapped


def selected(
    schema: Schema, select: str, fields: Mapping[str, str], constants: Constants, decimal: str
) -> Cut:
    """Rows of a page: the elements that match a CSS selector. `fields` are selectors inside such an
    element, "" for itself, with "@name" behind for an attribute instead of the text."""
    rows = _selector(select, "select")
    kinds = {channel.name: channel.kind for channel in schema.channels}
    readers = [
        (
            _place(schema, name),
            _element(spec, f"fields.{name}"),
            _value_of(kinds.get(name), decimal),
        )
        for name, spec in fields.items()
    ]

    def cut(body: bytes) -> list[bytes]:
        found = rows.select(BeautifulSoup(body, "html.parser"))
        _refuse_too_many(len(found))
        messages: list[Row] = []
        for element in found:
            message: Row = {}
            for place, text_of, value_of in readers:
                value = value_of(text_of(element))
                if value is not None:
                    _plant(message, place, value)
            messages.append(message)
        return _messages([row for row in messages if row], len(found), lambda row: row, constants)

    return cut


def _messages(
    rows: list[Row], found: int, mapped: Callable[[Row], Row], constants: Constants
) -> list[bytes]:
    _refuse_too_many(found)
    if found and not rows:
        raise Unreadable("no row is an object with anything that was asked for")
    return [_encode({**mapped(row), **constants}) for row in rows]


def _refuse_too_many(number: int) -> None:
    if number > MOST_ROWS:
        raise Unreadable(f"{number:,} rows, more than {MOST_ROWS:,}")


def _json(body: bytes) -> Any:
    try:
        return parse(body, MOST_NESTED)
    except ValueError as wrong:
        raise Unreadable(f"not readable as JSON: {wrong}") from None


def _path(text: str, option: str) -> Any:
    try:
        return jsonpath.compile(text)
    except JSONPathError as wrong:
        said = str(wrong).partition("\n")[0]
        raise ValueError(
            f"{option} = {text!r} is no JSON path: {said}; write it like $.data[*]"
        ) from None


def _selector(text: str, option: str) -> soupsieve.SoupSieve:
    try:
        return soupsieve.compile(text)
    except soupsieve.SelectorSyntaxError as wrong:
        said = str(wrong).partition("\n")[0]
        raise ValueError(
            f"{option} = {text!r} is no CSS selector: {said}; write it like table#readings tr"
        ) from None


def _place(schema: Schema, name: str) -> tuple[str, ...]:
    """Where the codec looks for a field."""
    channel: Channel | None = schema.channels[schema.index[name]] if name in schema.index else None
    return channel_path(channel) if channel is not None else (name,)


def _plant(message: Row, place: tuple[str, ...], value: Any) -> None:
    for name in place[:-1]:
        message = message.setdefault(name, {})
    message[place[-1]] = value


def _element(spec: str, option: str) -> Callable[[Tag], str]:
    """How a field's text is found in a row's element; "" where it is not there."""
    inner, at, attribute = spec.rpartition("@")
    if not at or not _NAME.fullmatch(attribute):
        inner, attribute = spec, ""
    selector = _selector(inner, option) if inner else None

    def text(row: Tag) -> str:
        element = row if selector is None else selector.select_one(row)
        if element is None:
            return ""
        found = element.get(attribute, "") if attribute else element.get_text(" ")
        return " ".join(found.split() if isinstance(found, str) else found or ())

    return text


def _value_of(kind: Kind | None, decimal: str) -> Callable[[str], Any]:
    """From an element's text to a field's value, None where it holds none: a number channel's
    number, without the unit behind it; any other field's text."""
    if kind is Kind.NUMBER:
        return lambda text: _number(text, decimal)
    return lambda text: text or None


def _number(text: str, decimal: str) -> float | None:
    group = "." if decimal == "," else ","
    # Thousands may be parted by the other mark, an apostrophe or a (narrow) space.
    whole_part = rf"(?:\d{{1,3}}(?:[{group}'\u2019 \u202f]\d{{3}})+|\d+)"
    pattern = (
        rf"([+\u2212-]?)\s?({whole_part})(?:{re.escape(decimal)}(\d*))?([eE][+-]?\d+)?(?![\d.,:/-])"
    )
    match = re.match(pattern, text.replace("\u00a0", " "))
    if match is None:
        return None
    sign = "-" if match[1] in ("-", "\u2212") else ""
    digits = re.sub(r"\D", "", match[2])
    return float(f"{sign}{digits}.{match[3] or 0}{match[4] or ''}")
