"""What a selection remembers of one feature of one model, and how it learns that."""

import math

import numpy as np

from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel
from streamgauge.schedule import LANE, STEP
from streamgauge.words import Step

__all__ = [
    "COUNT",
    "COVARIANCE",
    "DROPPED",
    "LABEL_MEAN",
    "LABEL_SQUARES",
    "LEARN",
    "MEAN",
    "MOST",
    "PLACE",
    "SCORE",
    "SQUARES",
    "WIDTH",
    "hide",
    "is_other",
    "learn_correlation",
    "learn_variance",
]

LEARN = int(Step.LEARN)
COUNT, MEAN, SQUARES, LABEL_MEAN, LABEL_SQUARES, COVARIANCE, SCORE, PLACE, DROPPED = range(9)
WIDTH = 9
# Squares of it are still finite. A larger value teaches nothing.
MOST = 1e120


@kernel
def is_other(codes: Ints, i: int, lane: int) -> bool:
    """Whether no model of this lane sees the features of step i."""
    return bool(codes[i, LANE] != lane or codes[i, STEP] > LEARN)


@kernel
def hide(cells: Floats, x: Floats, inputs: Ints) -> None:
    """Make missing what was left out."""
    for j in range(len(inputs)):
        if cells[j, DROPPED] != 0.0:
            x[inputs[j]] = np.nan


@kernel
def learn_variance(cell: Floats, value: float) -> None:
    """Count, mean and sum of squares, after Welford (1962)."""
    cell[COUNT] += 1.0
    old = cell[MEAN]
    cell[MEAN] += (1.0 / cell[COUNT]) * (value - old)
    cell[SQUARES] += (value - old) * (value - cell[MEAN])


@kernel
def learn_correlation(cell: Floats, value: float, label: float) -> None:
    """The same for the label, and the absolute correlation of the two as SCORE."""
    away, old = value - cell[MEAN], cell[LABEL_MEAN]
    learn_variance(cell, value)
    n = cell[COUNT]
    cell[LABEL_MEAN] += (1.0 / n) * (label - old)
    cell[LABEL_SQUARES] += (label - old) * (label - cell[LABEL_MEAN])
    step = away * (label - cell[LABEL_MEAN]) - cell[COVARIANCE]
    cell[COVARIANCE] += step / max(n - 1.0, 1.0)
    cell[SCORE] = 0.0
    if n > 1.0:
        product = cell[SQUARES] / (n - 1.0) * (cell[LABEL_SQUARES] / (n - 1.0))
        if product > 0.0:
            cell[SCORE] = abs(cell[COVARIANCE]) / math.sqrt(product)
