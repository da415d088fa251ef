"""What is done to a value outside its band, and when a level that persists is a new one."""

import math
from typing import Literal

import numpy as np

from streamgauge.arrays import Floats, Words
from streamgauge.kernels import kernel
from streamgauge.words import Flag

__all__ = [
    "ACTIONS",
    "INSIDE",
    "JUDGED",
    "NEW_LEVEL",
    "OUTSIDE",
    "Action",
    "act",
    "check_policy",
    "judge",
    "near",
    "settle",
    "usual",
]

Action = Literal["flag", "drop", "clip", "winsorize", "replace"]
ACTIONS: tuple[Action, ...] = ("flag", "drop", "clip", "winsorize", "replace")
"""flag: the value stays; drop: it is missing; clip: the edge of the band; winsorize: the nearest of
the 5 and 95 % quantiles of the recent values; replace: the middle of the band."""
_DROP, _CLIP, _WINSORIZE, _REPLACE = range(1, 5)

# What judging keeps of a device: values outside in a row, and on which side they were; the last
# usual value, the mean size of the steps between usual values, and how many of these there were.
RUN, SIDE, _LAST, _STEP, _COUNT, JUDGED = range(6)
_FADE = 0.05
"""Weight of the newest step in their mean size: about the last twenty count."""

INSIDE, OUTSIDE, NEW_LEVEL = range(3)

_OUTLIER = int(Flag.OUTLIER)
_CAPPED = int(Flag.CAPPED)


def check_policy(accept_after: int, steps: float) -> None:
    """ValueError for a number of readings that no level could persist for, and for steps that
    reach nowhere or everywhere."""
    if accept_after < 2:
        raise ValueError(
            f"accept_after is {accept_after}; give 2 or more: the number of readings in a row "
            "outside the band, on one side, after which they are a new level"
        )
    if not 0.0 <= steps < math.inf:
        raise ValueError(
            f"steps is {steps}; give 0 or more: how many usual steps from the last usual value "
            "nothing is an outlier; 0 judges by the band alone"
        )


@kernel
def near(value: float, device: Floats, steps: float) -> bool:
    """Whether the value is within so many usual steps of the last usual one: a channel that moves
    on at its own pace is usual, wherever its band still is. It ends a run of values outside."""
    if not abs(value - device[_LAST]) <= steps * device[_STEP]:
        return False
    device[RUN] = 0.0
    return bool(device[_COUNT] > 1.0)


@kernel
def usual(value: float, device: Floats) -> None:
    """Learn the step to a usual value."""
    if device[_COUNT] > 0.0:
        share = max(_FADE, 1.0 / device[_COUNT])
        device[_STEP] += share * (abs(value - device[_LAST]) - device[_STEP])
    device[_COUNT] += 1.0
    device[_LAST] = value


@kernel
def settle(value: float, device: Floats) -> None:
    """Begin a new level at this value: the way to it was no step."""
    device[_LAST] = value


@kernel
def judge(value: float, low: float, high: float, device: Floats, accept_after: int) -> int:
    """INSIDE, OUTSIDE, or NEW_LEVEL where `accept_after` values in a row were on the same side.

    `device` is the row of a device, which begins with RUN and SIDE.
    """
    side = 0.0
    if value > high:
        side = 1.0
    elif value < low:
        side = -1.0
    if side == 0.0:
        device[RUN] = 0.0
        return INSIDE
    device[RUN] = device[RUN] + 1.0 if device[SIDE] == side else 1.0
    device[SIDE] = side
    if device[RUN] >= accept_after:
        device[RUN] = 0.0
        return NEW_LEVEL
    return OUTSIDE


@kernel
def act(
    values: Floats,
    flags: Words,
    channel: int,
    action: int,
    middle: float,
    edge: float,
    tail: float,
) -> None:
    """Do with an outlier what the action says; `edge` and `tail` are those on its side."""
    flags[channel] |= np.uint16(_OUTLIER)
    if action == _DROP:
        values[channel] = np.nan
        return
    if action == _CLIP:
        values[channel] = edge
    elif action == _WINSORIZE:
        values[channel] = tail
    elif action == _REPLACE:
        values[channel] = middle
    else:
        return
    flags[channel] |= np.uint16(_CAPPED)
