"""The model of a task that names none: a mixture of what is known to work, for numbers.

It tells how far a target moves from its last value, and follows, device by device, whichever of six
experts has been best: the last value, the value of the same time yesterday and a week ago, and
three linear regressions by recursive least squares: one that remembers ten thousand labels, one
that remembers a thousand, and one that single labels move less. Beside the task's features they see
how the target moved of late, how it stands to yesterday and to last week, and the time of day.

Answers of the experts wait with their prediction for its label, so an expert is judged by what it
said then, however late the label comes.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from models.learner import Blobs
from models.least_squares import gain, packed, start, update
from models.mixing import mixed, reweigh
from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Call, Now
from streamgauge.kernels import kernel
from streamgauge.schedule import BASE, LABEL, LANE, MADE, MODEL, ROW, SLOT, STEP, Schedule
from streamgauge.state import Block, Field, Keys, reset_rows
from streamgauge.words import Step

__all__ = ["EXPERTS", "WHY", "Mixture"]

EXPERTS = ("last value", "yesterday", "last week", "linear", "quick linear", "robust linear")
"""Who is followed, in words; the first is safe."""
WHY = f"no model is named: a mixture of {', '.join(EXPERTS[:-1])} and {EXPERTS[-1]}"
LAST, YESTERDAY, LAST_WEEK, LINEAR = range(4)
FORGETS = np.array([0.9999, 0.999, 0.9999])
LIMITS = np.array([5.0, 5.0, 1.0])
"""Scales that a label may miss a regression by and still count in full."""
SHARED = np.array([0, 1, 0])
"""Whose covariance: regressions that forget alike share one."""
PREDICT, LEARN = int(Step.PREDICT), int(Step.LEARN)

DAY = 86_400 * 10**6
SLOTS, HOURS = 96, 168
"""Of a day and of a week, whose last values are kept."""
BACK = 6
"""Values before the last."""
MOVES, MORE = 10, 5
"""Own features: what is told of the target's past, which waits with the prediction; its last value
and the time of day."""
FAR = 5.0
"""Deviations beyond which a feature counts as so far."""
FARTHEST = 20.0
"""Scales that a regression may tell at most."""
LABELS = 1_000.0
"""That the scale is a mean of."""
WILD = 10.0
"""Scales, or deviations, beyond which a value moves its own yardstick no further."""
SETTLED = 30.0
"""Values after which a yardstick can tell what is wild."""

# Columns of a model's row that are one number; see `_fields`.
SCALE, COUNTED, MEAN_LABEL, TAUGHT = range(4)
# Columns of a device's row: the means of two lengths, then values back, slots and hours.
QUICK, SLOW, RING = 0, 1, 2
# Columns of the settings; those of the features in `schedule.x` follow.
LEVEL, DELAY, INPUTS = range(3)


@kernel
def _watch(own: Floats, value: float, made: int, due: int, edge: float, moves: Floats) -> None:
    """Take in the target's value at `made`; how it moved, and stands to what was then and at
    `due` before. A move beyond `edge` counts as one of that size in the means."""
    days, weeks = own[RING + BACK : RING + BACK + SLOTS], own[RING + BACK + SLOTS :]
    slot, hour = made % DAY // (DAY // SLOTS), made % (7 * DAY) // (7 * DAY // HOURS)
    moves[8], moves[9] = value - days[slot], value - weeks[hour]
    days[slot], weeks[hour] = value, value
    for k in range(3):
        moves[k] = value - own[RING + k]
    moves[3] = value - own[RING + BACK - 1]
    if own[QUICK] != own[QUICK]:
        own[QUICK], own[SLOW] = value, value
    moves[4], moves[5] = value - own[QUICK], value - own[SLOW]
    own[QUICK] += 0.15 * min(max(moves[4], -edge), edge)
    own[SLOW] += 0.02 * min(max(moves[5], -edge), edge)
    for k in range(BACK - 1, 0, -1):
        own[RING + k] = own[RING + k - 1]
    own[RING] = value
    moves[6] = days[due % DAY // (DAY // SLOTS)] - value
    moves[7] = weeks[due % (7 * DAY) // (7 * DAY // HOURS)] - value


@kernel
def _gather(raw: Floats, x: Floats, settings: Floats, moves: Floats, base: float, due: int) -> None:
    """The features in a row: the task's, the target's past, the time of day."""
    f = len(settings) - INPUTS
    for j in range(f):
        raw[j] = x[int(settings[INPUTS + j])]
    for j in range(MOVES):
        raw[f + j] = moves[j]
    angle = 2.0 * math.pi * (due % DAY) / DAY
    at = f + MOVES
    raw[at], raw[at + 1] = math.sin(angle), math.cos(angle)
    raw[at + 2], raw[at + 3] = math.sin(2.0 * angle), math.cos(2.0 * angle)
    raw[at + 4] = base


@kernel
def _observe(counts: Floats, means: Floats, variances: Floats, raw: Floats) -> None:
    """Let the scaler see the features; a wild one moves it as far as a value at the edge would."""
    for j in range(len(raw)):
        v = raw[j]
        if v == v:
            counts[j] += 1.0
            if counts[j] > SETTLED:
                edge = WILD * math.sqrt(variances[j])
                v = min(max(v, means[j] - edge), means[j] + edge)
            old = means[j]
            means[j] += (v - old) / counts[j]
            variances[j] += ((v - old) * (v - means[j]) - variances[j]) / counts[j]


@kernel
def _standardise(means: Floats, variances: Floats, raw: Floats, z: Floats) -> None:
    """z: deviations from the mean within FAR, 0 where there is no value; 1 at the end."""
    for j in range(len(raw)):
        s = math.sqrt(variances[j])
        v = (raw[j] - means[j]) / s if s > 0.0 else 0.0
        # NaN is neither.
        z[j] = FAR if v > FAR else -FAR if v < -FAR else v if v == v else 0.0
    z[len(raw)] = 1.0


@kernel
def _linear(weights: Floats, z: Floats) -> float:
    found = 0.0
    for j in range(len(z)):
        found += weights[j] * z[j]
    return found


@kernel
def _tell(said: Floats, moves: Floats, weights: Floats, z: Floats, scale: float) -> None:
    """What each expert says, as a change."""
    said[LAST] = 0.0
    said[YESTERDAY] = moves[6] if moves[6] == moves[6] else 0.0
    said[LAST_WEEK] = moves[7] if moves[7] == moves[7] else said[YESTERDAY]
    for k in range(len(FORGETS)):
        v = scale * _linear(weights[k * len(z) : (k + 1) * len(z)], z)
        edge = FARTHEST * scale
        said[LINEAR + k] = edge if v > edge else -edge if v < -edge else v if v == v else 0.0


@kernel
def _scale(row: Floats, change: float) -> None:
    """Let the usual size of a change see one more."""
    size = abs(change)
    row[COUNTED] += 1.0
    if row[COUNTED] > SETTLED and size > WILD * row[SCALE]:
        size = WILD * row[SCALE]
    row[SCALE] += (size - row[SCALE]) / min(row[COUNTED], LABELS)


@kernel
def _regress(
    weights: Floats, covariances: Floats, z: Floats, truth: float, direction: Floats
) -> None:
    """Each regression learns that z belongs to `truth`, both in their scales."""
    size = len(z)
    of = len(covariances) // 2
    for c in range(2):
        covariance = covariances[c * of : (c + 1) * of]
        along = gain(covariance, z, direction)
        forget = 1.0
        for k in range(len(FORGETS)):
            if SHARED[k] != c:
                continue
            forget = FORGETS[k]
            own = weights[k * size : (k + 1) * size]
            miss = truth - _linear(own, z)
            miss = min(max(miss, -LIMITS[k]), LIMITS[k]) if miss == miss else 0.0
            for j in range(size):
                own[j] += direction[j] / (forget + along) * miss
        update(covariance, direction, along, forget)


@kernel
def _run(
    codes: Ints, numbers: Floats, x: Floats, answers: Floats, model: Floats, device: Floats,
    waiting: Floats, settings: Floats, lane: int, n: int,
) -> None:  # fmt: skip
    f = len(settings) - INPUTS + MOVES + MORE
    size, experts = f + 1, LINEAR + len(FORGETS)
    raw, z, direction = np.empty(f), np.empty(size), np.empty(size)
    means = TAUGHT + 1 + f
    weights = means + 2 * f
    covariances = weights + len(FORGETS) * size
    votes = covariances + size * (size + 1)
    for i in range(n):
        step = codes[i, STEP]
        if codes[i, LANE] != lane or (step != PREDICT and step != LEARN):
            continue
        row, d = model[codes[i, MODEL]], codes[i, ROW]
        held = waiting[codes[i, SLOT], d]
        moves, said = held[:MOVES], held[MOVES : MOVES + experts]
        due = codes[i, MADE] + int(settings[DELAY])
        counts = row[TAUGHT + 1 : means]
        spread = row[means + f : weights]
        own = row[weights:covariances]
        share, regret, square = votes, votes + experts, votes + 2 * experts
        if step == PREDICT:
            base = numbers[i, BASE]
            moves[:] = np.nan
            from_label = base != base
            if from_label:
                base = row[MEAN_LABEL] if row[TAUGHT] > 0.0 else np.nan
            else:
                edge = WILD * row[SCALE] if row[COUNTED] > SETTLED else np.inf
                _watch(device[d], base, codes[i, MADE], due, edge, moves)
            held[MOVES + experts] = base
            _gather(raw, x[i], settings, moves, held[MOVES + experts], due)
            _observe(counts, row[means : means + f], spread, raw)
            _standardise(row[means : means + f], spread, raw, z)
            _tell(said, moves, own, z, row[SCALE])
            found = mixed(row[share:regret], said)
            held[MOVES + experts + 1] = found
            answers[i] = found + base if settings[LEVEL] == 1.0 else found
            device[d, len(device[d]) - 1] = max(device[d, len(device[d]) - 1], codes[i, SLOT] + 1.0)
            continue
        label = numbers[i, LABEL]
        row[TAUGHT] += 1.0
        row[MEAN_LABEL] += (label - row[MEAN_LABEL]) / min(row[TAUGHT], LABELS)
        change = label - held[MOVES + experts]
        if not np.isfinite(change * change):
            continue
        if row[COUNTED] == 0.0:
            half = size * (size + 1) // 2
            start(row[covariances : covariances + half], size)
            start(row[covariances + half : votes], size)
        if row[SCALE] > 0.0:
            reweigh(
                row[share:regret], row[regret:square], row[square : square + experts], said,
                held[MOVES + experts + 1], change, row[SCALE],
            )  # fmt: skip
        _scale(row, change)
        if row[SCALE] > 0.0:
            _gather(raw, x[i], settings, moves, held[MOVES + experts], due)
            _standardise(row[means : means + f], spread, raw, z)
            _regress(own, row[covariances:votes], z, change / row[SCALE], direction)


class Mixture:
    """Mixtures of one lane: a model for each device or one for the fleet; see `Learner`."""

    def __init__(
        self, lane: int, inputs: Sequence[int], capacity: int, keys: Keys, *, delay: int,
        level: bool, pending: int,
    ) -> None:  # fmt: skip
        """`delay` is the horizon in microseconds, 0 where it counts readings; `level`: answers are
        values, not changes; `pending` predictions of a device may wait."""
        self.lane, self.keys = lane, keys
        f = len(inputs) + MOVES + MORE
        size, experts = f + 1, len(EXPERTS)
        model = Block(
            [
                Field("scale"), Field("counted"), Field("mean_label"), Field("taught"),
                Field("count", (f,)), Field("mean", (f,)), Field("variance", (f,)),
                Field("weight", (len(FORGETS), size)), Field("covariance", (2, packed(size))),
                Field("share", (experts,)), Field("regret", (experts,)),
                Field("square", (experts,)),
            ],
            capacity if keys is Keys.DEVICE else 1, keys=keys,
        )  # fmt: skip
        nan = math.nan
        device = Block(
            [
                Field("quick", (), nan), Field("slow", (), nan), Field("back", (BACK,), nan),
                Field("slot", (SLOTS,), nan), Field("hour", (HOURS,), nan), Field("slots"),
            ],
            capacity,
        )  # fmt: skip
        waiting = Block(
            [
                Field("moves", (MOVES,)), Field("said", (experts,)), Field("base"), Field("mix"),
            ],
            capacity, layers=max(2, pending),
        )  # fmt: skip
        waiting.depth = device.view("slots")
        if keys is Keys.FLEET:
            model.open(np.zeros(1, np.int64))
        self.blocks: Mapping[str, Block] = {"model": model, "device": device, "waiting": waiting}
        self.blobs: Blobs | None = None
        self._settings = np.array([level, delay, *inputs], np.float64)
        # Compiles now, or loads from the cache, instead of at the first reading.
        self.run(Schedule(1, 1))

    def run(self, schedule: Schedule) -> None:
        """Predict and learn, step by step; see `models.learner.Learner`."""
        self.call(schedule).run(steps=schedule.n)

    def call(self, schedule: Schedule) -> Call:
        """:meth:`run` as one kernel call over STEPS."""
        steps = (schedule.codes, schedule.numbers, schedule.x, schedule.answers)
        state = (self.blocks["model"].array, self.blocks["device"].array)
        own = (*state, self.blocks["waiting"].stack, self._settings)
        return Call(_run, (*steps, *own, self.lane, Now.STEPS))

    def evict(self, rows: Ints) -> None:
        """Forget these device rows."""
        reset_rows(self.blocks, rows)

    @property
    def failures(self) -> Mapping[str, int]:
        """None: it refuses nothing."""
        return Counter()

    def shares(self, rows: Sequence[int]) -> dict[str, float]:
        """How much the models of these device rows follow each of EXPERTS, in the mean; together 1.
        Empty where there is no row."""
        if not rows:
            return {}
        own = [0] if self.keys is Keys.FLEET else list(rows)
        found = self.blocks["model"].view("share")[own]
        # Before the first label there are none: the last value is followed.
        found[found.sum(axis=1) == 0.0, LAST] = 1.0
        return dict(zip(EXPERTS, found.mean(axis=0).tolist(), strict=True))
