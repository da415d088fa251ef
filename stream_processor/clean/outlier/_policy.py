"""What is done to a value outside its band, and when a level that persists is a new one."""

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
]

Action = Literal["flag", "drop", "clip", "winsorize", "replace"]
ACTIONS: tuple[Action, ...] = ("flag", "drop", "clip", "winsorize", "replace")
"""flag: the value stays; drop: it is missing; clip: the edge of the band; winsorize: the nearest of
the 5 and 95 % quantiles of the recent values; replace: the middle of the band."""
_DROP, _CLIP, _WINSORIZE, _REPLACE = range(1, 5)

# What judging keeps of a device: values outside in a row, and on which side they were.
RUN, SIDE, JUDGED = range(3)

INSIDE, OUTSIDE, NEW_LEVEL = range(3)

_OUTLIER = int(Flag.OUTLIER)
_CAPPED = int(Flag.CAPPED)


def check_policy(accept_after: int) -> None:
    """ValueError for a number of readings that no level could persist for."""
    if accept_after < 2:
        raise ValueError(
            f"accept_after is {accept_after}; give 2 or more: the number of readings in a row "
            "outside the band, on one side, after which they are a new level"
        )


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
