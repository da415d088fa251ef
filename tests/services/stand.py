"""A small service for the tests of the API and the page.

Board and history stand in for the pipeline's: they answer with the real dataclasses, from figures
computed by formula. Application, live push and HTTP server are the product's own.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from monitoring.alerts.outbox import Outbox
from monitoring.sinks._messages import drift_fields
from serving.api.app import create_app
from serving.api.intake import Intake
from serving.api.server import HttpServer
from serving.api.service import Part, States
from serving.live import Live
from stream_processor.views import (
    ChoiceView,
    DeviceView,
    PredictionView,
    ScoreView,
    SelectionView,
    TaskView,
)
from streamgauge.events import Event, EventKind
from streamgauge.output import SCORE_COLUMNS, Output, Scores
from streamgauge.predictions import Predictions, prediction_id
from streamgauge.schedule import Lane
from streamgauge.timing import Timing
from streamgauge.words import Status, Step

WATCHED = {"humidity": "calibrating", "power": "watched"}
SIGNALS = {"level": WATCHED, "error": {"ahead@10m": "watched"}}
EVIL = "<img src=x onerror=document.title='owned'>"
SLASHED = "site a/pump 1"
DEVICES = sorted(["pump-1", "pump-2", EVIL, SLASHED, "pump-1/predictions", "Ölpumpe 7"])
START = 1_772_366_400 * 10**6
MINUTE = 60 * 10**6
AHEAD = 10
HALF = 0.5
"""Half the width of every interval."""
LABELLED = 150


def lane(task: str, horizon: str, *, delay: int = 0, readings: int = 0) -> Lane:
    """A lane whose target is channel 0."""
    return Lane(task, horizon, 0, delay, readings, 0, False, (0, 1), 100, "last")


LANES = (lane("power", "10m", delay=AHEAD * MINUTE), lane("power", "1 reading", readings=1))


def actual(minute: int) -> float:
    """Power in that minute."""
    noise = 0.9 * math.sin(minute * 12.9898) * math.cos(minute * 4.1414)
    return 42.0 + 9.0 * math.sin(minute / 11.0) + 3.0 * math.sin(minute / 3.7) + noise


def served(minute: int) -> float:
    """What is predicted for that minute."""
    return 42.0 + 8.6 * math.sin((minute - 0.4) / 11.0) + 2.6 * math.sin((minute - 0.3) / 3.7)


def identity(device: str, minute: int) -> str:
    """Id of the prediction that was made for that minute, 10 minutes before."""
    return prediction_id(LANES[0], device, minute)


FLAGS = {"power": {"outlier": 30, "capped": 6}}


@dataclass
class StandBoard:
    """Six pumps, one task at two horizons. `readings` may be raised while it is served."""

    ids: list[str] = field(default_factory=lambda: list(DEVICES))
    readings: int = 1200
    laps: Timing = field(default_factory=Timing)

    def device_ids(self, after: str = "", limit: int = 100) -> list[str]:
        return [device for device in self.ids if device > after or not after][:limit]

    def device(self, device: str) -> DeviceView | None:
        if device not in self.ids:
            return None
        time = START + LABELLED * MINUTE
        values = {"power": actual(LABELLED), "flow": 3.25, "humidity": math.nan}
        return DeviceView(
            device,
            time,
            time + 40_000,
            self.readings,
            values,
            flags=FLAGS,
            watched=WATCHED,
            signals=SIGNALS,
        )

    def predictions(self, device: str) -> list[PredictionView] | None:
        if device not in self.ids:
            return None
        made = START + LABELLED * MINUTE
        return [
            PredictionView(
                id=prediction_id(LANES[k], device, LABELLED + AHEAD),
                task="power",
                horizon=LANES[k].horizon,
                made_at=made,
                target_time=(made + AHEAD * MINUTE, None)[k],
                prediction=(served(LABELLED + AHEAD), math.nan)[k],
                last_value=actual(LABELLED),
                status=("pending", "warming_up")[k],
                label=None,
                residual=None,
                model_version=LABELLED,
            )
            for k in range(2)
        ]

    def tasks(self) -> list[TaskView]:
        model = "StandardScaler | LinearRegression"
        return [
            TaskView(
                "power",
                one.horizon,
                "forecast",
                "power",
                "kW",
                model,
                k == 0,
                "all of it",
                (),
                models=len(self.ids),
            )
            for k, one in enumerate(LANES)
        ]

    def scores(self, task: str, device: str = "") -> list[ScoreView]:
        return [self._score(one.horizon, device) for one in LANES if one.task == task]

    def device_scores(self, task: str, limit: int = 100, horizon: str = "") -> list[ScoreView]:
        return [self._score(horizon or "10m", device) for device in reversed(self.ids)][:limit]

    def tags(self) -> list[str]:
        return ["site"]

    def group_scores(self, task: str, tag: str) -> list[ScoreView]:
        return [replace(self._score("10m", self.ids[0]), device="", group="north", of_devices=1)]

    def _score(self, horizon: str, device: str) -> ScoreView:
        mae = 0.9 + 0.35 * (self.ids.index(device) if device else 2)
        known = {"labels": 1200.0, "mae": mae, "rmse": 1.4, "persistence_mae": 2.0, "r2": math.nan}
        return ScoreView("power", horizon, device, {k: known.get(k) for k in SCORE_COLUMNS})

    def selections(self, task: str, device: str = "") -> list[SelectionView]:
        one = [ChoiceView("power", 1.0, 0.75, "kept for long")] if device else []
        both = one or [ChoiceView("power", 0.5, math.nan, ""), ChoiceView("flow", None, None, "")]
        return [
            SelectionView(task, lane.horizon, device, "device", "redundancy", len(both), both)
            for lane in LANES[:1]
        ]

    def timing(self) -> Timing:
        return self.laps

    def counts(self) -> dict[str, Any]:
        return {
            "readings": {"admitted": self.readings, "late": 3},
            "flags": {"out_of_range": 2},
            "channel_flags": FLAGS,
            "rejected": {"not_json": 4},
            "predictions": 2400,
            "labels": 2300,
            "expired": 5,
            "overflowed": 0,
            "devices": len(self.ids),
            "devices_clock_wrong": 0,
            "devices_refused": 1,
        }


class StandHistory:
    """The past of every pump: a label for every minute, warming up in the first thirty. `more` are
    events that came since, newest last."""

    def __init__(self) -> None:
        self.more: list[dict[str, Any]] = []

    def predictions(
        self, device: str, task: str, horizon: str | None, limit: int
    ) -> list[dict[str, Any]]:
        if horizon == "1 reading":
            return []
        newest = range(LABELLED + AHEAD, AHEAD, -1)
        return [self._one(device, minute) for minute in newest][:limit]

    def _one(self, device: str, minute: int) -> dict[str, Any]:
        known = minute <= LABELLED
        warming = minute < 30 and not known
        value = actual(minute - AHEAD) if minute < 40 else served(minute)
        return {
            "id": identity(device, minute),
            "horizon": "10m",
            "made_at": START + (minute - AHEAD) * MINUTE,
            "target_time": START + minute * MINUTE,
            "prediction": value,
            "last_value": actual(minute - AHEAD),
            "label": actual(minute) if known else None,
            "residual": actual(minute) - value if known else math.nan,
            "status": "labelled" if known else "warming_up" if warming else "pending",
            "model_version": minute,
        }

    def drift(self, limit: int, device: str | None) -> list[dict[str, Any]]:
        told = drift_fields(drift(device or "", 88), "power")
        one = {"task": "power", "horizon": "10m", **told}
        devices = [device] if device else ["pump-1", ""]
        return [{"time": START + 88 * MINUTE, "device": name, **one} for name in devices][:limit]

    def events(self, limit: int, device: str | None) -> list[dict[str, Any]]:
        one = {"time": START + 90 * MINUTE, "device": device or "pump-1"}
        gone = {**one, "channel": "", "kind": "evicted", "seconds": math.nan}
        silent = {**one, "channel": "power", "kind": "silent", "seconds": 600.0}
        more = [one for one in reversed(self.more) if device in (None, one["device"])]
        return [*more, gone, silent][:limit]

    def score_history(
        self, task: str, horizon: str, since_us: int, limit: int
    ) -> list[dict[str, Any]]:
        times = range(START + 60 * MINUTE, since_us, -MINUTE)
        return [{"time": t, "mae": 1.0, "persistence_mae": math.nan} for t in times][:limit]


def output(
    device: str = "pump-1",
    minutes: Sequence[int] = (LABELLED + AHEAD + 1,),
    *,
    names: Sequence[str | None] = DEVICES,
    events: Sequence[Event] = (),
    scores: Sequence[Scores] = (),
) -> Output:
    """For each minute: the prediction for it, and the outcome of the one ten minutes before."""
    row = list(names).index(device)
    codes, numbers = [], []
    for minute in minutes:
        made, due = START + (minute - AHEAD) * MINUTE, START + minute * MINUTE
        codes.append((Step.PREDICT, 0, row, minute, made, due, Status.PENDING, minute))
        numbers.append((served(minute), actual(minute - AHEAD), math.nan, math.nan, HALF))
        past = minute - AHEAD
        codes.append((Step.LEARN, 0, row, past, made - AHEAD * MINUTE, made, Status.LABELLED, past))
        residual = actual(past) - served(past)
        numbers.append((served(past), actual(past - AHEAD), actual(past), residual, HALF))
    table = Predictions(
        np.array(codes, np.int64).reshape(-1, 8), np.array(numbers).reshape(-1, 5), names, LANES
    )
    return Output(table, events, scores)


def drift(device: str, minute: int) -> Event:
    """A drift of the error of the first lane."""
    row = DEVICES.index(device) if device else -1
    return Event(EventKind.DRIFT_UP, row, 0, START + minute * MINUTE, 0, 0.8, 2.1, 50.0)


def states() -> States:
    """One source, one sink, and a checkpoint of a minute and a half before the stand's clock."""
    written = START + LABELLED * MINUTE - 90 * 10**6
    return {
        "source": {"mqtt": {"ok": True, "why": "", "received_total": 1200, "queued": 7}},
        "sink": {"store": {"ok": True, "why": "", "written_total": 2400}},
        "state": {
            "checkpoint": {
                "ok": True,
                "why": "",
                "time": written,
                "count": 3,
                "write_seconds": 0.5,
            },
            "journal": {"ok": True, "why": "", "bytes": 4096},
        },
    }


