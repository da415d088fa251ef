"""What a detector found, in words."""

import math

import pytest

from monitoring.sentence import sentence
from streamgauge.events import EventKind

SINCE = 1_795_788_300_000_000
UP, DOWN, CHANGED = EventKind.DRIFT_UP, EventKind.DRIFT_DOWN, EventKind.DRIFT


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            (UP, "level", "heat", 20.1, 23.4, SINCE),
            "level of heat rose from 20.1 to 23.4 since 2026-11-27T14:05Z",
        ),
        ((DOWN, "error", "power", 4.0, math.nan, 0), "error of power fell"),
        (
            (CHANGED, "shape", "flow", 0.04, 0.16, SINCE),
            "shape of flow changed, 0.16 apart instead of 0.04 since 2026-11-27T14:05Z",
        ),
    ],
)
def test_sentences(said: tuple[EventKind, str, str, float, float, int], words: str) -> None:
    """Signal, what it is of, which way, from what to what, since when; nothing that is unknown."""
    assert sentence(*said) == words
