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
    labels, chances = labels[known], np.nan_to_num(chances[known])
    n, classes = chances.shape
    if not n:
        return np.full((2, classes), np.nan)
    # All classes at once: of each the answers in the order of its probability, and where the run
    # of equal ones begins and ends that an answer is in.
    order = np.argsort(chances, axis=0, kind="stable")
    ordered = np.take_along_axis(chances, order, axis=0)
    own = labels[order] == np.arange(classes)
    place = np.arange(n)[:, None]
    parts = np.ones((1, classes), np.bool_)
    differ = ordered[1:] != ordered[:-1]
    begins = np.maximum.accumulate(np.where(np.vstack([parts, differ]), place, 0), axis=0)
    ends = np.where(np.vstack([differ, parts]), place, n)[::-1]
    ends = np.minimum.accumulate(ends, axis=0)[::-1]
    before = np.vstack([np.zeros((1, classes)), np.cumsum(own, axis=0)])
    above = before[-1] - np.take_along_axis(before, begins, axis=0)
    of_class = before[-1]
    with np.errstate(all="ignore"):
        ranks = ((begins + ends) / 2.0 * own).sum(axis=0)
        lowest = of_class * (of_class - 1.0) / 2.0
        roc = (ranks - lowest) / (of_class * (n - of_class))
        precision = (own * above / (n - begins)).sum(axis=0) / of_class
    found = np.array([roc, precision])
    found[:, (of_class == 0.0) | (of_class == n)] = np.nan
    return found
