"""How well classes are told: running counts of one lane, and the scores made of them.

The class seen most often so far and the last known class are judged on the same labels, each before
it counts the label. Probabilities below `LEAST` count as that in the log loss, as one wrong
certainty would be infinite; so does that of a class which the model has not met. Beside every count
stands one in which a label weighs less with each that follows it.
"""

import math

import numpy as np

from streamgauge.arrays import Floats
from streamgauge.kernels import kernel

__all__ = [
    "COLUMNS", "COUNTS", "FIELDS", "combined", "per_class", "rolling", "summary", "tally",
]  # fmt: skip

_MEANS = ("chances", "log_loss", "brier", "majority_hits", "base_labels", "base_hits")
FIELDS = (
    *_MEANS, *(f"decayed_{name}" for name in _MEANS), *(f"gap_{k}" for k in range(10)),
)  # fmt: skip
"""Numbers of a lane."""
CHANCES, LOSS, BRIER, MAJORITY, BASE_LABELS, BASE_HITS = range(len(_MEANS))
DECAYED, GAPS = len(_MEANS), 2 * len(_MEANS)
BINS = len(FIELDS) - GAPS
"""Of probabilities: by how much hits were more than was to be expected."""
COUNTS = ("seen", "answered", "hits", "decayed_seen", "decayed_answered", "decayed_hits")
"""Numbers of a class: as a label, as an answer, as both."""
SEEN, ANSWERED, HITS, OWN = 0, 1, 2, 3

_COUNTED = ("accuracy", "balanced_accuracy", "f1_macro", "kappa", "precision_macro", "recall_macro",
            "f1_weighted", "mcc")  # fmt: skip
_JUDGED = (*_COUNTED, "log_loss", "brier")
_BASELINES = ("majority_accuracy", "persistence_accuracy")
COLUMNS = (
    *_JUDGED, *_BASELINES, "calibration_error",
    *(f"decayed_{name}" for name in (*_JUDGED, *_BASELINES)),
    *(f"rolling_{name}" for name in _JUDGED),
)  # fmt: skip
"""The scores, in the order of `SCORE_COLUMNS`: what `summary` and then `rolling` give."""

LEAST = 1e-15


@kernel
def _fade(
    cell: Floats, means: int, stride: int, counts: int, width: int, classes: int, keep: float
) -> None:
    """What the labels so far weigh beside a new one, in what is decayed."""
    for k in (CHANCES, MAJORITY, BASE_LABELS, BASE_HITS):
        cell[means + k * stride] *= keep
    for count in range(OWN):
        for k in range(classes):
            cell[counts + count * width + k] *= keep


@kernel
def tally(
    cell: Floats, first: int, stride: int, classes: int, counts: int, width: int, label: int,
    answer: int, chance: float, sure: float, brier: float, base: float, keep: float,
) -> None:  # fmt: skip
    """Count one label, in event order; in what is decayed it weighs `keep` times as much as the
    next one. `chance` is the probability of the label, `sure` that of the answer. The lane's
    FIELDS are `first + k * stride`, the COUNTS of its classes `counts + k * width + class`."""
    often = 0
    for k in range(1, classes):
        if cell[counts + k] > cell[counts + often]:
            often = k
    usual = cell[counts + often] > 0.0 and often == label
    right = 1.0 if label == answer else 0.0
    _fade(cell, first + DECAYED * stride, stride, counts + OWN * width, width, classes, keep)
    for part in range(2):
        means, own = first + part * DECAYED * stride, counts + part * OWN * width
        if usual:
            cell[means + MAJORITY * stride] += 1.0
        cell[own + SEEN * width + label] += 1.0
        cell[own + ANSWERED * width + answer] += 1.0
        cell[own + HITS * width + label] += right
        if chance == chance:
            cell[means + CHANCES * stride] += 1.0
            loss = -math.log(min(1.0 - LEAST, max(LEAST, chance)))
            n = cell[means + CHANCES * stride]
            cell[means + LOSS * stride] += (loss - cell[means + LOSS * stride]) / n
            cell[means + BRIER * stride] += (brier - cell[means + BRIER * stride]) / n
        if base == base:
            cell[means + BASE_LABELS * stride] += 1.0
            if base == label:
                cell[means + BASE_HITS * stride] += 1.0
    if chance == chance and 0.0 <= sure <= 1.0:
        gap = GAPS + min(int(sure * BINS), BINS - 1)
        cell[first + gap * stride] += right - sure


def combined(fields: Floats) -> Floats:
    """float64[len(FIELDS)]: several devices as one, of `fields float64[len(FIELDS), n]`."""
    found: Floats = fields.sum(axis=1)
    for part in (0, DECAYED):
        by = part + CHANCES
        for mean in (part + LOSS, part + BRIER):
            found[mean] = fields[mean] @ fields[by] / found[by] if found[by] else 0.0
    return found


