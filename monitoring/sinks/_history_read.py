"""Questions to the history, for the API."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from monitoring.sinks._history_answers import words_of
from monitoring.sinks._history_file import HistoryFile
from monitoring.sinks._messages import action_fields, drift_fields
from streamgauge.events import ACTIONS, DRIFTS, Event, EventKind
from streamgauge.output import SCORE_COLUMNS
from streamgauge.predictions import interval, prediction_id
from streamgauge.schedule import Lane
from streamgauge.words import Status

__all__ = ["drift", "events", "predictions", "score_history"]

WINDOW = 10 * 10**6
"""Microseconds of the newest rows that are searched first; then four times as many, and so on."""
WIDER = 4

PREDICTIONS = """
with p as (
  select lane, sequence, made, any_value(due) due, any_value(value) prediction,
    any_value(base) last_value, any_value(status) status, any_value(version) model_version,
    any_value(half) half
  from predictions
  where device = $device and list_contains($lanes::smallint[], lane) and written >= $since
  group by lane, sequence, made
  order by made desc, sequence desc, lane
  limit $limit),
o as (
  select lane, sequence, made, any_value(due) came, any_value(label) as label,
    any_value(residual) residual, any_value(status) outcome
  from outcomes
  where device = $device and list_contains($lanes::smallint[], lane) and written >= $since
  group by lane, sequence, made)
select lane, sequence, made, due, prediction, last_value, status, model_version,
  came, label, residual, outcome, half
from p left join o using (lane, sequence, made)
order by made desc, sequence desc, lane
"""
DRIFT = """
select distinct time, device, lane, kind, before, after, coalesce(channel, ''),
  coalesce(signal, ''), coalesce(since, 0), coalesce(magnitude, 0.0), coalesce(detector, ''),
  coalesce(version, 0), size
from events
where list_contains($kinds::utinyint[], kind) and ($device is null or device = $device)
order by time desc, device, lane, channel, signal limit $limit
"""
SCORES = f"""
select time, {", ".join(f"any_value({name}) {name}" for name in SCORE_COLUMNS)} from scores
where device = -1 and lane = $lane and time >= $since
group by time order by time desc limit $limit
"""  # noqa: S608 - the names are our own constants
EVENTS = """
select distinct time, device, channel, kind, size, lane, before, after, coalesce(signal, ''),
  coalesce(since, 0), coalesce(detector, '')
