"""Distances of whole chunks from a reference, calibrated on the device itself.

A p-value per check is of no use here: residuals are never quite independent, and the reference is
an estimate. How far apart chunks of this very device are while nothing happens is measured instead,
as NannyML does, but never against a reference that holds the chunk itself.
"""

import math
from collections.abc import Callable

import numpy as np

from monitoring.detectors._ks import deviations_at
from monitoring.detectors._per_part import PerPart, tell
from streamgauge.arrays import Floats, Ints
from streamgauge.durations import DAY
from streamgauge.events import EventKind
from streamgauge.kernels import kernel
from streamgauge.signal import TIME, VALUE, Kind, Signal

__all__ = ["BINS", "WIDTH", "by_chunk", "conclude", "counts", "put", "totals"]

DRIFT = int(EventKind.DRIFT)
# Fields of a part: values in this chunk, chunks in the reference, distances so far with their mean
# and squares, how many in a row were too far, when this chunk and the first of those began.
FILLED, CHUNKS, DISTANCES, MEAN, SQUARES, FAR, BEGUN, SINCE_WHEN = range(8)
COUNTS = 8
# Equal steps from -4 to 4 standard deviations, where residuals are limited.
BINS, _LOW, WIDTH = 32, -4.0, 0.25
# Each number of `COUNTS` holds two: values of the reference times this, and values of this chunk.
_PACKED = 2.0**20
# Settings.
CHUNK, REFERENCE, DEVIATIONS, IN_A_ROW, ALARMS, OWN_WRITER = range(6)
# Distances that their mean and deviation look back on, so that both follow what is usual now.
_MEMORY = 200.0
# Distances of chunks that come from one distribution spread by 0.3 of their mean. Where they spread
# by more than this the reference was of several, and is begun anew.
_UNSTEADY = 0.6


@kernel
def counts(own: Floats, b: int) -> tuple[float, float]:
    """How many values of the reference, and of this chunk, are in bin `b`."""
    reference = math.floor(own[COUNTS + b] / _PACKED)
    return reference, own[COUNTS + b] - reference * _PACKED


@kernel
def _close(own: Floats, join: bool) -> None:
    """Begin the next chunk; the values of this one join the reference, or are forgotten."""
    for b in range(BINS):
        reference, this = counts(own, b)
        own[COUNTS + b] = (reference + (this if join else 0.0)) * _PACKED
    own[FILLED] = 0.0


@kernel
def put(own: Floats, codes: Ints, numbers: Floats, i: int, limits: Floats) -> bool:
    """Take value `i` of a signal into the chunk; whether that is full now, and there is a reference
    that it can be compared with."""
    if own[FILLED] == 0.0:
        own[BEGUN] = codes[i, TIME]
    place = math.floor((numbers[i, VALUE] - _LOW) / WIDTH)
    own[COUNTS + int(min(max(place, 0.0), BINS - 1.0))] += 1.0
    own[FILLED] += 1.0
    if own[FILLED] < limits[CHUNK]:
        return False
    if own[CHUNKS] == 0.0:
        _close(own, True)
        own[CHUNKS] = 1.0
        return False
    return True


@kernel
def totals(own: Floats) -> tuple[float, float]:
    """How many values are in the reference, and in this chunk."""
    old, new = 0.0, 0.0
    for b in range(BINS):
        reference, this = counts(own, b)
        old += reference
        new += this
    return old, new


@kernel
def _far(own: Floats, limits: Floats, time: int) -> float:
    """How many deviations are too far: what follows from how many chunks a day has, if distances
    have the tail of Kolmogorov's distribution; at least what was asked for."""
    lasted = max(time - own[BEGUN], 1.0)
    if limits[ALARMS] == 0.0:
        return float(limits[DEVIATIONS])
    wanted = deviations_at(min(limits[ALARMS] * lasted / DAY, 1.0))
    # The deviation itself is known from few distances: one of its standard errors is added.
    return float(max(limits[DEVIATIONS], wanted * (1.0 + 1.0 / math.sqrt(2.0 * own[DISTANCES]))))


@kernel
def _judge(own: Floats, limits: Floats, distance: float, time: int) -> tuple[float, float]:
    """At the end of a chunk so far from the reference: how far is usual, and by how many deviations
    it is beyond that where it is an alarm, else 0.

    By chance a distance shrinks with the root of the sizes; so scaled it does not.
    """
    chunk, chunks = limits[CHUNK], own[CHUNKS]
    size = math.sqrt(chunk * chunks / (chunks + 1.0))
    scaled = distance * size
    calibrated = chunks >= limits[REFERENCE]
    spread = math.sqrt(own[SQUARES] / max(own[DISTANCES] - 1.0, 1.0))
    beyond = (scaled - own[MEAN]) / max(spread, 1e-3)
    usual = own[MEAN] / size
    if calibrated and beyond > _far(own, limits, time):
        if own[FAR] == 0.0:
            own[SINCE_WHEN] = own[BEGUN]
        own[FAR] += 1.0
        _close(own, False)
        return usual, (beyond if own[FAR] >= limits[IN_A_ROW] else 0.0)
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
    return usual, 0.0


@kernel
def conclude(
    codes: Ints, i: int, log: Ints, log_numbers: Floats, count: Ints, own: Floats, limits: Floats,
    distance: float, unit: float,
) -> None:  # fmt: skip
    """End a chunk that lies so far from the reference. If that is an alarm, append its event, with
    distances in `unit`; what is so now becomes the reference."""
    usual, beyond = _judge(own, limits, distance, codes[i, TIME])
    if beyond > 0.0:
        tell(
            log, log_numbers, count, codes, i, limits[OWN_WRITER], DRIFT, own[SINCE_WHEN],
            usual * unit, distance * unit, limits[CHUNK] * limits[IN_A_ROW], beyond,
        )  # fmt: skip
        own[:] = 0.0


def by_chunk(
    detector: tuple[str, int],
    watch: Callable[..., None],
    signal: Signal,
    capacity: int,
    limits: tuple[int, int, float, int, float],
) -> PerPart:
    """A detector with kernel `watch` of the shape of up to `capacity` devices.

    `limits` are the values of a chunk, the chunks of the reference, the deviations beyond which a
    distance is too far, how many in a row must be, and how many false alarms a day there may be of
    one part of one device, 0 where only the deviations decide. State are counts of the reference
    and of a chunk in 32 bins of a quarter of a standard deviation, 320 bytes per device and part.
    """
    chunk, reference, deviations, in_a_row, alarms = limits
    if signal.kind is not Kind.SHAPE:
        raise ValueError(
            f"{detector[0]} watches a shape, not {signal.kind}: its bins are for standardised "
            "values"
        )
    if not 2 <= chunk <= 1_000_000:
        raise ValueError(f"chunk is {chunk}; it counts values, from 2 to 1,000,000")
    if not 3 <= reference <= 1_000:
        raise ValueError(f"reference is {reference}; it counts chunks, from 3 to 1,000")
    if not deviations > 0.0:
        raise ValueError(f"deviations is {deviations}; it must be above 0, such as 4")
    if in_a_row < 1:
        raise ValueError(f"in_a_row is {in_a_row}; it must be at least 1")
    if not 0.0 <= alarms <= 1e6:
        raise ValueError(f"alarms_per_day is {alarms}; write how many, such as 0.01")
    own = np.array(limits, np.float64)
    return PerPart(
        detector, watch, signal, capacity, COUNTS + BINS, own,
        lambda state: state[..., CHUNKS] >= reference,
    )  # fmt: skip
