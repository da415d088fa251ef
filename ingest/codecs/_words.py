"""Words as values: categories by their place in the vocabulary, booleans, texts by a number."""

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any

from rapidfuzz import fuzz, process

from streamgauge.schema import Channel
from streamgauge.words import Flag

__all__ = ["LONGEST", "as_text", "category", "codes", "longest", "spelled_boolean", "text"]

LONGEST = 256
"""Characters of a text that is still a word; a longer one is a mistake or an attack."""
LONGEST_LINE = 4_096
"""Characters of a text whose words are kept, such as a line of a log."""
REMEMBERED = 10_000
"""Spellings that a channel remembers: to compare one with all words takes microseconds."""
_WRONG_TYPE = (math.nan, int(Flag.WRONG_TYPE))
_ABSENT = (math.nan, 0)
_TRUE = (
    "true t yes y on 1 enabled open online "
    "wahr ja j an ein vrai oui verdadero sí si s vero sì waar aan"
)
_FALSE = (
    "false f no n off 0 disabled closed close offline falsch nein aus faux non falso onwaar nee uit"
)
_SPELLED: Mapping[str, float] = {
    **dict.fromkeys(_TRUE.split(), 1.0),
    **dict.fromkeys(_FALSE.split(), 0.0),
}

Read = Callable[[Any], tuple[float, int]]


def _folded(word: str) -> str:
    """The word without differences of case and of whitespace."""
    return " ".join(word.casefold().split())


def longest(channel: Channel) -> int:
    """Characters that a text of this channel may have."""
    return LONGEST_LINE if channel.words else LONGEST


def as_text(value: Any, most: int = LONGEST) -> str | None:
    """What a value is called; None where it is no number and no text of at most `most`
    characters."""
    if isinstance(value, str):
        return value if len(value) <= most else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)[:LONGEST] if isinstance(value, int | float) else None


def spelled_boolean(value: str) -> tuple[float, int]:
    """1 or 0 for a word that means it, in one of the languages of machines; and its flag."""
    if len(value) > LONGEST:
        return _WRONG_TYPE
    word = _folded(value)
    if not word:
        return _ABSENT
    found = _SPELLED.get(word)
    return _WRONG_TYPE if found is None else (found, 0)


def codes(channel: Channel) -> dict[Any, float]:
    """The code of each word of a vocabulary as it is declared; NaN for what is absent."""
    return {
        **{word: float(code) for code, word in enumerate(channel.values)},
        None: math.nan,
        math.nan: math.nan,
    }


def category(channel: Channel) -> Read:
    """Reads words as their place in the channel's vocabulary, and their flag.

    Case and whitespace do not matter. A misspelt word counts as the one that it is most like, if
    that is by `similarity` percent (CORRECTED); any other is the place after the last word
    (UNKNOWN_CATEGORY).
    """
    known = {_folded(word): float(code) for code, word in enumerate(channel.values)}
    unknown = (float(len(channel.values)), int(Flag.UNKNOWN_CATEGORY))
    remembered: dict[str, tuple[float, int]] = {}

    def spelled(word: str) -> tuple[float, int]:
        found = process.extractOne(
            word, known.keys(), scorer=fuzz.ratio, score_cutoff=channel.similarity
        )
        return unknown if found is None else (known[found[0]], int(Flag.CORRECTED))

    def read(value: Any) -> tuple[float, int]:
        if value is None or value != value:
            return _ABSENT
        text = as_text(value)
        if text is None:
            return unknown if isinstance(value, str) else _WRONG_TYPE
        word = _folded(text)
        if not word:
            return _ABSENT
        code = known.get(word)
        if code is not None:
            return code, 0
        if word not in remembered:
            if len(remembered) >= REMEMBERED:
                remembered.clear()
            remembered[word] = spelled(word)
        return remembered[word]

    return read


def text(value: Any, most: int = LONGEST) -> tuple[float, int]:
    """A number that stands for a text, the same for ever: 48 bits of its BLAKE2b digest, case and
    whitespace aside; and its flag."""
    if value is None or value != value:
        return _ABSENT
    found = as_text(value, most)
    if found is None:
        return _WRONG_TYPE
    word = _folded(found)
    if not word:
        return _ABSENT
    digest = hashlib.blake2b(word.encode(errors="replace"), digest_size=6).digest()
    return float(int.from_bytes(digest, "big")), 0
