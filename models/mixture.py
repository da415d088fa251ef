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
from collections.abc import Sequence

import numpy as np

from models.kernel_fleet import BELIEF, SPARE, KernelFleet, mixture_blocks
from models.least_squares import gain, packed, product, start, update
from models.mixing import mixed, reweigh
from models.running_scale import SETTLED, WILD, observe, standardise
from streamgauge.arrays import Floats, Ints
from streamgauge.durations import DAY
from streamgauge.kernels import kernel, lean
from streamgauge.schedule import BASE, LABEL, LANE, MADE, MODEL, ROW, SEQUENCE, SLOT, STEP
from streamgauge.state import Field, Keys
from streamgauge.words import Step

__all__ = ["EXPERTS", "WHY", "build"]

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

SLOTS, HOURS = 96, 168
"""Of a day and of a week, whose last values are kept."""
BACK = 6
"""Values before the last."""
MOVES, MORE = 10, 5
"""Own features: what is told of the target's past, which waits with the prediction; its last value
and the time of day."""
FARTHEST = 20.0
"""Scales that a regression may tell at most."""
LABELS = 1_000.0
"""That the scale is a mean of."""
# Columns of a model's row that are one number; see `_fields`.
SCALE, COUNTED, MEAN_LABEL, TAUGHT, BORN = range(5)
FIRST = BORN + 1
# Columns of a device's row: the means of two lengths, then values back, slots and hours.
QUICK, SLOW, RING = 0, 1, 2
# Columns of the settings; those of the features in `schedule.x` follow.
LEVEL, DELAY, FROM_FLEET, INPUTS = range(4)


@lean
def _places(f: int) -> tuple[int, int, int, int]:
    """Where means, weights, covariances and votes begin in a model's row."""
    means = FIRST + f
    weights = means + 2 * f
    covariances = weights + len(FORGETS) * (f + 1)
    return means, weights, covariances, covariances + (f + 1) * (f + 2)


@lean
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


@lean
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


@lean
def _tell(said: Floats, moves: Floats, weights: Floats, z: Floats, scale: float) -> None:
    """What each expert says, as a change."""
    said[LAST] = 0.0
    said[YESTERDAY] = moves[6] if moves[6] == moves[6] else 0.0
    said[LAST_WEEK] = moves[7] if moves[7] == moves[7] else said[YESTERDAY]
    for k in range(len(FORGETS)):
        v = scale * product(weights[k * len(z) : (k + 1) * len(z)], z)
        edge = FARTHEST * scale
        said[LINEAR + k] = edge if v > edge else -edge if v < -edge else v if v == v else 0.0


@lean
def _scale(row: Floats, change: float) -> None:
    """Let the usual size of a change see one more."""
    size = abs(change)
    row[COUNTED] += 1.0
    if row[COUNTED] > SETTLED and size > WILD * row[SCALE]:
        size = WILD * row[SCALE]
    row[SCALE] += (size - row[SCALE]) / min(row[COUNTED], LABELS)


@lean
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
            miss = truth - product(own, z)
            miss = min(max(miss, -LIMITS[k]), LIMITS[k]) if miss == miss else 0.0
            for j in range(size):
                own[j] += direction[j] / (forget + along) * miss
        update(covariance, direction, along, forget)


@kernel
def _begin(row: Floats, fleet: Floats, f: int, from_fleet: bool) -> None:
    """A model's first row: as the fleet's is, believed as if it came from few labels, or empty."""
    means, _, covariances, votes = _places(f)
    half = packed(f + 1)
    start(row[covariances : covariances + half], f + 1)
    start(row[covariances + half : votes], f + 1)
    row[BORN] = 1.0
    if not from_fleet or fleet[COUNTED] < SETTLED:
        return
    row[SCALE], row[COUNTED] = fleet[SCALE], SETTLED
    for j in range(f):
        row[FIRST + j] = min(fleet[FIRST + j], SETTLED)
    row[means:covariances] = fleet[means:covariances]
    experts = LINEAR + len(FORGETS)
    row[votes : votes + experts] = fleet[votes : votes + experts]
    row[votes + experts :] = BELIEF * fleet[votes + experts :]


@lean
def _say(row: Floats, raw: Floats, z: Floats, moves: Floats, said: Floats) -> float:
    """Let a model see the features; what its experts say, and their mixture."""
    f = len(raw)
    means, weights, covariances, votes = _places(f)
    spread = row[means + f : weights]
    observe(row[FIRST:means], row[means : means + f], spread, raw)
    standardise(row[means : means + f], spread, raw, z)
    _tell(said, moves, row[weights:covariances], z, row[SCALE])
    return float(mixed(row[votes : votes + len(said)], said))


