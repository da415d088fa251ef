"""Population stability index of a sliding window, with a critical value that knows its size.

The sum over bins of (q - p) ln(q / p), where p is the share of the reference in a bin and q that of
the window. The usual limits of 0.1 and 0.25 say nothing without the number of values: by chance
alone the index of n and m values in B bins is (1/n + 1/m) times a chi-squared with B - 1 degrees of
freedom (Yurdakul 2018, "Statistical properties of population stability index").
"""

import math

import numpy as np

from monitoring.detectors._per_part import PerPart
from monitoring.detectors._windows import (
    AS_ONE,
    NOWHERE,
    OWN_LIMITS,
    conclude,
    known,
    latest,
    take,
    windowed,
)
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel
from streamgauge.signal import PART, ROW, Signal

__all__ = ["VERSION", "build", "index", "probability"]

VERSION = 2

# The detector's own setting.
BINS = OWN_LIMITS


@kernel
def _edges(reference: Floats, bins: int) -> Floats:
    """Upper ends of all bins but the last: quantiles of the sorted reference, each once."""
    m, n = len(reference), 0
    edges = np.empty(bins - 1)
    for k in range(1, bins):
        edge = reference[(k * m + bins - 1) // bins - 1]
        if n == 0 or edge > edges[n - 1]:
            edges[n] = edge
            n += 1
    return edges[:n]


@kernel
def _shares(values: Floats, edges: Floats) -> Floats:
    """The share of the values in each bin; an empty one counts as half a value."""
    counts = np.zeros(len(edges) + 1)
    for value in values:
        counts[np.searchsorted(edges, value)] += 1.0
    return np.maximum(counts, 0.5) / len(values)


@kernel
def index(reference: Floats, window: Floats, bins: int) -> tuple[float, int]:
    """The index of a window against a sorted reference, and its degrees of freedom: values that
    many share make fewer bins."""
    edges = _edges(reference, bins)
    p, q = _shares(reference, edges), _shares(window, edges)
    total = 0.0
    for k in range(len(p)):
        total += (q[k] - p[k]) * math.log(q[k] / p[k])
    return total, len(edges)


@kernel
def probability(x: float, freedom: int) -> float:
    """How probable a chi-squared above `x` is; exact for whole degrees of freedom."""
    if x <= 0.0:
        return 1.0
    half = 0.5 * x
    if freedom % 2:
        total, term, k = math.erfc(math.sqrt(half)), math.sqrt(half / math.pi) * 2.0, 1.5
    else:
        total, term, k = 0.0, 1.0, 1.0
    term *= math.exp(-half)
    for _ in range(freedom // 2):
        total += term
        term *= half / k
        k += 1.0
    return total


@kernel
def _watch(
    codes: Ints, numbers: Floats, n: Ints, log: Ints, log_numbers: Floats, count: Ints,
    state: Floats, limits: Floats,
) -> None:  # fmt: skip
    for i in range(n[0]):
        own = state[codes[i, ROW], codes[i, PART]]
        at = take(own, codes, numbers, i, limits)
        if at != NOWHERE:
            reference, window = known(own, at, limits), latest(own, at, limits)
            found, freedom = index(reference, window, int(limits[BINS]))
            scale = (1.0 / len(window) + 1.0 / len(reference)) * own[at + AS_ONE]
            beyond = (found / scale - freedom) / math.sqrt(2.0 * freedom)
            conclude(
                codes, numbers, i, log, log_numbers, count, own, at, limits,
                probability(found / scale, freedom), freedom * scale, found, beyond,
            )  # fmt: skip


def build(
    signal: Signal,
    capacity: int,
    *,
    bins: int = 10,
    reference: int = 1_000,
    window: int = 500,
    every: int = 100,
    p_value: float = 1e-4,
    alarms_per_day: float = 0.0,
    seasons: int = 1,
) -> PerPart:
    """A detector for any signal of up to `capacity` devices.

    The first `reference` values are the reference, 8 bytes each per device and part like those of
    the window; after an alarm the next ones are. `bins` quantiles of it are compared with the
    latest `window` values every `every` of them. With `seasons` a day (UTC) has so many parts, each
    with a reference and a window of its own.

    `p_value` is the probability of a false alarm at one comparison, of values that depend on each
    other as those of the reference do. `alarms_per_day`, where it is
    not 0, is how many false alarms a day one part of one device may give: `p_value` is then lowered
    to what follows from it and from how often values come.

    Of a shape an event's `after` is the index, `before` the one that chance brings about,
    `magnitude` by how many deviations it is beyond that; of other signals `before` and `after` are
    the means of reference and window. `since` is when the window began.
    """
    if not 2 <= bins <= 100:
        raise ValueError(f"bins is {bins}; it must be from 2 to 100, such as 10")
    if min(reference, window) < 5 * bins:
        raise ValueError(
            f"window is {window} and reference {reference}; each bin needs 5 values of both, "
            f"{5 * bins} in all"
        )
    sizes, rates = (reference, window, every, seasons), (p_value, alarms_per_day)
    own = np.array([float(bins)])
    return windowed(("psi", VERSION), _watch, signal, capacity, sizes, rates, own)
