"""Outputs as rows of SQL tables: what each table has, and what tells its rows apart."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from streamgauge.arrays import Ints
from streamgauge.events import Event
from streamgauge.output import SCORE_COLUMNS, Output, Scores
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
    VALUE,
    VERSION,
    prediction_id,
)
from streamgauge.schedule import Lane
from streamgauge.words import Status

__all__ = ["EVENTS", "PREDICTIONS", "SCORES", "Rows", "RowsEncoder"]

PREDICTIONS, EVENTS, SCORES = "predictions", "events", "scores"

Row = tuple[str, dict[str, Any]]
"""A table and the row's columns."""

_STATUS = {int(status): status.name.lower() for status in Status}
_LABELLED = int(Status.LABELLED)


class Rows:
    """Rows in the order in which they came."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def part(self, start: int, stop: int) -> list[Row]:
        """Rows from one place to another."""
        return self._rows[start:stop]

    def shown(self, k: int) -> str:
        """One row as JSON: its table, and its columns."""
        table, columns = self._rows[k]
        return json.dumps({"table": table, **columns}, default=datetime.isoformat)


class RowsEncoder:
    """Outputs of one stream into rows. A prediction and its outcome are the same row, and all of an
    outcome's row is in the outcome: whatever comes twice, or in two pieces, is one row in the end.
    """

    def __init__(self, lanes: Sequence[Lane], stream: str) -> None:
        self._lanes, self._stream = tuple(lanes), stream

    def encode(self, outputs: Sequence[Output]) -> Rows:
        """All rows of these outputs."""
        rows: list[Row] = []
        for output in outputs:
            rows += self._predictions(output)
            rows += [(EVENTS, self._event(output, event)) for event in output.events]
            for scores in output.scores:
                rows += self._scores(output, scores)
        return Rows(rows)

    def _predictions(self, output: Output) -> list[Row]:
        codes, records = output.predictions.codes, output.predictions
        made, due = _times(codes[:, MADE]), self._due(codes)
        return [
            (
                PREDICTIONS,
                self._prediction(output, code, number, when, then) | self._words(output, i),
            )
            for i, (code, number, when, then) in enumerate(
                zip(codes.tolist(), records.numbers.tolist(), made, due, strict=True)
            )
        ]

    def _due(self, codes: Ints) -> list[datetime | None]:
        """When each is for: the same for a prediction and its outcome, but that a horizon of
        readings is told by the outcome alone."""
        known = codes[:, STATUS] == _LABELLED
        by_readings = np.array([lane.readings > 0 for lane in self._lanes], np.bool_)
        delays = np.array([lane.delay for lane in self._lanes], np.int64)
        lane = codes[:, LANE]
        moments = _times(np.where(by_readings[lane], codes[:, DUE], codes[:, MADE] + delays[lane]))
        told = (known | ~by_readings[lane]).tolist()
        return [moment if tells else None for moment, tells in zip(moments, told, strict=True)]

    def _prediction(
        self, output: Output, code: list[int], number: list[float], made: datetime, due: Any
    ) -> dict[str, Any]:
        lane, device = self._lanes[code[LANE]], output.device(code[ROW])
        return {
            "stream": self._stream,
            "id": prediction_id(lane, device, code[SEQUENCE]),
            "made_at": made,
            "target_time": due,
            "device": device,
            "task": lane.task,
            "horizon": lane.horizon,
            "sequence": code[SEQUENCE],
            "prediction": _known(number[VALUE]),
            "last_value": _known(number[BASE]),
            "label": _known(number[LABEL]),
            "residual": _known(number[RESIDUAL]),
            "status": _STATUS[code[STATUS]],
            "model_version": code[VERSION],
        }

    def _words(self, output: Output, i: int) -> dict[str, Any]:
        """What an answer says beside its number, each null where it says nothing of the kind."""
        named = output.predictions.named(i)
        chances = named.get("probabilities")
        return {
            "predicted_class": named.get("predicted_class"),
            "label_class": named.get("label_class"),
            "probabilities": json.dumps(chances) if chances else None,
            "distance": _known(named.get("distance", math.nan)),
            "lower": _known(named.get("lower", math.nan)),
            "upper": _known(named.get("upper", math.nan)),
        }

    def _event(self, output: Output, event: Event) -> dict[str, Any]:
        return {
            **self._place(event.lane, output.device(event.row)),
            "kind": _kind(event),
            "channel": event.channel,
            "time": _time(event.time),
            "before": _known(event.before),
            "after": _known(event.after),
            "size": _known(event.size),
        }

    def _scores(self, output: Output, scores: Scores) -> list[Row]:
        time = _time(scores.time)
        found = zip(scores.lane.tolist(), scores.row.tolist(), scores.numbers.tolist(), strict=True)
        return [
            (SCORES, {**self._place(lane, output.device(row)), "time": time, **_named(numbers)})
            for lane, row, numbers in found
        ]

    def _place(self, lane: int, device: str) -> dict[str, Any]:
        """Stream, task, horizon and device; empty where it concerns all of them."""
        where = self._lanes[lane] if lane >= 0 else None
        return {
            "stream": self._stream,
            "task": where.task if where else "",
            "horizon": where.horizon if where else "",
            "device": device,
        }


def _kind(event: Event) -> str:
    """Of a channel's drift what drifted and how: "level_up", "noise_down", "shape"."""
    kind = event.kind.name.lower()
    return kind.replace("drift", event.signal) if event.channel and event.signal else kind


def _named(numbers: list[float]) -> Mapping[str, float | None]:
    return dict(zip(SCORE_COLUMNS, map(_known, numbers), strict=True))


def _known(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _times(microseconds: Ints) -> list[datetime]:
    return [moment.replace(tzinfo=UTC) for moment in microseconds.astype("datetime64[us]").tolist()]


def _time(microseconds: int) -> datetime:
    return _times(np.array([microseconds]))[0]
