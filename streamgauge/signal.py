"""What a detector watches: values of one kind, by device and by what they belong to, as columns."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal

import numpy as np

from streamgauge.arrays import Floats, Ints

__all__ = [
    "LEVELS",
    "MOVING",
    "PART",
    "RATES",
    "ROW",
    "SEEN",
    "SOURCE",
    "TIME",
    "UNIT",
    "USUAL",
    "VALUE",
    "Along",
    "Kind",
    "Signal",
]

# Columns of `codes`.
ROW, PART, TIME, SOURCE = range(4)
# Columns of `numbers`.
VALUE, SEEN, USUAL, UNIT = range(4)

Along = Literal["lanes", "channels", "features", ""]


class Kind(StrEnum):
    """What the values of a signal are; the name is what users see."""

    ERROR = "error"
    """How far a prediction was off, 0 or more: only a rise of it is bad."""
    LEVEL = "level"
    """What a channel does beyond what was expected of it, in standard deviations: around 0."""
    NOISE = "noise"
    """The same without its sign: how much a channel scatters."""
    SHAPE = "shape"
    """The same as `LEVEL`, to be looked at as a distribution."""
    FEATURE = "feature"
    """What a feature does beyond what was expected of it."""
    PREDICTION = "prediction"
    """What a task's answers do beyond what was expected of them, whatever the label will be."""
    LABEL = "label"
    """What a task's labels do beyond what was expected of them."""
    RELATION = "relation"
    """How far a device's channels lie from where they usually do together, whatever each does."""
    MISSING = "missing"
    """1 where a reading has no value of its own for a channel, else 0: only a rise of it is bad."""
    FLAGGED = "flagged"
    """1 where cleaning changed a value or took it out, else 0: only a rise of it is bad."""


RATES = (Kind.ERROR, Kind.MISSING, Kind.FLAGGED)
"""Signals of which only a rise is bad; of a classification, and of channels, 0 or 1."""
LEVELS = (Kind.LEVEL, Kind.FEATURE, Kind.PREDICTION, Kind.LABEL)
"""Signals in standard deviations, around 0."""
MOVING = (*RATES, *LEVELS, Kind.NOISE, Kind.RELATION)
"""Signals whose mean is what changes."""


class Signal:
    """Up to `capacity` values in the order in which they came, of which `count[0]` are there.

    - `codes int64[capacity, 4]`: device row, part (place in `parts`), event time in microseconds
      UTC, source (index of the reading in the batch, -1 where there is none)
    - `numbers float64[capacity, 4]`: value (what is tested), seen and usual (what was
      measured and what was expected, in the unit that users know; NaN where nothing was expected),
      unit (how much one of `value` is in that unit)

    Values are finite and at most 1e24 in size. `along` says what `parts` are, as in a `Field`; ""
    of a single one. `like` is a signal of the same values in other words: both share their memory.
    """

    __slots__ = ("along", "capacity", "codes", "count", "kind", "numbers", "parts")

    def __init__(
        self,
        kind: Kind,
        along: Along,
        parts: Sequence[str],
        capacity: int,
        like: "Signal | None" = None,
    ) -> None:
        self.kind = kind
        self.along = along
        self.parts = tuple(parts)
        self.capacity = capacity
        self.codes: Ints = np.zeros((capacity, 4), np.int64) if like is None else like.codes
        self.numbers: Floats = np.zeros((capacity, 4)) if like is None else like.numbers
        self.count: Ints = np.zeros(1, np.int64) if like is None else like.count

    def __len__(self) -> int:
        return int(self.count[0])
