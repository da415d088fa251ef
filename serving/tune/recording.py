"""A recording that is replayed many times, and its parts: what is learned, decides and tests."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ingest.rejects import Rejects
from ingest.sources import file
from serving.replay import columns_of, readings_of
from serving.tune.score import Labels
from stream_processor.settings import Settings, with_channels
from stream_processor.settings.tuning import SplitSettings
from streamgauge.arrays import Ints
from streamgauge.delivery import Readings
from streamgauge.durations import WEEK
from streamgauge.schema import Schema

__all__ = ["Parts", "Recording", "moved", "parts_of"]

CHUNK = 16_384
HELD = 2 * 10**9
"""Bytes of readings that are kept between two trials; a larger recording is read each time."""


class Recording:
    """One file. What the last configuration read of it is kept: mostly the next reads the same."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._key = ""
        self._held: list[Readings] = []

    def settled(self, settings: Settings) -> Settings:
        """The settings with the file's numeric columns as channels where none are declared."""
        if settings.channels:
            return settings
        return with_channels(settings, file.numeric_columns(self.path))

    def pieces(self, settings: Settings, schema: Schema) -> Iterator[Readings]:
        """All readings in order; OSError or ValueError where they cannot be read."""
        key = repr((schema.channels, schema.labels, settings.devices.timezone, settings.sources))
        if key == self._key:
            yield from self._held
            return
        self._key, self._held, size = "", [], 0
        for piece in self._read(settings, schema):
            size += piece.values.nbytes
            if size < HELD:
                self._held.append(piece)
            yield piece
        if size < HELD:
            self._key = key

    def _read(self, settings: Settings, schema: Schema) -> Iterator[Readings]:
        options = {"zone": settings.devices.timezone, **columns_of(settings)}
        source = file.open(
            schema, 0, lambda: time.time_ns() // 1_000, Rejects(), path=self.path, chunk=CHUNK,
            **options,
        )  # fmt: skip
        yield from readings_of(source)


@dataclass(frozen=True, slots=True)
class Parts:
    """Which labels decide and which test: those of two times, or those of some devices."""

    begin: int
    """First time of the recording, microseconds UTC; `end` is the last."""
    end: int
    validate: int
    """From here on labels decide, up to `test`, from which on they test; where devices are split
    both are `begin`."""
    test: int
    readings: int
    deciding: frozenset[str] | None = None
    """The devices whose labels decide, and those whose labels test; None where time splits."""
    testing: frozenset[str] = frozenset()

    @property
    def span(self) -> int:
        """Whole weeks that are longer than the recording: moved by it, hours and weekdays stay."""
        return ((self.end - self.begin) // WEEK + 1) * WEEK

    def decides(self, every: Sequence[Labels]) -> list[Labels]:
        """The labels that decide."""
        if self.deciding is not None:
            return [one.of(self.deciding) for one in every]
        return [one.where((one.made >= self.validate) & (one.made < self.test)) for one in every]

    def tests(self, every: Sequence[Labels]) -> list[Labels]:
        """The labels that test."""
        if self.deciding is not None:
            return [one.of(self.testing) for one in every]
        return [one.where(one.made >= self.test) for one in every]


def parts_of(split: SplitSettings, pieces: Iterator[Readings]) -> Parts:
    """The parts of a recording; ValueError where it is too small for them."""
    times: list[Ints] = []
    devices: set[str] = set()
    for piece in pieces:
        times.append(piece.time)
        devices.update(piece.devices)
    every = np.sort(np.concatenate(times)) if times else np.zeros(0, np.int64)
    if split.validate + split.test >= 1.0:
        raise ValueError(
            f"tune.split: validate = {split.validate:g} and test = {split.test:g} leave nothing to "
            "learn from; let both together be below 1"
        )
    if len(every) < LEAST:
        raise ValueError(f"the recording has {len(every)} readings; {LEAST} are the least")
    begin, end, n = int(every[0]), int(every[-1]), len(every)
    if split.by == "devices":
        return _by_devices(split, sorted(devices), Parts(begin, end, begin, begin, n))
    test = int(every[int(n * (1.0 - split.test))])
    return Parts(begin, end, int(every[int(n * (1.0 - split.test - split.validate))]), test, n)


LEAST = 20
"""Readings of a recording."""


def _by_devices(split: SplitSettings, devices: list[str], parts: Parts) -> Parts:
    """Chosen by a hash of their names, so that neither the order nor a numbering decides."""
    if len(devices) < 2:
        raise ValueError(
            f'tune.split = "devices": the recording has {len(devices)} device; split by "time"'
        )
    mixed = sorted(devices, key=lambda name: hashlib.blake2b(name.encode()).digest())
    first = max(1, round(split.validate * len(mixed)))
    then = max(1, round(split.test * len(mixed)))
    chosen = frozenset(mixed[:first]), frozenset(mixed[first : first + then])
    return replace(parts, deciding=chosen[0], testing=chosen[1])


def moved(piece: Readings, by: int) -> Readings:
    """The readings so many microseconds later."""
    return replace(piece, time=piece.time + by, received=piece.received + by)
