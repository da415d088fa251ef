"""Results as one table: a row per prediction, with its outcome once there is one."""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from streamgauge.arrays import Bools, Floats, Ints
from streamgauge.classes import Classes
from streamgauge.output import Output
from streamgauge.predictions import (
    DUE,
    HALF,
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

__all__ = ["COLUMNS", "Table"]

COLUMNS = (
    "id",
    "device",
    "made_at",
    "target_time",
    "task",
    "horizon",
    "prediction",
    "lower",
    "upper",
    "probabilities",
    "score",
    "label",
    "residual",
    "status",
    "model_version",
)


SEQUENCES = 2**40
"""More readings than a device sends in a life."""


class Table:
    """Gathers outputs and gives them as one data frame, in the documented columns and order."""

    def __init__(self, lanes: Sequence[Lane], classes: Sequence[Classes | None] = ()) -> None:
        self._lanes = tuple(lanes)
        self._codes: list[Ints] = []
        self._numbers: list[Floats] = []
        self._classes = [*classes] or [None] * len(lanes)
        self._parts: list[Floats] = []
        self._devices: dict[str, int] = {}

    def add(self, output: Output) -> None:
        """Take an output's records; rows of devices become stable numbers of this table."""
        records = output.predictions
        if not len(records):
            return
        codes = records.codes.copy()
        rows, where = np.unique(codes[:, ROW], return_inverse=True)
        known = self._devices
        numbers = [known.setdefault(output.device(row), len(known)) for row in rows.tolist()]
        codes[:, ROW] = np.array(numbers, np.int64)[where]
        self._codes.append(codes)
        self._numbers.append(records.numbers)
        self._parts.append(records.parts)

    def frame(self) -> pd.DataFrame:
        """One row per prediction, by `made_at`, then `id`; times are UTC, NaN where none is."""
        codes = np.concatenate(self._codes or [np.zeros((0, 8), np.int64)])
        numbers = np.concatenate(self._numbers or [np.zeros((0, HALF + 1))])
        made = codes[:, 0] == 0
        predicted, told = codes[made], codes[~made]
        outcome = _outcome_of(predicted, told)
        found = outcome >= 0
        label = np.full(len(predicted), np.nan)
        residual = np.full(len(predicted), np.nan)
        status = predicted[:, STATUS].copy()
        due = predicted[:, DUE].copy()
        label[found] = numbers[~made][outcome[found], LABEL]
        residual[found] = numbers[~made][outcome[found], RESIDUAL]
        status[found] = told[outcome[found], STATUS]
        came = found & (due == 0)
        due[came] = np.where(status[came] == int(Status.LABELLED), told[outcome[came], DUE], 0)
        frame = self._columns(predicted, numbers[made], due, label, residual, status)
        self._put_in_words(frame, predicted[:, LANE], made)
        return frame.sort_values(["made_at", "id"], kind="stable", ignore_index=True)

    def _put_in_words(self, frame: pd.DataFrame, lane: Ints, made: Bools) -> None:
        """Classes by name and with their probabilities, anomalies with their score, clusters with
        the distance from their centre."""
        kinds = np.array([one.kind for one in self._lanes], object)[lane]
        scores = kinds == "anomaly"
        frame.loc[scores, "score"] = frame.loc[scores, "prediction"]
        if (kinds == "clustering").any():
            distances = np.concatenate(self._parts)[made][:, 0]
            frame.loc[kinds == "clustering", "score"] = distances[kinds == "clustering"]
        columns = {name: frame[name].to_numpy(np.float64) for name in ("prediction", "label")}
        words = {name: column.astype(object) for name, column in columns.items()}
        probabilities = np.full(len(frame), None, object)
        for k, classes in enumerate(self._classes):
            own = np.flatnonzero(lane == k)
            if classes is None or not len(own):
                continue
            known = np.array([*classes.known(), None], object)
            for name, column in columns.items():
                at = np.where(np.isnan(column[own]), -1, column[own]).astype(np.int64)
                words[name][own] = known[at]
            parts = np.concatenate(self._parts)[made][own, : classes.most].tolist()
            named = map(classes.chances, parts)
            probabilities[own] = [json.dumps(chances) if chances else None for chances in named]
        if any(classes is not None for classes in self._classes):
            # Left to itself pandas takes text where all happen to be words.
            for name, column in (*words.items(), ("probabilities", probabilities)):
                frame[name] = pd.Series(column, frame.index, object)

    def _columns(
        self, codes: Ints, numbers: Floats, due: Ints, label: Floats, residual: Floats, status: Ints
    ) -> pd.DataFrame:
        names = np.array([*self._devices, ""], object)[:-1]
        lanes = [self._lanes[lane] for lane in codes[:, LANE].tolist()]
        devices = names[codes[:, ROW]]
        sequences = codes[:, SEQUENCE].tolist()
        nothing = np.full(len(codes), np.nan)
        value, half = numbers[:, VALUE], numbers[:, HALF]
        words = np.array([word.name.lower() for word in Status], object)
        return pd.DataFrame(
            {
                "id": list(map(prediction_id, lanes, devices.tolist(), sequences)),
                "device": devices,
                "made_at": _times(codes[:, MADE]),
                "target_time": _times(due).where(due != 0),
                "task": [lane.task for lane in lanes],
                "horizon": [lane.horizon for lane in lanes],
                "prediction": value,
                "lower": value - half,
                "upper": value + half,
                "probabilities": None,
                "score": nothing,
                "label": label,
                "residual": residual,
                "status": words[status],
                "model_version": codes[:, VERSION],
            },
            columns=list(COLUMNS),
        )


def _times(microseconds: Ints) -> "pd.Series[pd.Timestamp]":
    return pd.Series(pd.to_datetime(microseconds, unit="us", utc=True))


def _outcome_of(predicted: Ints, told: Ints) -> Ints:
    """For each prediction the index of its outcome, -1 where none came.

    Device, lane and sequence name a prediction; packed into one integer they sort quickly.
    """
    lanes = int(max(predicted[:, LANE].max(initial=0), told[:, LANE].max(initial=0))) + 1

    def key(codes: Ints) -> Ints:
        packed: Ints = (codes[:, ROW] * lanes + codes[:, LANE]) * SEQUENCES + codes[:, SEQUENCE]
        return packed

    made, came = key(predicted), key(told)
    order = np.argsort(came, kind="stable")
    place = np.searchsorted(came, made, sorter=order)
    found = place < len(came)
    found[found] = came[order[place[found]]] == made[found]
    outcome = np.full(len(made), -1, np.int64)
    outcome[found] = order[place[found]]
    return outcome
