"""How well scores put one kind before another: ROC AUC and PR AUC, of anomalies and of classes."""

import math

import numpy as np

from streamgauge.arrays import Floats

__all__ = ["of_classes", "pr_auc", "roc_auc"]


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


def of_classes(labels: Floats, chances: Floats) -> Floats:
    """float64[2, classes]: ROC AUC and PR AUC of each class against all others, by its probability;
    `labels float64[n]` are places, `chances float64[n, classes]`. Answers without any probability
    are left out; one of a class that the model does not know counts 0. NaN for a class that is all
    of the labels or none of them.
    """
    known = np.isfinite(chances).any(axis=1)
    told, chances = labels[known], np.nan_to_num(chances[known])
    return np.array(
        [
            [area(chances[:, k], (told == k).astype(np.float64)) for k in range(chances.shape[1])]
            for area in (roc_auc, pr_auc)
        ]
    ).reshape(2, chances.shape[1])
