"""The model of a task that names none: a mixture of what is known to work, for classes.

It tells how probable each class is, and follows, device by device, whichever of five experts has
been best: the last label that is known, three softmax regressions and a least squares regression on
the classes. The first softmax sees the task's features alone. The second and the least squares
see the last label and the time of day and of the week too, the third also the features' squares.
A softmax learns by Newton's step with one curvature for all classes, as Boehning (1992),
"Multinomial logistic regression algorithm", does for a bound of it; its inverse is kept as least
squares that forget keep theirs.

Probabilities of the experts wait with their prediction for its label, so an expert is judged by
what it said then, however late the label comes.
"""

import math
from collections.abc import Sequence

import numpy as np

from models.kernel_fleet import BELIEF, SPARE, KernelFleet, mixture_blocks
from models.least_squares import gain, packed, product, start, update
from models.mixing import outweigh
from models.running_scale import SETTLED, observe, standardise
from streamgauge.arrays import Floats, Ints
from streamgauge.durations import DAY
from streamgauge.kernels import kernel, lean
from streamgauge.schedule import LANE, MADE, MODEL, ROW, SEQUENCE, SLOT, STEP, TARGET
from streamgauge.state import Field, Keys
from streamgauge.words import Step

__all__ = ["EXPERTS", "WHY", "build"]

EXPERTS = ("last label", "linear", "linear in time", "curved", "least squares")
"""Who is followed, in words; the first is safe."""
WHY = f"no model is named: a mixture of {', '.join(EXPERTS[:-1])} and {EXPERTS[-1]}"
LINEAR, TIMED, CURVED, SQUARES = range(4)
FORGETS = np.array([0.999, 0.999, 0.9999, 0.999])
PREDICT, LEARN = int(Step.PREDICT), int(Step.LEARN)

MONDAY = 4 * DAY
"""The first one after 1970 began."""
TIMES = 8
"""Two waves of the day and two of the week."""
HOT = 8
"""Classes that the last label is told apart by; beyond, it is none of these."""
LEAST_CURVATURE = 0.1
"""Where a softmax is sure, a label that contradicts it must not throw it over."""
LEAST_CHANCE = 0.02
"""Of a class by least squares, which know nothing of probabilities."""
REMEMBERS = 0.999
"""Of how often the last label came again, from one label to the next."""
OFTEN = 0.9999
"""The same of how often each class comes."""
RARE = 1e-6
"""A class that was met stays known."""
LABELS = 1_000.0

# Columns of a model's row that are one number; see `_fields`.
TAUGHT, BORN, AGREED, ASKED = range(4)
FIRST = ASKED + 1
# Columns of a device's row and of the settings; the columns of the features in `schedule.x` follow.
LAST = 0
CLASSES, DECLARED, FROM_FLEET, INPUTS = range(4)


@lean
def _size(k: int, f: int, classes: int) -> int:
    """Inputs of regression k, the first so many of all."""
    if k == LINEAR:
        return f + 1
    timed = f + 1 + min(classes, HOT) + TIMES
    return timed + f if k == CURVED else timed


@lean
def _places(f: int, classes: int) -> tuple[int, int, int, int, int]:
    """Where counts of classes, weights of experts, their losses, those of regressions and their
    covariances begin in a model's row."""
    seen = FIRST + 3 * f
    share = seen + classes
    weights = share + 2 * (len(FORGETS) + 1)
    covariances = weights
    for k in range(len(FORGETS)):
        covariances += classes * _size(k, f, classes)
    return seen, share, share + len(FORGETS) + 1, weights, covariances


