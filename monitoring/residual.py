"""What a channel does beyond what was expected of it: the residual of a seasonal AR(1).

A sensor's values are tied to each other and to the time of day, and no test for independent values
can be believed on them. What is left of a value once its time of day and its predecessor are taken
out is nearly independent. Both are learned online, from the device's own values: season means at
every full hour of the local day with straight lines between them, the lag-1 autocorrelation of what
is left, and the variance of what is left then, each weighing the newer more. This is the cheap form
of an exponentially weighted regression on harmonics and a lag (compare Montgomery and Mastrangelo
1991, "Some statistical process control methods for autocorrelated data").
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from streamgauge.arrays import Bools, Bytes, Floats, Ints, Rows, Words
from streamgauge.batch import Batch
from streamgauge.calls import Call, Now
from streamgauge.kernels import kernel
from streamgauge.local_time import local_time, offsets
from streamgauge.signal import PART, ROW, SEEN, SOURCE, TIME, UNIT, USUAL, VALUE, Kind, Signal
from streamgauge.state import Block, Field
from streamgauge.words import Flag

__all__ = ["LAST", "Residual", "seasons", "take"]

KNOTS = 24
# Fields of a channel, before its season means.
LAST, BEGUN, SEEN_SO_FAR, VARIED, GAP, DEVIATION, SPREAD, SHARED, VARIANCE = range(9)
SEASON = 9
# Made up by cleaning; it says nothing of the sensor.
_MADE_UP = int(Flag.FILLED | Flag.CAPPED)
_DAY, _HOUR = 86_400_000_000, 3_600_000_000
# Values that the autocorrelation and the variance look back on, and days that season means do.
_MEMORY, _DAYS = 5_000.0, 20.0
# Calibrated is what has seen so many values, or so many days with fewer values; and three days.
_ENOUGH, _FEW, _ENOUGH_DAYS, _LEAST_DAYS = 5_000.0, 300.0, 20, 3
# A gap up to so many usual ones is one between neighbours.
_NORMAL = 3.0
# Standard deviations beyond which a residual counts as if it were no further.
_CLIP = 4.0
# A part of a value beneath which a difference is a matter of rounding.
_SAME = 1e-9
# The mean of a standard normal's size is sqrt(2 / pi).
_TO_DEVIATION = math.sqrt(math.pi / 2.0)


@kernel
def _expected(own: Floats, local: int, value: float, alpha: float, reach: float) -> float:
    """What this time of day usually has; the season means learn from the value."""
    of_day = local % _DAY
    first = of_day // _HOUR
    second = (first + 1) % KNOTS
    w = (of_day - first * _HOUR) / _HOUR
    a, b = own[SEASON + first], own[SEASON + second]
    # What was never visited begins where its neighbour is.
    if math.isnan(a):
        a = value if math.isnan(b) else b
    if math.isnan(b):
        b = a
    usual = (1.0 - w) * a + w * b
    miss = min(max(value - usual, -reach), reach)
    step = alpha * miss / ((1.0 - w) * (1.0 - w) + w * w)
    own[SEASON + first] = a + (1.0 - w) * step
    own[SEASON + second] = b + w * step
    return float(usual)


@kernel
def _alpha(own: Floats, time: int) -> float:
    """How much of a value its season means take: the share of one visit in those so far."""
    visits = own[SEEN_SO_FAR] / KNOTS
    lasting = _DAYS * _DAY / (KNOTS * max(own[GAP], 1.0))
    alpha = 1.0 / (1.0 + min(visits, max(lasting, 1.0)))
    # On the first day a knot has had few visits, however many values there were.
    return float(max(alpha, 0.1) if time - own[BEGUN] < _DAY else alpha)


@kernel
def _follows(own: Floats, time: int) -> bool:
    """Whether the last value is this one's predecessor, at a usual distance, which is learned."""
    n, gap, usual = own[SEEN_SO_FAR], time - own[LAST], own[GAP]
    own[LAST], own[SEEN_SO_FAR] = time, n + 1.0
    if n == 0.0:
        own[BEGUN] = time
        own[SEASON:] = np.nan
        return False
    bounded = gap if usual == 0.0 else min(gap, _NORMAL * usual)
    own[GAP] += (bounded - usual) * max(1.0 / n, 0.01)
    return bool(usual == 0.0 or gap <= _NORMAL * usual)


@kernel
def _step(own: Floats, time: int, local: int, value: float) -> tuple[float, float]:
    """One value of one channel: its residual, NaN where there is none, and what was usual."""
    near = _follows(own, time)
    settled = own[VARIED] >= 100.0
    reach = _CLIP * math.sqrt(own[SPREAD]) if settled else np.inf
    usual = _expected(own, local, value, _alpha(own, time), reach)
    deviation, before = min(max(value - usual, -reach), reach), own[DEVIATION]
    if abs(deviation) <= _SAME * abs(value):
        deviation = 0.0
    own[DEVIATION] = deviation
    if deviation != 0.0 or own[VARIED] > 0.0:
        own[VARIED] += 1.0
    gain = max(1.0 / max(own[VARIED], 1.0), 1.0 / _MEMORY)
    share = own[SHARED] / own[SPREAD] if own[SPREAD] > 0.0 else 0.0
    own[SPREAD] += (deviation * deviation - own[SPREAD]) * gain
    if not near:
        return np.nan, usual
    residual = deviation - min(max(share, -0.999), 0.999) * before
    own[SHARED] += (deviation * before - own[SHARED]) * gain
    known, square = own[VARIANCE], residual * residual
    if settled:
        square = min(square, _CLIP * _CLIP * known)
    own[VARIANCE] += (square - known) * gain
    if known > 0.0:
        return residual / math.sqrt(known), usual
    return (0.0 if residual == 0.0 else math.copysign(_CLIP, residual)), usual


