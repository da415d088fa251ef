"""How far the models are off, as a signal: what drift detectors of tasks watch."""

from collections.abc import Sequence

from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Call, Now
from streamgauge.kernels import kernel
from streamgauge.schedule import DUE, LANE, RESIDUAL, ROW, SOURCE, STEP, Lane, Schedule
from streamgauge.signal import PART, SEEN, TIME, UNIT, USUAL, VALUE, Kind, Signal
from streamgauge.signal import ROW as SIGNAL_ROW
from streamgauge.signal import SOURCE as SIGNAL_SOURCE
from streamgauge.words import Step

__all__ = ["HIGHEST", "Errors"]

_LEARN, _SCORE = int(Step.LEARN), int(Step.SCORE)
# Beyond anything physical, as in cleaning: the square of such a residual may be infinite, and a
# window whose variance is infinite never alarms again.
HIGHEST = 1e24
_NAN = float("nan")


@kernel
def _collect(
    n: int, steps: Ints, residuals: Floats, codes: Ints, numbers: Floats, count: Ints
) -> None:
    k = 0
    for i in range(n):
        step = steps[i, STEP]
        if step != _LEARN and step != _SCORE:
            continue
        value = abs(residuals[i, RESIDUAL])
        if not value <= HIGHEST:
            continue
        codes[k, SIGNAL_ROW], codes[k, PART] = steps[i, ROW], steps[i, LANE]
        codes[k, TIME], codes[k, SIGNAL_SOURCE] = steps[i, DUE], steps[i, SOURCE]
        numbers[k, VALUE], numbers[k, SEEN] = value, value
        numbers[k, USUAL], numbers[k, UNIT] = _NAN, 1.0
        k += 1
    count[0] = k


class Errors:
    """The absolute residual of every labelled step, lane by lane, whose prediction was the model's
    own. Those that are not finite, or beyond anything physical (1e24), are left out."""

    def __init__(self, lanes: Sequence[Lane], room: int) -> None:
        """`room` is the most steps of a schedule."""
        self.signal = Signal(Kind.ERROR, "lanes", [lane.name for lane in lanes], room)

    def call(self, schedule: Schedule) -> Call:
        """Collect those of the schedule's STEPS in place of what the signal held."""
        signal = self.signal
        given = (schedule.codes, schedule.numbers)
        return Call(_collect, (Now.STEPS, *given, signal.codes, signal.numbers, signal.count))
