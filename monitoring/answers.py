"""What is more than a number in an answer, and its scores: classes, anomaly scores, clusters.

The second kernel of scoring. It follows the first one, over the same steps and records, and only
where a task is no forecast and no regression:

- the parts of an answer (the probability of each class, the distance from a cluster) are kept until
  the label comes, and written beside the records
- a classification's residual becomes 0 where the class was right and 1 where not, which is what
  drift detectors watch
- a device's first answer from a cluster that was new to it is an event
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from monitoring import calibration, class_scores
from monitoring.calibration import calibrate, learn
from monitoring.class_scores import tally
from streamgauge import predictions as out
from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Call, Now
from streamgauge.events import AFTER, BEFORE, PART, SIZE, SOURCE, TIME, Event, EventKind
from streamgauge.events import ROW as EVENT_ROW
from streamgauge.kernels import kernel
from streamgauge.schedule import BASE, LABEL, LANE, MADE, RESIDUAL, ROW, SLOT, STEP, Lane, Schedule
from streamgauge.schedule import SOURCE as STEP_SOURCE
from streamgauge.state import Block, Field, Keys
from streamgauge.words import Status, Step

__all__ = ["COLUMNS", "Answers", "pr_auc", "roc_auc"]

COLUMNS = (*class_scores.COLUMNS, "rolling_accuracy", "rolling_roc_auc", "rolling_pr_auc")
"""The scores of these tasks, in the order of `SCORE_COLUMNS`."""

FIELDS = ("cluster", "clusters", "known")
CLUSTER, CLUSTERS, KNOWN = range(len(FIELDS))
CLASSES = len(FIELDS)
"""Where the numbers of `class_scores` begin, of as many columns as there are lanes each."""
PER_LANE = len(FIELDS) + len(class_scores.FIELDS)
PER_CLASS = len(class_scores.COUNTS)

MOST_CLUSTERS = 50
"""Clusters that are told apart, as bits of a float64; higher numbers give no event."""

# What a lane's answer is, and the columns of its parameters.
NUMBER, CLASS, SCORE, GROUP = 0.0, 1.0, 2.0, 3.0
_MEANS = {"classification": CLASS, "anomaly": SCORE, "clustering": GROUP}
P_MEANS, P_FIRST, P_PARTS, P_KEEP, P_CALIBRATE = range(5)

_PREDICT = int(Step.PREDICT)
_EXPIRE = int(Step.EXPIRE)
_PENDING = int(Status.PENDING)


@kernel
def entered(cell: Floats, lane: int, lanes: int, group: float) -> bool:
    """Note the device's cluster; whether that is new to it, and not its first one."""
    fresh = False
    if 0.0 <= group < MOST_CLUSTERS:
        known = int(cell[KNOWN * lanes + lane])
        bit = 1 << int(group)
        if known & bit == 0:
            fresh = known != 0
            cell[KNOWN * lanes + lane] = float(known | bit)
            cell[CLUSTERS * lanes + lane] += 1.0
    return fresh


@kernel
def squared(chances: Floats, first: int, classes: int, label: int) -> float:
    """The Brier score of one answer, whose probabilities begin at `first`."""
    found = 0.0
    for k in range(classes):
        chance = chances[first + k]
        off = (chance if chance == chance else 0.0) - (1.0 if k == label else 0.0)
        found += off * off
    return found / 2.0 if classes == 2 else found


