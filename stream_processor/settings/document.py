"""A TOML document that remembers on which line each key stands.

The standard parser says what a document means but not where; `line_index` walks the text a second
time, once the parser has found it valid, and notes the line of every key and array element.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Document", "KeyPath", "holds", "line_index", "parse", "spell"]

KeyPath = tuple[str | int, ...]

_BLANK = re.compile(r"[ \t\r\n]*(?:#[^\n]*[ \t\r\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]+")
_STRINGS = {
    '"""': re.compile(r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}', re.DOTALL),
    "'''": re.compile(r"'''(?:[^']|'{1,2}(?!'))*'{3,5}", re.DOTALL),
    '"': re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    "'": re.compile(r"'[^'\n]*'"),
}


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says: `tree` as parsed, `lines` from key path to line, counted from 1."""

    tree: dict[str, Any]
    lines: Mapping[KeyPath, int] = field(default_factory=dict)

    def line(self, path: KeyPath) -> int | None:
        """The line of the key, or of the nearest table or array around it."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return None

    def found(self, path: KeyPath) -> Any:
        """What the file says at this key, references unresolved; None if nothing."""
        here: Any = self.tree
        for part in path:
            if not holds(here, part):
                return None
            here = here[part]
        return here


def holds(container: Any, part: str | int) -> bool:
    """Whether a table has this key, or an array this element."""
    if isinstance(container, list):
        return isinstance(part, int) and 0 <= part < len(container)
    return isinstance(container, dict) and part in container


def parse(text: str) -> Document:
    """The document; tomllib.TOMLDecodeError or RecursionError where it is none."""
    return Document(tomllib.loads(text), line_index(text))


def spell(path: KeyPath) -> str:
    """The path as people write it: `source[0].topics`."""
    words = ""
    for part in path:
        if isinstance(part, int):
            words += f"[{part}]"
        else:
            name = part if _BARE.fullmatch(part) else f'"{part}"'
            words += f".{name}" if words else name
    return words


def line_index(text: str) -> dict[KeyPath, int]:
    """Line of every key, table header and array element of a valid TOML text."""
    return _Walk(text).lines


class _Walk:
    """One pass over a valid text; `at` is the place, `lines` what was found."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[KeyPath, int] = {}
        self._counts: dict[KeyPath, int] = {}
        self._line, self._counted = 1, 0
        table: KeyPath = ()
        while self._skip() < len(text):
            if text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _skip(self) -> int:
        blank = _BLANK.match(self.text, self.at)
        self.at = blank.end() if blank else self.at
        return self.at

    def _note(self, path: KeyPath) -> None:
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        for end in range(1, len(path) + 1):
            self.lines.setdefault(path[:end], self._line)

    def _header(self) -> KeyPath:
        array = self.text.startswith("[[", self.at)
        here = self.at
        self.at += 2 if array else 1
        names = self._key()
        after = self.text.index("]", self.at) + (2 if array else 1)
        path: KeyPath = ()
        for name in names[:-1]:
            path = self._newest((*path, name))
        path = (*path, names[-1])
        if array:
            self._counts[path] = self._counts.get(path, -1) + 1
        self.at = here
        self._note(self._newest(path))
        self.at = after
        return self._newest(path)

    def _newest(self, path: KeyPath) -> KeyPath:
        return (*path, self._counts[path]) if path in self._counts else path

    def _key(self) -> list[str]:
        names = [self._name()]
        while self._skip() < len(self.text) and self.text[self.at] == ".":
            self.at += 1
            names.append(self._name())
        return names

    def _name(self) -> str:
        start = self._skip()
        if self.text[start] in "\"'":
            self._string()
            return str(tomllib.loads(f"k = {self.text[start : self.at]}")["k"])
        bare = _BARE.match(self.text, start)
        self.at = bare.end() if bare else start + 1
        return self.text[start : self.at]

    def _pair(self, table: KeyPath) -> None:
        here = self._skip()
        names = self._key()
        equals = self.text.index("=", self.at)
        path: KeyPath = (*table, *names)
        self.at = here
        self._note(path)
        self.at = equals + 1
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        first = self.text[self._skip()]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline(path)
        else:
            scalar = _SCALAR.match(self.text, self.at)
            self.at = scalar.end() if scalar else self.at + 1

    def _string(self) -> None:
        quote = self.text[self.at : self.at + 3]
        whole = _STRINGS[quote if quote in _STRINGS else quote[0]].match(self.text, self.at)
        self.at = whole.end() if whole else len(self.text)

    def _array(self, path: KeyPath) -> None:
        self.at += 1
        count = 0
        while self.text[self._skip()] != "]":
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self._note((*path, count))
            self._value((*path, count))
            count += 1
        self.at += 1

    def _inline(self, path: KeyPath) -> None:
        self.at += 1
        while self.text[self._skip()] != "}":
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self._pair(path)
        self.at += 1
