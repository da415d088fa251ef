"""Streams whose changes are known, and what channel detectors say of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from monitoring.residual import Residual
from streamgauge.batch import Batch
from streamgauge.calls import Chain, Now
from streamgauge.events import Event, Events
from streamgauge.plugins import load
from streamgauge.signal import ROW

__all__ = ["MINUTE", "START", "STREAMS", "USUAL", "Watched", "delays", "fleet", "stream", "watch"]

START = 1_700_006_400_000_000
MINUTE = 60_000_000
A_DAY = 1_440
STREAMS: Mapping[str, tuple[float, float]] = {
    "independent": (0.0, 0.0),
    "AR(1) .9": (0.9, 0.0),
    "AR(1) .9, daily": (0.9, 2.0),
}
"""Autocorrelation, and amplitude of a daily cycle in standard deviations; a value a minute."""
USUAL: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "level": ("cusum", {}),
    "noise": ("cusum", {}),
    "shape": ("chunk_ks", {}),
}
"""Signal, its detector and options."""
PART = 4_096

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def stream(
    name: str,
    n: int,
    seed: int,
    *,
    change: int = 0,
    shift: float = 0.0,
    scale: float = 1.0,
    skewed: float = 0.0,
) -> Floats:
    """float64[n]: one of `STREAMS`, of unit variance apart from the cycle.

    From value `change` on the level is `shift` higher, what drives the stream is `scale` times as
    large, and for that share exponentially distributed instead of normally, with the same mean and
    variance.
    """
    phi, daily = STREAMS[name]
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=n + 100)
    if skewed:
        other = np.where(rng.random(n + 100) < skewed, rng.exponential(size=n + 100) - 1.0, noise)
        noise[100 + change :] = other[100 + change :]
    noise[100 + change :] *= scale
    values = lfilter([1.0], [1.0, -phi], noise * np.sqrt(1.0 - phi * phi))[100:]
    values[change:] += shift
    found: Floats = values + daily * np.sin(2.0 * np.pi * np.arange(n) / A_DAY)
    return found


@dataclass(frozen=True)
class Watched:
    """What was said of a fleet: events with the reading of the device, from 0 on, that brought
    each; and how many values detectors were given, of all and of each row."""

    events: Sequence[tuple[int, Event]]
    values: int
    by_row: Ints

    def of(self, signal: str) -> list[tuple[int, Event]]:
        """Those of one signal."""
        return [(k, event) for k, event in self.events if event.signal == signal]

    def per_100k(self, signal: str) -> float:
        """Events in 100,000 values of one channel."""
        return len(self.of(signal)) * 1e5 / max(self.values, 1)


def _batches(row: Ints, time: Ints, values: Floats) -> Iterator[tuple[int, Batch]]:
    batch = Batch(PART, values.shape[1])
    for start in range(0, len(row), PART):
        n = batch.n = min(PART, len(row) - start)
        batch.row[:n], batch.time[:n] = row[start : start + n], time[start : start + n]
        batch.values[:n] = values[start : start + n]
        yield start, batch


def watch(
    row: Ints,
    time: Ints,
    values: Floats,
    detectors: Mapping[str, tuple[str, Mapping[str, Any]]] = USUAL,
    *,
    zone: str = "UTC",
) -> Watched:
    """Readings in order through the residual and its detectors, as the walk does it."""
    count, channels = int(row.max()) + 1, values.shape[1]
    names = [f"c{k}" for k in range(channels)]
    residual = Residual(names, range(channels), count, zone=zone, part=PART)
    log = Events(PART * channels * len(detectors))
    batch = Batch(PART, channels)
    calls = [residual.call(batch)]
    for kind, (name, options) in detectors.items():
        signal = getattr(residual, kind)
        built = load("monitoring.detectors", name).build(signal, count, **options)
        calls.append(built.call(signal, log))
    now = np.zeros(len(Now), np.int64)
    chain, told, given = Chain(calls, now), [], np.zeros(count, np.int64)
    order = np.argsort(row, kind="stable")
    place = np.empty(len(row), np.int64)
    firsts = np.searchsorted(row[order], np.arange(count))
    place[order] = np.arange(len(row)) - firsts[row[order]]
    for start, part in _batches(row, time, values):
        batch.take(part, 0, part.n)
        now[Now.N] = part.n
        chain.run()
        codes = residual.level.codes[: len(residual.level)]
        given += np.bincount(codes[:, ROW], minlength=count)
        told += [(int(place[start + one.source]), one) for one in log.take(PART)]
    return Watched(told, int(given.sum()), given)


def fleet(columns: Sequence[Floats], detectors: Any = USUAL) -> Watched:
    """One channel of several devices, each of which has a value a minute."""
    table = np.stack(columns, axis=1)
    n, devices = table.shape
    row = np.tile(np.arange(devices), n)
    time = START + np.repeat(np.arange(n), devices) * MINUTE
    return watch(row, time, table.reshape(-1, 1), detectors)


def delays(found: Watched, signal: str, change: int, horizon: int, devices: int) -> list[int]:
    """For each device that was found out, how many values after the change."""
    told = found.of(signal)
    first = [
        min(
            (k - change for k, e in told if e.row == row and change <= k < change + horizon),
            default=-1,
        )
        for row in range(devices)
    ]
    return [delay for delay in first if delay >= 0]