@lean
def _inputs(row: Floats, raw: Floats, last: int, made: int, hot: int, z: Floats) -> None:
    """What regressions see: features in deviations, 1, the last label, the time, and squares."""
    f = len(raw)
    means = FIRST + f
    standardise(row[means : means + f], row[means + f : means + 2 * f], raw, z)
    at = f + 1
    z[at : at + hot] = 0.0
    if 0 <= last < hot:
        z[at + last] = 1.0
    at += hot
    day = 2.0 * math.pi * (made % DAY) / DAY
    week = 2.0 * math.pi * ((made - MONDAY) % (7 * DAY)) / (7 * DAY)
    for k in range(2):
        z[at + 2 * k], z[at + 2 * k + 1] = math.sin((k + 1) * day), math.cos((k + 1) * day)
        z[at + 4 + 2 * k] = math.sin((k + 1) * week)
        z[at + 5 + 2 * k] = math.cos((k + 1) * week)
    at += TIMES
    for j in range(f):
        z[at + j] = min(z[j] * z[j], 9.0) / 2.0 - 0.5


@lean
def _softmax(weights: Floats, seen: Floats, z: Floats, chances: Floats) -> None:
    """Probabilities of the classes that were met; of others 0."""
    size, highest, total = len(z), -np.inf, 0.0
    for c in range(len(seen)):
        if seen[c] > 0.0:
            chances[c] = product(weights[c * size :], z)
            highest = max(highest, chances[c])
    for c in range(len(seen)):
        chances[c] = math.exp(chances[c] - highest) if seen[c] > 0.0 else 0.0
        total += chances[c]
    for c in range(len(seen)):
        chances[c] /= total


@lean
def _squares(weights: Floats, seen: Floats, z: Floats, chances: Floats) -> None:
    """The same of least squares: what they say, within what a probability can be."""
    size, total = len(z), 0.0
    for c in range(len(seen)):
        found = product(weights[c * size :], z)
        chances[c] = min(max(found, LEAST_CHANCE), 1.0) if seen[c] > 0.0 else 0.0
        total += chances[c]
    for c in range(len(seen)):
        chances[c] /= total


@lean
def _again(row: Floats, seen: Floats, last: int, chances: Floats) -> None:
    """The last label again, as often as that was right; else the others, by how often they come."""
    others = 0.0
    for c in range(len(seen)):
        others += 0.0 if c == last else seen[c]
    right = (1.0 + row[AGREED]) / (2.0 + row[ASKED]) if 0 <= last < len(seen) else 0.0
    for c in range(len(seen)):
        if others == 0.0:
            chances[c] = 1.0 if c == last else 0.0
        else:
            chances[c] = right if c == last else (1.0 - right) * seen[c] / others


@lean
def _say(row: Floats, raw: Floats, last: int, made: int, z: Floats, chances: Floats) -> None:
    """Let a model see the features; what each expert says."""
    f, classes = len(raw), chances.shape[1]
    seen, _, _, weights, _ = _places(f, classes)
    met = row[seen : seen + classes]
    observe(row[FIRST:], row[FIRST + f :], row[FIRST + 2 * f :], raw)
    if max(met) == 0.0:
        chances[:] = 0.0
        return
    _inputs(row, raw, last, made, min(classes, HOT), z)
    _again(row, met, last, chances[0])
    for k in range(len(FORGETS)):
        own = z[: _size(k, f, classes)]
        if k == SQUARES:
            _squares(row[weights:], met, own, chances[k + 1])
        else:
            _softmax(row[weights:], met, own, chances[k + 1])
        weights += classes * len(own)


@lean
def _meet(row: Floats, f: int, classes: int, truth: int) -> None:
    """Count a label's class; where it is new, it is as rare as it has been."""
    seen, _, _, weights, _ = _places(f, classes)
    if row[seen + truth] == 0.0 and row[TAUGHT] > 0.0:
        for k in range(len(FORGETS)):
            size = _size(k, f, classes)
            if k != SQUARES:
                row[weights + truth * size + f] = -math.log(min(1.0 + row[TAUGHT], LABELS))
            weights += classes * size
    for c in range(classes):
        if row[seen + c] > 0.0:
            row[seen + c] = max(OFTEN * row[seen + c], RARE)
    row[seen + truth] += 1.0
    row[TAUGHT] += 1.0


