"""How well classes are told: running counts of one lane, and the scores made of them.

The class seen most often so far and the last known class are judged on the same labels, each before
it counts the label. Probabilities below `LEAST` count as that in the log loss, as one wrong
certainty would be infinite; so does that of a class which the model has not met.
"""

import math

import numpy as np

from streamgauge.arrays import Floats
from streamgauge.kernels import kernel

__all__ = ["COLUMNS", "COUNTS", "FIELDS", "combined", "per_class", "summary", "tally"]

FIELDS = (
    "chances", "log_loss", "majority_hits", "base_labels", "base_hits", "brier", "decayed_weight",
    "decayed_accuracy", *(f"gap_{k}" for k in range(10)),
)  # fmt: skip
"""Numbers of a lane."""
CHANCES, LOSS, MAJORITY, BASE_LABELS, BASE_HITS, BRIER, DECAYED_WEIGHT, DECAYED, GAPS = range(9)
BINS = len(FIELDS) - GAPS
"""Of probabilities: by how much hits were more than was to be expected."""
COUNTS = ("seen", "answered", "hits")
"""Numbers of a class: as a label, as an answer, as both."""
SEEN, ANSWERED, HITS = range(len(COUNTS))
COLUMNS = ("accuracy", "balanced_accuracy", "f1_macro", "kappa", "log_loss", "majority_accuracy",
           "persistence_accuracy", "precision_macro", "recall_macro", "f1_weighted", "mcc", "brier",
           "decayed_accuracy", "calibration_error")  # fmt: skip
"""The scores, in the order of `SCORE_COLUMNS`."""

LEAST = 1e-15


@kernel
def tally(
    cell: Floats, first: int, stride: int, classes: int, counts: int, width: int, label: int,
    answer: int, chance: float, sure: float, brier: float, base: float, keep: float,
) -> None:  # fmt: skip
    """Count one label, in event order; in the decayed accuracy it weighs `keep` times as much as
    the next one. `chance` is the probability of the label, `sure` that of the answer. The lane's
    FIELDS are `first + k * stride`, the COUNTS of its classes `counts + k * width + class`."""
    often = 0
    for k in range(1, classes):
        if cell[counts + k] > cell[counts + often]:
            often = k
    if cell[counts + often] > 0.0 and often == label:
        cell[first + MAJORITY * stride] += 1.0
    cell[counts + SEEN * width + label] += 1.0
    cell[counts + ANSWERED * width + answer] += 1.0
    right = 1.0 if label == answer else 0.0
    cell[counts + HITS * width + label] += right
    weight = 1.0 + keep * cell[first + DECAYED_WEIGHT * stride]
    cell[first + DECAYED_WEIGHT * stride] = weight
    cell[first + DECAYED * stride] += (right - cell[first + DECAYED * stride]) / weight
    if chance == chance:
        cell[first + CHANCES * stride] += 1.0
        loss = -math.log(min(1.0 - LEAST, max(LEAST, chance)))
        n = cell[first + CHANCES * stride]
        cell[first + LOSS * stride] += (loss - cell[first + LOSS * stride]) / n
        cell[first + BRIER * stride] += (brier - cell[first + BRIER * stride]) / n
        if 0.0 <= sure <= 1.0:
            gap = GAPS + min(int(sure * BINS), BINS - 1)
            cell[first + gap * stride] += right - sure
    if base == base:
        cell[first + BASE_LABELS * stride] += 1.0
        if base == label:
            cell[first + BASE_HITS * stride] += 1.0


def combined(fields: Floats) -> Floats:
    """float64[len(FIELDS)]: several devices as one, of `fields float64[len(FIELDS), n]`."""
    found: Floats = fields.sum(axis=1)
    for mean, by in ((LOSS, CHANCES), (BRIER, CHANCES), (DECAYED, DECAYED_WEIGHT)):
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


def summary(fields: Floats, counts: Floats) -> list[float]:
    """The scores `COLUMNS` from one lane's FIELDS and `counts float64[3, classes]`.

    Accuracy, balanced accuracy, precision, recall, F1, Cohen's kappa and Matthews' coefficient are
    River's; the log loss is in nats. The Brier score is the mean squared distance of the
    probabilities from the label as 0 and 1 (Brier 1950), of two classes half of it, as scikit-learn
    has it. The calibration error is that of the answers' probabilities in ten bins (Naeini, Cooper
    and Hauskrecht, 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning").
    """
    seen, answered, hits = counts
    n = seen.sum()
    if not n:
        return [math.nan] * len(COLUMNS)
    accuracy = hits.sum() / n
    recall = hits[seen > 0.0] / seen[seen > 0.0]
    known = (seen > 0.0) | (answered > 0.0)
    f1 = 2.0 * hits[known] / (seen[known] + answered[known])
    by_chance = (seen / n * (answered / n)).sum()
    majority = fields[MAJORITY] / n
    last = fields[BASE_HITS] / fields[BASE_LABELS] if fields[BASE_LABELS] else math.nan
    return [
        float(accuracy),
        float(recall.mean()),
        float(f1.mean()),
        float((accuracy - by_chance) / (1.0 - by_chance)) if by_chance < 1.0 else 0.0,
        float(fields[LOSS]) if fields[CHANCES] else math.nan,
        float(majority),
        float(last),
        *(float(one) for one in np.nanmean(per_class(counts)[:2], axis=1)),
        float((seen / n * np.nan_to_num(per_class(counts)[2])).sum()),
        _matthews(counts),
        float(fields[BRIER]) if fields[CHANCES] else math.nan,
        float(fields[DECAYED]),
        float(np.abs(fields[GAPS:]).sum() / fields[CHANCES]) if fields[CHANCES] else math.nan,
    ]