from events
where list_contains($kinds::utinyint[], kind) and ($device is null or device = $device)
order by time desc, device, channel, kind, after limit $limit
"""
CLUSTER = int(EventKind.NEW_CLUSTER)
ANOMALY = int(EventKind.ANOMALY)
RECOVERED = int(EventKind.RECOVERED)
SILENCES = (int(EventKind.SILENT), int(EventKind.RETURNED), int(EventKind.EVICTED))
ABOUT_DEVICES = (
    *SILENCES,
    CLUSTER,
    ANOMALY,
    RECOVERED,
    *map(int, ACTIONS),
)


def _rows(file: HistoryFile, question: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with file.reader() as cursor:
        return list(cursor.execute(question, values).fetchall())


def predictions(
    file: HistoryFile,
    lanes: Mapping[int, Lane],
    device: tuple[int, str],
    limit: int,
    *,
    now: int,
    oldest: int,
) -> list[dict[str, Any]]:
    """The newest predictions of a device (code and id) on these lanes (by their code in the file).

    Rows are looked for among those written since `now - WINDOW`, then further back, as far as
    `oldest`: recent rows lie together in the file, so most questions read little of it.
    """
    code, name = device
    values = {"device": code, "lanes": list(lanes), "limit": limit}
    window = WINDOW
    while True:
        since = now - window
        rows = _rows(file, PREDICTIONS, values | {"since": since})
        if len(rows) >= limit or since <= oldest:
            words = words_of(file, lanes, code, since)
            return [_prediction(lanes, name, row) | words.get(row[:3], {}) for row in rows]
        window *= WIDER


def _prediction(lanes: Mapping[int, Lane], device: str, row: Sequence[Any]) -> dict[str, Any]:
    code, sequence, made, due, value, base, status, version, came, label, residual, *rest = row
    outcome, half = rest
    lane = lanes[code]
    labelled = outcome == Status.LABELLED
    return {
        "id": prediction_id(lane, device, sequence),
        "horizon": lane.horizon,
        "made_at": made,
        # A horizon counted in readings is known to end when the label comes.
        "target_time": due or (came if labelled else None),
        "prediction": value,
        "last_value": base,
        "label": label if labelled else None,
        "residual": residual if labelled else None,
        "status": Status(status if outcome is None else outcome).name.lower(),
        "model_version": version,
        **({"score": value} if lane.kind == "anomaly" else {}),
        **({} if half is None or value is None else interval(value, half)),
    }


def drift(
    file: HistoryFile,
    lanes: Mapping[int, tuple[str, str]],
    devices: Mapping[int, str],
    limit: int,
    device: int | None,
) -> list[dict[str, Any]]:
    """The newest drifts, of one device (its code) or of all."""
    values = {"kinds": [int(kind) for kind in DRIFTS], "device": device, "limit": limit}
    return [
        _drift(devices.get(row[1], ""), *lanes.get(row[2], ("", "")), row)
        for row in _rows(file, DRIFT, values)
    ]


def _drift(device: str, task: str, horizon: str, row: Sequence[Any]) -> dict[str, Any]:
    time, _, _, kind, before, after, channel, signal, since, magnitude, detector, version, size = (
        row
    )
    event = Event(
        EventKind(kind), 0, -1, time, -1, _number(before), _number(after), _number(size),
        channel, signal, since, magnitude, detector, version,
    )  # fmt: skip
    told = {"time": time, "device": device, "task": task, "horizon": horizon}
    return (
        told
        | drift_fields(event, task)
        | {"before": before, "after": after, "since": since or None}
    )


def _number(known: float | None) -> float:
    return math.nan if known is None else known


def events(
    file: HistoryFile,
    lanes: Mapping[int, tuple[str, str]],
    devices: Mapping[int, str],
    limit: int,
    device: int | None,
) -> list[dict[str, Any]]:
    """The newest silences, returns, evictions, new clusters, anomalies, recovered values and what
    was done about drift, of one device (its code) or of all."""
    values = {"kinds": list(ABOUT_DEVICES), "device": device, "limit": limit}
    found = []
    for row in _rows(file, EVENTS, values):
        time, code, channel, kind, size, lane, before, after, *why = row
        one = {
            "time": time,
            "device": devices.get(code, ""),
            "channel": channel or "",
            "kind": EventKind(kind).name.lower(),
            "seconds": size if kind in SILENCES else None,
        }
        if kind == RECOVERED:
            one["value"] = after
        if kind in (CLUSTER, ANOMALY):
            task, horizon = lanes.get(lane, ("", ""))
            one |= {"task": task, "horizon": horizon, "before": before, "after": after}
        if kind in ACTIONS:
            one |= _action(lanes.get(lane, ("", "")), one, (before, after, size), why)
        found.append(one)
    return found


def _action(
    lane: tuple[str, str], one: Mapping[str, Any], numbers: Sequence[float | None],
    why: Sequence[Any],
) -> dict[str, Any]:  # fmt: skip
    """What is told of an action; `why` are signal, since and detector."""
    task, horizon = lane
    signal, since, detector = why
    before, after, size = map(_number, numbers)
    event = Event(
        EventKind[one["kind"].upper()], 0, -1, one["time"], -1, before, after, size,
        one["channel"], signal, since, 0.0, detector,
    )  # fmt: skip
    name = f"{task}@{horizon}" if horizon else task
    told = {"task": task, "horizon": horizon, **action_fields(event, name)}
    return told | {"before": numbers[0], "after": numbers[1], "since": since or None}


def score_history(file: HistoryFile, lane: int, since: int, limit: int) -> list[dict[str, Any]]:
    """Scores of one lane over all devices since a time, newest first."""
    rows = _rows(file, SCORES, {"lane": lane, "since": since, "limit": limit})
    return [dict(zip(("time", *SCORE_COLUMNS), row, strict=True)) for row in rows]
