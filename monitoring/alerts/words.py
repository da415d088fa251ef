"""What an alert says: what happened, since when, compared with what, where to look first."""

import math

from monitoring.alerts.rule import Rule
from monitoring.sentence import of_action as told_of_action
from monitoring.sentence import sentence
from streamgauge.durations import text as duration
from streamgauge.events import Event
from streamgauge.instants import iso
from streamgauge.schedule import Lane

__all__ = [
    "of_action",
    "of_anomaly",
    "of_channel_drift",
    "of_drift",
    "of_new_cluster",
    "of_score",
    "of_service",
    "of_silence",
]

Said = tuple[str, str]
"""Summary, description."""


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "unknown"


def of_drift(event: Event, device: str, lane: Lane, target: str) -> Said:
    """The error of a task rose."""
    times = event.after / event.before if event.before else math.inf
    much = f", {times:.3g} times as large" if math.isfinite(times) else ""
    watched = f" Look at {target} first: it is what the task predicts." if target else ""
    change = f"from {_number(event.before)} to {_number(event.after)}{much}"
    lately = f"over the last {event.size:.0f} labels, noticed at {iso(event.time)}"
    summary = f"{device}: predictions of {lane.name} became worse"
    return summary, f"The mean error rose {change}, {lately}.{watched}"


def of_channel_drift(event: Event, device: str) -> Said:
    """Level, noise or shape of a channel changed."""
    told = sentence(event.kind, event.signal, event.channel, event.before, event.after, event.since)
    which = f"{event.signal} of {event.channel}"
    size = f"{_number(event.magnitude)} standard deviations, found by {event.detector}"
    return f"{device}: {which} changed", f"{told}: {size}, noticed at {iso(event.time)}."


def of_action(event: Event, device: str, lane: Lane) -> Said:
    """Something was done about a model because of drift."""
    what = event.kind.name.lower().replace("_", " ")
    told = told_of_action(event, lane.name)
    return f"{device}: model of {lane.name} {what}", f"At {iso(event.time)} {told}."


def of_new_cluster(event: Event, device: str, lane: Lane) -> Said:
    """A device came into a cluster where it had not been before."""
    where = f"{lane.name}: it went from cluster {event.before:.0f} to cluster {event.after:.0f}"
    return (
        f"{device} is in a cluster where it had not been before",
        f"{where} at {iso(event.time)}. It now knows {event.size:.0f} clusters.",
    )


def of_anomaly(event: Event, device: str, lane: Lane) -> Said:
    """An anomaly score is beyond its threshold."""
    look = f" Look at {event.channel} first: it is the strangest." if event.channel else ""
    score = f"its score {_number(event.after)} is beyond {_number(event.before)}"
    summary = f"{device} behaves in a way that it has not before"
    which = f"alarm {event.size:.0f} of this task"
    return (
        summary,
        f"{lane.name}: {score}, the budget's threshold, at {iso(event.time)}, {which}.{look}",
    )


def of_silence(event: Event, device: str) -> Said:
    """Nothing is heard of a device or of one of its channels."""
    what = f"{event.channel} of {device}" if event.channel else device
    return (
        f"{what} is silent",
        f"Nothing was heard of {what} for {event.size:.0f} seconds, since {iso(event.time)}.",
    )


def of_score(rule: Rule, lane: Lane, numbers: dict[str, float], since: int) -> Said:
    """A condition holds of a task's scores."""
    used = [f"{k} = {_number(v)}" for k, v in numbers.items() if k in rule.text]
    lasted = f" for {duration(rule.lasting)}" if rule.lasting else ""
    return (
        f"{lane.name}: {rule.text}",
        f"Over all devices this has held{lasted}, since {iso(since)}: {', '.join(used)}.",
    )


def of_service(part: str, why: str, since: int) -> Said:
    """A part of the service is not ready."""
    return f"{part} is not ready", f"Since {iso(since)}: {why}"