@dataclass
class Stand:
    """What a test may turn: the board's figures, the parts and the clock."""

    board: StandBoard = field(default_factory=StandBoard)
    history: StandHistory = field(default_factory=StandHistory)
    live: Live = field(default_factory=lambda: Live(interval=0.02))
    parts: list[Part] = field(default_factory=lambda: [Part("source mqtt", True, "")])
    now: int = START + LABELLED * MINUTE
    keys: Sequence[str] = ()
    hosts: Sequence[str] = ()
    with_page: bool = True
    read_keys: Sequence[str] = ()
    write_keys: Sequence[str] = ()
    intake: Intake | None = None
    alerts: Outbox | None = None
    quarantine: Path | None = None
    states: States = field(default_factory=states)

    def app(self) -> Any:
        """The application over this stand."""
        return create_app(
            self.board,
            self.history,
            self.live,
            lambda: self.parts,
            self.keys,
            "pumps of <b>hall 3</b>",
            lambda: self.now,
            states=lambda: self.states,
            hosts=self.hosts,
            with_page=self.with_page,
            read_keys=self.read_keys,
            write_keys=self.write_keys,
            intake=self.intake,
            alerts=self.alerts,
            quarantine=self.quarantine,
        )

    @contextmanager
    def served(self, port: int = 0) -> Iterator[HttpServer]:
        """The application behind a real server on a free loopback port."""
        server = HttpServer(self.app(), self.live, host="127.0.0.1", port=port)
        server.start()
        try:
            yield server
        finally:
            server.stop()
