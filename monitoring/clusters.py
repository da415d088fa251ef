"""Clusters of one lane: which a device has met, and how well they are apart."""

import numpy as np

from streamgauge.arrays import Floats
from streamgauge.kernels import kernel

__all__ = ["CLUSTER", "CLUSTERS", "FIELDS", "SCORED", "entered", "silhouette", "summary"]

SCORED = ("grouped", "silhouette", "decayed_grouped", "decayed_silhouette")
"""Those that begin anew with the scores."""
FIELDS = ("cluster", "clusters", "known", *SCORED)
CLUSTER, CLUSTERS, KNOWN, GROUPED, APART, DECAYED_GROUPED, DECAYED_APART = range(len(FIELDS))

MOST_CLUSTERS = 50
"""Clusters that are told apart, as bits of a float64; higher numbers give no event."""


@kernel
def entered(cell: Floats, lane: int, lanes: int, group: float) -> bool:
    """Note the device's cluster; whether that is new to it, and not its first one."""
    fresh = False
    if 0.0 <= group < MOST_CLUSTERS:
        known = int(cell[KNOWN * lanes + lane])
        bit = 1 << int(group)
        if known & bit == 0:
            fresh = known != 0
            cell[KNOWN * lanes + lane] = float(known | bit)
            cell[CLUSTERS * lanes + lane] += 1.0
    return fresh


@kernel
def silhouette(cell: Floats, lane: int, lanes: int, near: float, other: float, keep: float) -> None:
    """Count one answer, whose centre is `near` and the nearest other centre `other` away; NaN
    counts nothing. In the decayed mean it weighs `keep` times as much as the next one."""
    if near != near or other != other:
        return
    far = max(near, other)
    apart = (other - near) / far if far > 0.0 else 0.0
    cell[GROUPED * lanes + lane] += 1.0
    n = cell[GROUPED * lanes + lane]
    cell[APART * lanes + lane] += (apart - cell[APART * lanes + lane]) / n
    weight = 1.0 + keep * cell[DECAYED_GROUPED * lanes + lane]
    cell[DECAYED_GROUPED * lanes + lane] = weight
    cell[DECAYED_APART * lanes + lane] += (apart - cell[DECAYED_APART * lanes + lane]) / weight


def summary(fields: Floats) -> list[float]:
    """Simplified silhouette (Hruschka, de Castro and Campello 2004), its mean over all answers and
    the decayed one, of devices together: `fields float64[4, n]`, in the order of SCORED.

    It is (b - a) / max(a, b), where a is the distance from the centre of the reading's cluster and
    b that from the nearest other centre, both when the reading came; NaN where no answer was
    between two centres.
    """
    with np.errstate(invalid="ignore"):
        return [float((fields[k] * fields[k + 1]).sum() / fields[k].sum()) for k in (0, 2)]
