"""Streams of readings, clean and dirty, for the contract suites."""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamgauge.batch import Batch
from streamgauge.schema import Channel, Outside, Schema
from streamgauge.words import Flag, Verdict

__all__ = ["CAPACITY", "MAX_AHEAD", "SCHEMA", "Stream", "make", "streams"]

CAPACITY = 64
"""Rows that an operator under test has room for."""
MAX_AHEAD = 60_000_000

SCHEMA = Schema(
    [
        Channel("temperature", "degC", low=-40.0, high=125.0),
        Channel("load", "%", low=0.0, high=100.0, outside=Outside.REJECT),
        Channel("free"),
    ]
)

_START = 1_700_000_000_000_000
_GAPS = np.array([1_000_000, 10_000_000, 60_000_000, 3_600_000_000])
_ODD = np.array([np.nan, np.inf, -np.inf, 1e308, -1e308, 1e25, 500.0, 0.0, -0.0, 5e-324])


@dataclass(frozen=True)
class Stream:
    """n readings as columns, before or after admission."""

    row: NDArray[np.int32]
    time: NDArray[np.int64]
    received: NDArray[np.int64]
    sequence: NDArray[np.int64]
    values: NDArray[np.float64]
    flags: NDArray[np.uint16]
    verdict: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.row)

    @property
    def rows(self) -> NDArray[np.int64]:
        """The rows that have readings."""
        return np.unique(self.row).astype(np.int64)

    def chosen(self, which: NDArray[np.bool_] | slice) -> "Stream":
        """Some of the readings, in order."""
        return Stream(
            self.row[which].copy(),
            self.time[which].copy(),
            self.received[which].copy(),
            self.sequence[which].copy(),
            self.values[which].copy(),
            self.flags[which].copy(),
            self.verdict[which].copy(),
        )

    def moved(self, target: NDArray[np.int64]) -> "Stream":
        """The same readings, of the devices that live in row `target[row]`."""
        return replace(self, row=target[self.row].astype(np.int32))

    def fill(self, batch: Batch, start: int, stop: int) -> None:
        """Put readings start to stop into a batch; behind them stands what must not be read."""
        n = batch.n = stop - start
        for name in ("row", "time", "received", "sequence", "values", "flags", "verdict"):
            getattr(batch, name)[:n] = getattr(self, name)[start:stop]
        batch.row[n:] = self.row[0]
        batch.time[n:] = batch.received[n:] = 2**52
        batch.sequence[n:] = 7
        batch.values[n:] = 77.0
        batch.flags[n:] = 0
        batch.verdict[n:] = 0


def make(
    seed: int,
    n: int,
    *,
    admitted: bool,
    devices: int = 3,
    missing: float = 0.2,
    odd: float = 0.1,
    gap: int = 1,
) -> Stream:
    """A stream of n readings; `admitted`: as admission leaves it, else as devices send it.

    `missing` and `odd` are the shares of absent and of impossible values; `gap` (0 to 3) sets how
    far apart readings are.
    """
    rng = np.random.default_rng(seed)
    homes = rng.choice(CAPACITY, devices, replace=False)
    row = homes[rng.integers(0, devices, n)].astype(np.int32)
    time = _START + np.cumsum(rng.choice(_GAPS[: gap + 1], n))
    values = rng.normal(20.0, 5.0, (n, len(SCHEMA)))
    values[rng.random(values.shape) < missing] = np.nan
    strange = rng.random(values.shape) < odd
    values[strange] = rng.choice(_ODD, int(strange.sum()))
    flags, verdict = np.zeros(values.shape, np.uint16), np.zeros(n, np.uint8)
    stream = Stream(row, time, time + 1000, np.arange(n) % 256, values, flags, verdict)
    if admitted:
        stream.verdict[rng.random(n) < 0.1] = Verdict.OUT_OF_RANGE
    else:
        _spoil(stream, rng)
    return stream


def _spoil(stream: Stream, rng: np.random.Generator) -> None:
    """Clocks that are wrong, readings that come twice or late, values of the wrong type."""
    n = len(stream)
    fate = rng.random(n)
    for i in np.flatnonzero(fate < 0.25):
        same = np.flatnonzero(stream.row[:i] == stream.row[i])
        if fate[i] < 0.05:
            stream.time[i] = stream.received[i] + MAX_AHEAD + 1
        elif fate[i] < 0.10:
            stream.time[i] = rng.choice([0, -(2**62), 946_684_799_999_999])
        elif fate[i] < 0.18 and len(same):
            stream.time[i] = stream.time[rng.choice(same[-3:])]
        elif len(same):
            stream.time[i] = stream.time[rng.choice(same)] - 1
    _repeat(stream, rng)
    stream.values[rng.random(n) < 0.05] = np.nan
    wrong = np.isnan(stream.values) & (rng.random(stream.values.shape) < 0.2)
    stream.flags[wrong] = rng.choice([Flag.WRONG_TYPE, Flag.UNIT], int(wrong.sum()))
    stream.verdict[rng.random(n) < 0.02] = Verdict.EMPTY


def _repeat(stream: Stream, rng: np.random.Generator) -> None:
    """Messages that are delivered again, some of them with a new time of arrival, and readings
    without a count."""
    n = len(stream)
    stream.sequence[rng.random(n) < 0.1] = -1
    fate = rng.random(n)
    for i in np.flatnonzero(fate < 0.1):
        same = np.flatnonzero(stream.row[:i] == stream.row[i])
        if len(same):
            before = rng.choice(same[-4:])
            stream.sequence[i], stream.values[i] = stream.sequence[before], stream.values[before]
            if fate[i] < 0.05:
                stream.time[i] = stream.time[before]
    ours = rng.random(n) < 0.2
    stream.time[ours] = stream.received[ours]


@st.composite
def streams(draw: st.DrawFn, *, admitted: bool) -> Stream:
    """Any stream: short and long, dense and sparse, clean and hopeless."""
    return make(
        draw(st.integers(0, 2**32 - 1)),
        draw(st.one_of(st.integers(1, 12), st.integers(40, 160))),
        admitted=admitted,
        devices=draw(st.integers(1, 5)),
        missing=draw(st.sampled_from([0.0, 0.2, 0.9, 1.0])),
        odd=draw(st.sampled_from([0.0, 0.02, 0.5])),
        gap=draw(st.integers(0, 3)),
    )