@lean
def _learn(
    row: Floats, raw: Floats, z: Floats, direction: Floats, said: Floats, mix: float, change: float
) -> None:
    """Teach a model one change: who was right, how large changes are, and the regressions."""
    f = len(raw)
    means, weights, covariances, votes = _places(f)
    n = len(said)
    if row[SCALE] > 0.0:
        regrets, squares = row[votes + n : votes + 2 * n], row[votes + 2 * n :]
        reweigh(row[votes : votes + n], regrets, squares, said, mix, change, row[SCALE])
    _scale(row, change)
    if row[SCALE] > 0.0:
        standardise(row[means : means + f], row[means + f : weights], raw, z)
        truth = change / row[SCALE]
        _regress(row[weights:covariances], row[covariances:votes], z, truth, direction)


@kernel
def _run(
    codes: Ints, numbers: Floats, x: Floats, answers: Floats, _parts: Floats, _causes: Floats,
    model: Floats, fleets: Floats, device: Floats, waiting: Floats, settings: Floats, lane: int,
    n: int,
) -> None:  # fmt: skip
    fleet = fleets[0]
    f = len(settings) - INPUTS + MOVES + MORE
    experts = LINEAR + len(FORGETS)
    raw, z, direction = np.empty(f), np.empty(f + 1), np.empty(f + 1)
    from_fleet = settings[FROM_FLEET] == 1.0
    for i in range(n):
        step = codes[i, STEP]
        if codes[i, LANE] != lane or (step != PREDICT and step != LEARN):
            continue
        row, d = model[codes[i, MODEL]], codes[i, ROW]
        own, held = device[d], waiting[codes[i, SLOT], d]
        moves, said = held[:MOVES], held[MOVES : MOVES + experts]
        due = codes[i, MADE] + int(settings[DELAY])
        if row[BORN] == 0.0:
            _begin(row, fleet, f, from_fleet)
        if step == PREDICT:
            base = numbers[i, BASE]
            moves[:] = np.nan
            if base == base:
                edge = WILD * row[SCALE] if row[COUNTED] > SETTLED else np.inf
                _watch(own, base, codes[i, MADE], due, edge, moves)
            else:
                base = row[MEAN_LABEL] if row[TAUGHT] > 0.0 else np.nan
            _gather(raw, x[i], settings, moves, base, due)
            if from_fleet:
                means, weights = _places(f)[:2]
                observe(
                    fleet[FIRST:means], fleet[means : means + f], fleet[means + f : weights], raw
                )
            found = _say(row, raw, z, moves, said)
            held[MOVES + experts], held[MOVES + experts + 1] = base, found
            answers[i] = found + base if settings[LEVEL] == 1.0 else found
            own[len(own) - 1] = max(own[len(own) - 1], codes[i, SLOT] + 1.0)
            continue
        label, mix = numbers[i, LABEL], held[MOVES + experts + 1]
        row[TAUGHT] += 1.0
        row[MEAN_LABEL] += (label - row[MEAN_LABEL]) / min(row[TAUGHT], LABELS)
        change = label - held[MOVES + experts]
        if not np.isfinite(change * change):
            continue
        _gather(raw, x[i], settings, moves, held[MOVES + experts], due)
        _learn(row, raw, z, direction, said, mix, change)
        if from_fleet and codes[i, SEQUENCE] % SPARE == 0:
            if fleet[BORN] == 0.0:
                _begin(fleet, fleet, f, False)
            votes = _places(f)[3]
            mix = mixed(fleet[votes : votes + experts], said)
            _learn(fleet, raw, z, direction, said, mix, change)


def build(
    lane: int, inputs: Sequence[int], capacity: int, keys: Keys, *, delay: int, level: bool,
    pending: int, from_fleet: bool = False, groups: int = 0,
) -> KernelFleet:  # fmt: skip
    """Mixtures of one lane: a model for each device, for each of `groups`, or one for the fleet.

    `delay` is the horizon in microseconds, 0 where it counts readings; `level`: answers are values,
    not changes; `pending` predictions of a device may wait; `from_fleet`: a new device's model
    begins as one that learned from all of them, else it begins empty.
    """
    f = len(inputs) + MOVES + MORE
    size, experts, nan = f + 1, len(EXPERTS), math.nan
    model = [
        Field("scale"), Field("counted"), Field("mean_label"), Field("taught"), Field("born"),
        Field("count", (f,)), Field("mean", (f,)), Field("variance", (f,)),
        Field("weight", (len(FORGETS), size)), Field("covariance", (2, packed(size))),
        Field("share", (experts,)), Field("regret", (experts,)), Field("square", (experts,)),
    ]  # fmt: skip
    device = [
        Field("quick", (), nan), Field("slow", (), nan), Field("back", (BACK,), nan),
        Field("slot", (SLOTS,), nan), Field("hour", (HOURS,), nan), Field("slots"),
    ]  # fmt: skip
    waiting = [Field("moves", (MOVES,)), Field("said", (experts,)), Field("base"), Field("mix")]
    blocks = mixture_blocks(model, device, waiting, capacity, keys, pending, groups)
    settings = np.array([level, delay, from_fleet, *inputs], np.float64)
    return KernelFleet(_run, blocks, settings, lane, keys, EXPERTS)
