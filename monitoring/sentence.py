"""What a detector found, as one sentence."""

import math

from streamgauge.events import EventKind
from streamgauge.instants import iso

__all__ = ["sentence"]

_VERBS = {
    EventKind.DRIFT_UP: "rose",
    EventKind.DRIFT_DOWN: "fell",
    EventKind.DRIFT: "changed",
}


def sentence(kind: EventKind, signal: str, of: str, before: float, after: float, since: int) -> str:
    """Such as "level of temperature rose from 20.1 to 23.4 since 2026-11-27T14:05Z".

    `of` is the channel or task. Without numbers, or a time since when, that part is left out. Of a
    shape the numbers are distances between distributions: how far apart they usually are, and were.
    """
    words = f"{signal} of {of} {_VERBS[kind]}"
    if math.isfinite(before) and math.isfinite(after):
        pair = f"{before:.4g}", f"{after:.4g}"
        apart = kind is EventKind.DRIFT
        words += (
            ", {1} apart instead of {0}".format(*pair) if apart else " from {} to {}".format(*pair)
        )
    return f"{words} since {iso(since)[:16]}Z" if since else words
