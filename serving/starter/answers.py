"""Where the rows of an endpoint's answer are: options of the `poll` source, and what they cut."""

from collections import Counter
from typing import Any

from bs4 import BeautifulSoup, Tag

from ingest.codecs._tolerant import parse
from ingest.sources._rows import Cut, columns_of, rows_of, selected, whole
from serving.starter.guess import MOST, is_device
from streamgauge.schema import Channel, Schema

__all__ = ["cut_of"]

DEEPEST = 4
MOST_NESTED = 64
_NOTHING = Schema([])


def cut_of(body: bytes) -> tuple[dict[str, Any], Cut]:
    """The options that say where the rows are, none where the answer is one message."""
    try:
        answer = parse(body, MOST_NESTED)
    except ValueError:
        return _page(body)
    rows = _path_of(answer, "$", _is_rows)
    if rows:
        path = f"{rows}[*]"
        return {"rows": path}, rows_of(_NOTHING, path, {}, {})
    columns = _path_of(answer, "$", _is_columns)
    if columns:
        return {"columns": columns}, columns_of(_NOTHING, columns, {}, {})
    return {}, whole


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _is_columns(value: Any) -> bool:
    arrays = (
        [one for one in value.values() if isinstance(one, list)] if isinstance(value, dict) else []
    )
    return len(arrays) > 1 and len(set(map(len, arrays))) == 1 and len(arrays[0]) > 1


def _path_of(value: Any, path: str, fits: Any, depth: int = 0) -> str:
    """JSON path of the first place that fits; "" where none does."""
    if fits(value):
        return path
    if isinstance(value, dict) and depth < DEEPEST:
        for name, inner in value.items():
            step = f".{name}" if name.isidentifier() and name.isascii() else f"[{name!r}]"
            found = _path_of(inner, f"{path}{step}", fits, depth + 1)
            if found:
                return found
    return ""


def _page(body: bytes) -> tuple[dict[str, Any], Cut]:
    """The table of a page that has most rows, its columns named by their headings."""
    tables = BeautifulSoup(body, "html.parser").find_all("table")
    best = max(tables, key=lambda table: len(table.find_all("tr")), default=None)
    names = _headings(best) if isinstance(best, Tag) else []
    if not names or not isinstance(best, Tag):
        return {}, whole
    marked = f"#{best['id']}" if best.get("id") else ""
    select = f"table{marked} tr:has(td)"
    fields = {name: f"td:nth-child({k})" for k, name in enumerate(names, 1) if name}
    numbers = Schema([Channel(name) for name in _numeric(body, select, fields)])
    return {"select": select, "fields": fields}, selected(numbers, select, fields, {}, ".")


def _numeric(body: bytes, select: str, fields: dict[str, str]) -> list[str]:
    """The columns that hold a number in most rows: only what is a channel is read as one."""
    every = Schema([Channel(name) for name in fields])
    rows = [parse(row, MOST_NESTED) for row in selected(every, select, fields, {}, ".")(body)]
    there = Counter(name for row in rows for name in row)
    return [name for name in fields if there[name] > MOST * len(rows) and not is_device(name)]


def _headings(table: Tag) -> list[str]:
    return [" ".join(cell.get_text(" ").split()) for cell in table.find_all("th")]
