"""The mutual information of a feature and the label, from counts in bins of both."""

import math

from models.selections._cells import (
    COUNT,
    LABEL_MEAN,
    LABEL_SQUARES,
    MEAN,
    SQUARES,
    WIDTH,
)
from streamgauge.arrays import Floats
from streamgauge.kernels import kernel

__all__ = ["EDGES", "SIZE", "count_pair", "information"]

# What cuts a normal distribution into eight equal parts: the breakpoints of SAX.
EDGES = (-1.1503493803760079, -0.6744897501960817, -0.31863936396437514, 0.0,
         0.31863936396437514, 0.6744897501960817, 1.1503493803760079)  # fmt: skip
# Behind a cell: how many pairs fell into each bin of the feature and each of the label.
BINS, JOINT, SIZE = 8, WIDTH, 64
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
def count_pair(cell: Floats, value: float, label: float) -> None:
    """Count a pair that means and squares know already."""
    n = cell[COUNT]
    own = _bin(value, cell[MEAN], cell[SQUARES], n)
    its = _bin(label, cell[LABEL_MEAN], cell[LABEL_SQUARES], n)
    cell[JOINT + BINS * own + its] += 1.0


@kernel
def information(cell: Floats) -> float:
    """Mutual information of the bins, in nats: log n + sum(c log c) / n over the counts c of both,
    less the same over those of each."""
    n, joint, alone = cell[COUNT], 0.0, 0.0
    for a in range(BINS):
        own, its = 0.0, 0.0
        for b in range(BINS):
            both = cell[JOINT + BINS * a + b]
            own += both
            its += cell[JOINT + BINS * b + a]
            joint += both * math.log(both) if both > 0.0 else 0.0
        alone += own * math.log(own) if own > 0.0 else 0.0
        alone += its * math.log(its) if its > 0.0 else 0.0
    known = (joint - alone) / n + math.log(n) if n > 0.0 else 0.0
    return float(max(0.0, math.floor(known / GRAIN + 0.5) * GRAIN))
