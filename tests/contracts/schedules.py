"""Schedules, calm and hopeless, for the contract suite of learners."""

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamgauge.schedule import (
    BASE,
    DUE,
    LABEL,
    LANE,
    MADE,
    MODEL,
    ROW,
    SEQUENCE,
    SLOT,
    SOURCE,
    STEP,
    TARGET,
    WEIGHT,
    Schedule,
)
from streamgauge.words import Step

__all__ = ["CANARY", "FEATURES", "ROWS", "SCALES", "Steps", "lessons", "make"]

ROWS = 16
"""Device rows that a fleet under test has room for."""
FEATURES = 5
LANES = 3
CANARY = 12345.0
"""Stands in `answers` wherever nobody may write."""

SCALES = ("calm", "wild", "extreme")
_EXTREME = np.array([1e308, -1e308, 1e200, -1e155, 1e24, 5e-324, -0.0, 0.0, 1.0, -2.5])


@dataclass(frozen=True)
class Steps:
    """n steps of several lanes and devices, as the columns of a schedule."""

    codes: NDArray[np.int64]
    numbers: NDArray[np.float64]
    x: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.codes)

    def are(self, lane: int, *kinds: Step) -> NDArray[np.bool_]:
        """bool[n]: which steps are of that lane and one of these kinds."""
        return (self.codes[:, LANE] == lane) & np.isin(self.codes[:, STEP], kinds)

    def chosen(self, which: NDArray[np.bool_] | slice) -> "Steps":
        """Some of the steps, in order."""
        return Steps(self.codes[which].copy(), self.numbers[which].copy(), self.x[which].copy())

    def moved(self, target: NDArray[np.int64]) -> "Steps":
        """The same steps, of the devices that live in row `target[row]`."""
        codes = self.codes.copy()
        codes[:, ROW] = codes[:, MODEL] = target[codes[:, ROW]]
        return replace(self, codes=codes)

    def shared(self) -> "Steps":
        """The same steps, of devices that have one model together."""
        codes = self.codes.copy()
        codes[:, MODEL] = 0
        return replace(self, codes=codes)

    def schedule(self) -> Schedule:
        """An empty schedule with room for all of the steps and one more."""
        return Schedule(len(self) + 1, self.x.shape[1])

    def fill(self, schedule: Schedule, start: int, stop: int) -> None:
        """Put steps start to stop into a schedule; behind them stands what must not be read."""
        n = schedule.n = stop - start
        schedule.codes[:n] = self.codes[start:stop]
        schedule.numbers[:n] = self.numbers[start:stop]
        schedule.x[:n] = self.x[start:stop]
        schedule.answers[:] = CANARY
        if len(self):
            schedule.codes[n:] = self.codes[-1]
        schedule.codes[n:, STEP] = Step.LEARN
        schedule.numbers[n:] = 1e6
        schedule.x[n:] = 77.0


def make(
    seed: int,
    n: int,
    *,
    devices: int = 3,
    missing: float = 0.2,
    scale: str = "calm",
    first: Step | None = None,
) -> Steps:
    """What a label join may give to learners: predictions, then their labels, of three lanes.

    `missing` is the share of absent features; `scale` one of `SCALES`; `first` the kind of the very
    first step. Some labels come without their prediction: it was made before the device moved here.
    """
    rng = np.random.default_rng(seed)
    homes = rng.choice(ROWS, devices, replace=False)
    codes = _codes(
        n, rng.choice(LANES, n, p=[0.25, 0.5, 0.25]), homes[rng.integers(devices, size=n)]
    )
    x, target = _numbers(rng, n, scale)
    x[rng.random(x.shape) < missing] = np.nan
    x[rng.random(n) < missing / 4] = np.nan
    waiting: dict[tuple[int, int], deque[int]] = {}
    for i, luck in enumerate(rng.random(n).tolist()):
        made = waiting.setdefault((int(codes[i, LANE]), int(codes[i, ROW])), deque())
        if made and luck < 0.55:
            place = made.popleft()
            x[i] = x[place]
            codes[i, [MADE, SEQUENCE, SLOT]] = codes[place, [DUE, SEQUENCE, SLOT]]
            codes[i, STEP] = Step.LEARN if luck < 0.4 else Step.SCORE if luck < 0.5 else Step.EXPIRE
        elif luck > 0.95:
            codes[i, STEP] = Step.LEARN
        else:
            made.append(i)
    if first is not None:
        codes[0, STEP] = first
    numbers = np.full((n, 5), np.nan)
    told = codes[:, STEP] != Step.PREDICT
    for column in (TARGET, LABEL):
        numbers[told, column] = target[told]
    numbers[:, BASE], numbers[:, WEIGHT] = 3.0, 1.0
    return Steps(codes, numbers, x)


def _codes(n: int, lane: NDArray[np.int64], row: NDArray[np.int64]) -> NDArray[np.int64]:
    """Predict steps; sequence, times and sources tell them apart."""
    codes = np.zeros((n, 9), np.int64)
    codes[:, LANE], codes[:, ROW], codes[:, MODEL] = lane, row, row
    for column in (SEQUENCE, SLOT, SOURCE):
        codes[:, column] = np.arange(n)
    codes[:, MADE] = codes[:, DUE] = 1_700_000_000_000_000 + np.arange(n) * 1_000_000
    return codes


def _numbers(
    rng: np.random.Generator, n: int, scale: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Features and target: of the size of one; of every size, with constants and outliers; or at
    the ends of what a float can hold."""
    x = rng.normal(size=(n, FEATURES))
    y = x @ rng.normal(size=FEATURES) + 0.1 * rng.normal(size=n)
    if scale == "wild":
        offset = rng.normal(size=FEATURES) * 10.0 ** rng.integers(-3, 7, FEATURES)
        x = x * 10.0 ** rng.integers(-6, 7, FEATURES) + offset
        x = np.where(rng.random(FEATURES) < 0.3, offset, x)
        x[rng.random(x.shape) < 0.02] = 10.0 ** rng.integers(6, 13)
        y = y * 10.0 ** rng.integers(-3, 6) + rng.normal() * 100.0
        y[rng.random(n) < 0.02] = 1e12
    elif scale == "extreme":
        x = np.where(rng.random(x.shape) < 0.3, rng.choice(_EXTREME, x.shape), x)
        y = np.where(rng.random(n) < 0.3, rng.choice(_EXTREME, n), y)
    return x, y


@st.composite
def lessons(draw: st.DrawFn) -> Steps:
    """Any steps for learners: few and many, tame and extreme, beginning with any kind."""
    return make(
        draw(st.integers(0, 2**32 - 1)),
        draw(st.one_of(st.integers(1, 12), st.integers(40, 120))),
        devices=draw(st.integers(1, 4)),
        missing=draw(st.sampled_from([0.0, 0.2, 0.9])),
        scale=draw(st.sampled_from(SCALES)),
        first=draw(st.sampled_from([None, Step.PREDICT, Step.LEARN])),
    )