@lean
def _regress(
    row: Floats, f: int, truth: int, z: Floats, direction: Floats, chances: Floats
) -> None:
    """Each regression learns that the inputs belong to class `truth`."""
    classes = len(chances)
    seen, _, _, weights, covariances = _places(f, classes)
    met = row[seen : seen + classes]
    for k in range(len(FORGETS)):
        size = _size(k, f, classes)
        own, along_z = z[:size], direction[:size]
        covariance = row[covariances : covariances + packed(size)]
        along, curvature = gain(covariance, own, along_z), 1.0
        if k != SQUARES:
            _softmax(row[weights:], met, own, chances)
            curvature = LEAST_CURVATURE
            spread = 0.0
            for c in range(classes):
                spread += 0.5 * chances[c] * (1.0 - chances[c])
            curvature = max(curvature, spread)
        for c in range(classes):
            if met[c] == 0.0:
                continue
            mine = row[weights + c * size : weights + (c + 1) * size]
            said = product(mine, own) if k == SQUARES else chances[c]
            miss = ((1.0 if c == truth else 0.0) - said) / (FORGETS[k] + curvature * along)
            for j in range(size):
                mine[j] += along_z[j] * miss
        for j in range(size):
            along_z[j] *= math.sqrt(curvature)
        update(covariance, along_z, curvature * along, FORGETS[k])
        weights += classes * size
        covariances += packed(size)


@lean
def _learn(
    row: Floats, raw: Floats, last: int, made: int, truth: int, told: Floats, z: Floats,
    direction: Floats, chances: Floats,
) -> None:  # fmt: skip
    """Teach a model one label: who was right, how often classes come, and the regressions."""
    f, classes = len(raw), told.shape[1]
    _, share, losses, weights, _ = _places(f, classes)
    if row[TAUGHT] > 0.0:
        outweigh(row[share:losses], row[losses:weights], told, truth)
    if last >= 0:
        row[AGREED] = REMEMBERS * row[AGREED] + (1.0 if last == truth else 0.0)
        row[ASKED] = REMEMBERS * row[ASKED] + 1.0
    _meet(row, f, classes, truth)
    _inputs(row, raw, last, made, min(classes, HOT), z)
    _regress(row, f, truth, z, direction, chances)


@kernel
def _begin(row: Floats, fleet: Floats, f: int, classes: int, from_fleet: bool) -> None:
    """A model's first row: as the fleet's is, believed as if it came from few labels, or empty."""
    seen, share, losses, weights, covariances = _places(f, classes)
    at = covariances
    for k in range(len(FORGETS)):
        size = _size(k, f, classes)
        start(row[at : at + packed(size)], size)
        at += packed(size)
    row[BORN] = 1.0
    if not from_fleet or fleet[TAUGHT] < SETTLED:
        return
    part = SETTLED / fleet[TAUGHT]
    row[TAUGHT] = SETTLED
    row[AGREED], row[ASKED] = part * fleet[AGREED], part * fleet[ASKED]
    for j in range(f):
        row[FIRST + j] = min(fleet[FIRST + j], SETTLED)
    row[FIRST + f : seen] = fleet[FIRST + f : seen]
    for c in range(classes):
        row[seen + c] = part * fleet[seen + c]
    row[share:losses] = fleet[share:losses]
    row[losses:weights] = BELIEF * fleet[losses:weights]
    row[weights:covariances] = fleet[weights:covariances]


@lean
def _answer(row: Floats, f: int, told: Floats, declared: bool, chances: Floats) -> float:
    """The mixture's most probable class, the first of those that are alike; probabilities. Where it
    is known what classes there are, those never met have one label each, as by Laplace's rule."""
    experts, classes = told.shape
    seen, share, losses, _, _ = _places(f, classes)
    total = sum(row[share:losses])
    chances[:] = 0.0
    if max(row[seen:share]) == 0.0:
        chances[:] = np.nan
        return math.nan
    for k in range(experts):
        weight = row[share + k] / total if total > 0.0 else 1.0 / experts
        for c in range(classes):
            chances[c] += weight * told[k, c]
    best = int(np.argmax(chances))
    each = 1.0 / (row[TAUGHT] + classes) if declared else 0.0
    unmet = 0
    for c in range(classes):
        unmet += 1 if row[seen + c] == 0.0 else 0
    for c in range(classes):
        chances[c] = each if row[seen + c] == 0.0 else (1.0 - unmet * each) * chances[c]
    return float(best)


