"""Intervals that hold what they promise: around each answer, by how wrong the last ones were.

Conformal prediction by tracking a quantile: the half width is a local mean of absolute errors times
a factor, which grows a little with each label outside and shrinks less with each one inside, so
that the share outside is the wanted one in the long run, whatever the errors do. Angelopoulos,
Candes and Tibshirani (2023), "Conformal PID Control for Time Series Prediction", section 2.1, here
of the logarithm of the quantile, which makes the steps those of its own size.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np

from streamgauge import predictions as out
from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Call, Now
from streamgauge.kernels import kernel
from streamgauge.schedule import LANE, RESIDUAL, ROW, SEQUENCE, SLOT, STEP, Lane, Schedule
from streamgauge.state import Block, Field, Keys
from streamgauge.words import Status, Step

__all__ = ["SCORED", "Intervals"]

SCORED = ("judged", "covered", "width", "decayed_judged", "decayed_covered", "decayed_width")
"""Those that begin anew with the scores."""
FIELDS = ("factor", "scale", "counted", *SCORED, "last", "now")
FACTOR, SCALE, COUNTED, JUDGED = range(4)
DECAYED, LAST, HALF = JUDGED + 3, len(FIELDS) - 2, len(FIELDS) - 1
"""Per lane: logarithm of the factor; mean absolute error of late, of so many labels; labels that an
interval was there for, those inside, mean width, and the same decayed; count of the newest reading;
its half width."""

ENOUGH = 30.0
"""Labels of a device's own answers before it has intervals."""
STEP_SIZE = 0.02
"""Of the factor's logarithm. Larger ones follow sooner, and make wider intervals."""
SOON = 50.0
"""Readings within which a label comes soon; the longer it takes beyond, the smaller the steps: what
a step does is seen only so much later."""
RECENT = 0.02
"""Of the local mean, what the newest error counts."""
WILD = 10.0
"""Means beyond which an error moves the mean no further."""
EDGE = 30.0
"""Of the logarithm: a factor of 1e13."""

_PREDICT = int(Step.PREDICT)
_EXPIRE = int(Step.EXPIRE)
_PENDING = int(Status.PENDING)


@kernel
def _kept(half: float) -> float:
    """A half width as it waits: 0, which costs nothing, where there is none."""
    return 0.0 if half != half else half if half > 0.0 else -1.0


@kernel
def _half(kept: float) -> float:
    return np.nan if kept == 0.0 else max(kept, 0.0)


@kernel
def _learn(cell: Floats, lane: int, lanes: int, miss: float, half: float, outside: float) -> None:
    """Let one label move the factor, if it had an interval, and the local mean. `outside` is the
    wanted share times the step, less the step where it was outside."""
    if half == half:
        moved = cell[FACTOR * lanes + lane] - outside
        cell[FACTOR * lanes + lane] = min(max(moved, -EDGE), EDGE)
    cell[COUNTED * lanes + lane] += 1.0
    n, scale = cell[COUNTED * lanes + lane], cell[SCALE * lanes + lane]
    if n > ENOUGH:
        miss = min(miss, WILD * scale)
    cell[SCALE * lanes + lane] += max(1.0 / n, RECENT) * (miss - scale)


@kernel
def _count(cell: Floats, first: int, lanes: int, inside: float, half: float, keep: float) -> None:
    """Count one label among the three numbers from `first` on; those before it weigh `keep` times
    what they did."""
    cell[first] = 1.0 + keep * cell[first]
    cell[first + lanes] = inside + keep * cell[first + lanes]
    cell[first + 2 * lanes] += (2.0 * half - cell[first + 2 * lanes]) / cell[first]


