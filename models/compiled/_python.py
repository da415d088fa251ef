"""What Python's floats do and compiled ones do not: refuse results that are too large.

`x ** y` and `math.exp` raise OverflowError where the result is infinite and the arguments are not.
River's models then stop in the middle of an event and keep what they have changed so far, so the
kernels ask at the same places. Exponents are arguments, read from settings: written out, `** 2.0`
compiles to a multiplication and `** 0.5` to a square root, which round differently than pow.
"""

import math
import sys

from streamgauge.arrays import Floats
from streamgauge.kernels import lean

__all__ = ["COMPENSATED", "overflowed", "plus", "summed"]

COMPENSATED = float(sys.version_info >= (3, 12))
"""1 where Python's `sum` of floats carries along what rounding loses."""


@lean
def overflowed(given: float, result: float) -> bool:
    """True where Python raises OverflowError: the result is infinite, what was given is not."""
    return math.isinf(result) and math.isfinite(given)


@lean
def plus(running: Floats, value: float, compensated: float) -> None:
    """`sum` takes one more value; running = [sum, what rounding lost]."""
    if compensated == 0.0:
        running[0] += value
        return
    old = running[0]
    running[0] = old + value
    if abs(old) >= abs(value):
        running[1] += (old - running[0]) + value
    else:
        running[1] += (value - running[0]) + old


@lean
def summed(running: Floats) -> float:
    """What `sum` returns."""
    lost = running[1]
    total = running[0] + lost if lost != 0.0 and math.isfinite(lost) else running[0]
    return float(total)
