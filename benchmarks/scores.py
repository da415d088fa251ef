"""Cost of all scores and of ADWIN for one task, in microseconds per labelled prediction.

1,000 devices in turn, at batches of 1,000. Each event is a prediction and, a batch later, its
label: one step to serve and remember it, one to judge it, over the device and over the fleet, and
for ADWIN the error of the task.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from monitoring.scores import Scorer
from streamgauge import plugins
from streamgauge.calls import Call, Chain, Now
from streamgauge.events import Events
from streamgauge.schedule import BASE, LABEL, ROW, SEQUENCE, STEP, Lane, Schedule
from streamgauge.signal import ROW as SIGNAL_ROW
from streamgauge.signal import SOURCE, TIME, UNIT, VALUE, Kind, Signal
from streamgauge.words import Step

BATCH = 1_000
ROUNDS = 2_000
NUMBER = Lane("power", "1 reading", 0, 0, 1, 0, False, (0,), 0, "last", interval=0.9)
CLASS = replace(NUMBER, kind="classification", parts=2, interval=0.0)


class Judged:
    """One lane's scores: a batch of predictions, then a batch of their labels."""

    def __init__(self, lane: Lane) -> None:
        self.schedules = [Schedule(BATCH, max(1, lane.parts)) for _ in range(2)]
        scorer = Scorer([lane], BATCH, pending=2, room=BATCH)
        codes, numbers = np.zeros((BATCH, 8), np.int64), np.zeros((BATCH, 5))
        parts = np.zeros((BATCH, max(1, lane.parts)))
        self.chains = []
        for step, schedule in zip((Step.PREDICT, Step.LEARN), self.schedules, strict=True):
            schedule.n = BATCH
            schedule.codes[:BATCH, STEP] = step
            schedule.codes[:BATCH, [ROW, SEQUENCE]] = np.arange(BATCH)[:, None]
            calls = scorer.calls(schedule, codes, numbers, parts)
            now = np.zeros(len(Now), np.int64)
            now[Now.STEPS] = BATCH
            self.chains.append((now, Chain(calls, now)))

    def run(self, answers: np.ndarray, labels: np.ndarray) -> float:
        """Seconds that one batch of both took."""
        self.schedules[0].answers[:BATCH] = answers
        for schedule in self.schedules:
            schedule.numbers[:BATCH, BASE] = 0.0
            schedule.numbers[:BATCH, LABEL] = labels
        began = time.perf_counter()
        for now, chain in self.chains:
            now[Now.AT] = 0
            chain.run()
        return time.perf_counter() - began


class Watched:
    """ADWIN on the error of one lane."""

    def __init__(self) -> None:
        self.signal, self.events = Signal(Kind.ERROR, "lanes", ["lane"], BATCH), Events(BATCH)
        self.signal.count[0] = BATCH
        self.signal.codes[:, [SIGNAL_ROW, SOURCE]] = np.arange(BATCH)[:, None]
        self.signal.numbers[:, UNIT] = 1.0
        adwin = plugins.load("monitoring.detectors", "adwin").build(self.signal, BATCH)
        call: Call = adwin.call(self.signal, self.events)
        self.chain = Chain([call], np.zeros(len(Now), np.int64))

    def run(self, k: int, errors: np.ndarray) -> float:
        """Seconds that one batch took."""
        self.signal.numbers[:, VALUE] = errors
        self.signal.codes[:, TIME] = k * 1_000_000
        began = time.perf_counter()
        self.chain.run()
        took = time.perf_counter() - began
        self.events.clear()
        return took


def measured(lane: Lane) -> tuple[float, float]:
    """Microseconds per event of the scores and of ADWIN: the median batch."""
    random, judged, watched = np.random.default_rng(1), Judged(lane), Watched()
    took: list[Sequence[float]] = []
    for k in range(ROUNDS):
        labels, answers = random.normal(size=(2, BATCH))
        if lane.kind == "classification":
            labels, answers = (labels > 0.0) * 1.0, (answers > 0.0) * 1.0
        took.append((judged.run(answers, labels), watched.run(k, np.abs(labels - answers))))
    scores, adwin = np.median(took[10:], axis=0) / BATCH * 1e6
    return float(scores), float(adwin)


def run() -> list[dict[str, Any]]:
    """A row per kind of answer."""
    rows = []
    for name, lane in (("numbers", NUMBER), ("two classes", CLASS)):
        scores, adwin = measured(lane)
        rows.append({"answers": name, "us scores": scores, "ADWIN": adwin, "both": scores + adwin})
    return rows
