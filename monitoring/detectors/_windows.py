"""A reference of values and a sliding window behind it, which are compared every so many values.

Both are of one time of day where `seasons` divide it. A comparison gives the probability that two
samples of one distribution are so different. How small that must be follows from how many
comparisons there are: the expected number of false alarms is their sum, whether windows overlap or
share a reference, so that nothing else has to be corrected for.

Values that depend on each other say less than as many independent ones. How many count as one is
taken from the autocorrelation of the reference, of values and of how far they are from their mean:
the sums of pairs that are above 0 (Geyer 1992, "Practical Markov chain Monte Carlo", section 3.3).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from monitoring.detectors._per_part import PerPart, deviations, moments, tell
from streamgauge.arrays import Floats, Ints
from streamgauge.durations import DAY
from streamgauge.events import EventKind
from streamgauge.kernels import kernel
from streamgauge.rhythm import GAP, RHYTHM, tick
from streamgauge.signal import TIME, UNIT, VALUE, Kind, Signal

__all__ = [
    "AS_ONE",
    "NOWHERE",
    "OWN_LIMITS",
    "allowed",
    "as_one",
    "conclude",
    "known",
    "latest",
    "take",
    "windowed",
]

UP, DOWN, DRIFT = int(EventKind.DRIFT_UP), int(EventKind.DRIFT_DOWN), int(EventKind.DRIFT)
# Settings; those of a detector itself follow, and then the writer's number.
ALPHA, ALARMS, REFERENCE, WINDOW, EVERY, SEASONS, SHAPED, OWN_LIMITS = range(8)
# Fields of a season: values in the reference and since then, and how many count as one; behind them
# when each of the stretches between two comparisons began, the reference, which is sorted once it
# is full, and the window.
KNOWN, SEEN, AS_ONE, BEGINS = range(4)
# Autocorrelations are looked at up to this lag, or a quarter of the reference.
_FARTHEST = 100
# Values of a window, at least, that are as good as independent.
_FEWEST = 10.0
# No comparison is due.
NOWHERE = -1
_LARGEST = 100_000


@kernel
def _stretches(limits: Floats) -> int:
    return int(limits[WINDOW] // limits[EVERY])


@kernel
def known(own: Floats, at: int, limits: Floats) -> Floats:
    """The reference of the season at `at`, sorted."""
    begin = at + BEGINS + _stretches(limits)
    return own[begin : begin + int(limits[REFERENCE])]


@kernel
def latest(own: Floats, at: int, limits: Floats) -> Floats:
    """The window of the season at `at`, in no order."""
    begin = at + BEGINS + _stretches(limits) + int(limits[REFERENCE])
    return own[begin : begin + int(limits[WINDOW])]


@kernel
def _together(values: Floats, lag: int) -> float:
    total = 0.0
    for i in range(len(values) - lag):
        total += values[i] * values[i + lag]
    return total


@kernel
def as_one(rest: Floats) -> float:
    """How many of these deviations from their mean count as an independent one; at least 1."""
    square, total = _together(rest, 0), 1.0
    if square == 0.0:
        return total
    for lag in range(1, min(_FARTHEST, len(rest) // 4), 2):
        pair = (_together(rest, lag) + _together(rest, lag + 1)) / square
        if pair <= 0.0:
            break
        total += 2.0 * pair
    return total


@kernel
def _settle(own: Floats, at: int, reference: Floats, limits: Floats) -> None:
    """The reference is full: learn how its values depend on each other, and sort it. One in which
    they depend so much that a window says nothing is begun anew: it may be of two kinds."""
    rest = reference - moments(reference)[0]
    far = np.abs(rest)
    own[at + AS_ONE] = max(as_one(rest), as_one(far - moments(far)[0]))
    reference.sort()
    if own[at + AS_ONE] * _FEWEST > limits[WINDOW]:
        own[at + KNOWN] = 0.0


@kernel
def take(own: Floats, codes: Ints, numbers: Floats, i: int, limits: Floats) -> int:
    """Take in value `i` of a signal; the place of its season if a comparison is due there."""
    time, value = codes[i, TIME], numbers[i, VALUE]
    tick(own[:RHYTHM], time)
    seasons = int(limits[SEASONS])
    season = (time % DAY) * seasons // DAY
    at = RHYTHM + season * ((len(own) - RHYTHM) // seasons)
    n = int(own[at + KNOWN])
    if n < limits[REFERENCE]:
        reference = known(own, at, limits)
        reference[n] = value
        own[at + KNOWN] += 1.0
        if n + 1 == limits[REFERENCE]:
            _settle(own, at, reference, limits)
        return NOWHERE
    place = int(own[at + SEEN] % limits[WINDOW])
    if place % limits[EVERY] == 0.0:
        own[at + BEGINS + int(place // limits[EVERY])] = time
    latest(own, at, limits)[place] = value
    own[at + SEEN] += 1.0
    due = own[at + SEEN] >= limits[WINDOW] and own[at + SEEN] % limits[EVERY] == 0.0
    return at if due else NOWHERE


@kernel
def allowed(own: Floats, limits: Floats) -> float:
    """How small the probability of a difference must be for an alarm."""
    if limits[ALARMS] == 0.0:
        return float(limits[ALPHA])
    return float(min(limits[ALPHA], limits[ALARMS] * limits[EVERY] * own[GAP] / DAY))


@kernel
def conclude(
    codes: Ints, numbers: Floats, i: int, log: Ints, log_numbers: Floats, count: Ints,
    own: Floats, at: int, limits: Floats, probability: float, usual: float, found: float,
    beyond: float,
) -> None:  # fmt: skip
    """End a comparison: if so improbable a difference is an alarm, append its event, and begin anew
    with another reference.

    Of a shape it says how far apart the two are, how far is usual, and by how many deviations it is
    beyond that; of other signals it gives their means.
    """
    if probability > allowed(own, limits):
        return
    oldest = int(own[at + SEEN] % limits[WINDOW] // limits[EVERY])
    since, writer, size = own[at + BEGINS + oldest], limits[-1], limits[WINDOW]
    if limits[SHAPED] == 1.0:
        tell(log, log_numbers, count, codes, i, writer, DRIFT, since, usual, found, size, beyond)
    else:
        before, spread = moments(known(own, at, limits))
        after, _ = moments(latest(own, at, limits))
        way, unit = UP if after > before else DOWN, numbers[i, UNIT]
        tell(
            log, log_numbers, count, codes, i, writer, way, since, before * unit, after * unit,
            size, deviations(before, after, spread),
        )  # fmt: skip
    own[RHYTHM:] = 0.0


def windowed(
    detector: tuple[str, int],
    watch: Callable[..., None],
    signal: Signal,
    capacity: int,
    sizes: tuple[int, int, int, int],
    rates: tuple[float, float],
    own: Floats,
) -> PerPart:
    """A detector with kernel `watch` of any signal of up to `capacity` devices.

    `sizes` are the values of the reference and of the window, after how many there is a comparison,
    and into how many seasons a day is divided; `rates` are the probability of a false alarm per
    comparison and how many there may be a day; `own` are the detector's own settings.
    """
    (reference, window, every, seasons), (p_value, alarms) = sizes, rates
    for name, size in (("reference", reference), ("window", window)):
        if not 10 <= size <= _LARGEST:
            raise ValueError(f"{name} is {size}; it counts values, from 10 to {_LARGEST:,}")
    if every < 1 or window % every:
        raise ValueError(f"every is {every}; {window} values of the window must divide by it")
    if not 1 <= seasons <= 48:
        raise ValueError(f"seasons is {seasons}; it counts parts of a day, from 1 to 48")
    if not 0.0 < p_value <= 0.1:
        raise ValueError(f"p_value is {p_value}; it is a probability up to 0.1, such as 0.0001")
    if not 0.0 <= alarms <= 1e6:
        raise ValueError(f"alarms_per_day is {alarms}; write how many, such as 0.01")
    shaped = float(signal.kind is Kind.SHAPE)
    limits = np.concatenate([np.array([p_value, alarms, *sizes, shaped]), own])
    season = BEGINS + window // every + reference + window

    def ready(state: Floats) -> Any:
        # Of one time of day at least.
        own = state[..., RHYTHM:].reshape(*state.shape[:-1], seasons, season)
        return ((own[..., KNOWN] >= reference) & (own[..., SEEN] >= window - 1)).any(axis=-1)

    fields = RHYTHM + seasons * season
    return PerPart(detector, watch, signal, capacity, fields, limits, ready)
