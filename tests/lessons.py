"""Recordings as lessons for one device: a prediction and then the label of every row."""

import csv
import gzip
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgauge.schedule import MODEL, ROW, STEP, TARGET, Schedule
from tests.recordings import recording

__all__ = ["lessons", "numbers", "rows_of", "told"]


def rows_of(name: str, count: int) -> list[dict[str, str]]:
    """The first rows of a recording."""
    with gzip.open(recording(name), "rt") as file:
        return [row for row, _ in zip(csv.DictReader(file), range(count), strict=False)]


def numbers(given: list[dict[str, str]], *without: str) -> tuple[list[str], NDArray[np.float64]]:
    """Names and values of the columns of numbers, NaN where one is missing."""
    names = [
        name
        for name in given[0]
        if name not in {"device", "time", "split", *without} and _is_number(given[0][name])
    ]
    return names, np.array([[float(row[name] or "nan") for name in names] for row in given])


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True


def lessons(x: NDArray[np.float64], y: NDArray[Any], count: int = 0) -> Schedule:
    """A prediction and then the label of every row, of one device."""
    n, features = x.shape
    made = Schedule(2 * n, features, count)
    made.n = 2 * n
    made.x[:] = np.repeat(x, 2, axis=0)
    made.numbers[:, TARGET] = np.repeat(y, 2)
    made.codes[:, STEP] = np.arange(2 * n) % 2
    made.codes[:, ROW] = made.codes[:, MODEL] = 1
    return made


def told(given: list[dict[str, str]], label: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The columns of numbers, and the classes of a column in the order in which they came."""
    places: dict[str, int] = {}
    y = np.array([places.setdefault(row[label], len(places)) for row in given])
    return numbers(given, label)[1], y
