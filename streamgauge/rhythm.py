"""How often something comes: the usual time between two, in which a long silence counts little."""

from streamgauge.arrays import Floats
from streamgauge.kernels import kernel

__all__ = ["GAP", "RHYTHM", "tick"]

# How many there were, when the last came, and the usual time between two, in microseconds.
COUNT, LAST, GAP, RHYTHM = range(4)


@kernel
def tick(rhythm: Floats, time: int) -> None:
    """One more came: learn how often they do. `rhythm` is float64[RHYTHM], 0 at first."""
    gap = max(time - rhythm[LAST], 0.0)
    if rhythm[COUNT] > 0.0:
        bounded = gap if rhythm[GAP] == 0.0 else min(gap, 3.0 * rhythm[GAP])
        rhythm[GAP] += (bounded - rhythm[GAP]) * max(1.0 / rhythm[COUNT], 0.01)
    rhythm[LAST], rhythm[COUNT] = time, rhythm[COUNT] + 1.0
