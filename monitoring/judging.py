"""The second kernel of scoring: what completes a step whose answer is more than a number.

It follows the first one, over the same steps and records. See `monitoring.answers`.
"""

import numpy as np

from monitoring import class_scores, clusters
from monitoring.calibration import calibrate, learn
from monitoring.class_scores import tally
from monitoring.clusters import entered, silhouette
from monitoring.recent import CHUNK, FLEET_WINDOW
from streamgauge import predictions as out
from streamgauge.arrays import Floats, Ints
from streamgauge.events import AFTER, BEFORE, PART, SIZE, SOURCE, TIME
from streamgauge.events import ROW as EVENT_ROW
from streamgauge.kernels import kernel
from streamgauge.schedule import BASE, LABEL, LANE, MADE, RESIDUAL, ROW, SLOT, STEP
from streamgauge.schedule import SOURCE as STEP_SOURCE
from streamgauge.words import Status, Step

__all__ = ["CLASS", "FIELDS", "GROUP", "NUMBER", "PARAMETERS", "SCORE", "judge"]

FIELDS = (*clusters.FIELDS, "judged")
"""Numbers of a lane, before those of `class_scores`."""
JUDGED = len(clusters.FIELDS)
CLASSES = len(FIELDS)
"""Where the numbers of `class_scores` begin, of as many columns as there are lanes each."""
PER_LANE = len(FIELDS) + len(class_scores.FIELDS)
PER_CLASS = len(class_scores.COUNTS)

NUMBER, CLASS, SCORE, GROUP = 0.0, 1.0, 2.0, 3.0
"""What a lane's answer is."""
P_MEANS, P_FIRST, P_PARTS, P_KEEP, P_CALIBRATE, P_PAIRED = range(6)
PARAMETERS = 6
"""Columns of the lanes' parameters."""

_PREDICT = int(Step.PREDICT)
_EXPIRE = int(Step.EXPIRE)
_PENDING = int(Status.PENDING)


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
def remember(ring: Floats, begin: int, label: int, chances: Floats, first: int, own: int) -> None:
    """Write a label and the probabilities of its answer, which begin at `first`."""
    ring[begin] = label
    for k in range(own):
        ring[begin + 1 + k] = chances[first + k]


@kernel
def judge(
    codes: Ints, numbers: Floats, parts: Floats, device: Floats, pending: Floats, fleet: Floats,
    powers: Floats, used: Floats, recent: Floats, pairs: Floats, lanes: Floats, made: Ints,
    told: Floats, shares: Floats, log: Ints, log_numbers: Floats, count: Ints, n: int, at: int,
) -> None:  # fmt: skip
    """Complete steps 0 to n, whose records end before row `at`."""
    total = len(lanes)
    width = pending.shape[2]
    most = width // total
    counts = PER_LANE * total
    now = counts + PER_CLASS * width
    of_fleet = now + width + 2
    newest_of_fleet = of_fleet + width * most
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
                silhouette(cell, lane, total, parts[i, 0], parts[i, 1], lanes[lane, P_KEEP])
                silhouette(fleet, lane, total, parts[i, 0], parts[i, 1], lanes[lane, P_KEEP])
                group = told[r, out.VALUE]
                if entered(cell, lane, total, group):
                    k = count[0]
                    log[k, EVENT_ROW], log[k, PART] = d, lane
                    log[k, TIME], log[k, SOURCE] = codes[i, MADE], codes[i, STEP_SOURCE]
                    log_numbers[k, BEFORE] = cell[clusters.CLUSTER * total + lane]
                    log_numbers[k, AFTER] = group
                    log_numbers[k, SIZE] = cell[clusters.CLUSTERS * total + lane]
                    count[0] = k + 1
                cell[clusters.CLUSTER * total + lane] = group
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
                where = (CLASSES * total + lane, total, own, counts + first, width)
                brier = squared(pending[slot, d], first, own, int(label))
                told_as = (int(label), int(value), chance, sure, brier, numbers[i, BASE])
                tally(cell, *where, *told_as, lanes[lane, P_KEEP])
                tally(fleet, *where, *told_as, lanes[lane, P_KEEP])
                pair = (first + int(label)) * most + int(value)
                fleet[of_fleet + pair] += 1.0
                if lanes[lane, P_PAIRED] == 1.0:
                    pairs[d, pair] += 1.0
                k = int(cell[JUDGED * total + lane]) % (len(recent) * CHUNK)
                place = (lane * CHUNK + k % CHUNK) * (1 + most)
                remember(recent[k // CHUNK, d], place, int(label), pending[slot, d], first, own)
                cell[now + width + 1] = max(cell[now + width + 1], k // CHUNK + 1.0)
                cell[JUDGED * total + lane] += 1.0
                k = int(fleet[JUDGED * total + lane]) % FLEET_WINDOW
                place = newest_of_fleet + (lane * FLEET_WINDOW + k) * (1 + most)
                remember(fleet, place, int(label), pending[slot, d], first, own)
                fleet[JUDGED * total + lane] += 1.0
        else:
            numbers[i, RESIDUAL] = np.nan
            told[r, out.RESIDUAL] = np.nan
