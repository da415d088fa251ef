"""ADWIN on the absolute residual: says when a model's errors have become larger or smaller.

The arithmetic is `streamgauge.adwin`; the defaults are River's.
"""

from collections.abc import Mapping

import numpy as np

from streamgauge import adwin
from streamgauge.arrays import Floats, Ints
from streamgauge.calls import Call, Now
from streamgauge.events import AFTER, BEFORE, KIND, ORDER, SIZE, TIME, EventKind, Events
from streamgauge.events import LANE as EVENT_LANE
from streamgauge.events import ROW as EVENT_ROW
from streamgauge.events import SOURCE as EVENT_SOURCE
from streamgauge.kernels import kernel
from streamgauge.schedule import DUE, LANE, RESIDUAL, ROW, SOURCE, STEP, Schedule
from streamgauge.state import Block
from streamgauge.words import Step

__all__ = ["AdwinDetector", "build"]

LEARN, SCORE = int(Step.LEARN), int(Step.SCORE)
UP, DOWN = int(EventKind.DRIFT_UP), int(EventKind.DRIFT_DOWN)
TOTAL, WIDTH = adwin.TOTAL, adwin.WIDTH
add = adwin.update
# Beyond anything physical, as in cleaning: the square of such a residual may be infinite, and a
# window whose variance is infinite never alarms again.
HIGHEST = 1e24
# The lane follows the settings of ADWIN itself.
OWN_LANE = adwin.GRACE + 1


@kernel
def _watch(
    codes: Ints, numbers: Floats, log: Ints, log_numbers: Floats, count: Ints,
    stack: Floats, depth: Ints, limits: Floats, start: int, stop: int,
) -> int:  # fmt: skip
    lane = int(limits[OWN_LANE])
    for i in range(start, stop):
        step = codes[i, STEP]
        if codes[i, LANE] != lane or (step != LEARN and step != SCORE):
            continue
        value = abs(numbers[i, RESIDUAL])
        if not value <= HIGHEST:
            continue
        k = count[0]
        if k == len(log):
            return i
        row = codes[i, ROW]
        head = stack[0, row]
        # An alarm cannot follow at once on another, so these are of the window that will be cut.
        width, total = head[WIDTH] + 1.0, head[TOTAL] + value
        if not add(stack, depth, row, value, limits):
            continue
        before = (total - head[TOTAL]) / (width - head[WIDTH])
        after = head[TOTAL] / head[WIDTH]
        log[k, KIND] = UP if after > before else DOWN
        log[k, EVENT_ROW], log[k, EVENT_LANE] = row, lane
        log[k, TIME], log[k, EVENT_SOURCE] = codes[i, DUE], codes[i, SOURCE]
        log[k, ORDER] = i
        log_numbers[k, BEFORE], log_numbers[k, AFTER] = before, after
        log_numbers[k, SIZE] = head[WIDTH]
        count[0] = k + 1
    return stop


class AdwinDetector:
    """One ADWIN per device of a lane, over `abs(residual)`; state in `blocks["adwin"]`.

    An event's `before` is the mean of the part that the window dropped, `after` and `size` are the
    mean and the number of the values that it kept.
    """

    def __init__(self, lane: int, windows: Block, limits: Floats) -> None:
        self.lane = lane
        self.blocks: Mapping[str, Block] = {"adwin": windows}
        self._stack, self._depth = windows.stack, windows.depth
        self._limits = np.append(limits, float(lane))
        # Compiles now, or loads from the cache, instead of at the first reading.
        self.process(Schedule(1, 1), 0, Events(1))

    def process(self, schedule: Schedule, start: int, events: Events) -> int:
        """Feed labelled steps from `start` on; the step at which `events` was full, else `n`."""
        return int(_watch(*self._arrays(schedule, events), start, schedule.n))

    def call(self, schedule: Schedule, events: Events) -> Call:
        """Feed all STEPS, for a log of events that has room; see `monitoring.detector.Detector`."""
        return Call(_watch, (*self._arrays(schedule, events), 0, Now.STEPS))

    def _arrays(
        self, schedule: Schedule, events: Events
    ) -> tuple[Ints, Floats, Ints, Floats, Ints, Floats, Ints, Floats]:
        log = (events.codes, events.numbers, events.count)
        return (schedule.codes, schedule.numbers, *log, self._stack, self._depth, self._limits)


def build(
    lane: int,
    capacity: int,
    *,
    delta: float = 0.002,
    clock: int = 32,
    max_buckets: int = 5,
    min_window_length: int = 5,
    grace_period: int = 10,
) -> AdwinDetector:
    """A detector for one lane of up to `capacity` devices.

    `delta` is the probability of a false alarm per check, `clock` the number of values between
    two checks, `max_buckets` the buckets per row of the histogram, `min_window_length` the fewest
    values on either side of a cut, `grace_period` the values before the first check.
    """
    limits = adwin.settings(delta, clock, min_window_length, grace_period)
    return AdwinDetector(lane, adwin.window(capacity, max_buckets), limits)
