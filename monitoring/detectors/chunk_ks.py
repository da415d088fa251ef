"""Kolmogorov-Smirnov distance of whole chunks: says when values are distributed in another way.

A p-value per check is of no use here: residuals are never quite independent, and the reference is
an estimate. How far apart chunks of this very device are while nothing happens is measured instead,
as NannyML does, but never against a reference that holds the chunk itself.
"""

import math

import numpy as np

from monitoring.detectors._per_part import PerPart, tell
from streamgauge.arrays import Floats, Ints
from streamgauge.events import EventKind
from streamgauge.kernels import kernel
from streamgauge.signal import PART, ROW, TIME, VALUE, Kind, Signal

__all__ = ["VERSION", "build"]

VERSION = 1

DRIFT = int(EventKind.DRIFT)
# Fields of a part: values in this chunk, chunks in the reference, distances so far with their mean
# and squares, how many in a row were too far, when this chunk and the first of those began.
FILLED, CHUNKS, DISTANCES, MEAN, SQUARES, FAR, BEGUN, SINCE_WHEN = range(8)
COUNTS = 8
# Equal steps from -4 to 4 standard deviations, where residuals are limited.
BINS, _LOW, _WIDTH = 32, -4.0, 0.25
# Each number of `COUNTS` holds two: values of the reference times this, and values of this chunk.
_PACKED = 2.0**20
# Settings.
CHUNK, REFERENCE, DEVIATIONS, IN_A_ROW, OWN_WRITER = range(5)
# Distances that their mean and deviation look back on, so that both follow what is usual now.
_MEMORY = 200.0
# Distances of chunks that come from one distribution spread by 0.3 of their mean. Where they spread
# by more than this the reference was of several, and is begun anew.
_UNSTEADY = 0.6


@kernel
def _distance(own: Floats) -> float:
    """The largest difference of the two distributions; exact for values that share their bin."""
    old, new = 0.0, 0.0
    for b in range(BINS):
        reference = math.floor(own[COUNTS + b] / _PACKED)
        old += reference
        new += own[COUNTS + b] - reference * _PACKED
    apart, ours, theirs = 0.0, 0.0, 0.0
    for b in range(BINS):
        reference = math.floor(own[COUNTS + b] / _PACKED)
        theirs += reference
        ours += own[COUNTS + b] - reference * _PACKED
        apart = max(apart, abs(ours / new - theirs / old))
    return apart


@kernel
def _close(own: Floats, join: bool) -> None:
    """Begin the next chunk; the values of this one join the reference, or are forgotten."""
    for b in range(BINS):
        reference = math.floor(own[COUNTS + b] / _PACKED)
        this = own[COUNTS + b] - reference * _PACKED
        own[COUNTS + b] = (reference + (this if join else 0.0)) * _PACKED
    own[FILLED] = 0.0


@kernel
def _judge(own: Floats, limits: Floats) -> tuple[float, float, float]:
    """At the end of a chunk: its distance, the usual one, and by how many deviations it is beyond
    it where that is an alarm, else 0."""
    chunk, chunks = limits[CHUNK], own[CHUNKS]
    if chunks == 0.0:
        _close(own, True)
        own[CHUNKS] = 1.0
        return 0.0, 0.0, 0.0
    # By chance, distances shrink as the reference grows; so scaled they do not.
    size = math.sqrt(chunk * chunks / (chunks + 1.0))
    distance = _distance(own)
    scaled = distance * size
    calibrated = chunks >= limits[REFERENCE]
    spread = math.sqrt(own[SQUARES] / max(own[DISTANCES] - 1.0, 1.0))
    beyond = (scaled - own[MEAN]) / max(spread, 1e-3)
    usual = own[MEAN] / size
    if calibrated and beyond > limits[DEVIATIONS]:
        if own[FAR] == 0.0:
            own[SINCE_WHEN] = own[BEGUN]
        own[FAR] += 1.0
        _close(own, False)
        return distance, usual, (beyond if own[FAR] >= limits[IN_A_ROW] else 0.0)
    own[FAR] = 0.0
    n = min(own[DISTANCES] + 1.0, _MEMORY)
    if own[DISTANCES] >= _MEMORY:
        own[SQUARES] *= 1.0 - 1.0 / _MEMORY
    miss = scaled - own[MEAN]
    own[DISTANCES] = n
    own[MEAN] += miss / n
    own[SQUARES] += miss * (scaled - own[MEAN])
    _close(own, not calibrated)
    if not calibrated:
        own[CHUNKS] += 1.0
        spread = math.sqrt(own[SQUARES] / max(n - 1.0, 1.0))
        if own[CHUNKS] >= limits[REFERENCE] and spread > _UNSTEADY * own[MEAN]:
            own[:] = 0.0
    return distance, usual, 0.0


@kernel
def _watch(
    codes: Ints, numbers: Floats, n: Ints, log: Ints, log_numbers: Floats, count: Ints,
    state: Floats, limits: Floats,
) -> None:  # fmt: skip
    for i in range(n[0]):
        own = state[codes[i, ROW], codes[i, PART]]
        if own[FILLED] == 0.0:
            own[BEGUN] = codes[i, TIME]
        place = math.floor((numbers[i, VALUE] - _LOW) / _WIDTH)
        own[COUNTS + int(min(max(place, 0.0), BINS - 1.0))] += 1.0
        own[FILLED] += 1.0
        if own[FILLED] < limits[CHUNK]:
            continue
        distance, usual, beyond = _judge(own, limits)
        if beyond == 0.0:
            continue
        tell(
            log, log_numbers, count, codes, i, limits[OWN_WRITER], DRIFT, own[SINCE_WHEN], usual,
            distance, limits[CHUNK] * limits[IN_A_ROW], beyond,
        )  # fmt: skip
        # What is so now becomes the reference.
        own[:] = 0.0


def build(
    signal: Signal,
    capacity: int,
    *,
    chunk: int = 500,
    reference: int = 20,
    deviations: float = 4.0,
    in_a_row: int = 2,
) -> PerPart:
    """A detector for the shape of the values of up to `capacity` devices.

    State are counts of the reference and of a chunk in 32 bins of a quarter of a standard
    deviation, 320 bytes per device and part. An event's `after` is the distance of the last chunk
    from the reference, between 0 and 1, `before` what it usually is, `magnitude` by how many
    deviations it is beyond that, `since` when the first chunk began that was too far.

    The first `reference` chunks of `chunk` values are the reference; an alarm is when the distance
    from it is more than its mean so far and `deviations` standard deviations, `in_a_row` times.
    """
    if signal.kind is not Kind.SHAPE:
        raise ValueError(
            f"chunk_ks watches a shape, not {signal.kind}: its bins are for standardised values"
        )
    if not 2 <= chunk <= 1_000_000:
        raise ValueError(f"chunk is {chunk}; it counts values, from 2 to 1,000,000")
    if not 3 <= reference <= 1_000:
        raise ValueError(f"reference is {reference}; it counts chunks, from 3 to 1,000")
    if not deviations > 0.0:
        raise ValueError(f"deviations is {deviations}; it must be above 0, such as 4")
    if in_a_row < 1:
        raise ValueError(f"in_a_row is {in_a_row}; it must be at least 1")
    limits = np.array([chunk, reference, deviations, in_a_row], np.float64)
    fields = COUNTS + BINS
    return PerPart(("chunk_ks", VERSION), _watch, signal, capacity, fields, limits)
