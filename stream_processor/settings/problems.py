"""What is wrong with a configuration: every problem at once, each with its place and its remedy."""

import json
import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from stream_processor.settings.document import Document, KeyPath, spell

__all__ = ["Findings", "Problem", "Problems", "is_secret", "suggestion"]

SHOWN = 60
HIDDEN = "(not shown)"
_HAS_PASSWORD = re.compile(r"://[^/\s]*:[^/\s]*@")
SECRET = (
    *("password", "passwd", "secret", "token", "authorization", "cookie"),
    *("api_key", "api_keys", "read_keys", "write_keys", "api-key", "apikey"),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to correct: `line` is None where the file as a whole is concerned."""

    key: str
    value: str
    """What the file says, shortened; references to the environment stay references."""
    line: int | None
    message: str
    remedy: str

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        value = f" = {self.value}" if self.value else ""
        return f"{place}{self.key}{value}: {self.message}; {self.remedy}"


class Problems(Exception):
    """A configuration that cannot be used; `problems` is all that was found, in its order."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.line or 0, problem.key))
        super().__init__("\n".join(map(str, self.problems)))


class Findings:
    """Collects problems and notes while one document is read."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self._seen: set[tuple[str, str]] = set()

    def add(self, path: KeyPath, message: str, remedy: str) -> None:
        """Note a problem at this key; the same one is noted once."""
        key = spell(path)
        if (key, message) not in self._seen:
            self._seen.add((key, message))
            line = self.document.line(path)
            self.problems.append(Problem(key, self._value(path), line, message, remedy))

    def refuse(self, path: KeyPath, refused: str) -> None:
        """Note a problem that reads "what is wrong; what to write instead"."""
        message, _, remedy = refused.partition("; ")
        self.add(path, message, remedy or "correct or remove it")

    def unknown(self, path: KeyPath, what: str, choices: list[str], name: str = "") -> None:
        """Note that `name`, or else the last part of the path, is none of the choices."""
        self.add(path, what, suggestion(name or str(path[-1]), choices))

    def within(self, *path: str | int) -> bool:
        """Whether a problem was found at this key or below it."""
        key = spell(path)
        return any(
            found.key == key or found.key.startswith((f"{key}.", f"{key}["))
            for found in self.problems
        )

    def raise_if_any(self) -> None:
        """Raise `Problems` if there are any."""
        if self.problems:
            raise Problems(self.problems)

    def _value(self, path: KeyPath) -> str:
        value = self.document.found(path)
        return "" if value is None else shortened(redacted(value, path))


def is_secret(value: str, path: KeyPath) -> bool:
    """Whether a text must not be seen: by its key's name, or as an address with a password."""
    if not value or "${" in value:
        return False
    return _HAS_PASSWORD.search(value) is not None or any(
        isinstance(part, str) and part.lower().endswith(SECRET) for part in path
    )


def redacted(value: Any, path: KeyPath) -> Any:
    """The value without its secrets."""
    if isinstance(value, dict):
        return {key: redacted(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [redacted(item, (*path, i)) for i, item in enumerate(value)]
    return HIDDEN if isinstance(value, str) and is_secret(value, path) else value


def shortened(value: Any) -> str:
    """The value as text on one line, at most 60 characters."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def suggestion(name: str, choices: list[str]) -> str:
    """A remedy for a name that is not among the choices."""
    if not choices:
        return "remove it"
    close = get_close_matches(name, choices, n=1, cutoff=0.6)
    return (
        f"did you mean {close[0]!r}?" if close else f"choose one of: {', '.join(sorted(choices))}"
    )
