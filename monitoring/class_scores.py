"""How well classes are told: running counts of one lane, and the scores made of them.

The class seen most often so far and the last known class are judged on the same labels, each before
it counts the label. Probabilities below `LEAST` count as that in the log loss, as one wrong
certainty would be infinite; so does that of a class which the model has not met.
"""

import math

from streamgauge.arrays import Floats
from streamgauge.kernels import kernel

__all__ = ["COLUMNS", "COUNTS", "FIELDS", "summary", "tally"]

FIELDS = ("chances", "log_loss", "majority_hits", "base_labels", "base_hits")
"""Numbers of a lane."""
CHANCES, LOSS, MAJORITY, BASE_LABELS, BASE_HITS = range(len(FIELDS))
COUNTS = ("seen", "answered", "hits")
"""Numbers of a class: as a label, as an answer, as both."""
SEEN, ANSWERED, HITS = range(len(COUNTS))
COLUMNS = ("accuracy", "balanced_accuracy", "f1_macro", "kappa", "log_loss", "majority_accuracy",
           "persistence_accuracy")  # fmt: skip
"""The scores, in the order of `SCORE_COLUMNS`."""

LEAST = 1e-15


@kernel
def tally(
    cell: Floats, first: int, stride: int, classes: int, counts: int, width: int, label: int,
    answer: int, chance: float, base: float,
) -> None:  # fmt: skip
    """Count one label, in event order. The lane's FIELDS are `first + k * stride`, the COUNTS of
    its classes `counts + k * width + class`."""
    often = 0
    for k in range(1, classes):
        if cell[counts + k] > cell[counts + often]:
            often = k
    if cell[counts + often] > 0.0 and often == label:
        cell[first + MAJORITY * stride] += 1.0
    cell[counts + SEEN * width + label] += 1.0
    cell[counts + ANSWERED * width + answer] += 1.0
    if label == answer:
        cell[counts + HITS * width + label] += 1.0
    if chance == chance:
        cell[first + CHANCES * stride] += 1.0
        loss = -math.log(min(1.0 - LEAST, max(LEAST, chance)))
        n = cell[first + CHANCES * stride]
        cell[first + LOSS * stride] += (loss - cell[first + LOSS * stride]) / n
    if base == base:
        cell[first + BASE_LABELS * stride] += 1.0
        if base == label:
            cell[first + BASE_HITS * stride] += 1.0


def summary(fields: Floats, counts: Floats) -> list[float]:
    """The scores `COLUMNS` from one lane's FIELDS and `counts float64[3, classes]`.

    Accuracy, balanced accuracy, macro F1 and Cohen's kappa are River's; the log loss is in nats.
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
    ]
