"""Prequential scores: every prediction is judged by its label before the model learns from it.

One kernel turns the models' answers into what is served, remembers it until its label comes, keeps
the scores per device and over all devices, and writes the records that go to the sinks. The newest
prediction of every device stays in the state: that is what the board reads.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from monitoring.alarms import Alarms
from monitoring.answers import COLUMNS, Answers
from monitoring.intervals import Intervals
from monitoring.number_scores import (
    EXPIRED,
    FIELDS,
    LABELS,
    LEARNED,
    NOT_FINITE,
    NOW_BASE,
    NOW_DUE,
    NOW_LABEL,
    NOW_MADE,
    NOW_RESIDUAL,
    NOW_SEQUENCE,
    NOW_STATUS,
    NOW_VALUE,
    NOW_VERSION,
    OVERFLOWED,
    PREDICTED,
    add,
    combined,
    summary,
)
from monitoring.recent import CHUNK, FLEET_WINDOW, newest
from streamgauge import predictions as out
from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Call, Now
from streamgauge.events import Event
from streamgauge.kernels import kernel
from streamgauge.output import SCORE_COLUMNS
from streamgauge.schedule import (
    BASE,
    DUE,
    LABEL,
    LANE,
    MADE,
    MODEL,
    RESIDUAL,
    ROW,
    SEQUENCE,
    SLOT,
    STEP,
    WEIGHT,
    Lane,
    Schedule,
)
from streamgauge.state import Block, Field, Keys
from streamgauge.words import Status, Step

__all__ = ["Scorer"]

# Columns of the lanes' parameters.
P_CHANGE, P_READY_AFTER, P_MEANWHILE, P_SHARED, P_TAUGHT, P_KEEP = range(6)
# Who shares a model.
NOBODY, ALL, GROUP = range(3)
# What is served until a model is ready.
MEANWHILE = ("none", "last", "fleet")
NOTHING, LAST, FLEET = range(3)

_SERVED = ("value", "status", "version")
_PREDICT = int(Step.PREDICT)
_LEARN = int(Step.LEARN)
_EXPIRE = int(Step.EXPIRE)
_PENDING = int(Status.PENDING)
_LABELLED = int(Status.LABELLED)
_EXPIRED = int(Status.EXPIRED)
_WARMING_UP = int(Status.WARMING_UP)


@kernel
def serve(
    cell: Floats,
    lane: int,
    lanes: int,
    answer: float,
    base: float,
    learned: float,
    of_fleet: float,
    parameters: Floats,
) -> tuple[float, int]:
    """What is served for a model's answer, and the prediction's status.

    Where the fleet's model is to answer until the device's own is ready, the answer is of that one,
    which has learned from as many labels as all devices had."""
    value = answer + base if parameters[lane, P_CHANGE] == 1.0 else answer
    ready = learned >= parameters[lane, P_READY_AFTER]
    finite = np.isfinite(value)
    if ready and finite:
        return value, _PENDING
    if ready:
        cell[NOT_FINITE * lanes + lane] += 1.0
    meanwhile = parameters[lane, P_MEANWHILE]
    if meanwhile == FLEET and finite and of_fleet >= parameters[lane, P_READY_AFTER]:
        return value, _WARMING_UP
    return np.nan if meanwhile == NOTHING else base, _WARMING_UP


@kernel
def score(
    codes: Ints,
    numbers: Floats,
    answers: Floats,
    device: Floats,
    pending: Floats,
    window: Floats,
    fleet: Floats,
    groups: Floats,
    parameters: Floats,
    restarts: Floats,
    made: Ints,
    told: Floats,
    n: int,
    at: int,
) -> int:
    """Judge steps 0 to n in order; records are written from row `at` on. The next free row."""
    lanes = len(parameters)
    head = len(FIELDS) * lanes
    chunks = len(window)
    for i in range(n):
        step = codes[i, STEP]
        lane = codes[i, LANE]
        d = codes[i, ROW]
        slot = codes[i, SLOT]
        base = numbers[i, BASE]
        label = numbers[i, LABEL]
        cell = device[d]
        # The labels that the model has learned: those of all who share it.
        counted = int(parameters[lane, P_TAUGHT])
        taught = fleet if parameters[lane, P_SHARED] == ALL else cell
        place = counted * lanes + lane
        if parameters[lane, P_SHARED] == GROUP:
            taught, place = groups[codes[i, MODEL]], lane
        numbers[i, RESIDUAL] = np.nan
        if step == _PREDICT:
            learned = taught[place]
            since = learned - restarts[d, lane] if len(restarts) else learned
            of_fleet = fleet[counted * lanes + lane]
            value, status = serve(cell, lane, lanes, answers[i], base, since, of_fleet, parameters)
            pending[slot, d, lane] = value
            pending[slot, d, lanes + lane] = status
            pending[slot, d, 2 * lanes + lane] = learned
            cell[head] = max(cell[head], slot + 1.0)
            cell[PREDICTED * lanes + lane] += 1.0
            fleet[PREDICTED * lanes + lane] += 1.0
            if counted == PREDICTED and parameters[lane, P_SHARED] == GROUP:
                taught[place] += 1.0
            cell[NOW_SEQUENCE * lanes + lane] = codes[i, SEQUENCE]
            cell[NOW_MADE * lanes + lane] = codes[i, MADE]
            cell[NOW_DUE * lanes + lane] = codes[i, DUE]
            cell[NOW_VALUE * lanes + lane] = value
            cell[NOW_BASE * lanes + lane] = base
            cell[NOW_STATUS * lanes + lane] = status
            cell[NOW_LABEL * lanes + lane] = np.nan
            cell[NOW_RESIDUAL * lanes + lane] = np.nan
            cell[NOW_VERSION * lanes + lane] = learned
        elif step == _EXPIRE:
            value = pending[slot, d, lane]
            status = _EXPIRED
            cell[EXPIRED * lanes + lane] += 1.0
            fleet[EXPIRED * lanes + lane] += 1.0
            if numbers[i, WEIGHT] == 2.0:
                cell[OVERFLOWED * lanes + lane] += 1.0
                fleet[OVERFLOWED * lanes + lane] += 1.0
        else:
            value = pending[slot, d, lane]
            residual = label - value
            if np.isfinite(residual * residual):
                add(cell, lane, lanes, label, residual, base, parameters[lane, P_KEEP])
                add(fleet, lane, lanes, label, residual, base, parameters[lane, P_KEEP])
                k = int(cell[LABELS * lanes + lane] - 1.0) % (chunks * CHUNK)
                window[k // CHUNK, d, (lane * CHUNK + k % CHUNK) * 2] = residual
                window[k // CHUNK, d, (lane * CHUNK + k % CHUNK) * 2 + 1] = label
                cell[head + 1] = max(cell[head + 1], k // CHUNK + 1.0)
                k = int(fleet[LABELS * lanes + lane] - 1.0) % FLEET_WINDOW
                fleet[head + 2 + (lane * FLEET_WINDOW + k) * 2] = residual
                fleet[head + 2 + (lane * FLEET_WINDOW + k) * 2 + 1] = label
                if pending[slot, d, lanes + lane] == _PENDING:
                    numbers[i, RESIDUAL] = residual
            status = _LABELLED
            if step == _LEARN:
                cell[LEARNED * lanes + lane] += 1.0
                fleet[LEARNED * lanes + lane] += 1.0
                if counted == LEARNED and parameters[lane, P_SHARED] == GROUP:
                    taught[place] += 1.0
        if step != _PREDICT and cell[NOW_SEQUENCE * lanes + lane] == codes[i, SEQUENCE]:
            cell[NOW_STATUS * lanes + lane] = status
            cell[NOW_LABEL * lanes + lane] = label
            cell[NOW_RESIDUAL * lanes + lane] = label - value
        made[at, out.STEP] = step
        made[at, out.LANE] = lane
        made[at, out.ROW] = d
        made[at, out.SEQUENCE] = codes[i, SEQUENCE]
        made[at, out.MADE] = codes[i, MADE]
        made[at, out.DUE] = codes[i, DUE]
        made[at, out.STATUS] = status
        # An outcome is that of the model that predicted, whatever it has learned since.
        made[at, out.VERSION] = int(pending[slot, d, 2 * lanes + lane])
        told[at, out.VALUE] = value
        told[at, out.BASE] = base
        told[at, out.LABEL] = label
        told[at, out.RESIDUAL] = label - value
        told[at, out.HALF] = np.nan
        at += 1
    return at


class Scorer:
    """Scores of every lane, per device and over all; `window` labels make the rolling scores, and
    in the decayed ones the weight of a label halves with every `half_life` labels."""

    def __init__(
        self, lanes: Sequence[Lane], capacity: int, *, pending: int, window: int = 50,
        half_life: int = 500, room: int = 1, groups: int = 0, restarting: bool = False,
    ) -> None:  # fmt: skip
        """`groups` of devices share models in lanes whose scope is a tag. `restarting`: models of
        devices may begin anew, see :meth:`restart`."""
        count, keep = len(lanes), 0.5 ** (1.0 / half_life)
        self.lanes = tuple(lanes)
        self.window = max(CHUNK, window // CHUNK * CHUNK)
        rows = [Field(name, (count,), along="lanes") for name in FIELDS]
        device = Block([*rows, Field("slots"), Field("chunks")], capacity)
        served = [Field(name, (count,), along="lanes") for name in _SERVED]
        waiting = Block(served, capacity, layers=max(2, pending))
        waiting.depth = device.view("slots")
        recent = Field("recent", (count, CHUNK, 2), along="lanes")
        rolling = Block([recent], capacity, layers=max(2, self.window // CHUNK))
        rolling.depth = device.view("chunks")
        fleet = Block(
            [
                *rows,
                Field("slots"),
                Field("chunks"),
                Field("recent", (count, FLEET_WINDOW, 2), along="lanes"),
            ],
            1,
            keys=Keys.FLEET,
        )
        self.blocks = {"device": device, "pending": waiting, "rolling": rolling, "fleet": fleet}
        self.parameters = np.array(
            [
                [k.change, k.ready_after, MEANWHILE.index(k.before_ready),
                 GROUP if k.tag else ALL if k.scope == "fleet" else NOBODY,
                 # What learns by itself has learned whatever it has answered.
                 PREDICTED if k.by_itself else LEARNED, keep]
                for k in lanes
            ],
            np.float64,
        ).reshape(count, 6)  # fmt: skip
        shared = Block([Field("taught", (count,), along="lanes")], max(1, groups), keys=Keys.GROUP)
        if groups:
            self.blocks["groups"] = shared
        several = any(lane.kind not in ("forecast", "regression") for lane in lanes)
        self.answers = None
        """None where all answers are numbers."""
        if several:
            self.answers = Answers(
                lanes, capacity, pending=pending, window=self.window, room=room, keep=keep
            )
            self.blocks |= self.answers.blocks
        self.intervals = None
        """None where no lane has any."""
        if any(lane.interval for lane in lanes):
            self.intervals = Intervals(lanes, capacity, pending=pending, keep=keep)
            self.blocks |= self.intervals.blocks
        self.alarms = None
        """None where no lane has a budget of them."""
        if any(lane.alarm_every for lane in lanes):
            self.alarms = Alarms(lanes, capacity, room=room)
            self.blocks |= self.alarms.blocks
        restarts = Block([Field("learned", (count,), along="lanes")], capacity)
        if restarting:
            self.blocks["restarts"] = restarts
        self._bound = (
            device.array,
            waiting.stack,
            rolling.stack[: self.window // CHUNK],
            fleet.array[0],
            shared.array,
            self.parameters,
            restarts.array if restarting else np.zeros((0, count)),
        )

    def restart(self, row: int, lane: int) -> None:
        """The model of this device has begun anew: it is not ready until it has learned as many
        labels as a new one needs."""
        learned = PREDICTED if self.lanes[lane].by_itself else LEARNED
        self.blocks["restarts"].view("learned")[row, lane] = self.cell(row)[learned, lane]

    def call(self, schedule: Schedule, codes: Ints, numbers: Floats) -> Call:
        """Judge the schedule's STEPS and write a record of each, from row AT of the given columns
        on (see `Predictions`); sets AT to the next free row."""
        given = (schedule.codes, schedule.numbers, schedule.answers)
        return Call(score, (*given, *self._bound, codes, numbers, Now.STEPS, Now.AT), (Now.AT,))

    def calls(self, schedule: Schedule, codes: Ints, numbers: Floats, parts: Floats) -> list[Call]:
        """`call`, and what completes it where answers are more than numbers."""
        rest = []
        if self.answers is not None:
            rest.append(self.answers.call(schedule, codes, numbers, parts))
        if self.intervals is not None:
            rest.append(self.intervals.call(schedule, codes, numbers))
        if self.alarms is not None:
            rest.append(self.alarms.call(schedule, codes, numbers))
        return [self.call(schedule, codes, numbers), *rest]

    def told(self) -> list[Event]:
        """Take out what answers brought since the last call."""
        both = [stage.told() for stage in (self.answers, self.alarms) if stage is not None]
        return sorted(chain.from_iterable(both), key=lambda event: event.source)

    def cell(self, row: int) -> Floats:
        """float64[len(FIELDS), lanes]: a copy of the scores of one device row, -1 for over all."""
        block = self.blocks["fleet" if row < 0 else "device"].array[max(row, 0)]
        size = len(FIELDS) * len(self.lanes)
        cell: Floats = block[:size].reshape(len(FIELDS), len(self.lanes)).copy()
        return cell

    def recent(self, row: int, lane: int) -> Floats:
        """float64[n, 2]: residual and label of the last labels of one device row (-1 over all), in
        no particular order."""
        if row >= 0:
            return self._recent([row], lane)
        fleet = self.blocks["fleet"]
        newest: Floats = fleet.view("recent")[0, lane, : int(fleet.view("labels")[0, lane])].copy()
        return newest

    def _recent(self, rows: Sequence[int], lane: int) -> Floats:
        labels = self.blocks["device"].view("labels")[list(rows), lane]
        return newest(self.blocks["rolling"], "recent", rows, lane, labels, self.window)

    def numbers(self, row: int, lane: int) -> Floats:
        """float64[len(SCORE_COLUMNS)]: all scores of one lane for one device row (-1 over all)."""
        return self._numbers([row], lane, self.cell(row)[:, lane], self.recent(row, lane))

    def together(self, rows: Sequence[int], lane: int) -> Floats:
        """float64[len(SCORE_COLUMNS)]: all scores of one lane over these device rows, the rolling
        ones over the last `window` labels of each."""
        block = self.blocks["device"].array[list(rows), : len(FIELDS) * len(self.lanes)]
        cells = block.reshape(len(rows), len(FIELDS), len(self.lanes))[:, :, lane].T
        return self._numbers(rows, lane, combined(cells), self._recent(rows, lane))

    def _numbers(self, rows: Sequence[int], lane: int, cell: Floats, recent: Floats) -> Floats:
        if self.answers is None or self.lanes[lane].kind in ("forecast", "regression"):
            around = self.intervals
            return summary(cell, recent, {} if around is None else around.numbers(rows, lane))
        numbers = np.full(len(SCORE_COLUMNS), np.nan)
        numbers[0] = cell[LABELS]
        counts = [SCORE_COLUMNS.index("expired"), SCORE_COLUMNS.index("overflowed")]
        numbers[counts] = cell[EXPIRED], cell[OVERFLOWED]
        numbers[-len(COLUMNS) :] = self.answers.numbers(rows, lane, recent)
        return numbers
