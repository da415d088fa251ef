"""The in-memory board: what the running pipeline knows now, for readers on any thread."""

import math
import threading
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from ingest.rejects import Rejects
from models.candidates import Candidates
from models.cold_start import ColdStart
from models.compile import Compiled
from models.kernel_fleet import KernelFleet
from models.relearning import Relearning
from models.selection import Selection
from monitoring import class_scores
from monitoring.number_scores import FIELDS
from stream_processor.settings.model import Settings
from stream_processor.views import (
    ChoiceView,
    DeviceView,
    PredictionView,
    ScoreView,
    SelectionView,
    TaskView,
)
from stream_processor.walk import Walk
from streamgauge.arrays import Floats
from streamgauge.output import SCORE_COLUMNS
from streamgauge.predictions import answer, interval, prediction_id
from streamgauge.timing import Timing
from streamgauge.words import Flag, Status, Verdict

__all__ = ["LiveBoard"]

OF_A_CLASS = ("labels", "precision", "recall", "f1", "rolling_roc_auc", "rolling_pr_auc")
_FIELD = {name: k for k, name in enumerate(FIELDS)}


class LiveBoard:
    """Reads the walk's own state under the lock that the worker holds while it computes."""

    def __init__(
        self,
        settings: Settings,
        walk: Walk,
        models: Sequence[Compiled],
        rejects: Rejects,
        lock: threading.Lock,
    ) -> None:
        self._settings = settings
        self._walk = walk
        self._models = models
        self._rejects = rejects
        self._lock = lock
        self._stages = walk.stages
        admit = self._stages.admit.blocks["admit"]
        self._seen = {name: admit.view(name) for name in ("newest", "received", "count", "last")}
        self._sorted: list[str] = []
        self._listed: list[str | None] = []

    def device_ids(self, after: str = "", limit: int = 100) -> list[str]:
        """Known devices in alphabetical order, those after `after`."""
        with self._lock:
            devices = self._stages.devices
            if self._listed is not devices.ids or len(self._sorted) != devices.known:
                # Eviction gives `ids` a new list, so the same number of others is noticed too.
                self._sorted, self._listed = sorted(devices.row_of), devices.ids
            start = bisect_right(self._sorted, after) if after else 0
            return self._sorted[start : start + limit]

    def device(self, device: str) -> DeviceView | None:
        """The device and its newest reading, and what is retained of it where that is newer or
        all there is."""
        with self._lock:
            row = self._stages.devices.row_of.get(device)
            if row is None:
                return None
            count = int(self._seen["count"][row])
            last = self._seen["last"][row].copy()
            newest, received = int(self._seen["newest"][row]), int(self._seen["received"][row])
            told, times, retained = self._stages.retained.last(row)
            skew = self._stages.clocks.skew(row)
            flags = self._stages.flags.by_channel(row)
            watched = self._stages.drift.watched_of(row)
            signals = self._stages.drift.states_of(row)
        if not count:
            last[:], newest, received = np.nan, 0, 0
        better = np.isfinite(retained) & (np.isnan(last) | (times > newest))
        values = np.where(better, retained, last).tolist()
        if better.any():
            newest = max(newest, int(times[better].max()))
            received = max(received, told)
        shown = {n: _some(v) for n, v in zip(self._stages.schema.names, values, strict=True)}
        wrong = abs(skew or 0.0) * 1e6 > self._settings.devices.max_skew
        return DeviceView(
            device,
            newest or None,
            received or None,
            count,
            shown,
            skew,
            wrong,
            flags,
            watched,
            signals,
        )

    def predictions(self, device: str) -> list[PredictionView] | None:
        """Newest prediction per task and horizon; None if the device is unknown."""
        with self._lock:
            row = self._stages.devices.row_of.get(device)
            if row is None:
                return None
            cell = self._stages.scorer.cell(row)
            answers = self._stages.scorer.answers
            lanes = range(len(self._stages.lanes))
            parts = [[] if answers is None else answers.now(row, lane) for lane in lanes]
            return [
                self._prediction(device, lane, cell[:, lane], parts[lane])
                for lane in lanes
                if cell[_FIELD["predicted"], lane]
            ]

    def _prediction(
        self, device: str, lane: int, cell: Floats, parts: Sequence[float]
    ) -> PredictionView:
        now = {name: float(cell[k]) for name, k in _FIELD.items()}
        word, classes = self._stages.lanes[lane], self._stages.classify.of[lane]
        named = answer(word, classes, now["value"], parts)
        around = self._stages.scorer.intervals
        if around is not None:
            row = self._stages.devices.row_of[device]
            named |= interval(now["value"], around.now(row, lane))
        alarms = self._stages.scorer.alarms
        if alarms is not None and word.alarm_every:
            row = self._stages.devices.row_of[device]
            named["threshold"] = alarms.threshold(row, lane)
        learner = self._stages.learners[lane]
        if isinstance(learner, ColdStart):
            named["own_share"] = learner.shares([self._stages.devices.row_of[device]])["own"]
        for key in named.keys() & {"distance", "score", "threshold", "lower", "upper"}:
            named[key] = _some(named[key])
        return PredictionView(
            **named,
            label_class=None if classes is None else classes.name(now["label"]),
            id=prediction_id(word, device, int(now["sequence"])),
            task=word.task,
            horizon=word.horizon,
            made_at=int(now["made"]),
            target_time=int(now["due"]) or None,
            prediction=_some(now["value"]),
            last_value=_some(now["base"]),
            status=Status(int(now["status"])).name.lower(),
            label=_some(now["label"]),
            residual=_some(now["residual"]),
            model_version=int(now["version"]),
        )

    def tasks(self) -> list[TaskView]:
        """Every task at every horizon, as configured."""
        return [self._task(lane) for lane in range(len(self._stages.lanes))]

    def _task(self, lane: int) -> TaskView:
        word, model = self._stages.lanes[lane], self._models[lane]
        task, classes = self._settings.tasks[word.task], self._stages.classify.of[lane]
        return TaskView(
            task=word.task,
            horizon=word.horizon,
            kind=task.kind,
            target=task.target,
            unit=self._stages.schema.channels[word.target].unit if word.target >= 0 else "",
            scope=task.scope,
            models=self._stages.models(lane),
            labels_from=task.label.source if task.label else "",
            model=task.model_words,
            compiled=model.compiled,
            why=model.why,
            classes=() if classes is None else classes.named(),
            labels_refused=0 if classes is None else self._stages.classify.refused(lane),
            inputs=[self._walk.feature_names[column] for column in word.inputs],
        )

    def scores(self, task: str, device: str = "") -> list[ScoreView]:
        """One per horizon of the task; over all devices where `device` is empty."""
        with self._lock:
            row = self._stages.devices.row_of.get(device) if device else -1
            if row is None:
                return []
            return [self._score(lane, device, row) for lane in self._lanes_of(task)]

    def selections(self, task: str, device: str = "") -> list[SelectionView]:
        """One per horizon of the task, of the device or over all, none without a `select`."""
        lanes = self._lanes_of(task)
        with self._lock:
            known = self._stages.devices.row_of
            if device and device not in known:
                return []
            rows = [known[device]] if device else list(known.values())
            return [
                self._selection(selection, device, rows)
                for selection in self._stages.selections
                if selection.lane in lanes
            ]

    def _selection(self, selection: Selection, device: str, rows: list[int]) -> SelectionView:
        word = self._stages.lanes[selection.lane]
        rows = self._stages.models_of(selection.lane, rows)
        if device or word.scope == "fleet":
            choices = [
                ChoiceView(name, float(kept), _some(score), why)
                for name, kept, score, why in selection.report(rows[0])
            ]
        else:
            choices = [
                ChoiceView(name, _some(kept), _some(score), "")
                for name, kept, score in selection.kept(rows)
            ]
        chosen = self._settings.tasks[word.task].select
        by = chosen.by if chosen else ""
        return SelectionView(word.task, word.horizon, device, word.scope, by, len(rows), choices)

    def device_scores(self, task: str, limit: int = 100, horizon: str = "") -> list[ScoreView]:
        """Devices at a horizon of a task (the first where none is named), those with the worst
        error beside persistence first."""
        of = self._stages.lanes
        lanes = [k for k in self._lanes_of(task) if horizon in ("", of[k].horizon)]
        if not lanes:
            return []
        cells = self._stages.scorer.blocks["device"]
        with self._lock:
            ids = list(self._stages.devices.ids)
            labels, mae, peer = (
                cells.view(name)[: len(ids), lanes[0]].copy()
                for name in ("labels", "mae", "base_mae")
            )
            if of[lanes[0]].kind == "classification" and self._stages.scorer.answers is not None:
                mae, peer = self._stages.scorer.answers.errors(lanes[0], len(ids))
        with np.errstate(all="ignore"):
            ratio = np.nan_to_num(np.where(labels > 0, mae / peer, -1.0), nan=-1.0)
        worst = np.argsort(-ratio, kind="stable").tolist()
        rows = list(islice((row for row in worst if ids[row] is not None), limit))
        with self._lock:
            return [self._score(lanes[0], ids[row] or "", row) for row in rows]

    def tags(self) -> Sequence[str]:
        """Names of the tags that are known of devices."""
        return self._stages.devices.tags.names

    def group_scores(self, task: str, tag: str) -> list[ScoreView]:
        """One per horizon of the task and value of the tag, values in alphabetical order."""
        tags, scorer = self._stages.devices.tags, self._stages.scorer
        found = []
        with self._lock:
            groups: dict[str, list[int]] = {}
            for device, row in self._stages.devices.row_of.items():
                groups.setdefault(tags.value(tag, device), []).append(row)
            for lane in self._lanes_of(task):
                for group, rows in sorted(groups.items()):
                    view = self._view(lane, scorer.together(rows, lane), rows)
                    found.append(replace(view, group=group, of_devices=len(rows)))
        return found

    def _lanes_of(self, task: str) -> list[int]:
        return [k for k, lane in enumerate(self._stages.lanes) if lane.task == task]

    def _score(self, lane: int, device: str, row: int) -> ScoreView:
        view = self._view(lane, self._stages.scorer.numbers(row, lane), [row])
        scores = view.scores
        labels = self._stages.join.met(lane) if row < 0 else {}
        if labels:
            met, settled = scores["labels"] or 0.0, scores["expired"] or 0.0
            labels["coverage"] = met / (met + settled) if met + settled else None
        return replace(view, device=device, labels=labels, follows=self._follows(lane, row))

    def _view(self, lane: int, numbers: Floats, rows: Sequence[int]) -> ScoreView:
        """What these device rows ([-1]: all) have in common with any others."""
        word = self._stages.lanes[lane]
        told = zip(SCORE_COLUMNS, map(_some, numbers.tolist()), strict=True)
        view = ScoreView(word.task, word.horizon, "", dict(told))
        classes, answers = self._stages.classify.of[lane], self._stages.scorer.answers
        if classes is None or answers is None:
            return view
        names = classes.named()
        counts = answers.counts(rows, lane)
        own, ranked = class_scores.per_class(counts[:3]), answers.ranked(rows, lane)
        each = np.vstack([counts[:1], own, ranked]).T.tolist()
        per_class = {
            name: dict(zip(OF_A_CLASS, map(_some, one), strict=True))
            for name, one in zip(names, each, strict=False)
        }
        pairs = answers.confusion(rows, lane)[: len(names), : len(names)]
        return replace(view, per_class=per_class, confusion=pairs.astype(np.int64).tolist())

    def _follows(self, lane: int, row: int) -> dict[str, float]:
        """Whom the mixture of a device follows, or how far its own model and the fleet's; over all
        devices the mean of theirs."""
        learner = self._stages.learners[lane]
        if isinstance(learner, Relearning):
            learner = learner.running
        if not isinstance(learner, Candidates | ColdStart | KernelFleet):
            return {}
        rows = list(self._stages.devices.row_of.values()) if row < 0 else [row]
        return learner.shares(self._stages.models_of(lane, rows) if rows else rows)

    def timing(self) -> Timing:
        """How long stages took."""
        return self._walk.timing

    def counts(self) -> dict[str, Any]:
        """Counters of the walk, for /metrics."""
        with self._lock:
            counts = self._stages.admit.blocks["counts"]
            verdicts = counts.view("verdicts")[0].tolist()
            vetted = counts.view("flags")[0]
            cleaned = self._stages.flags.totals()
            by_channel = self._stages.flags.by_channel()
            fleet = self._stages.scorer.cell(-1).sum(axis=1)
            known, rows = self._stages.devices.known, len(self._stages.devices)
            wrong = self._stages.clocks.wrong(rows, self._settings.devices.max_skew)
            silent = self._stages.silence.silent(rows)
            silences = self._stages.silence.totals()
            drifts = self._stages.drift.totals()
            calibrating = self._stages.drift.calibrating(rows)
            signals = self._stages.drift.signals_calibrating(rows)
        failures = sum(sum(k.failures.values()) for k in self._stages.learners)
        return {
            "readings": {v.name.lower(): int(n) for v, n in zip(Verdict, verdicts, strict=True)},
            "flags": {str(f.name).lower(): int(vetted[k] + cleaned[k]) for k, f in enumerate(Flag)},
            "channel_flags": by_channel,
            "rejected": dict(self._rejects.counts),
            "predictions": int(fleet[_FIELD["predicted"]]),
            "labels": int(fleet[_FIELD["labels"]]),
            "expired": int(fleet[_FIELD["expired"]]),
            "overflowed": int(fleet[_FIELD["overflowed"]]),
            "not_finite": int(fleet[_FIELD["not_finite"]]),
            "model_failures": failures,
            "devices": known,
            "devices_silent": silent,
            "silences": silences,
            "drifts": drifts,
            "channels_calibrating": calibrating,
            "signals_calibrating": signals,
            "devices_clock_wrong": wrong,
            "devices_refused": self._rejects.counts["device_limit"],
        }


def _some(number: float) -> float | None:
    return number if math.isfinite(number) else None