@kernel
def _run(
    codes: Ints, numbers: Floats, x: Floats, answers: Floats, parts: Floats, _causes: Floats,
    model: Floats, fleets: Floats, device: Floats, waiting: Floats, settings: Floats, lane: int,
    n: int,
) -> None:  # fmt: skip
    fleet = fleets[0]
    f, classes = len(settings) - INPUTS, int(settings[CLASSES])
    experts, most = len(FORGETS) + 1, _size(CURVED, f, classes)
    raw, z, direction, chances = np.empty(f), np.empty(most), np.empty(most), np.empty(classes)
    from_fleet, declared = settings[FROM_FLEET] == 1.0, settings[DECLARED] == 1.0
    for i in range(n):
        step = codes[i, STEP]
        if codes[i, LANE] != lane or (step != PREDICT and step != LEARN):
            continue
        row, own = model[codes[i, MODEL]], device[codes[i, ROW]]
        held, made = waiting[codes[i, SLOT], codes[i, ROW]], codes[i, MADE]
        told = held[1 : 1 + experts * classes].reshape(experts, classes)
        for j in range(f):
            raw[j] = x[i, int(settings[INPUTS + j])]
        if row[BORN] == 0.0:
            _begin(row, fleet, f, classes, from_fleet)
        if step == PREDICT:
            held[0] = own[LAST]
            if from_fleet:
                observe(fleet[FIRST:], fleet[FIRST + f :], fleet[FIRST + 2 * f :], raw)
            _say(row, raw, int(held[0]) - 1, made, z, told)
            answers[i] = _answer(row, f, told, declared, chances)
            for c in range(parts.shape[1]):
                parts[i, c] = chances[c] if c < classes else math.nan
            own[len(own) - 1] = max(own[len(own) - 1], codes[i, SLOT] + 1.0)
            continue
        if not 0.0 <= numbers[i, TARGET] < classes:
            continue
        truth, last = int(numbers[i, TARGET]), int(held[0]) - 1
        own[LAST] = truth + 1.0
        _learn(row, raw, last, made, truth, told, z, direction, chances)
        if from_fleet and codes[i, SEQUENCE] % SPARE == 0:
            if fleet[BORN] == 0.0:
                _begin(fleet, fleet, f, classes, False)
            _learn(fleet, raw, last, made, truth, told, z, direction, chances)


def build(
    lane: int, inputs: Sequence[int], capacity: int, keys: Keys, *, classes: int, declared: bool,
    pending: int, from_fleet: bool = False, groups: int = 0,
) -> KernelFleet:  # fmt: skip
    """Mixtures of one lane: a model for each device, for each of `groups`, or one for the fleet.

    There are `classes`, or at most so many where they are not `declared`: targets are their places,
    from 0; what is no place teaches nothing.
    `pending` predictions of a device may wait; `from_fleet`: a new device's model begins as one
    that learned from all of them, else it begins empty.
    """
    f, experts = len(inputs), len(EXPERTS)
    sizes = [_size(k, f, classes) for k in range(len(FORGETS))]
    model = [
        Field("taught"), Field("born"), Field("agreed"), Field("asked"),
        Field("count", (f,)), Field("mean", (f,)), Field("variance", (f,)),
        Field("seen", (classes,)), Field("share", (experts,)), Field("loss", (experts,)),
        Field("weight", (classes * sum(sizes),)),
        Field("covariance", (sum(packed(size) for size in sizes),)),
    ]  # fmt: skip
    waiting = [Field("last"), Field("chance", (experts, classes))]
    blocks = mixture_blocks(
        model, [Field("last"), Field("slots")], waiting, capacity, keys, pending, groups
    )
    settings = np.array([classes, declared, from_fleet, *inputs], np.float64)
    return KernelFleet(_run, blocks, settings, lane, keys, EXPERTS)
