"""The words of a text as numbers, several of them in one value, so that they travel with a reading.

A word is a number from 1 to `WORDS`; 0 stands for none. `PER_VALUE` of them, the first in the
lowest bits, are one float64, which holds 53 bits exactly.
"""

from collections.abc import Sequence

__all__ = ["BITS", "MOST_WORDS", "PER_VALUE", "WORDS", "packed", "values_for"]

BITS = 17
PER_VALUE = 3
WORDS = (1 << BITS) - 1
MOST_WORDS = 63
"""Words of one text that may be kept."""


def values_for(words: int) -> int:
    """How many values so many words take."""
    return -(-words // PER_VALUE)


def packed(words: Sequence[int], values: int) -> tuple[float, ...]:
    """The words, no more than fit, as that many values."""
    found = [0.0] * values
    for at, word in enumerate(words[: values * PER_VALUE]):
        found[at // PER_VALUE] += word << BITS * (at % PER_VALUE)
    return tuple(found)
