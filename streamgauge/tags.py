"""What is known of devices beforehand: site, type and the like, from one table."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["DEVICE", "Tags", "read_tags", "tag_of"]

DEVICE = "device"
"""The column of the table that names the device."""
LARGEST = 10_000_000
"""Bytes: a table is written by people or a registry; a data file by mistake must not hang."""


def tag_of(scope: str) -> str:
    """NAME of the scope "tag:NAME": who shares something are those with the same value of it; "" of
    another scope."""
    return scope.removeprefix("tag:") if scope.startswith("tag:") else ""


class Tags:
    """Tags by device id, and by device row for those that are known now.

    `values[tag]` are the different values of a tag in the order of the table, "" left out.
    """

    def __init__(self, names: Sequence[str], table: Mapping[str, Sequence[str]]) -> None:
        self.names = tuple(names)
        self.values: dict[str, tuple[str, ...]] = {}
        self._table: dict[str, list[int]] = {device: [] for device in table}
        for k, name in enumerate(self.names):
            places: dict[str, int] = {}
            for device, row in table.items():
                text = row[k]
                code = places.setdefault(text, len(places)) if text else -1
                self._table[device].append(code)
            self.values[name] = tuple(places)
        self._by_row: list[tuple[NDArray[np.int64], list[int]]] = []

    def numbers(self, name: str) -> NDArray[np.float64] | None:
        """The values of a tag as numbers, float64[v]; None where one is no finite number."""
        try:
            found = [float(value) for value in self.values[name]]
        except ValueError:
            return None
        return np.array(found, np.float64) if all(map(math.isfinite, found)) else None

    def codes(self, capacity: int, *of: str) -> NDArray[np.int64]:
        """int64[capacity, t]: for each device row the place of its value of each of these tags, -1
        for none; kept as rows are handed out from now on."""
        codes = np.full((capacity, len(of)), -1, np.int64)
        self._by_row.append((codes, [self.names.index(name) for name in of]))
        return codes

    def value(self, name: str, device: str) -> str:
        """The device's value of a tag; "" where it has none."""
        place = self._table.get(device, [-1] * len(self.names))[self.names.index(name)]
        return self.values[name][place] if place >= 0 else ""

    def place(self, row: int, device: str) -> None:
        """This device lives in that row now."""
        found = self._table.get(device, [-1] * len(self.names))
        for codes, tags in self._by_row:
            if row < len(codes):
                codes[row] = [found[tag] for tag in tags]


def read_tags(path: Path) -> Tags:
    """The tags in a CSV file with a column `device`; ValueError that says what is wrong with it.

    Spaces around names and values do not count; an empty value is none.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise ValueError(
                f"{path.name} has {size:,} bytes; give a table of devices, not of data"
            )
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as refused:
        raise ValueError(
            f"{path.name} cannot be read ({refused}); give a CSV file with a column device"
        ) from refused
    head = [name.strip() for name in rows[0]] if rows else []
    if head.count(DEVICE) != 1 or len(set(head)) < len(head) or "" in head:
        raise ValueError(
            f"{path.name} begins with the columns {head}; write device and the name of each tag, "
            "each once"
        )
    at = head.index(DEVICE)
    table: dict[str, list[str]] = {}
    for line, row in enumerate(rows[1:], 2):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) != len(head) or not cells[at] or cells[at] in table:
            raise ValueError(
                f"line {line} of {path.name} is {','.join(cells)[:80]!r}; write {len(head)} "
                "values, and each device once"
            )
        table[cells.pop(at)] = cells
    return Tags([name for name in head if name != DEVICE], table)
