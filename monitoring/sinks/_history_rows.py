"""Outputs into the columns of the history: numbers only, one pass, no Python per record."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitoring.sinks._history_answers import answers_of
from monitoring.sinks._history_file import ROWS
from streamgauge.arrays import Floats, Ints
from streamgauge.events import Event
from streamgauge.kernels import kernel
from streamgauge.output import SCORE_COLUMNS, Output, Scores
from streamgauge.predictions import (
    BASE,
    DUE,
    HALF,
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
)
from streamgauge.words import Step

__all__ = ["OUTCOMES", "PREDICTIONS", "Columns", "DeviceCodes", "Staged", "stage"]

Columns = dict[str, NDArray[Any]]

PREDICTIONS, OUTCOMES = range(2)
INTS = ("lane", "device", "sequence", "made", "due", "status", "version", "written")
FLOATS = (("value", "base", "half"), ("label", "residual"))
WRITTEN = INTS.index("written")

_PREDICT = int(Step.PREDICT)


@kernel
def stage(
    codes: Ints,
    numbers: Floats,
    begin: int,
    lane_codes: Ints,
    device_codes: Ints,
    ints: Ints,
    floats: Floats,
    filled: Ints,
) -> int:
    """Append the records from `begin` on to the columns of the two tables (`ints int64[2, 8, ROWS]`
    by `INTS`, `floats float64[2, 3, ROWS]` by `FLOATS`); `filled int64[2]` rows are in them.

    Returns the first record that was not taken: its table is full, or its device has no code
    (`device_codes[row]` is -1); the number of records when all were.
    """
    for i in range(begin, len(codes)):
        device = device_codes[codes[i, ROW]]
        if device < 0:
            return i
        table = 0 if codes[i, STEP] == _PREDICT else 1
        k = filled[table]
        if k == ints.shape[2]:
            return i
        ints[table, 0, k] = lane_codes[codes[i, LANE]]
        ints[table, 1, k] = device
        ints[table, 2, k] = codes[i, SEQUENCE]
        ints[table, 3, k] = codes[i, MADE]
        ints[table, 4, k] = codes[i, DUE]
        ints[table, 5, k] = codes[i, STATUS]
        ints[table, 6, k] = codes[i, VERSION]
        floats[table, 0, k] = numbers[i, VALUE if table == 0 else LABEL]
        floats[table, 1, k] = numbers[i, BASE if table == 0 else RESIDUAL]
        floats[table, 2, k] = numbers[i, HALF]
        filled[table] = k + 1
    return len(codes)


class DeviceCodes:
    """Device id ↔ the small number that stands for it in the file, for ever."""

    def __init__(self, known: Sequence[tuple[int, str]]) -> None:
        self.code_of = {device: code for code, device in known}
        self.ids = dict(known)
        self.fresh: list[int] = []
        """Codes that the file does not know yet."""
        self._names: Sequence[str | None] = ()
        self.by_row = np.full(0, -1, np.int64)
        """Code by device row of the names last given to `follow`; -1 where not looked up yet."""

    def follow(self, names: Sequence[str | None]) -> None:
        """Rows are rows of these names from now on. A list only grows; a new one begins anew."""
        if names is not self._names:
            self._names, self.by_row = names, np.full(len(names), -1, np.int64)
        elif len(names) > len(self.by_row):
            more = max(len(names), 2 * len(self.by_row)) - len(self.by_row)
            self.by_row = np.concatenate([self.by_row, np.full(more, -1, np.int64)])

    def look_up(self, row: int) -> int:
        """The code of the device in that row, a new one if it is unknown; -1 for row -1."""
        if row < 0:
            return -1
        device = self._names[row] or ""
        code = self.code_of.get(device)
        if code is None:
            code = len(self.ids)
            self.ids[code] = device
            self.code_of[device] = code
            self.fresh.append(code)
        self.by_row[row] = code
        return code


class Staged:
    """Rows of the four tables that wait for their transaction."""

    def __init__(self, lane_codes: Sequence[int], devices: DeviceCodes) -> None:
        self.devices = devices
        self.filled = np.zeros(2, np.int64)
        self._lanes = np.array([*lane_codes, -1], np.int64)
        self._ints = np.zeros((2, len(INTS), ROWS), np.int64)
        self._floats = np.zeros((2, 3, ROWS))
        self._events: list[tuple[Event, int, int]] = []
        self._scores: list[tuple[Scores, Ints, int]] = []
        self._answers: list[pa.Table] = []

    def records(self, output: Output, begin: int, written: int) -> int:
        """Take the output's records from `begin` on, as many as fit: the first one not taken."""
        codes, numbers = output.predictions.codes, output.predictions.numbers
        devices, before = self.devices, self.filled.copy()
        devices.follow(output.predictions.names)
        while True:
            begin = stage(
                codes, numbers, begin, self._lanes, devices.by_row, self._ints, self._floats,
                self.filled,
            )  # fmt: skip
            if begin == len(codes) or devices.by_row[codes[begin, ROW]] >= 0:
                break
            devices.look_up(int(codes[begin, ROW]))
        for ints, start, stop in zip(self._ints, before, self.filled, strict=True):
            ints[WRITTEN, start:stop] = written
        return begin

    def rest(self, output: Output, written: int) -> None:
        """Take the output's events and scores, and what its answers say beside their numbers."""
        self.devices.follow(output.predictions.names)
        if len(output.predictions):
            self._answers += answers_of(output, self._lanes, self.devices.by_row, written)
        for event in output.events:
            self._events.append((event, self.devices.look_up(event.row), written))
        for scores in output.scores:
            codes = np.array([self.devices.look_up(row) for row in scores.row.tolist()], np.int64)
            self._scores.append((scores, codes, written))

    def columns(self, table: int) -> Columns:
        """The columns of predictions or outcomes, as views of what is staged."""
        ints, floats, n = self._ints[table], self._floats[table], int(self.filled[table])
        named: Columns = {name: ints[k, :n] for k, name in enumerate(INTS)}
        if table == OUTCOMES:
            del named["version"]
        return named | {name: floats[k, :n] for k, name in enumerate(FLOATS[table])}

    def events(self) -> Columns:
        """The columns of the events; empty where there is none."""
        if not self._events:
            return {}
        events = [event for event, _, _ in self._events]
        named: Columns = {
            "device": np.array([device for _, device, _ in self._events], np.int64),
            "lane": self._lanes[[event.lane for event in events]],
            "written": np.array([written for _, _, written in self._events], np.int64),
        }
        for kind, names in (
            (np.int64, ("kind", "time", "since", "version")),
            (np.float64, ("before", "after", "size", "magnitude")),
            (object, ("channel", "signal", "detector")),
        ):
            for name in names:
                named[name] = np.array([getattr(event, name) for event in events], kind)
        return named

    def scores(self) -> Columns:
        """The columns of the scores; empty where there is none."""
        if not self._scores:
            return {}
        sizes = [len(scores.lane) for scores, _, _ in self._scores]
        named: Columns = {
            "lane": np.concatenate([self._lanes[scores.lane] for scores, _, _ in self._scores]),
            "device": np.concatenate([codes for _, codes, _ in self._scores]),
            "time": np.repeat([scores.time for scores, _, _ in self._scores], sizes),
            "written": np.repeat([written for _, _, written in self._scores], sizes),
        }
        numbers = np.concatenate([scores.numbers for scores, _, _ in self._scores])
        return named | dict(zip(SCORE_COLUMNS, numbers.T.copy(), strict=True))

    def answers(self) -> pa.Table | None:
        """What answers say beside their numbers; None where they say nothing."""
        return pa.concat_tables(self._answers) if self._answers else None

    def forget(self, tables: Sequence[int]) -> None:
        """These tables, the events, the scores and the new devices are safe in the file."""
        self.filled[list(tables)] = 0
        self._events.clear()
        self._scores.clear()
        self._answers.clear()
        self.devices.fresh.clear()
