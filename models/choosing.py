"""Who of several candidates is followed, label by label: the kernels of :mod:`models.candidates`.

Errors fade as in :mod:`models.mixing`. Halving: Jamieson and Talwalkar (2016), "Non-stochastic Best
Arm Identification and Hyperparameter Optimization", with a round that counts labels.
"""

import numpy as np

from models.mixing import FADES, outweigh, reweigh
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel, lean
from streamgauge.schedule import LANE, MODEL, ROW, SLOT, STEP, TARGET
from streamgauge.words import Step

__all__ = ["BEST", "HALVING", "HOW", "MEAN", "classes", "numbers"]

PREDICT, LEARN = int(Step.PREDICT), int(Step.LEARN)
# Columns of a model's row; those of each candidate follow: share, out, loss, regret, square.
SCALE, LABELS = range(2)
FIRST = 2
# Columns of the settings.
HOW, ROUND = range(2)
BEST, MEAN, HALVING = range(3)
REMEMBERED = 1_000.0
"""Labels that the scale is a mean of."""
WORST = 100.0
"""Scales that one answer may miss by and still count in full: one that diverges does not hide for
ever how the others do."""


@lean
def _follow_best(row: Floats, k: int) -> None:
    """All of the share to who has lost least of late, among those that are in."""
    share, out, losses = row[FIRST : FIRST + k], row[FIRST + k :], row[FIRST + 2 * k :]
    best = -1
    for j in range(k):
        share[j] = 0.0
        if out[j] == 0.0 and (best < 0 or losses[j] < losses[best]):
            best = j
    share[best] = 1.0


