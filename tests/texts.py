"""Lines of a log, a schema that keeps their words, and what River makes of them."""

import math
from typing import Any

from river.feature_extraction import TFIDF

from ingest.codecs._tokens import word_number
from ingest.codecs._words import text
from streamgauge.schema import Channel, Kind, Schema

__all__ = ["LOG", "noted", "rivers"]

LOG = [
    f"{level} unit-{k % 7}: {what} after {k * 37 % 211} ms (code E{1000 + k % 13})"
    for k in range(300)
    for level, what in [
        [("INFO", "valve opened"), ("WARN", "pressure high, retry"), ("ERROR", "valve jammed")][
            k * k % 3
        ]
    ]
]


def noted(**options: Any) -> Schema:
    """A number, and a text whose words are kept."""
    return Schema([Channel("load"), Channel("note", kind=Kind.TEXT, **{"words": 63, **options})])


def rivers(river: TFIDF, one: str | None, buckets: int, counters: int) -> list[float]:
    """River's values of a text, summed by bucket."""
    if text(one, 4_096)[0] != text(one, 4_096)[0]:
        return [math.nan] * buckets
    river.learn_one(one)
    wanted = [0.0] * buckets
    for word, value in river.transform_one(one).items():
        wanted[(word_number(word) - 1) % counters % buckets] += value
    return wanted
