"""What is tried: keys of a configuration, and the values that they may have."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

__all__ = ["Option", "options_of", "path_of", "with_values"]

Path = tuple[str | int, ...]
EXAMPLE = (
    'write [tune.options] with a line such as "tasks.t.model[1].lr" = { from = 0.001, to = 0.1, '
    'log = true } or "features.lags.a" = [[1], [1, 2, 3]]'
)
_PART = re.compile(r'\.?(?:"((?:[^"\\]|\\.)*)"|([A-Za-z0-9_-]+)|\[(\d+)\])')


@dataclass(frozen=True, slots=True)
class Option:
    """One key and its values: `choices`, or numbers from `low` to `high`."""

    key: str
    """As the user wrote it."""
    path: Path
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    """Equal ratios are equally likely, not equal differences."""
    whole: bool = False

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that stand for all of them: each choice, or the smallest and the largest."""
        return self.choices or (self.low, self.high)


def options_of(given: Mapping[str, Any]) -> list[Option]:
    """The options under [tune.options]; ValueError that names the one that means nothing."""
    if not given:
        raise ValueError(f"tune.options: there is nothing to try; {EXAMPLE}")
    return [_option(key, values) for key, values in given.items()]


def _option(key: str, values: Any) -> Option:
    path = path_of(key)
    if isinstance(values, list) and len(values) > 1:
        if len({json.dumps(value, sort_keys=True, default=str) for value in values}) < len(values):
            raise ValueError(f"tune.options {key!r}: a value stands there twice; write each once")
        return Option(key, path, tuple(values))
    if isinstance(values, Mapping) and {"from", "to"} <= values.keys() <= {"from", "to", "log"}:
        return _numbers(key, path, values)
    raise ValueError(
        f"tune.options {key!r} is {values!r}; give a list of two or more values, or "
        "{ from = 1, to = 9 }, with log = true where ratios matter"
    )


def _numbers(key: str, path: Path, values: Mapping[str, Any]) -> Option:
    low, high, log = values["from"], values["to"], values.get("log", False)
    numbers = all(type(value) in (int, float) for value in (low, high))
    if not numbers or not low < high or type(log) is not bool or (log and low <= 0):
        raise ValueError(
            f"tune.options {key!r} is {dict(values)!r}; `from` must be a number below `to`, and "
            "above 0 with log = true"
        )
    whole = type(low) is int and type(high) is int
    return Option(key, path, (), low, high, log, whole)


def path_of(key: str) -> Path:
    """The steps of "tasks.t.model[1].lr": names, and places in lists from 0; a name with other
    characters stands in quotes. ValueError where it is none."""
    found = list(_PART.finditer(key))
    ends = [0, *(match.end() for match in found)]
    if (
        not found
        or ends[-1] != len(key)
        or any(match.start() != end for match, end in zip(found, ends, strict=False))
    ):
        raise ValueError(
            f'tune.options {key!r} is no key; write it like "tasks.t.model[1].lr", places in lists '
            "from 0"
        )
    return tuple(
        int(place) if place else json.loads(f'"{quoted}"') if plain is None else plain
        for quoted, plain, place in (match.groups() for match in found)
    )


def with_values(text: str, values: Sequence[tuple[Option, Any]]) -> str:
    """The configuration with these values; all else of the text, comments too, stays.

    ValueError where a key leads nowhere: only its last step may be new.
    """
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as refused:
        raise ValueError(f"not readable as TOML: {refused}") from refused
    for option, value in values:
        *steps, last = option.path
        try:
            table: Any = [document, *accumulate(steps, _inside, initial=document)][-1]
            _put(table, last, value)
        except (KeyError, IndexError, TypeError):
            raise ValueError(
                f"tune.options {option.key!r}: the configuration has no such place; all steps but "
                "the last must be there"
            ) from None
    return tomlkit.dumps(document)


def _inside(table: Any, step: str | int) -> Any:
    # A step that is a name alone, such as "linear_model.LinearRegression", has no options yet.
    inner = table[step]
    if isinstance(inner, str):
        named = tomlkit.inline_table()
        named["use"] = str(inner)
        table[step] = named
        return table[step]
    return inner


def _put(table: Any, last: str | int, value: Any) -> None:
    if isinstance(last, int) and not last < len(table):
        raise IndexError
    table[last] = _written(value)


def _written(value: Any) -> Any:
    """As it may stand within a list or on the line of its key."""
    if isinstance(value, Mapping):
        table = tomlkit.inline_table()
        for key, inner in value.items():
            table[key] = _written(inner)
        return table
    if isinstance(value, list):
        array = tomlkit.array()
        for inner in value:
            array.append(_written(inner))
        return array
    return tomlkit.item(value)
