"""Vetting of values: what is not finite, not physical or outside its range never goes further."""

import math

import numpy as np
from numpy.typing import NDArray

from streamgauge.kernels import kernel
from streamgauge.schema import Outside, Schema
from streamgauge.words import Flag

__all__ = ["EXTREME", "FINE", "NOTHING_LEFT", "REFUSED", "examine", "limits"]

EXTREME = 1e24
"""No sensor's quantity is larger in any unit, and its square still is far from overflow."""

FINE, REFUSED, NOTHING_LEFT = 0, 1, 2

_FLAG_NON_FINITE = int(Flag.NON_FINITE)
_FLAG_OUT_OF_RANGE = int(Flag.OUT_OF_RANGE)
_FLAG_EXTREME = int(Flag.EXTREME)


def limits(schema: Schema) -> NDArray[np.float64]:
    """float64[k + 1, 3]: low, high, and 1 where a value outside refuses the whole reading; the last
    row is no channel's, but the caller's own."""
    refuses = [float(channel.outside is Outside.REJECT) for channel in schema.channels]
    rules = np.column_stack([schema.low, schema.high, np.array(refuses, np.float64)])
    return np.vstack([rules, np.zeros(3)])


@kernel
def _fault(value: float, low: float, high: float) -> int:
    if math.isinf(value):
        return _FLAG_NON_FINITE
    if abs(value) > EXTREME:
        return _FLAG_EXTREME
    if value < low or value > high:
        return _FLAG_OUT_OF_RANGE
    return 0


@kernel
def examine(
    i: int, values: NDArray[np.float64], flags: NDArray[np.uint16], limits: NDArray[np.float64]
) -> int:
    """Vet the values of reading i of the k channels that `limits` has rules for: a bad one becomes
    NaN, with one bit in its flags.

    Gives REFUSED if a channel whose policy is
    `outside = "reject"` left its range, NOTHING_LEFT if no value is usable, else FINE.
    """
    refused = False
    usable = 0
    for c in range(len(limits) - 1):
        value = values[i, c]
        if math.isnan(value):
            continue
        fault = _fault(value, limits[c, 0], limits[c, 1])
        if fault == 0:
            usable += 1
            continue
        flags[i, c] |= np.uint16(fault)
        values[i, c] = np.nan
        refused |= limits[c, 2] != 0.0 and (value < limits[c, 0] or value > limits[c, 1])
    if refused:
        return REFUSED
    return FINE if usable else NOTHING_LEFT