def per_class(counts: Floats) -> Floats:
    """float64[3, classes]: precision, recall and F1 of each class, of `counts float64[3, classes]`;
    0 for a class that was never told right, NaN for one that was neither label nor answer."""
    seen, answered, hits = counts
    with np.errstate(all="ignore"):
        found = np.array([hits / answered, hits / seen, 2.0 * hits / (seen + answered)])
    found[np.isnan(found)] = 0.0
    found[:, seen + answered == 0.0] = math.nan
    return found


def _matthews(counts: Floats) -> float:
    """Matthews' correlation coefficient, of any number of classes (Gorodkin 2004); 0 where labels
    or answers are all of one class."""
    seen, answered, hits = counts
    n = seen.sum()
    spread = (n * n - (answered * answered).sum()) * (n * n - (seen * seen).sum())
    above = hits.sum() * n - (answered * seen).sum()
    return float(above / math.sqrt(spread)) if spread > 0.0 else 0.0


def _counted(counts: Floats) -> list[float]:
    """The scores `_COUNTED` of `counts float64[3, classes]`."""
    seen, answered, hits = counts
    n = seen.sum()
    if not n:
        return [math.nan] * len(_COUNTED)
    accuracy = hits.sum() / n
    precision, recall, f1 = per_class(counts)
    by_chance = (seen / n * (answered / n)).sum()
    return [
        float(accuracy),
        float((hits[seen > 0.0] / seen[seen > 0.0]).mean()),
        float(np.nanmean(f1)),
        float((accuracy - by_chance) / (1.0 - by_chance)) if by_chance < 1.0 else 0.0,
        float(np.nanmean(precision)),
        float(np.nanmean(recall)),
        float((seen / n * np.nan_to_num(f1)).sum()),
        _matthews(counts),
    ]


def _of(value: float, n: float) -> float:
    return float(value) if n else math.nan


def summary(fields: Floats, counts: Floats) -> list[float]:
    """The scores over all labels, and the decayed ones, from one lane's FIELDS and its
    `counts float64[len(COUNTS), classes]`.

    Accuracy, balanced accuracy, precision, recall, F1, Cohen's kappa and Matthews' coefficient are
    River's; the log loss is in nats. The Brier score is the mean squared distance of the
    probabilities from the label as 0 and 1 (Brier 1950), of two classes half of it, as scikit-learn
    has it. The calibration error is that of the answers' probabilities in ten bins (Naeini, Cooper
    and Hauskrecht, 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning"). Decayed
    scores are scikit-learn's with weights.
    """
    found: list[list[float]] = []
    for part in range(2):
        own = fields[part * DECAYED :]
        of_classes = counts[part * OWN : (part + 1) * OWN]
        n, bases = of_classes[SEEN].sum(), own[BASE_LABELS]
        found.append([
            *_counted(of_classes), _of(own[LOSS], own[CHANCES]), _of(own[BRIER], own[CHANCES]),
            _of(own[MAJORITY] / max(n, 1e-300), n), _of(own[BASE_HITS] / max(bases, 1e-300), bases),
        ])  # fmt: skip
    gaps = np.abs(fields[GAPS:]).sum() / max(fields[CHANCES], 1.0)
    return [*found[0], _of(gaps, fields[CHANCES]), *found[1]]


def rolling(recent: Floats, chances: Floats) -> list[float]:
    """The scores of the last labels: `recent float64[n, 2]` are residual and label as places,
    `chances float64[m, 1 + classes]` a label and the probabilities of each class."""
    classes = chances.shape[1] - 1
    labels = recent[:, 1].astype(np.int64)
    answers = (recent[:, 1] - recent[:, 0]).astype(np.int64)
    most = max(classes, 1, *(int(of.max(initial=-1)) + 1 for of in (labels, answers)))
    places = (labels, answers, labels[labels == answers])
    counts = np.array([np.bincount(of, minlength=most) for of in places], np.float64)
    label = chances[:, 0].astype(np.int64)
    own = chances[np.arange(len(chances)), 1 + label]
    known = ~np.isnan(own)
    own, off = own[known], np.nan_to_num(chances[known, 1:])
    if not len(own):
        return [*_counted(counts), math.nan, math.nan]
    off[np.arange(len(own)), label[known]] -= 1.0
    brier = (off * off).sum(axis=1).mean() / (2.0 if classes == 2 else 1.0)
    loss = -np.log(np.clip(own, LEAST, 1.0 - LEAST)).mean()
    return [*_counted(counts), float(loss), float(brier)]
