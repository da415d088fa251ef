"""What a live listener is told: one JSON object per prediction, outcome, drift, event
of a device, or score."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitoring.sinks._messages import event, record
from streamgauge.events import DRIFTS, Event
from streamgauge.instants import iso
from streamgauge.output import SCORE_COLUMNS, Output, Scores
from streamgauge.predictions import LANE, ROW
from streamgauge.schedule import Lane

__all__ = ["KINDS", "Message", "Wanted", "newest"]

KINDS = ("prediction", "outcome", "drift", "event", "scores")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a listener asked for; None = any."""

    device: str | None = None
    task: str | None = None
    kinds: frozenset[str] = frozenset(KINDS)


@dataclass(frozen=True, slots=True)
class Message:
    """One event of a live stream."""

    id: str
    kind: str
    data: dict[str, Any]

    def json(self) -> str:
        """`data` as JSON; NaN and infinities become null."""
        return msgspec.json.encode(self.data).decode()


def newest(output: Output, wanted: Wanted, limit: int, number: int) -> tuple[list[Message], int]:
    """The newest messages of an output that a listener asked for, and how many were left out.

    At most `limit`, oldest first. `number` is the output's, for the messages' ids. Filters on
    columns; only what is returned becomes an object.
    """
    records = _records(output, wanted)
    events = _events(output, wanted)
    scores = _scores(output, wanted)
    found = len(records) + len(events) + len(scores)
    room = max(0, limit - len(events) - len(scores))
    data = [
        *(record(output, i) for i in records[len(records) - min(room, len(records)) :].tolist()),
        *(_event(output, one) for one in events),
        *(_score(output, score, i) for score, i in scores),
    ][-limit:]
    first = found - len(data)
    messages = [Message(f"{number}.{first + i}", *one) for i, one in enumerate(data)]
    return messages, first


def _records(output: Output, wanted: Wanted) -> NDArray[np.intp]:
    predictions = output.predictions
    codes = predictions.codes
    chosen = np.ones(len(codes), np.bool_)
    if "prediction" not in wanted.kinds:
        chosen &= ~predictions.made
    if "outcome" not in wanted.kinds:
        chosen &= predictions.made
    if wanted.task is not None:
        lanes = np.array([lane.task == wanted.task for lane in predictions.lanes], np.bool_)
        chosen &= lanes[codes[:, LANE]]
    if wanted.device is not None:
        chosen &= np.isin(codes[:, ROW], _rows(output, wanted.device, codes[:, ROW]))
    return np.flatnonzero(chosen)


def _rows(output: Output, device: str, rows: Iterable[Any]) -> list[int]:
    names = output.predictions.names
    return [
        row for row in np.unique(np.asarray(rows)).tolist() if row >= 0 and names[row] == device
    ]


def _lane(output: Output, lane: int) -> Lane | None:
    return output.predictions.lanes[lane] if lane >= 0 else None


def _fits(output: Output, wanted: Wanted, row: int, lane: int) -> bool:
    about = _lane(output, lane)
    # What is of no task, such as a silence, is told to those who follow one as well.
    if wanted.task is not None and about is not None and about.task != wanted.task:
        return False
    return wanted.device is None or output.device(row) == wanted.device


def _events(output: Output, wanted: Wanted) -> list[Event]:
    return [
        one
        for one in output.events
        if ("drift" if one.kind in DRIFTS else "event") in wanted.kinds
        and _fits(output, wanted, one.row, one.lane)
    ]


def _scores(output: Output, wanted: Wanted) -> list[tuple[Scores, int]]:
    """Those over all devices, or those of the device that was asked for."""
    if "scores" not in wanted.kinds:
        return []
    found: list[tuple[Scores, int]] = []
    for scores in output.scores:
        rows = [-1] if wanted.device is None else _rows(output, wanted.device, scores.row)
        found += [
            (scores, i)
            for i in np.flatnonzero(np.isin(scores.row, rows)).tolist()
            if _fits(output, wanted, int(scores.row[i]), int(scores.lane[i]))
        ]
    return found


def _event(output: Output, one: Event) -> tuple[str, dict[str, Any]]:
    if one.kind in DRIFTS:
        return "drift", event(output, one)
    told = {
        "time": iso(one.time),
        "device": output.device(one.row),
        "channel": one.channel or None,
        "kind": one.kind.name.lower(),
        "seconds": one.size,
        "value": one.after,
    }
    if (lane := _lane(output, one.lane)) is not None:
        # As /v1/events says it.
        told |= {"seconds": None, "task": lane.task, "horizon": lane.horizon}
        told |= {"before": one.before, "after": one.after}
    return "event", told


def _score(output: Output, scores: Scores, i: int) -> tuple[str, dict[str, Any]]:
    lane = _lane(output, int(scores.lane[i]))
    return "scores", {
        "time": iso(scores.time),
        "device": output.device(int(scores.row[i])) or None,
        "task": lane.task if lane else "",
        "horizon": lane.horizon if lane else "",
        "scores": dict(zip(SCORE_COLUMNS, scores.numbers[i].tolist(), strict=True)),
    }
