"""The mutual information of a feature and the label, from counts in bins of both."""

import math

from models.selections._cells import (
    COUNT,
    LABEL_MEAN,
    LABEL_SQUARES,
    MEAN,
    SCORE,
    SQUARES,
    WIDTH,
)
from streamgauge.arrays import Floats
from streamgauge.kernels import kernel

__all__ = ["BINS", "EDGES", "SIZE", "learn_information"]

# What cuts a normal distribution into eight equal parts: the breakpoints of SAX.
EDGES = (-1.1503493803760079, -0.6744897501960817, -0.31863936396437514, 0.0,
         0.31863936396437514, 0.6744897501960817, 1.1503493803760079)  # fmt: skip
BINS = 8
# Behind a cell: counts of both, of the feature, of the label, and of each of the three the sum of
# n * log(n).
JOINT, OWN, LABELS, SUMS = WIDTH, WIDTH + 64, WIDTH + 72, WIDTH + 80
SIZE = 83
# Sums in another order differ in their last digits; who says the same must have the same score.
GRAIN = 1e-9


@kernel
def _bin(value: float, mean: float, squares: float, count: float) -> int:
    deviation = math.sqrt(squares / count)
    z = (value - mean) / deviation if deviation > 0.0 else 0.0
    place = 0
    for edge in EDGES:
        place += 1 if z >= edge else 0
    return place


@kernel
def _more(cell: Floats, at: int, sums: int) -> None:
    """One more in a bin, and what n * log(n) of it grows by."""
    n = cell[at]
    before = n * math.log(n) if n > 0.0 else 0.0
    cell[at] = n + 1.0
    cell[sums] += (n + 1.0) * math.log(n + 1.0) - before


@kernel
def learn_information(cell: Floats, value: float, label: float) -> None:
    """Count a pair that means and squares know already; SCORE becomes the information, in nats."""
    n = cell[COUNT]
    own = _bin(value, cell[MEAN], cell[SQUARES], n)
    its = _bin(label, cell[LABEL_MEAN], cell[LABEL_SQUARES], n)
    _more(cell, JOINT + 8 * own + its, SUMS)
    _more(cell, OWN + own, SUMS + 1)
    _more(cell, LABELS + its, SUMS + 2)
    known = (cell[SUMS] - cell[SUMS + 1] - cell[SUMS + 2]) / n + math.log(n)
    cell[SCORE] = max(0.0, math.floor(known / GRAIN + 0.5) * GRAIN)