@lean
def _halve(row: Floats, k: int, after: float) -> None:
    """After every `after` labels the worse half leaves; one remains."""
    out, losses = row[FIRST + k : FIRST + 2 * k], row[FIRST + 2 * k : FIRST + 3 * k]
    left = k - int(np.sum(out))
    if row[LABELS] % after != 0.0:
        return
    for _ in range(left // 2):
        worst = -1
        for j in range(k):
            # Of equals the later one leaves.
            if out[j] == 0.0 and (worst < 0 or losses[j] >= losses[worst]):
                worst = j
        out[worst] = 1.0


@lean
def _settle(row: Floats, k: int, settings: Floats) -> None:
    """After losses have changed: who is in, and who is followed."""
    row[LABELS] += 1.0
    if settings[HOW] == HALVING:
        _halve(row, k, settings[ROUND])
    if settings[HOW] != MEAN:
        _follow_best(row, k)


@lean
def _weights(row: Floats, answers: Floats, weights: Floats) -> int:
    """`weights float64[k]` of those that answer; the first of them, -1 where there is none."""
    k = len(answers)
    first = -1
    for j in range(k):
        weights[j] = 0.0
        if row[FIRST + k + j] == 0.0 and np.isfinite(answers[j]):
            weights[j] = row[FIRST + j]
            first = j if first < 0 else first
    if first >= 0 and np.sum(weights) == 0.0:
        weights[first] = 1.0
    return first


@lean
def _judge(row: Floats, said: Floats, mix: float, truth: float, settings: Floats) -> None:
    """Learn from one label of a number, before which `said float64[k]` were told."""
    k = len(said)
    least = np.inf
    for j in range(k):
        miss = abs(truth - said[j])
        least = miss if row[FIRST + k + j] == 0.0 and miss < least else least
    if not np.isfinite(least):
        return
    row[SCALE] += (least - row[SCALE]) / min(row[LABELS] + 1.0, REMEMBERED)
    limit = WORST * row[SCALE]
    for j in range(k):
        miss = abs(truth - said[j])
        loss = row[FIRST + 2 * k + j]
        row[FIRST + 2 * k + j] = FADES * loss + (miss if miss < limit else limit)
        if not np.isfinite(said[j]):
            said[j] = mix
    if settings[HOW] == MEAN and row[SCALE] > 0.0:
        at = FIRST + 3 * k
        reweigh(
            row[FIRST : FIRST + k], row[at : at + k], row[at + k :], said, mix, truth, row[SCALE]
        )
    _settle(row, k, settings)


@kernel
def numbers(
    codes: Ints, given: Floats, answers: Floats, _parts: Floats, told: Floats, _chances: Floats,
    model: Floats, device: Floats, waiting: Floats, settings: Floats, lane: int, n: int,
) -> None:  # fmt: skip
    """Answer by what the candidates `told float64[k, capacity]`, and learn from labels whom to
    follow. `waiting` holds what each said, and the answer, with its prediction."""
    k = len(told)
    weights = np.empty(k)
    for i in range(n):
        step = codes[i, STEP]
        if codes[i, LANE] != lane or (step != PREDICT and step != LEARN):
            continue
        row, held = model[codes[i, MODEL]], waiting[codes[i, SLOT], codes[i, ROW]]
        if step == LEARN:
            if held[k] == held[k]:
                _judge(row, held[:k], held[k], given[i, TARGET], settings)
            continue
        for j in range(k):
            # What one says that left in this very batch is not heard.
            held[j] = told[j, i] if row[FIRST + k + j] == 0.0 else np.nan
        device[codes[i, ROW], 0] = max(device[codes[i, ROW], 0], codes[i, SLOT] + 1.0)
        answers[i] = held[k] = np.nan
        if _weights(row, held[:k], weights) >= 0:
            total = 0.0
            for j in range(k):
                if weights[j] > 0.0:
                    total += weights[j] * held[j]
            answers[i] = held[k] = total / np.sum(weights)


@lean
def _hold(held: Floats, answer: float, chances: Floats, most: int) -> None:
    """Keep one candidate's chances `float64[most]`: its own, certainty where it gives none, and 0
    where it has no answer."""
    silent = not np.isfinite(answer)
    for c in range(most):
        held[c] = 0.0 if silent or chances[c] != chances[c] else chances[c]
    if not silent and np.sum(held[:most]) == 0.0:
        held[int(answer)] = 1.0


@lean
def _blend(held: Floats, weights: Floats, most: int, parts: Floats) -> float:
    """The weighted mean of what the candidates hold, into `parts`; the most probable class."""
    best, highest = 0, -1.0
    for c in range(most):
        chance = 0.0
        for j in range(len(weights)):
            chance += weights[j] * held[j * most + c]
        if c < len(parts):
            parts[c] = chance / np.sum(weights)
        if chance > highest:
            best, highest = c, chance
    return float(best)


@kernel
def classes(
    codes: Ints, given: Floats, answers: Floats, parts: Floats, told: Floats, chances: Floats,
    model: Floats, device: Floats, waiting: Floats, settings: Floats, lane: int, n: int,
) -> None:  # fmt: skip
    """The same of classes, of which `chances float64[k, capacity, classes]` were told beside."""
    k = len(told)
    most = waiting.shape[2] // k
    weights = np.empty(k)
    for i in range(n):
        step = codes[i, STEP]
        if codes[i, LANE] != lane or (step != PREDICT and step != LEARN):
            continue
        row, held = model[codes[i, MODEL]], waiting[codes[i, SLOT], codes[i, ROW]]
        if step == LEARN:
            share, losses = row[FIRST : FIRST + k], row[FIRST + 2 * k : FIRST + 3 * k]
            outweigh(share, losses, held.reshape(k, most), int(given[i, TARGET]))
            _settle(row, k, settings)
            continue
        device[codes[i, ROW], 0] = max(device[codes[i, ROW], 0], codes[i, SLOT] + 1.0)
        for j in range(k):
            out = row[FIRST + k + j] != 0.0
            _hold(held[j * most :], np.nan if out else told[j, i], chances[j, i], most)
        answers[i] = np.nan
        parts[i, :] = np.nan
        first = _weights(row, told[:, i], weights)
        if first < 0:
            continue
        if settings[HOW] == MEAN:
            answers[i] = _blend(held, weights, most, parts[i])
            continue
        for j in range(k):
            if weights[j] > 0.0:
                answers[i] = told[j, i]
                parts[i, :] = chances[j, i, : parts.shape[1]]
