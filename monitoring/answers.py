"""What is more than a number in an answer, and its scores: classes, anomaly scores, clusters.

What the second kernel of scoring (`monitoring.judging`) keeps and tells, only where a task is no
forecast and no regression:

- the parts of an answer (the probability of each class, the distance from a cluster) are kept until
  the label comes, and written beside the records
- a classification's residual becomes 0 where the class was right and 1 where not, which is what
  drift detectors watch
- a device's first answer from a cluster that was new to it is an event, and how much nearer
  answers are to their cluster than to the next one is a score of clusterings
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from monitoring import calibration, class_scores, clusters
from monitoring.judging import CLASS, FIELDS, GROUP, NUMBER, PARAMETERS, SCORE, judge
from monitoring.ranking import of_classes, pr_auc, roc_auc
from monitoring.recent import CHUNK, FLEET_WINDOW, newest
from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Call, Now
from streamgauge.events import AFTER, BEFORE, PART, ROW, SIZE, SOURCE, TIME, Event, EventKind
from streamgauge.schedule import Lane, Schedule
from streamgauge.state import Block, Field, Keys

__all__ = ["COLUMNS", "SCORED", "Answers"]

COLUMNS = (
    *class_scores.COLUMNS, "rolling_roc_auc", "rolling_pr_auc", "silhouette", "decayed_silhouette",
)  # fmt: skip
"""The scores of these tasks, in the order of `SCORE_COLUMNS`."""
SCORED = (*clusters.SCORED, "judged", *class_scores.FIELDS, *class_scores.COUNTS)
"""Fields that begin anew with the scores."""

MOST_PAIRED = 32
"""Classes up to which the pairs of label and answer are counted for each device: 8 KB of it."""
_MEANS = {"classification": CLASS, "anomaly": SCORE, "clustering": GROUP}


class Answers:
    """Parts and scores of the lanes that answer more than a number."""

    def __init__(
        self, lanes: Sequence[Lane], capacity: int, *, pending: int, window: int, room: int,
        keep: float,
    ) -> None:  # fmt: skip
        """`room` is the most steps of a schedule: so many may be told of at a time. A label weighs
        `keep` times as much as the next one in what is decayed; `window` are in what is rolling,
        a multiple of CHUNK."""
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
        rows += [Field("slots"), Field("chunks")]
        device = Block(rows, capacity)
        waiting = Block(
            [Field("parts", shape, along="lanes", padded=True)], capacity, layers=max(2, pending)
        )
        waiting.depth = device.view("slots")
        used = Block([Field("power", (count,), along="lanes")], capacity, layers=max(2, pending))
        used.depth = device.view("slots")
        powers = Block([Field(k, (count,), along="lanes") for k in calibration.FIELDS], capacity)
        recent = Block([self._ring(CHUNK, most)], capacity, layers=max(2, window // CHUNK))
        recent.depth = device.view("chunks")
        self.window = window
        pairs = Field("confusion", (count, most, most), along="lanes", padded=True)
        fleet = Block([*rows, pairs, self._ring(FLEET_WINDOW, most)], 1, keys=Keys.FLEET)
        self.blocks: Mapping[str, Block] = {
            "answers": device, "parts": waiting, "answers.fleet": fleet, "calibration": powers,
            "powers": used, "chances": recent, "confusion": Block([pairs], capacity),
        }  # fmt: skip
        self._parameters = np.array(
            [
                [_MEANS.get(lane.kind, NUMBER), k * most, lane.parts, keep, lane.calibrate,
                 lane.parts <= MOST_PAIRED]
                for k, lane in enumerate(lanes)
            ],
            np.float64,
        ).reshape(count, PARAMETERS)  # fmt: skip

    def _ring(self, labels: int, most: int) -> Field:
        shape = (len(self.lanes), labels, 1 + most)
        return Field("recent", shape, along="lanes", padded=True)

    def call(self, schedule: Schedule, codes: Ints, numbers: Floats, parts: Floats) -> Call:
        """Complete the records of the schedule's STEPS, which end at row AT of the columns."""
        given = (schedule.codes, schedule.numbers, schedule.parts)
        state = (self.blocks["answers"].array, self.blocks["parts"].stack,
                 self.blocks["answers.fleet"].array[0], self.blocks["calibration"].array,
                 self.blocks["powers"].stack, self.blocks["chances"].stack[: self.window // CHUNK],
                 self.blocks["confusion"].array, self._parameters)  # fmt: skip
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
            Event(EventKind.NEW_CLUSTER, code[ROW], code[PART], code[TIME], code[SOURCE],
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
        """float64[len(COUNTS), classes]: COUNTS of a lane for these device rows together ([-1]
        over all)."""
        block, places = self._of(rows)
        parts = self.lanes[lane].parts
        found = [block.view(name)[places, lane, :parts] for name in class_scores.COUNTS]
        counts: Floats = np.array(found).sum(axis=1)
        return counts

    def confusion(self, rows: Sequence[int], lane: int) -> Floats:
        """float64[classes, classes] for these device rows together ([-1] over all): how often a
        class (by row) was told as each (by column); empty for some of the devices where there are
        more than MOST_PAIRED classes."""
        parts = self.lanes[lane].parts
        every = list(rows) == [-1]
        if not every and parts > MOST_PAIRED:
            return np.zeros((0, 0))
        block = self.blocks["answers.fleet" if every else "confusion"]
        places = [0] if every else list(rows)
        found: Floats = block.view("confusion")[places, lane, :parts, :parts].sum(axis=0)
        return found

    def chances(self, rows: Sequence[int], lane: int) -> Floats:
        """float64[n, 1 + classes]: label and probabilities of the last labels of these device rows
        ([-1] over all)."""
        block, places = self._of(rows)
        judged, most = block.view("judged")[places, lane], 1 + self.lanes[lane].parts
        if list(rows) == [-1]:
            known = min(int(judged[0]), FLEET_WINDOW)
            of_all: Floats = block.view("recent")[0, lane, :known, :most]
            return of_all.copy()
        ring = self.blocks["chances"]
        return newest(ring, "recent", places, lane, judged, self.window)[:, :most]

    def ranked(self, rows: Sequence[int], lane: int) -> Floats:
        """float64[2, classes]: ROC AUC and PR AUC of each class against the others, of the last
        labels of these device rows together ([-1] over all)."""
        chances = self.chances(rows, lane)
        return of_classes(chances[:, 0], chances[:, 1:])

    def _of(self, rows: Sequence[int]) -> tuple[Block, list[int]]:
        if list(rows) == [-1]:
            return self.blocks["answers.fleet"], [0]
        return self.blocks["answers"], list(rows)

    def numbers(self, rows: Sequence[int], lane: int, recent: Floats) -> list[float]:
        """The scores `COLUMNS` of a lane for these device rows together ([-1] over all);
        `recent float64[n, 2]` are residual and label of their last labels, as numbers."""
        block, places = self._of(rows)
        kind = self.lanes[lane].kind
        if kind == "anomaly":
            judged = (recent[:, 1] - recent[:, 0], recent[:, 1])
            areas = [roc_auc(*judged), pr_auc(*judged)]
            return [*_NO_CLASSES, *areas, math.nan, math.nan]
        if kind == "clustering":
            own = np.array([block.view(name)[places, lane] for name in clusters.SCORED])
            return [*_NO_CLASSES, math.nan, math.nan, *clusters.summary(own)]
        own = np.array([block.view(name)[places, lane] for name in class_scores.FIELDS])
        chances = self.chances(rows, lane)
        return [
            *class_scores.summary(class_scores.combined(own), self.counts(rows, lane)),
            *class_scores.rolling(recent, chances),
            *(_mean(of_each) for of_each in of_classes(chances[:, 0], chances[:, 1:])),
            math.nan, math.nan,
        ]  # fmt: skip


_NO_CLASSES = (math.nan,) * len(class_scores.COLUMNS)


def _mean(values: Floats) -> float:
    """Of those that are known."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