@kernel
def _calibrated(own: Floats) -> bool:
    n, lasted = own[SEEN_SO_FAR], own[LAST] - own[BEGUN]
    enough = n >= _ENOUGH or (n >= _FEW and lasted >= _ENOUGH_DAYS * _DAY)
    return bool(enough and lasted >= _LEAST_DAYS * _DAY)


@kernel
def take(own: Floats, time: int, local: int, value: float, numbers: Floats, k: int) -> float:
    """Take in a value of one part, and fill in place `k` of a signal's numbers: its residual, NaN
    where there is none yet and the place is free."""
    ready = _calibrated(own)
    residual, usual = _step(own, time, local, value)
    if not ready or math.isnan(residual):
        return math.nan
    numbers[k, VALUE] = min(max(residual, -_CLIP), _CLIP)
    numbers[k, SEEN], numbers[k, USUAL] = value, usual
    numbers[k, UNIT] = math.sqrt(own[VARIANCE])
    return residual


@kernel
def _residuals(
    n: int, row: Rows, time: Ints, verdict: Bytes, values: Floats, flags: Words,
    watched: Ints, zone: Ints, state: Floats, codes: Ints, numbers: Floats, noise: Floats,
    count: Ints,
) -> None:  # fmt: skip
    k = 0
    for i in range(n):
        if verdict[i] != 0:
            continue
        local = local_time(time[i], zone)
        for part in watched:
            value = values[i, part]
            if not math.isfinite(value) or (flags[i, part] & _MADE_UP) != 0:
                continue
            residual = take(state[row[i], part], time[i], local, value, numbers, k)
            if math.isnan(residual):
                continue
            codes[k, ROW], codes[k, PART] = row[i], part
            codes[k, TIME], codes[k, SOURCE] = time[i], i
            unit = numbers[k, UNIT]
            noise[k, VALUE] = abs(numbers[k, VALUE])
            noise[k, SEEN] = abs(residual) * unit * _TO_DEVIATION
            noise[k, USUAL], noise[k, UNIT] = unit, unit * _TO_DEVIATION
            k += 1
    count[0] = k


def seasons(parts: int, along: str, capacity: int) -> Block:
    """What is known of each part of a device, as `take` has it: 264 bytes."""
    return Block([Field("season", (parts, SEASON + KNOTS), along=along)], capacity)


class Residual:
    """The residual of some channels, per device: a signal of their level, of their noise (its size)
    and of their shape, all of the same values.

    Taken are values of admitted readings as they were cleaned, unless cleaning made them up. A
    residual exists between values that follow each other in a usual time, and is limited to 4
    standard deviations, as what one outlier says of a level. Until a channel of a device is
    calibrated (5,000 values, or 20 days with 300, and in any case 3 days) it gives none: what an
    unfinished model misses looks like drift.

    Block "state", per device and channel: 264 bytes.
    """

    def __init__(
        self,
        names: Sequence[str],
        columns: Sequence[int],
        capacity: int,
        *,
        zone: str,
        part: int,
    ) -> None:
        """`names` are those of all channels, `columns` the places of those that are taken, `part`
        is the most readings of a batch."""
        room = part * len(columns)
        self.level = Signal(Kind.LEVEL, "channels", names, room)
        self.shape = Signal(Kind.SHAPE, "channels", names, room, self.level)
        self.noise = Signal(Kind.NOISE, "channels", names, room, self.level)
        self.noise.numbers = np.zeros((room, 4))
        state = seasons(len(names), "channels", capacity)
        self.blocks: Mapping[str, Block] = {"state": state}
        self._state = state.view("season")
        self._watched = list(columns)
        self._bound = (np.array(self._watched, np.int64), offsets(zone), self._state)

    def calibrated(self, rows: slice) -> Bools:
        """bool[rows, watched channels]: what has seen enough, of these device rows."""
        state = self._state[rows][:, self._watched]
        n, lasted = state[..., SEEN_SO_FAR], state[..., LAST] - state[..., BEGUN]
        enough = (n >= _ENOUGH) | ((n >= _FEW) & (lasted >= _ENOUGH_DAYS * _DAY))
        ready: Bools = enough & (lasted >= _LEAST_DAYS * _DAY)
        return ready

    def watched(self, row: int) -> dict[str, str]:
        """For each watched channel of a device "watched", or "calibrating" while there is not
        enough to tell what is usual."""
        ready = self.calibrated(slice(row, row + 1))[0].tolist()
        names = [self.level.parts[column] for column in self._watched]
        words = {True: "watched", False: "calibrating"}
        return {name: words[known] for name, known in zip(names, ready, strict=True)}

    def call(self, batch: Batch) -> Call:
        """Collect readings 0 to N of a batch in place of what the signals held."""
        columns = (batch.row, batch.time, batch.verdict, batch.values, batch.flags)
        signal = self.level
        into = (signal.codes, signal.numbers, self.noise.numbers, signal.count)
        return Call(_residuals, (Now.N, *columns, *self._bound, *into))
