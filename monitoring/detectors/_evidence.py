"""What an alarm rests on: the values since a mark, beside the mean of those before it.

Detectors in the manner of River compare what is now with the moment at which a stream looked best.
That moment is a mark: every new best moves it. One mark is for a rise, one for a fall.
"""

import math

from monitoring.detectors._per_part import deviations, tell
from streamgauge.arrays import Floats, Ints
from streamgauge.events import EventKind
from streamgauge.kernels import kernel
from streamgauge.signal import UNIT, Kind, Signal

__all__ = [
    "ALARM",
    "FALL",
    "MEAN",
    "OWN",
    "RISE",
    "WARNING",
    "N",
    "add",
    "mark",
    "raise_alarm",
    "refuse",
    "say",
]

UP, DOWN = int(EventKind.DRIFT_UP), int(EventKind.DRIFT_DOWN)
# Fields of a part: whether the last value was an alarm, or a warning; values since the alarm
# before, their mean, and the squares around it.
ALARM, WARNING, N, MEAN, SQUARES = range(5)
# Then for either mark: the mean when it was set; values since then, their sum, the first's time.
RISE, FALL = 5, 9
USUAL, SINCE_N, SINCE_SUM, SINCE = range(4)
# Where the fields of a detector itself begin.
OWN = 13


@kernel
def add(own: Floats, value: float, time: int) -> None:
    """Take in a value; the one after an alarm is the first of a new stream, as in River."""
    if own[ALARM] == 1.0:
        own[:] = 0.0
    own[N] += 1.0
    miss = value - own[MEAN]
    own[MEAN] += (1.0 / own[N]) * miss
    own[SQUARES] += miss * (value - own[MEAN])
    for at in (RISE, FALL):
        if own[at + SINCE_N] == 0.0:
            own[at + SINCE] = time
        own[at + SINCE_N] += 1.0
        own[at + SINCE_SUM] += value


@kernel
def mark(own: Floats, at: int) -> None:
    """Set the mark for a RISE or a FALL behind the last value."""
    own[at + USUAL] = own[MEAN]
    own[at + SINCE_N] = 0.0
    own[at + SINCE_SUM] = 0.0


@kernel
def raise_alarm(own: Floats, at: int) -> int:
    """The last value is an alarm against the mark at `at`, which is given back."""
    own[ALARM] = 1.0
    return at


@kernel
def say(
    codes: Ints, numbers: Floats, i: int, log: Ints, log_numbers: Floats, count: Ints,
    own: Floats, at: int, writer: float,
) -> None:  # fmt: skip
    """Append the event of an alarm at value `i` against the mark at `at`.

    Its direction is that of the means before and behind the mark.
    """
    before, lasted = own[at + USUAL], max(own[at + SINCE_N], 1.0)
    after = own[at + SINCE_SUM] / lasted
    spread = math.sqrt(max(own[SQUARES], 0.0) / own[N])
    unit = numbers[i, UNIT]
    tell(
        log, log_numbers, count, codes, i, writer, UP if after > before else DOWN, own[at + SINCE],
        before * unit, after * unit, lasted, deviations(before, after, spread),
    )  # fmt: skip


def refuse(name: str, signal: Signal, kinds: tuple[Kind, ...], remedy: str) -> None:
    """ValueError unless the signal is of one of these kinds."""
    if signal.kind not in kinds:
        words = " or ".join(str(kind) for kind in kinds)
        raise ValueError(f"{name} watches {words}, not {signal.kind}: {remedy}")
