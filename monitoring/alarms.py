"""Which anomaly scores are alarms: so many per device and time as were asked for.

The threshold comes from the largest score of each eighth of the time in which one alarm may be: of
the last 32 such maxima about one in eight is above it, whatever scores look like. What that misses
is made up for by feedback, as conformal prediction does (Angelopoulos, Candes and Tibshirani, 2023,
"Conformal PID Control for Time Series Prediction"): an alarm raises the threshold, time without one
lowers it, so that in the long run the number of alarms is the wanted one.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from streamgauge import predictions as out
from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Call, Now
from streamgauge.events import AFTER, BEFORE, MAGNITUDE, PART, SIZE, SOURCE, TIME, Event, EventKind
from streamgauge.events import ROW as EVENT_ROW
from streamgauge.kernels import kernel
from streamgauge.schedule import LANE, MADE, ROW, STEP, Lane, Schedule
from streamgauge.schedule import SOURCE as STEP_SOURCE
from streamgauge.state import Block, Field
from streamgauge.words import Status, Step

__all__ = ["Alarms"]

PARTS = 8
"""Of the time in which one alarm may be: of each the largest score counts."""
KEPT = 32
"""Largest scores that are remembered, of four such times."""
FEWEST = 3
"""From which on there are alarms; until there are PARTS the threshold is further above them."""
SHARE = 1.0 - math.exp(-1.0 / PARTS)
"""Of parts with an alarm, where alarms come by chance, one in PARTS parts on the average."""
FEEDBACK = 0.5
"""What an alarm raises the threshold by, in distances of it from the median of the maxima."""
EDGE = 8.0
"""Of these, the most that feedback moves it."""
QUIET = 0.05
"""Of the time in which one alarm may be: so long after one there is none."""
LEAST = 1e-9
"""Logarithms are taken of scores; smaller ones are alike."""

# Numbers of a lane: maxima, of which there were so many; the largest score of this part and when it
# began; what feedback adds; when the newest score came, and the newest alarm; alarms; threshold;
# the height among the maxima that it starts from, and how far that is from their median.
(
    MAXIMA, LARGEST, BEGUN, ADDED, LATEST, TOLD, COUNTED, THRESHOLD, HIGH, APART, NUMBERS
) = range(KEPT, KEPT + 11)  # fmt: skip

_PREDICT = int(Step.PREDICT)
_PENDING = int(Status.PENDING)


@kernel
def _next(own: Floats, made: int, part: float) -> None:
    """Begin another part where this one is over."""
    if own[BEGUN] > 0.0:
        if made - own[BEGUN] < part:
            return
        own[int(own[MAXIMA]) % KEPT] = own[LARGEST]
        own[MAXIMA] += 1.0
        n = int(min(own[MAXIMA], KEPT))
        maxima = np.sort(own[:n])
        own[HIGH] = maxima[n - max(round(n * SHARE), 1)]
        own[APART] = max(own[HIGH] - maxima[n // 2], 1e-3)
    own[BEGUN], own[LARGEST] = made, -np.inf


@kernel
def _threshold(own: Floats) -> float:
    """Logarithm of the score beyond which one is an alarm; infinite while maxima are too few."""
    if own[MAXIMA] < FEWEST:
        return np.inf
    early = max(PARTS - own[MAXIMA], 0.0) / PARTS
    return float(own[HIGH] + own[APART] * (early + own[ADDED]))


@kernel
def exceeds(own: Floats, score: float, made: int, time: float) -> bool:
    """Whether a score is an alarm, of which there may be one in `time` microseconds."""
    value = math.log(max(score, LEAST))
    _next(own, made, time / PARTS)
    passed = made - own[LATEST] if own[LATEST] > 0.0 else 0.0
    own[LATEST] = made
    limit = own[THRESHOLD] = _threshold(own)
    alarm = value > limit and (own[TOLD] == 0.0 or made - own[TOLD] > QUIET * time)
    if alarm:
        own[TOLD], own[COUNTED] = made, own[COUNTED] + 1.0
    if own[MAXIMA] >= FEWEST:
        # Longer than a part nobody was looking.
        passed = min(max(passed, 0.0), time / PARTS) / time
        added = own[ADDED] + FEEDBACK * ((1.0 if alarm else 0.0) - passed)
        own[ADDED] = min(max(added, -EDGE), EDGE)
    own[LARGEST] = max(own[LARGEST], value)
    return bool(alarm)


@kernel
def judge(
    codes: Ints, causes: Floats, device: Floats, times: Floats, made: Ints, told: Floats, log: Ints,
    log_numbers: Floats, count: Ints, n: int, at: int,
) -> None:  # fmt: skip
    """Look at the scores of steps 0 to n, whose records end before row `at`."""
    for i in range(n):
        r, lane = at - n + i, codes[i, LANE]
        if codes[i, STEP] != _PREDICT or times[lane] == 0.0 or made[r, out.STATUS] != _PENDING:
            continue
        score, d = told[r, out.VALUE], codes[i, ROW]
        if score != score:
            continue
        own = device[d, lane * NUMBERS : (lane + 1) * NUMBERS]
        if exceeds(own, score, codes[i, MADE], times[lane]):
            k = count[0]
            log[k, EVENT_ROW], log[k, PART] = d, lane
            log[k, TIME], log[k, SOURCE] = codes[i, MADE], codes[i, STEP_SOURCE]
            log_numbers[k, BEFORE], log_numbers[k, AFTER] = math.exp(own[THRESHOLD]), score
            log_numbers[k, SIZE], log_numbers[k, MAGNITUDE] = own[COUNTED], causes[i]
            count[0] = k + 1


class Alarms:
    """Alarms of the lanes that have a budget, per device."""

    def __init__(self, lanes: Sequence[Lane], capacity: int, *, room: int) -> None:
        """`room` is the most steps of a schedule: so many may be told of at a time."""
        self.lanes = tuple(lanes)
        device = Block([Field("alarms", (len(lanes), NUMBERS), along="lanes")], capacity)
        self.blocks: Mapping[str, Block] = {"alarms": device}
        self._times = np.array([lane.alarm_every for lane in lanes], np.float64)
        self._log, self._log_numbers = np.zeros((room, 8), np.int64), np.zeros((room, 4))
        self._logged = np.zeros(1, np.int64)

    def call(self, schedule: Schedule, codes: Ints, numbers: Floats) -> Call:
        """Look at the schedule's STEPS, whose records end at row AT of the columns."""
        given = (schedule.codes, schedule.causes, self.blocks["alarms"].array, self._times)
        log = (self._log, self._log_numbers, self._logged)
        return Call(judge, (*given, codes, numbers, *log, Now.STEPS, Now.AT))

    def told(self) -> list[Event]:
        """Take out the alarms since the last call, in the order of the readings."""
        n = int(self._logged[0])
        if not n:
            return []
        self._logged[0] = 0
        return [
            Event(EventKind.ANOMALY, code[EVENT_ROW], code[PART], code[TIME], code[SOURCE],
                  number[BEFORE], number[AFTER], number[SIZE],
                  self._cause(code[PART], number[MAGNITUDE]))
            for code, number in zip(self._log[:n].tolist(), self._log_numbers[:n].tolist(),
                                    strict=True)
        ]  # fmt: skip

    def _cause(self, lane: int, place: float) -> str:
        names = self.lanes[lane].causes
        return names[int(place)] if names and place == place else ""

    def threshold(self, row: int, lane: int) -> float:
        """The score beyond which the device's next one is an alarm; NaN while that is not known."""
        own = self.blocks["alarms"].view("alarms")[row, lane]
        known = own[MAXIMA] >= FEWEST and math.isfinite(own[THRESHOLD])
        return math.exp(own[THRESHOLD]) if known else math.nan
