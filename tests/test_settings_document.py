"""Lines of keys in TOML documents."""

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_processor.settings.document import KeyPath, line_index, parse, spell

TRICKY = '''\
# a comment with = and [brackets]
title = "a # no comment" # [x]
[x."y.z"]   # quoted
one.two = 1979-05-27 07:32:00
"[odd]" = \'\'\'
many [lines] = "
\'\'\'\'\'
three = [
  1, # one
  { a = [2,
      3], b.c = "}" },
]
[[s]]
u = """
[[s]]
u = 1
\\""""
[s.o]
k = true
[[s.t]]
k = -inf
[[s]]
k = 0x1F
'''


def test_every_kind_of_key_has_its_line() -> None:
    """Comments, multi-line strings, dotted, quoted and nested keys do not mislead the index."""
    tomllib.loads(TRICKY)
    lines = line_index(TRICKY)
    table: KeyPath = ("x", "y.z")
    assert lines == {
        ("title",): 2,
        ("x",): 3,
        table: 3,
        (*table, "one"): 4,
        (*table, "one", "two"): 4,
        (*table, "[odd]"): 5,
        (*table, "three"): 8,
        (*table, "three", 0): 9,
        (*table, "three", 1): 10,
        (*table, "three", 1, "a"): 10,
        (*table, "three", 1, "a", 0): 10,
        (*table, "three", 1, "a", 1): 11,
        (*table, "three", 1, "b"): 11,
        (*table, "three", 1, "b", "c"): 11,
        ("s",): 13,
        ("s", 0): 13,
        ("s", 0, "u"): 14,
        ("s", 0, "o"): 18,
        ("s", 0, "o", "k"): 19,
        ("s", 0, "t"): 20,
        ("s", 0, "t", 0): 20,
        ("s", 0, "t", 0, "k"): 21,
        ("s", 1): 22,
        ("s", 1, "k"): 23,
    }


@pytest.mark.parametrize(
    ("path", "line"),
    [(("x", "y.z", "three", 1, "a"), 10), (("x", "y.z", "none"), 3), (("none",), None)],
)
def test_a_missing_key_has_the_line_of_what_is_around_it(path: KeyPath, line: int | None) -> None:
    """Where a key is absent, the nearest table or array around it is the place to look."""
    assert parse(TRICKY).line(path) == line


def test_found_is_what_the_file_says() -> None:
    """Values are found by their path through tables and arrays, and None where there are none."""
    document = parse(TRICKY)
    assert document.found(("x", "y.z", "three", 1, "b", "c")) == "}"
    assert document.found(("s", 1, "k")) == 31
    assert document.found(("s", 2, "k")) is None
    assert document.found(("title", "k")) is None


def test_a_path_is_spelled_as_people_write_it() -> None:
    """Elements stand in brackets, names that are not bare in quotes."""
    assert spell(("source", 0, "topics", 2)) == "source[0].topics[2]"
    assert spell(("channels", "PM2.5", "range")) == 'channels."PM2.5".range'


keys = st.text("ab.-_ \"'#[]=é", min_size=1, max_size=4)
scalars = st.one_of(st.booleans(), st.integers(-9, 9), st.text("a\"'\n#[]{},= \\", max_size=6))
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


def written(value: Any, path: KeyPath, line: int, lines: dict[KeyPath, int]) -> str:
    """The value in TOML, with a line break after each "[" and each comma of an array."""
    if isinstance(value, list):
        text = "["
        for i, item in enumerate(value):
            text += "\n"
            lines[*path, i] = line + text.count("\n")
            text += written(item, (*path, i), lines[*path, i], lines) + ", # [,]"
        return text + "\n]"
    if isinstance(value, dict):
        parts: list[str] = []
        for key, item in value.items():
            here = line + "".join(parts).count("\n")
            lines[*path, key] = here
            parts.append(f"{json.dumps(key)} = {written(item, (*path, key), here, lines)}")
        return "{" + ", ".join(parts) + "}"
    return json.dumps(value)


@given(st.dictionaries(keys, st.dictionaries(keys, values, max_size=3), max_size=3))
def test_any_document_is_indexed(tree: dict[str, dict[str, Any]]) -> None:
    """Every key and element of any document has exactly the line on which it was written."""
    lines: dict[KeyPath, int] = {}
    text = ""
    for name, table in tree.items():
        text += "\n"
        lines[(name,)] = text.count("\n") + 1
        text += f"[{json.dumps(name)}]\n"
        for key, value in table.items():
            line = lines[name, key] = text.count("\n") + 1
            text += f"{json.dumps(key)} = {written(value, (name, key), line, lines)} # = [x]\n"
    assert tomllib.loads(text) == tree
    assert line_index(text) == lines
