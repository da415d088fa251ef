"""A history under test, what is written into it, and what is found there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from monitoring.sinks import store
from monitoring.sinks.store import FILE, Store
from streamgauge.output import Output
from streamgauge.predictions import Predictions
from streamgauge.schedule import Lane
from tests.outputs import (
    DEVICES,
    LANES,
    START,
)

__all__ = ["DAY", "SLOW", "Clock", "committed", "many", "opened", "sequences", "table"]

DAY = 86_400 * 10**6
SLOW = 60.0
"""Seconds that a loaded machine may take."""


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


@contextmanager
def opened(
    folder: Path, clock: Clock | None = None, lanes: tuple[Lane, ...] = LANES, **options: int
) -> Iterator[Store]:
    """A store in that folder."""
    kept = store.open(lanes, "pumps", folder, clock or Clock(), **options)
    try:
        yield kept
    finally:
        kept.close()


def committed(kept: Store, *outputs: Output) -> None:
    """Write and wait until it is in the file."""
    for one in outputs:
        kept.write(one)
    assert kept.flush(SLOW)


def table(folder: Path, question: str) -> list[tuple[Any, ...]]:
    """Rows of a closed store."""
    with duckdb.connect(str(folder / FILE), read_only=True) as file:
        return file.execute(question).fetchall()


def sequences(kept: Store, device: str = "pump-1", limit: int = 1000) -> list[int]:
    """Sequence numbers of what the store answers on the first lane."""
    found = kept.predictions(device, "power", "10m", limit)
    return [int(one["id"].rpartition("/")[2]) for one in found]


def many(n: int, *, first: int = 0, devices: int = 3) -> Output:
    """n predictions and n outcomes in turns, of several devices."""
    place = np.arange(first, first + n)
    codes = np.zeros((2 * n, 8), np.int64)
    numbers = np.full((2 * n, 5), np.nan)
    for half, step in ((codes[0::2], 0), (codes[1::2], 1)):
        half[:, 0] = half[:, 6] = step
        half[:, 2], half[:, 3], half[:, 7] = place % devices, place, place // 2
        half[:, 4], half[:, 5] = START + place, START + place + 10
    numbers[0::2, 0], numbers[0::2, 1] = place / 8, place / 16
    numbers[1::2, 2], numbers[1::2, 3] = place / 4, place / 32
    return Output(Predictions(codes, numbers, DEVICES, LANES))
