"""Signals, steady and shifting, calm and extreme, for the contract suite of detectors."""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamgauge.signal import (
    PART,
    RATES,
    ROW,
    SEEN,
    SOURCE,
    TIME,
    UNIT,
    USUAL,
    VALUE,
    Along,
    Kind,
    Signal,
)

__all__ = ["PARTS", "ROWS", "Values", "calm", "values", "watch"]

ROWS = 16
"""Device rows that a detector under test has room for."""
PARTS = ("a", "b", "c")
START = 1_700_000_000_000_000
_LEVELS = np.array([0.05, 1.0, 6.0, 40.0])
_EXTREME = np.array([1e24, -1e24, 9e23, 1e12, 5e-324, -0.0, 0.0])


@dataclass(frozen=True)
class Values:
    """n values of several parts and devices, as the columns of a signal."""

    kind: Kind
    codes: NDArray[np.int64]
    numbers: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.codes)

    def chosen(self, which: NDArray[np.bool_] | slice) -> "Values":
        """Some of the values, in order."""
        return Values(self.kind, self.codes[which].copy(), self.numbers[which].copy())

    def moved(self, target: NDArray[np.int64]) -> "Values":
        """The same values, of the devices that live in row `target[row]`."""
        codes = self.codes.copy()
        codes[:, ROW] = target[codes[:, ROW]]
        return replace(self, codes=codes)

    def signal(self) -> Signal:
        """An empty signal with room for all of the values and one more."""
        along: Along = "lanes" if self.kind is Kind.ERROR else "channels"
        return Signal(self.kind, along, PARTS, len(self) + 1)

    def fill(self, signal: Signal, start: int, stop: int) -> None:
        """Put values start to stop into a signal; behind them stands what must not be read."""
        n = signal.count[0] = stop - start
        signal.codes[:n] = self.codes[start:stop]
        signal.numbers[:n] = self.numbers[start:stop]
        if len(self):
            signal.codes[n:] = self.codes[-1]
        signal.numbers[n:] = 1e6


def watch(
    kind: Kind, seed: int, n: int, *, devices: int = 2, extreme: float = 0.0, gap: int = 1_000_000
) -> Values:
    """What a detector may be given: three parts, whose values grow and shrink, rise and fall.

    `extreme` is the share of values as large as they may be, or as small; `gap` is the time between
    two values, microseconds.
    """
    rng = np.random.default_rng(seed)
    homes = rng.choice(ROWS, devices, replace=False)
    codes = np.zeros((n, 4), np.int64)
    codes[:, ROW] = homes[rng.integers(devices, size=n)]
    codes[:, PART] = rng.choice(len(PARTS), n, p=[0.4, 0.4, 0.2])
    codes[:, TIME] = START + np.arange(n) * gap
    codes[:, SOURCE] = np.arange(n)
    stretches = np.cumsum(rng.random(n) < 4.0 / max(n, 4))
    many = int(stretches[-1]) + 1
    size = rng.choice(_LEVELS, many)[stretches] * rng.choice([1.0, 0.01, 1e4])
    value = rng.normal(size=n)
    if kind in (*RATES, Kind.NOISE):
        value = np.abs(value * size)
    else:
        value += rng.choice([-2.0, 0.0, 0.0, 2.0], many)[stretches]
        value *= rng.choice([0.3, 1.0, 1.0, 3.0], many)[stretches]
    value = np.where(rng.random(n) < extreme, rng.choice(_EXTREME, n), value)
    return Values(kind, codes, numbers_of(kind, value))


def calm(kind: Kind, row: int, value: NDArray[np.float64]) -> Values:
    """Values of one device and part, a second apart."""
    codes = np.zeros((len(value), 4), np.int64)
    codes[:, ROW] = row
    codes[:, TIME] = START + np.arange(len(value)) * 1_000_000
    codes[:, SOURCE] = np.arange(len(value))
    return Values(kind, codes, numbers_of(kind, value))


def numbers_of(kind: Kind, value: NDArray[np.float64]) -> NDArray[np.float64]:
    """The columns of a signal whose unit is two of the users' own, around 20 of them."""
    if kind in (*RATES, Kind.NOISE):
        value = np.abs(value)
    numbers = np.zeros((len(value), 4))
    numbers[:, VALUE], numbers[:, UNIT] = value, 1.0 if kind is Kind.ERROR else 2.0
    numbers[:, SEEN] = value if kind is Kind.ERROR else 20.0 + 2.0 * value
    numbers[:, USUAL] = np.nan if kind is Kind.ERROR else 20.0
    return numbers


@st.composite
def values(draw: st.DrawFn, kind: Kind) -> Values:
    """Any values for detectors: few and many, steady and shifting, calm and extreme."""
    return watch(
        kind,
        draw(st.integers(0, 2**32 - 1)),
        draw(st.one_of(st.integers(1, 12), st.integers(300, 800))),
        devices=draw(st.integers(1, 3)),
        extreme=draw(st.sampled_from([0.0, 0.0, 0.02])),
    )
