"""Kolmogorov-Smirnov test of a sliding window against a reference, exact with ties."""

import numpy as np

from monitoring.detectors._ks import beyond, by_chance, distance, probability
from monitoring.detectors._per_part import PerPart
from monitoring.detectors._windows import AS_ONE, NOWHERE, conclude, known, latest, take, windowed
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel
from streamgauge.signal import PART, ROW, Signal

__all__ = ["VERSION", "build"]

VERSION = 2


@kernel
def _watch(
    codes: Ints, numbers: Floats, n: Ints, log: Ints, log_numbers: Floats, count: Ints,
    state: Floats, limits: Floats,
) -> None:  # fmt: skip
    for i in range(n[0]):
        own = state[codes[i, ROW], codes[i, PART]]
        at = take(own, codes, numbers, i, limits)
        if at != NOWHERE:
            old, new = known(own, at, limits), np.sort(latest(own, at, limits))
            apart, many = distance(old, new), own[at + AS_ONE]
            size, first = len(new) / many, len(old) / many
            conclude(
                codes, numbers, i, log, log_numbers, count, own, at, limits,
                probability(apart, size, first), by_chance(size, first), apart,
                beyond(apart, size, first),
            )  # fmt: skip


def build(
    signal: Signal,
    capacity: int,
    *,
    reference: int = 1_000,
    window: int = 200,
    every: int = 50,
    p_value: float = 1e-4,
    alarms_per_day: float = 0.0,
    seasons: int = 1,
) -> PerPart:
    """A detector for any signal of up to `capacity` devices.

    The first `reference` values are the reference, 8 bytes each per device and part like those of
    the window; after an alarm the next ones are. The latest `window` values are compared with it
    every `every` of them. With `seasons` a day (UTC) has so many parts, each with a reference and a
    window of its own.

    `p_value` is the probability of a false alarm at one comparison, of values that depend on each
    other as those of the reference do. `alarms_per_day`, where it is
    not 0, is how many false alarms a day one part of one device may give: `p_value` is then lowered
    to what follows from it and from how often values come.

    Of a shape an event's `after` is the distance, between 0 and 1, `before` the one that chance
    brings about, `magnitude` by how many deviations it is beyond that; of other signals `before`
    and `after` are the means of reference and window. `since` is when the window began.
    """
    sizes, rates = (reference, window, every, seasons), (p_value, alarms_per_day)
    return windowed(("window_ks", VERSION), _watch, signal, capacity, sizes, rates, np.zeros(0))
