"""KSWIN: says when the latest values are distributed in another way than some of those before.

As River 0.26 computes it, but for its generator of random numbers: which of the older values are
drawn follows from `seed` and from how many values there were, so that a replay draws the same.
Raab, Heusinger and Schleif (2020), "Reactive soft prototype computing for concept drift streams".
"""

import math
from typing import Any

import numpy as np

from monitoring.detectors._ks import beyond, by_chance, distance
from monitoring.detectors._per_part import PerPart, deviations, moments, tell
from streamgauge.arrays import Floats, Ints
from streamgauge.durations import DAY
from streamgauge.events import EventKind
from streamgauge.kernels import kernel
from streamgauge.signal import PART, ROW, TIME, UNIT, VALUE, Kind, Signal
from streamgauge.splitmix import mixed

__all__ = ["VERSION", "build", "draw", "least"]

VERSION = 1

UP, DOWN, DRIFT = int(EventKind.DRIFT_UP), int(EventKind.DRIFT_DOWN), int(EventKind.DRIFT)
# Fields of a part: values since the alarm before, and when the first of them came; then the window,
# round and round.
N, BEGUN, RING = range(3)
# Settings; behind them how probable each difference is, from 0 steps on, and the writer's number.
WINDOW, STAT, LEAST, SEED, SHAPED, ALARMS, PROBABLE = range(7)
_SHORT = 10_000
_BY_11: Any = np.uint64(11)


@kernel
def draw(places: Ints, wanted: int, seed: int, n: int) -> None:
    """Bring so many places, drawn without putting back, to the front of 0 ... k - 1."""
    for k in range(len(places)):
        places[k] = k
    state = mixed(seed, n)
    for k in range(wanted):
        state = mixed(state, k)
        other = k + int(state >> _BY_11) % (len(places) - k)
        places[k], places[other] = places[other], places[k]


@kernel
def _split(own: Floats, limits: Floats, places: Ints, drawn: Floats, latest: Floats) -> None:
    """Fill in the older values that are drawn, and the latest ones; both sorted."""
    n, window, stat = int(own[N]), int(limits[WINDOW]), int(limits[STAT])
    draw(places, stat, int(limits[SEED]), n)
    for k in range(stat):
        drawn[k] = own[RING + (n + places[k]) % window]
        latest[k] = own[RING + (n + window - stat + k) % window]
    drawn.sort()
    latest.sort()


@kernel
def _too_many(own: Floats, time: int, limits: Floats, apart: float) -> bool:
    """Whether so large a difference comes more often than there may be alarms."""
    if limits[ALARMS] == 0.0:
        return False
    gap = (time - own[BEGUN]) / max(own[N] - 1.0, 1.0)
    step = round(apart * limits[STAT])
    return bool(limits[PROBABLE + step] > limits[ALARMS] * gap / DAY)


@kernel
def _say(
    codes: Ints, numbers: Floats, i: int, log: Ints, log_numbers: Floats, count: Ints,
    own: Floats, limits: Floats, drawn: Floats, latest: Floats,
) -> None:  # fmt: skip
    # The times of the latest are taken for regular.
    stat, time = len(latest), codes[i, TIME]
    since = time - int((time - own[BEGUN]) * (stat - 1.0) / max(own[N] - 1.0, 1.0))
    if limits[SHAPED] == 1.0:
        kind, apart = DRIFT, distance(drawn, latest)
        before, after, far = by_chance(stat, stat), apart, beyond(apart, stat, stat)
    else:
        (old, spread), (new, _), unit = moments(drawn), moments(latest), numbers[i, UNIT]
        kind, before, after = UP if new > old else DOWN, old * unit, new * unit
        far = deviations(old, new, spread)
    tell(
        log, log_numbers, count, codes, i, limits[-1], kind, since, before, after,
        float(stat), far,
    )  # fmt: skip


@kernel
def _watch(
    codes: Ints, numbers: Floats, n: Ints, log: Ints, log_numbers: Floats, count: Ints,
    state: Floats, limits: Floats,
) -> None:  # fmt: skip
    window, stat = int(limits[WINDOW]), int(limits[STAT])
    places, drawn, latest = np.empty(window - stat, np.int64), np.empty(stat), np.empty(stat)
    for i in range(n[0]):
        own, time = state[codes[i, ROW], codes[i, PART]], codes[i, TIME]
        if own[N] == 0.0:
            own[BEGUN] = time
        own[RING + int(own[N]) % window] = numbers[i, VALUE]
        own[N] += 1.0
        if own[N] < window:
            continue
        _split(own, limits, places, drawn, latest)
        apart = distance(drawn, latest)
        if apart * stat < limits[LEAST] - 0.5 or _too_many(own, time, limits, apart):
            continue
        _say(codes, numbers, i, log, log_numbers, count, own, limits, drawn, latest)
        own[:] = 0.0


def probable(n: int, h: int) -> float:
    """How probable it is that two samples of `n` differ by `h` steps or more, of a distribution
    without ties.

    Gnedenko and Korolyuk (1951).
    """
    if h == 0:
        return 1.0
    paths = sum((-1) ** (k - 1) * math.comb(2 * n, n - k * h) for k in range(1, n // h + 1))
    return float(2 * paths / math.comb(2 * n, n))


def least(alpha: float, n: int) -> int:
    """The smallest difference of two samples of `n`, in steps, that is as improbable as `alpha` and
    more than a tenth of them; `n` + 1 where there is none."""
    return next((h for h in range(n // 10 + 1, n + 1) if probable(n, h) <= alpha), n + 1)


def build(
    signal: Signal,
    capacity: int,
    *,
    alpha: float = 0.005,
    window_size: int = 100,
    stat_size: int = 30,
    seed: int = 0,
    alarms_per_day: float = 0.0,
) -> PerPart:
    """A detector for any signal of up to `capacity` devices.

    At every value `stat_size` of the latest `window_size` values but the last `stat_size` are drawn
    and compared with those last ones; it is an alarm where they differ as only `alpha` of samples
    of one distribution do. After an alarm the window fills anew. There is a comparison at each
    value: of independent ones the defaults give 130 false alarms in 100,000. `alarms_per_day`,
    where it is not 0, is how many false alarms a day one part of one device may give: differences
    must then be as improbable as follows from it and from how often values come.

    `before` and `after` are the means of what was drawn and of the last values, of a shape the
    distance that chance brings about and theirs.
    """
    if not 1 <= stat_size <= window_size // 2:
        raise ValueError(
            f"stat_size is {stat_size} and window_size {window_size}; the window must be at least "
            "twice as long, such as 30 and 100"
        )
    if window_size > _SHORT:
        raise ValueError(f"window_size is {window_size}; it counts values, up to {_SHORT:,}")
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha is {alpha}; it is a probability, such as 0.005")
    if not 0 <= seed < 2**53:
        raise ValueError(f"seed is {seed}; it is a whole number from 0 to {2**53:,}")
    if not 0.0 <= alarms_per_day <= 1e6:
        raise ValueError(f"alarms_per_day is {alarms_per_day}; write how many, such as 0.01")
    shaped, enough = float(signal.kind is Kind.SHAPE), least(alpha, stat_size)
    own = [window_size, stat_size, enough, seed, shaped, alarms_per_day]
    steps = [probable(stat_size, h) for h in range(stat_size + 1)]
    limits, fields = np.array([*own, *steps], np.float64), RING + window_size
    return PerPart(
        ("kswin", VERSION), _watch, signal, capacity, fields, limits,
        lambda state: state[..., N] >= window_size - 1,
    )  # fmt: skip
