"""Grafana's dashboards as files: what they ask, and how Grafana fills a query in."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

__all__ = [
    "BOARDS",
    "FOLDER",
    "Question",
    "by_name",
    "combinations",
    "filled",
    "panels",
    "questions",
    "span",
]

FOLDER = Path(__file__).resolve().parents[1] / "deploy" / "grafana"
BOARDS: Mapping[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((FOLDER / "dashboards").glob("*.json"))
}
_NAMES = re.compile(r'__name__=~"(\w+)\(([\w|]+)\)(\w*)"')
_PLACE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$(\w+)")
_SPECIAL = re.compile(r"[\\^$*+?.()|[\]{}/]")
_HOUR = 3_600_000


def panels(board: str) -> Iterator[dict[str, Any]]:
    """Every panel of a dashboard, those of closed rows among them."""
    for one in BOARDS[board]["panels"]:
        if one["type"] == "row":
            yield from one["panels"]
        else:
            yield one


@dataclass(frozen=True)
class Question:
    """A query of a dashboard: where it stands, whom it asks, and how far back at most, in
    milliseconds (0: as far as the dashboard)."""

    board: str
    where: str
    kind: str
    text: str
    back: int = 0


def questions(board: str) -> Iterator[Question]:
    """Every query of a dashboard's panels and annotations."""
    content = BOARDS[board]
    for one in content.get("annotations", {}).get("list", []):
        yield Question(board, one["name"], one["datasource"]["type"], one["target"]["query"])
    for panel in panels(board):
        back = {"": 0, "1h": _HOUR}[panel.get("timeFrom", "")]
        for target in panel["targets"]:
            kind = target["datasource"]["type"]
            text = target["query"] if kind == "influxdb" else target["expr"]
            yield Question(board, f"{panel['title']} {target['refId']}", kind, text, back)


def by_name(question: Question) -> list[Question]:
    """The same question for each of the metrics that it asks for in one."""
    found = _NAMES.search(question.text)
    if found is None:
        return [question]
    begin, middles, end = found.groups()
    names = [f'__name__="{begin}{middle}{end}"' for middle in middles.split("|")]
    return [replace(question, text=_NAMES.sub(name, question.text)) for name in names]


def combinations(variables: Mapping[str, tuple[Mapping[str, Any], Sequence[str]]]) -> Any:
    """What a user may choose: "All" where there is that, else each value by itself."""
    choices = [
        [variable["allValue"]] if variable.get("includeAll") else values
        for variable, values in variables.values()
    ]
    return [dict(zip(variables, chosen, strict=True)) for chosen in product(*choices)]


def span(begin: int, end: int) -> dict[str, str]:
    """What Grafana puts in the place of its own variables, for a time in milliseconds."""
    return {
        "timeFilter": f"time >= {begin}ms and time <= {end}ms",
        "__interval": "10m",
        "__rate_interval": "1m",
        "__range": "1m",
    }


def filled(text: str, values: Mapping[str, str]) -> str:
    """A query with the values of the variables in their places, escaped as its places say.

    The format `regex` escapes what means something in a regular expression, and /; the value that
    stands for "All" is put in as it is. KeyError for a variable that nobody knows.
    """

    def value(place: re.Match[str]) -> str:
        found = values[place[1] or place[3]]
        return found if place[2] != "regex" or found == ".*" else _SPECIAL.sub(r"\\\g<0>", found)

    return _PLACE.sub(value, text)
