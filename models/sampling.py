"""Which step of an evenly sampled series a reading is: what time series models count in.

A position is an event time in microseconds, or the number of a reading. Steps are as long as the
task says, or as the median of the last intervals between values. They follow the device: a value
may be early or late by less than half a step, and what it was moves the grid by an eighth.
"""

import math

import numpy as np

from streamgauge.arrays import Floats
from streamgauge.kernels import kernel, lean
from streamgauge.state import Field

__all__ = [
    "AGAIN",
    "CHANGE",
    "LAST",
    "MOST_AHEAD",
    "MOST_MISSING",
    "SETTINGS",
    "TOO_FAR",
    "WIDTH",
    "arrive",
    "fields",
    "steps_ahead",
]

MEMORY = 15
"""Intervals whose median is the step, where none is declared."""
SURE = 5
"""Intervals before a step is known; values before are a step apart, whatever their times."""
MOST_MISSING = 1_000
"""Steps without a value after which a series begins anew."""
MOST_AHEAD = 10_000
"""Steps ahead that a forecast may be: River's models walk through all of them."""
SETTLING = 0.125

# Columns of a model's row: how many values were learned (up to 1), where the last one stands on the
# grid, where the last reading with a value was, that value, the step that was learned or 0; then
# how many intervals there were, and the last ones.
KNOWN, DUE, NEWEST, LAST, LEARNED, COUNT, INTERVALS = range(7)
WIDTH = INTERVALS + MEMORY
# The settings: step or 0 = to be learned, how far ahead, both in positions; whether those count
# readings; whether a change is answered.
STEP, AHEAD, READINGS, CHANGE, SETTINGS = range(5)
AGAIN, TOO_FAR = -1, -1


def fields() -> list[Field]:
    """What a model's row begins with."""
    return [Field(name) for name in ("known", "due", "newest", "last", "step", "intervals")] + [
        Field("interval", (MEMORY,))
    ]


@kernel
def _learn(row: Floats, interval: float) -> None:
    """The median with one more interval."""
    at = INTERVALS + int(row[COUNT]) % MEMORY
    same = row[COUNT] >= MEMORY and row[at] == interval
    row[at] = interval
    row[COUNT] += 1.0
    if row[COUNT] >= SURE and not same:
        known = min(int(row[COUNT]), MEMORY)
        row[LEARNED] = np.sort(row[INTERVALS : INTERVALS + known])[known // 2]


@lean
def arrive(row: Floats, position: float, settings: Floats) -> int:
    """A value comes: how many steps it is after the last one that was learned. 0 where it comes too
    soon to be learned, AGAIN where it is so late that the series begins anew.

    The caller keeps the value itself in `row[LAST]` once it has looked at the one before.
    """
    if row[KNOWN] == 0.0:
        row[KNOWN] = 1.0
        row[DUE] = row[NEWEST] = position
        return 1
    interval = position - row[NEWEST]
    row[NEWEST] = position
    if settings[STEP] == 0.0 and interval > 0.0:
        _learn(row, interval)
    step = settings[STEP] or row[LEARNED]
    if step == 0.0:
        row[DUE] = position
        return 1
    steps = math.floor((position - row[DUE]) / step + 0.5)
    if steps < 1:
        return 0
    if steps > MOST_MISSING + 1:
        row[DUE] = position
        return AGAIN
    row[DUE] += steps * step
    row[DUE] += (position - row[DUE]) * SETTLING
    return int(steps)


@lean
def steps_ahead(row: Floats, position: float, settings: Floats) -> int:
    """How many steps after the last learned value the horizon of a reading is; 0 while nobody
    knows, TOO_FAR beyond MOST_AHEAD."""
    step = settings[STEP] or row[LEARNED]
    if row[KNOWN] == 0.0 or step == 0.0:
        return 0
    steps = math.floor((position - row[DUE] + settings[AHEAD]) / step + 0.5)
    if steps > MOST_AHEAD:
        return TOO_FAR
    return max(int(steps), 1)
