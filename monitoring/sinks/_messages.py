"""Results as JSON objects, one per prediction, outcome and event: what topics carry.

Each names its prediction (`id`), so that whoever gets one twice can tell.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from monitoring.sentence import of_action, sentence
from streamgauge.events import ACTIONS, DRIFTS, Event, EventKind
from streamgauge.instants import iso
from streamgauge.output import Output
from streamgauge.predictions import (
    BASE,
    DUE,
    LABEL,
    LANE,
    MADE,
    RESIDUAL,
    ROW,
    SEQUENCE,
    STATUS,
    STEP,
    VALUE,
    VERSION,
    prediction_id,
)
from streamgauge.signal import Kind
from streamgauge.words import Status, Step

__all__ = ["KINDS", "Encoded", "action_fields", "drift_fields", "encoded", "event", "record"]

KINDS = ("prediction", "outcome", "event")

Encoded = tuple[str, str, str, str, bytes]
"""Kind (of `KINDS`), device, task, id, JSON. Device and task are "" where an event has none."""

_STATUS = {status: status.name.lower() for status in Status}
_json = msgspec.json.Encoder().encode


def encoded(output: Output) -> Iterator[Encoded]:
    """Every prediction and outcome of an output, in its order, then its events.

    NaN and infinities become null. An outcome has the `id` of its prediction.
    """
    for i in range(len(output.predictions)):
        kind, data = record(output, i)
        yield kind, data["device"], data["task"], data["id"], _json(data)
    for one in output.events:
        data = event(output, one)
        where = output.predictions.lanes[one.lane].name if one.lane >= 0 else one.channel
        # Level and noise of a channel may change with the same reading.
        where = f"{one.signal} of {where}" if one.signal and one.channel else where
        name = f"{data['kind']}/{where}/{data['device'] or ''}/{one.time}"
        yield "event", data["device"] or "", data["task"], name, _json({"id": name, **data})


def record(output: Output, i: int) -> tuple[str, dict[str, Any]]:
    """Kind and content of the output's i-th record."""
    predictions = output.predictions
    code: Sequence[int] = predictions.codes[i].tolist()
    number: Sequence[float] = predictions.numbers[i].tolist()
    lane, device = predictions.lanes[code[LANE]], output.device(code[ROW])
    made = code[STEP] == Step.PREDICT
    data = {
        "id": prediction_id(lane, device, code[SEQUENCE]),
        "device": device,
        "task": lane.task,
        "horizon": lane.horizon,
        "made_at": iso(code[MADE]),
        "target_time": None if made and lane.readings else iso(code[DUE]),
        "prediction": number[VALUE],
        "last_value": number[BASE],
        "status": _STATUS[Status(code[STATUS])],
        "model_version": code[VERSION],
    }
    data |= predictions.named(i)
    if made:
        return "prediction", data
    return "outcome", data | {"label": number[LABEL], "residual": number[RESIDUAL]}


def event(output: Output, one: Event) -> dict[str, Any]:
    """Content of an event; `device` is None where it concerns all."""
    lane = output.predictions.lanes[one.lane] if one.lane >= 0 else None
    about: dict[str, Any] = {}
    if one.kind in DRIFTS:
        about = drift_fields(one, lane.task if lane else "")
        about["since"] = iso(one.since) if one.since else None
    elif one.kind in ACTIONS:
        about = action_fields(one, lane.name if lane else "")
        about["since"] = iso(one.since) if one.since else None
    elif one.kind in (EventKind.SILENT, EventKind.RETURNED):
        about = {"channel": one.channel, "seconds": one.size}
    elif one.kind in (EventKind.RECOVERED, EventKind.ANOMALY):
        about = {"channel": one.channel}
    return {
        "time": iso(one.time),
        "device": output.device(one.row) or None,
        "task": lane.task if lane else "",
        "horizon": lane.horizon if lane else "",
        "kind": one.kind.name.lower(),
        "before": one.before,
        "after": one.after,
        **about,
    }


def action_fields(one: Event, lane: str) -> dict[str, Any]:
    """What is told of an action beside its time, device, task, horizon and kind."""
    return {
        "before": one.before,
        "after": one.after,
        "channel": one.channel,
        "signal": one.signal,
        "since": one.since,
        "size": one.size,
        "detector": one.detector,
        "text": of_action(one, lane),
    }


def drift_fields(one: Event, task: str) -> dict[str, Any]:
    """What a drift has beside its time, device, task and horizon."""
    signal = one.signal or Kind.ERROR.value
    of = one.channel or task or "all"
    return {
        "kind": one.kind.name.lower(),
        "before": one.before,
        "after": one.after,
        "channel": one.channel,
        "signal": signal,
        "severity": one.severity,
        "since": one.since,
        "magnitude": one.magnitude,
        "size": one.size,
        "detector": one.detector,
        "version": one.version,
        "text": sentence(one.kind, signal, of, one.before, one.after, one.since),
    }
