"""Putting a made-up value where one is missing."""

import numpy as np

from streamgauge.arrays import Floats, Words
from streamgauge.kernels import kernel
from streamgauge.words import Flag

__all__ = ["fill"]

_FILLED = int(Flag.FILLED)


@kernel
def fill(values: Floats, flags: Words, channel: int, value: float) -> None:
    """Write the value and its flag; what is not finite fills nothing."""
    if np.isfinite(value):
        values[channel] = value
        flags[channel] |= np.uint16(_FILLED)
