"""What one stream carries: its channels, in order."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from streamgauge.tokens import values_for

__all__ = ["Channel", "Kind", "Outside", "Schema"]


class Kind(StrEnum):
    """How a channel's values are read."""

    NUMBER = "number"
    BOOLEAN = "boolean"
    """true/false, yes/no, on/off and the like, read as 1 and 0."""
    CATEGORY = "category"
    """One of the words in `values`, read as its place among them; after the last: unknown."""
    TEXT = "text"
    """Any text, read as a number that stands for it."""


class Outside(StrEnum):
    """What happens when a value leaves its channel's range."""

    MISSING = "missing"
    """The value is removed and flagged; the rest of the reading stays."""
    REJECT = "reject"
    """The whole reading is not admitted."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One quantity that the devices measure."""

    name: str
    unit: str = ""
    kind: Kind = Kind.NUMBER
    low: float = -math.inf
    high: float = math.inf
    outside: Outside = Outside.MISSING
    path: str = ""
    """Where the value stands in a message (`"data.temp"`); the channel's name when empty."""
    values: tuple[str, ...] = ()
    """The vocabulary of a category."""
    similarity: float = 85.0
    """How like a word of the vocabulary a misspelt one must be, percent, to be taken for it."""
    decimal: str = "."
    """What stands before the decimals of a number that is written as text."""
    words: int = 0
    """How many words of a text are kept, for features that read them."""
    ngrams: tuple[int, int] = (1, 1)
    """From how many words to how many count as one; (1, 1): each by itself."""
    stop_words: tuple[str, ...] = ()
    """Words that are not kept, in lower case and without accents."""


class Schema:
    """The channels of one stream, in order; column `c` of a batch is `channels[c]`.

    Behind them a batch has the words of texts, see `streamgauge.tokens`: NaN with the flag of the
    text where the reading has none.
    """

    def __init__(self, channels: Iterable[Channel], labels: Iterable[Channel] = ()) -> None:
        self.channels = tuple(channels)
        self.labels = tuple(labels)
        """Columns of recordings that hold labels, read like channels; no part of a message, and of
        no batch."""
        self.names = tuple(channel.name for channel in self.channels)
        self.index = {name: column for column, name in enumerate(self.names)}
        if len(self.index) != len(self.names):
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            raise ValueError(f"channels named twice: {', '.join(twice)}; give each its own name")

        self.words: dict[str, slice] = {}
        """Columns of a batch, behind those of the channels, that hold the words of a text."""
        self.width = len(self.channels)
        """Columns of a batch."""
        for channel in self.channels:
            if channel.words:
                start, self.width = self.width, self.width + values_for(channel.words)
                self.words[channel.name] = slice(start, self.width)

    def __len__(self) -> int:
        return len(self.channels)

    @property
    def worded(self) -> list[tuple[int, Channel]]:
        """Column and channel of the texts whose words are kept."""
        return [(self.index[name], self.channels[self.index[name]]) for name in self.words]

    @property
    def low(self) -> NDArray[np.float64]:
        """float64[k]: smallest allowed value of each channel."""
        return np.array([channel.low for channel in self.channels], np.float64)

    @property
    def high(self) -> NDArray[np.float64]:
        """float64[k]: largest allowed value of each channel."""
        return np.array([channel.high for channel in self.channels], np.float64)
