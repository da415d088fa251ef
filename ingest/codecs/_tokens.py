"""The words of texts, found by River's rules, as values that stand behind the channels."""

import hashlib
import math
from collections.abc import Callable
from itertools import islice
from typing import Any

from ingest.codecs._words import as_text, longest
from streamgauge.schema import Channel
from streamgauge.tokens import WORDS, packed, values_for

__all__ = ["tokens", "word_number"]

REMEMBERED = 10_000
"""Texts and words that a channel remembers: to find the words of a text takes microseconds."""
REPEATED = 256
"""Characters of a text that may come again as it is; longer ones are not remembered."""


def tokens(channel: Channel) -> Callable[[Any], tuple[float, ...]]:
    """Reads texts as their first `channel.words` words, in order, a number each that is the same
    for ever; see `streamgauge.tokens`.

    River's `feature_extraction.BagOfWords` finds them: accents and case are taken off, a word has
    at least two letters, digits, "_" or, within it, "-"; stop words are left out, and n-grams
    follow the rule of `ngram_range`. NaN where there is no
    text.
    """
    # Takes a second: only who needs it waits for it.
    from river.feature_extraction import BagOfWords

    # River takes off the accents first and the case after: stop words are compared with that.
    bag = BagOfWords(stop_words=set(channel.stop_words) or None, ngram_range=channel.ngrams)
    values, most = values_for(channel.words), longest(channel)
    absent = (math.nan,) * values
    texts: dict[str, tuple[float, ...]] = {}
    words: dict[str | tuple[str, ...], int] = {}

    def number(word: str | tuple[str, ...]) -> int:
        found = words.get(word)
        if found is None:
            if len(words) >= REMEMBERED:
                words.clear()
            words[word] = found = word_number(word)
        return found

    def read(value: Any) -> tuple[float, ...]:
        if value is None or value != value:
            return absent
        text = as_text(value, most)
        if text is None:
            return absent
        found = texts.get(text)
        if found is None:
            if not text.strip():
                return absent
            numbers = map(number, islice(bag.process_text(text), channel.words))
            found = packed(list(numbers), values)
            if len(text) <= REPEATED:
                if len(texts) >= REMEMBERED:
                    texts.clear()
                texts[text] = found
        return found

    return read


def word_number(word: str | tuple[str, ...]) -> int:
    """1 to WORDS, the same for ever; an n-gram is its words with spaces, which no word has."""
    text = word if isinstance(word, str) else " ".join(word)
    digest = hashlib.blake2b(text.encode(errors="replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % WORDS + 1