@kernel
def _track(
    codes: Ints, numbers: Floats, device: Floats, waiting: Floats, fleet: Floats, wanted: Floats,
    made: Ints, told: Floats, n: int, at: int,
) -> None:  # fmt: skip
    """Complete steps 0 to n, whose records end before row `at`."""
    lanes = len(wanted)
    for i in range(n):
        r, lane = at - n + i, codes[i, LANE]
        told[r, out.HALF] = np.nan
        if wanted[lane, 0] == 0.0:
            continue
        d, slot = codes[i, ROW], codes[i, SLOT]
        cell = device[d]
        if codes[i, STEP] == _PREDICT:
            half = np.nan
            if made[r, out.STATUS] == _PENDING and cell[COUNTED * lanes + lane] >= ENOUGH:
                factor = wanted[lane, 1] * math.exp(cell[FACTOR * lanes + lane])
                half = factor * cell[SCALE * lanes + lane]
            told[r, out.HALF] = cell[HALF * lanes + lane] = half
            waiting[slot, d, lane] = _kept(half)
            cell[LAST * lanes + lane] = codes[i, SEQUENCE]
            end = len(FIELDS) * lanes
            cell[end] = max(cell[end], slot + 1.0)
            continue
        half = _half(waiting[slot, d, lane])
        told[r, out.HALF] = half
        # Of the model's own answers; what was served while it warmed up says nothing of it.
        miss = abs(numbers[i, RESIDUAL])
        if codes[i, STEP] == _EXPIRE or not np.isfinite(miss):
            continue
        lag = max(1.0, (cell[LAST * lanes + lane] - codes[i, SEQUENCE]) / SOON)
        outside = 1.0 if miss > half else 0.0
        _learn(cell, lane, lanes, miss, half, (1.0 - wanted[lane, 0] - outside) * STEP_SIZE / lag)
        if half == half:
            ever, lately, keep = JUDGED * lanes + lane, DECAYED * lanes + lane, wanted[lane, 2]
            _count(cell, ever, lanes, 1.0 - outside, half, 1.0)
            _count(fleet, ever, lanes, 1.0 - outside, half, 1.0)
            _count(cell, lately, lanes, 1.0 - outside, half, keep)
            _count(fleet, lately, lanes, 1.0 - outside, half, keep)


class Intervals:
    """Of the lanes that want them; the third kernel of scoring."""

    def __init__(self, lanes: Sequence[Lane], capacity: int, *, pending: int, keep: float) -> None:
        """A label weighs `keep` times as much as the next one in what is decayed."""
        count = len(lanes)
        rows = [Field(name, (count,), along="lanes") for name in FIELDS]
        device = Block([*rows, Field("slots")], capacity)
        waiting = Block(
            [Field("half", (count,), along="lanes")], capacity, layers=max(2, pending)
        )  # fmt: skip
        waiting.depth = device.view("slots")
        fleet = Block([*rows, Field("slots")], 1, keys=Keys.FLEET)
        self.blocks: Mapping[str, Block] = {
            "intervals": device, "halves": waiting, "intervals.fleet": fleet
        }  # fmt: skip
        # Of normal errors the factor is right from the first label on.
        usual = math.sqrt(math.pi / 2.0)
        self._wanted = np.array(
            [
                [k.interval, usual * NormalDist().inv_cdf((1.0 + k.interval) / 2.0), keep]
                for k in lanes
            ],
            np.float64,
        ).reshape(count, 3)  # fmt: skip

    def call(self, schedule: Schedule, codes: Ints, numbers: Floats) -> Call:
        """Complete the records of the schedule's STEPS, which end at row AT of the columns."""
        state = (self.blocks["intervals"].array, self.blocks["halves"].stack,
                 self.blocks["intervals.fleet"].array[0], self._wanted)  # fmt: skip
        given = (schedule.codes, schedule.numbers)
        return Call(_track, (*given, *state, codes, numbers, Now.STEPS, Now.AT))

    def now(self, row: int, lane: int) -> float:
        """Half the width of the interval around a device's newest prediction; NaN without one."""
        block = self.blocks["intervals"]
        if not block.view("counted")[row, lane]:
            return math.nan
        return float(block.view("now")[row, lane])

    def numbers(self, rows: Sequence[int], lane: int) -> dict[str, float]:
        """Share of labels inside, and mean width, of these device rows ([-1] over all), of all
        labels and decayed, by the scores' names."""
        block = self.blocks["intervals.fleet" if list(rows) == [-1] else "intervals"]
        places = [max(row, 0) for row in rows]
        found: dict[str, float] = {}
        for form in ("", "decayed_"):
            judged, covered, width = (
                block.view(form + name)[places, lane] for name in ("judged", "covered", "width")
            )
            total = float(judged.sum())
            if total:
                found[f"{form}interval_coverage"] = float(covered.sum()) / total
                found[f"{form}interval_width"] = float((judged * width).sum()) / total
        return found
