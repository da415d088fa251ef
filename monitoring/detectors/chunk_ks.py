"""Kolmogorov-Smirnov distance of whole chunks: says when values are distributed in another way."""

from monitoring.detectors._chunks import BINS, by_chunk, conclude, counts, put, totals
from monitoring.detectors._per_part import PerPart
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel
from streamgauge.signal import PART, ROW, Signal

__all__ = ["VERSION", "build"]

VERSION = 1


@kernel
def _distance(own: Floats) -> float:
    """The largest difference of the two distributions; exact for values that share their bin."""
    old, new = totals(own)
    apart, ours, theirs = 0.0, 0.0, 0.0
    for b in range(BINS):
        reference, this = counts(own, b)
        theirs += reference
        ours += this
        apart = max(apart, abs(ours / new - theirs / old))
    return apart


@kernel
def _watch(
    codes: Ints, numbers: Floats, n: Ints, log: Ints, log_numbers: Floats, count: Ints,
    state: Floats, limits: Floats,
) -> None:  # fmt: skip
    for i in range(n[0]):
        own = state[codes[i, ROW], codes[i, PART]]
        if put(own, codes, numbers, i, limits):
            far = _distance(own)
            conclude(codes, i, log, log_numbers, count, own, limits, far, 1.0)


def build(
    signal: Signal,
    capacity: int,
    *,
    chunk: int = 500,
    reference: int = 20,
    deviations: float = 4.0,
    in_a_row: int = 2,
    alarms_per_day: float = 0.0,
) -> PerPart:
    """A detector for the shape of the values of up to `capacity` devices.

    The first `reference` chunks of `chunk` values are the reference; an alarm is when the distance
    from it is more than its mean so far and `deviations` standard deviations, `in_a_row` times.
    `alarms_per_day`, where it is not 0, is how many false alarms a day one channel of one device
    may give: `deviations` are then raised to what follows from it and from how long a chunk lasts.

    An event's `after` is the distance of the last chunk from the reference, between 0 and 1,
    `before` what it usually is, `magnitude` by how many deviations it is beyond that, `since` when
    the first chunk began that was too far.
    """
    limits = (chunk, reference, deviations, in_a_row, alarms_per_day)
    return by_chunk(("chunk_ks", VERSION), _watch, signal, capacity, limits)
