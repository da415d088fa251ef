"""Outputs of a made-up walk, for tests of the sinks: every number follows from device and place."""

from collections.abc import Sequence

import numpy as np

from streamgauge.events import Event, EventKind
from streamgauge.output import SCORE_COLUMNS, Output, Scores
from streamgauge.predictions import Predictions
from streamgauge.schedule import Lane
from streamgauge.words import Status, Step

__all__ = [
    "AHEAD",
    "DEVICES",
    "LANES",
    "LEVEL",
    "MINUTE",
    "START",
    "lane",
    "made",
    "output",
    "predicted",
    "scores",
    "told",
]

START = 1_772_366_400 * 10**6
MINUTE = 60 * 10**6
AHEAD = 10
DEVICES = ("pump-1", "pump 2, hall=3", "Ölpumpe")

Record = tuple[tuple[int, ...], tuple[float, ...]]


def lane(task: str, horizon: str, *, readings: int = 0) -> Lane:
    """A lane whose target is channel 0."""
    return Lane(task, horizon, 0, AHEAD * MINUTE, readings, 0, False, (0,), 100, "last")


LANES = (lane("power", "10m"), lane("power", "1 reading", readings=1), lane("flow", ""))


def made(minute: int) -> int:
    """Event time of a prediction made in that minute."""
    return START + minute * MINUTE


LEVEL = Event(
    EventKind.DRIFT_DOWN, 0, -1, made(5), 3, 20.5, 18.0, 40.0,
    channel="flow", signal="level", since=made(2), magnitude=3.0, detector="cusum", version=1,
)  # fmt: skip
"""The level of a channel of the first device fell."""


def predicted(minute: int, row: int = 0, where: int = 0, *, value: float | None = None) -> Record:
    """The prediction that device row and lane `where` make in that minute."""
    due = 0 if where == 1 else made(minute + AHEAD)
    code = (Step.PREDICT, where, row, minute, made(minute), due, Status.PENDING, minute * 2)
    served = 1000.0 * row + minute if value is None else value
    return code, (served, served - 0.5, np.nan, np.nan)


def told(minute: int, row: int = 0, where: int = 0, *, expired: bool = False) -> Record:
    """The outcome of the prediction made in that minute."""
    step, status = (Step.EXPIRE, Status.EXPIRED) if expired else (Step.LEARN, Status.LABELLED)
    served = 1000.0 * row + minute
    label = np.nan if expired else served + 0.25
    code = (step, where, row, minute, made(minute), made(minute + AHEAD), status, minute * 2)
    return code, (served, served - 0.5, label, label - served)


def output(
    records: Sequence[Record],
    *,
    names: Sequence[str | None] = DEVICES,
    lanes: Sequence[Lane] = LANES,
    events: Sequence[Event] = (),
    scores: Sequence[Scores] = (),
    position: int = 0,
    more: bool = False,
) -> Output:
    """These records as one output."""
    codes = np.array([code for code, _ in records], np.int64).reshape(-1, 8)
    told = np.array([number for _, number in records], np.float64).reshape(-1, 4)
    numbers = np.column_stack([told, np.full(len(told), np.nan)])
    return Output(Predictions(codes, numbers, names, lanes), events, scores, position, more)


def scores(minute: int, rows: Sequence[int] = (-1,)) -> Scores:
    """Scores of every lane: the column's place plus the minute; the last column is unknown."""
    count = len(LANES) * len(rows)
    numbers = np.arange(len(SCORE_COLUMNS)) + float(minute) + np.zeros((count, 1))
    numbers[:, -1] = np.nan
    where = np.tile(np.arange(len(LANES)), len(rows))
    return Scores(made(minute), where, np.repeat(np.array(rows, np.int64), len(LANES)), numbers)