@kernel
def judge(
    codes: Ints, numbers: Floats, parts: Floats, device: Floats, pending: Floats, fleet: Floats,
    powers: Floats, used: Floats, lanes: Floats, made: Ints, told: Floats, shares: Floats,
    log: Ints, log_numbers: Floats, count: Ints, n: int, at: int,
) -> None:  # fmt: skip
    """Complete steps 0 to n, whose records end before row `at`."""
    total = len(lanes)
    width = pending.shape[2]
    counts = PER_LANE * total
    now = counts + PER_CLASS * width
    for i in range(n):
        r = at - n + i
        shares[r, :] = np.nan
        lane = codes[i, LANE]
        means = lanes[lane, P_MEANS]
        if means == NUMBER:
            continue
        first, own = int(lanes[lane, P_FIRST]), int(lanes[lane, P_PARTS])
        d, slot = codes[i, ROW], codes[i, SLOT]
        cell = device[d]
        if codes[i, STEP] == _PREDICT:
            served = made[r, out.STATUS] == _PENDING
            if served and lanes[lane, P_CALIBRATE] == 1.0:
                power = calibrate(powers[d], lane, total, parts[i, :own])
                used[slot, d, lane] = power
            for k in range(own):
                part = parts[i, k] if served else np.nan
                pending[slot, d, first + k] = part
                cell[now + first + k] = part
                shares[r, k] = part
            cell[now + width] = max(cell[now + width], slot + 1.0)
            if means == GROUP and served:
                group = told[r, out.VALUE]
                if entered(cell, lane, total, group):
                    k = count[0]
                    log[k, EVENT_ROW], log[k, PART] = d, lane
                    log[k, TIME], log[k, SOURCE] = codes[i, MADE], codes[i, STEP_SOURCE]
                    log_numbers[k, BEFORE] = cell[CLUSTER * total + lane]
                    log_numbers[k, AFTER] = group
                    log_numbers[k, SIZE] = cell[CLUSTERS * total + lane]
                    count[0] = k + 1
                cell[CLUSTER * total + lane] = group
            continue
        for k in range(own):
            shares[r, k] = pending[slot, d, first + k]
        if means == CLASS and codes[i, STEP] != _EXPIRE:
            value = told[r, out.VALUE]
            label = numbers[i, LABEL]
            if value == value and label == label:
                wrong = 1.0 if value != label else 0.0
                told[r, out.RESIDUAL] = wrong
                if numbers[i, RESIDUAL] == numbers[i, RESIDUAL]:
                    numbers[i, RESIDUAL] = wrong
                chance = pending[slot, d, first + int(label)]
                sure = pending[slot, d, first + int(value)]
                if lanes[lane, P_CALIBRATE] == 1.0:
                    waited = pending[slot, d, first : first + own]
                    learn(powers[d], lane, total, waited, used[slot, d, lane], int(label))
                place = (CLASSES * total + lane, total, own, counts + first, width)
                brier = squared(pending[slot, d], first, own, int(label))
                told_as = (int(label), int(value), chance, sure, brier, numbers[i, BASE])
                tally(cell, *place, *told_as, lanes[lane, P_KEEP])
                tally(fleet, *place, *told_as, lanes[lane, P_KEEP])
                pair = (first + int(label)) * (width // total) + int(value)
                fleet[now + width + 1 + pair] += 1.0
        else:
            numbers[i, RESIDUAL] = np.nan
            told[r, out.RESIDUAL] = np.nan


class Answers:
    """Parts and scores of the lanes that answer more than a number."""

    def __init__(
        self, lanes: Sequence[Lane], capacity: int, *, pending: int, room: int, keep: float
    ) -> None:
        """`room` is the most steps of a schedule: so many may be told of at a time. A label weighs
        `keep` times as much as the next one in what is decayed."""
        self._log, self._log_numbers = np.zeros((room, 8), np.int64), np.zeros((room, 4))
        self._logged = np.zeros(1, np.int64)
        count = len(lanes)
        self.lanes = tuple(lanes)
        most = max(1, *(lane.parts for lane in lanes))
        shape = (count, most)
        of_lanes = (*FIELDS, *class_scores.FIELDS)
        rows = [Field(name, (count,), along="lanes") for name in of_lanes]
        per_part = (*class_scores.COUNTS, "now")
        rows += [Field(name, shape, along="lanes", padded=True) for name in per_part]
        device = Block([*rows, Field("slots")], capacity)
        waiting = Block(
            [Field("parts", shape, along="lanes", padded=True)], capacity, layers=max(2, pending)
        )
        waiting.depth = device.view("slots")
        used = Block([Field("power", (count,), along="lanes")], capacity, layers=max(2, pending))
        used.depth = device.view("slots")
        powers = Block([Field(k, (count,), along="lanes") for k in calibration.FIELDS], capacity)
        pairs = Field("confusion", (count, most, most), along="lanes", padded=True)
        fleet = Block([*rows, Field("slots"), pairs], 1, keys=Keys.FLEET)
        self.blocks: Mapping[str, Block] = {
            "answers": device, "parts": waiting, "answers.fleet": fleet, "calibration": powers,
            "powers": used,
        }  # fmt: skip
        self._parameters = np.array(
            [
                [_MEANS.get(lane.kind, NUMBER), k * most, lane.parts, keep, lane.calibrate]
                for k, lane in enumerate(lanes)
            ],
            np.float64,
        ).reshape(count, 5)  # fmt: skip

    def call(self, schedule: Schedule, codes: Ints, numbers: Floats, parts: Floats) -> Call:
        """Complete the records of the schedule's STEPS, which end at row AT of the columns."""
        given = (schedule.codes, schedule.numbers, schedule.parts)
        state = (self.blocks["answers"].array, self.blocks["parts"].stack,
                 self.blocks["answers.fleet"].array[0], self.blocks["calibration"].array,
                 self.blocks["powers"].stack, self._parameters)  # fmt: skip
        log = (self._log, self._log_numbers, self._logged)
        return Call(judge, (*given, *state, codes, numbers, parts, *log, Now.STEPS, Now.AT))

    def told(self) -> list[Event]:
        """Take out the new clusters since the last call, in the order of the readings."""
        n = int(self._logged[0])
        if not n:
            return []
        self._logged[0] = 0
        pairs = zip(self._log[:n].tolist(), self._log_numbers[:n].tolist(), strict=True)
        return [
            Event(EventKind.NEW_CLUSTER, code[EVENT_ROW], code[PART], code[TIME], code[SOURCE],
                  number[BEFORE], number[AFTER], number[SIZE])
            for code, number in pairs
        ]  # fmt: skip

    def now(self, row: int, lane: int) -> list[float]:
        """The parts of a device's newest prediction."""
        parts = self.blocks["answers"].view("now")[row, lane, : self.lanes[lane].parts]
        found: list[float] = parts.tolist()
        return found

    def errors(self, lane: int, rows: int) -> tuple[Floats, Floats]:
        """Shares of wrong classes of each of the first `rows` devices, and of the better baseline;
        float64[rows], NaN without a label."""
        block = self.blocks["answers"]
        counts = {k: block.view(k)[:rows, lane].sum(axis=1) for k in class_scores.COUNTS}
        lanes = {name: block.view(name)[:rows, lane] for name in class_scores.FIELDS}
        with np.errstate(all="ignore"):
            best = np.fmax(
                lanes["majority_hits"] / counts["seen"], lanes["base_hits"] / lanes["base_labels"]
            )
            return 1.0 - counts["hits"] / counts["seen"], 1.0 - best

    def counts(self, rows: Sequence[int], lane: int) -> Floats:
        """float64[3, classes]: COUNTS of a lane for these device rows together ([-1] over all)."""
        block, places = self._of(rows)
        parts = self.lanes[lane].parts
        found = [block.view(name)[places, lane, :parts] for name in class_scores.COUNTS]
        counts: Floats = np.array(found).sum(axis=1)
        return counts

    def confusion(self, lane: int) -> Floats:
        """float64[classes, classes] over all devices: how often a class (by row) was told as each
        (by column)."""
        parts = self.lanes[lane].parts
        found: Floats = self.blocks["answers.fleet"].view("confusion")[0, lane, :parts, :parts]
        return found.copy()

    def _of(self, rows: Sequence[int]) -> tuple[Block, list[int]]:
        if list(rows) == [-1]:
            return self.blocks["answers.fleet"], [0]
        return self.blocks["answers"], list(rows)

    def numbers(self, rows: Sequence[int], lane: int, recent: Floats) -> list[float]:
        """The scores `COLUMNS` of a lane for these device rows together ([-1] over all);
        `recent float64[n, 2]` are residual and label of their last labels, as numbers."""
        block, places = self._of(rows)
        own = np.array([block.view(name)[places, lane] for name in class_scores.FIELDS])
        counts, kind = self.counts(rows, lane), self.lanes[lane].kind
        is_score = kind == "anomaly"
        judged = (recent[:, 1] - recent[:, 0], recent[:, 1])
        right = float(np.mean(recent[:, 0] == 0.0)) if len(recent) else math.nan
        return [
            *class_scores.summary(class_scores.combined(own), counts),
            right if kind == "classification" else math.nan,
            roc_auc(*judged) if is_score else math.nan,
            pr_auc(*judged) if is_score else math.nan,
        ]


def roc_auc(scores: Floats, labels: Floats) -> float:
    """How often an anomaly (label above 0) has the higher score of two, ties counting half; NaN
    where there are not both."""
    bad, good = np.sort(scores[labels > 0.0]), np.sort(scores[labels <= 0.0])
    if not len(bad) or not len(good):
        return math.nan
    below = np.searchsorted(good, bad, "left")
    same = np.searchsorted(good, bad, "right") - below
    return float((below.sum() + same.sum() / 2.0) / (len(bad) * len(good)))


def pr_auc(scores: Floats, labels: Floats) -> float:
    """Average precision: the mean, over the anomalies (label above 0), of the share of anomalies
    among all that score at least as high; scikit-learn's `average_precision_score`. By chance it is
    the share of anomalies. NaN where there are not both."""
    bad = np.sort(scores[labels > 0.0])
    if not len(bad) or len(bad) == len(scores):
        return math.nan
    above = len(bad) - np.searchsorted(bad, bad, "left")
    everyone = len(scores) - np.searchsorted(np.sort(scores), bad, "left")
    return float(np.mean(above / everyone))
