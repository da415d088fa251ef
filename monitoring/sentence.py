"""What a detector found, as one sentence."""

import math

from streamgauge.events import Event, EventKind
from streamgauge.instants import iso
from streamgauge.signal import MOVING

__all__ = ["of_action", "sentence"]

_VERBS = {
    EventKind.DRIFT_UP: "rose",
    EventKind.DRIFT_DOWN: "fell",
    EventKind.DRIFT: "changed",
}
_DONE = {
    EventKind.RESTARTED: "the model of {} began anew",
    EventKind.LEARNS_FASTER: "the model of {} learns faster for a while",
    EventKind.RELEARNS: "another model of {} learns beside the one that answers",
    EventKind.REPLACED: "another model of {} answers from now on",
    EventKind.KEPT: "the model of {} stays, another one did not become better",
    EventKind.EFFECT: "the mean error of {} after what was done",
}


def of_action(one: Event, lane: str) -> str:
    """Such as "the model of power@10m began anew, because error of power@10m
    rose from 0.5 to 2.1 (adwin)"; of what that brought, the two mean errors."""
    pair = f"from {one.before:.4g} to {one.after:.4g}"
    done, because = _DONE[one.kind].format(lane), f"{one.signal} ({one.detector})"
    if one.kind in (EventKind.REPLACED, EventKind.KEPT):
        means = f"mean error {one.after:.4g} against {one.before:.4g} over {one.size:.0f} labels"
        return f"{done}: {means}, because of its {because}"
    if one.kind is EventKind.EFFECT:
        return f"{done} because of {because} went {pair} over {one.size:.0f} labels"
    way = EventKind.DRIFT
    if one.signal in MOVING:
        way = EventKind.DRIFT_UP if one.after > one.before else EventKind.DRIFT_DOWN
    why = sentence(way, one.signal, one.channel or lane, one.before, one.after, one.since)
    return f"{done}, because {why} ({one.detector})"


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
