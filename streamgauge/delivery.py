"""What a source hands over: messages, readings and clock ticks, in one ordered log."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Delivery", "Position", "Readings", "Run"]

Position = dict[str, Any]
"""Where a source stands: small, JSON-able, written into the checkpoint."""

Run = tuple[str, int, int, int]
"""Messages that a log keeps: topic, partition, offset of the first, how many without a gap."""


@dataclass(slots=True)
class Readings:
    """Readings that were recorded as columns already, in time order over all devices.

    `devices` has n ids, `time` and `received` are int64[n] in microseconds UTC, `values` is
    float64[n, k] in the schema's order, words of texts behind the channels, with NaN where a
    channel is absent.
    """

    devices: list[str]
    time: NDArray[np.int64]
    received: NDArray[np.int64]
    values: NDArray[np.float64]
    labels: NDArray[np.float64] | None = None
    """float64[n, l]: the columns that `Schema.labels` names, NaN = no label; None where none is
    asked for."""

    def __len__(self) -> int:
        return len(self.devices)

    def part(self, start: int, stop: int) -> "Readings":
        """Readings `start` to `stop`, sharing these arrays' memory."""
        cut = slice(start, stop)
        labels = None if self.labels is None else self.labels[cut]
        columns = (self.time[cut], self.received[cut], self.values[cut], labels)
        return Readings(self.devices[cut], *columns)


@dataclass(slots=True)
class Delivery:
    """What came together from one source, in arrival order.

    Either `payloads` (bytes to decode, with parallel `topics` and `received`, microseconds UTC) or
    `readings`. With neither it is a clock tick: `clock` moves event-time timers of silent devices.
    """

    source: int = 0
    payloads: list[bytes] = field(default_factory=list)
    topics: list[str] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    readings: Readings | None = None
    clock: int = 0
    """Our clock in microseconds UTC when a tick was made."""
    position: Position | None = None
    """Where the source stands after this delivery; None where the journal keeps the place."""
    tokens: list[Any] = field(default_factory=list)
    """What the source needs to acknowledge these messages, in arrival order."""
    keys: list[str] = field(default_factory=list)
    """Key of each message, "" for none; empty where the source has no keys."""
    headers: list[dict[str, str]] = field(default_factory=list)
    """Headers of each message; empty where the source has none."""
    stamps: list[int | None] = field(default_factory=list)
    """The time that the log of `runs` gives each message, microseconds UTC, None where it gives
    none; empty where the source has none."""
    retained: bool = False
    """Something old is repeated: it updates the last known state and teaches nothing."""
    runs: list[Run] = field(default_factory=list)
    """Where the source's own log keeps these messages, in order of arrival. The journal then stores
    these and `received` instead of the payloads; `Source.reread` brings them back."""
    replays: list[int] = field(default_factory=list)
    """Numbers of the quarantined readings or messages that are sent again, as one delivery at
    `clock`; empty for what came from a source."""
    traces: list[str] = field(default_factory=list)
    """W3C trace contexts (`traceparent`) that messages came with, beside those in `headers`. They
    are for who watches now: no journal keeps them."""

    def part(self, start: int, stop: int) -> "Delivery":
        """Messages `start` to `stop` as a delivery of their own."""
        cut = slice(start, stop)
        lists = ("payloads", "topics", "received", "keys", "headers", "stamps")
        return replace(self, **{name: getattr(self, name)[cut] for name in lists})

    @property
    def is_tick(self) -> bool:
        return not self.payloads and self.readings is None and not self.runs
