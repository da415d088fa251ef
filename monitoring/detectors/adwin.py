"""ADWIN: says when the mean of a signal has become larger or smaller.

The arithmetic is `streamgauge.adwin`; the defaults are River's.
"""

import math
from collections.abc import Mapping

import numpy as np

from monitoring.detectors._evidence import refuse
from monitoring.detectors._per_part import deviations, tell
from streamgauge import adwin
from streamgauge.arrays import Bools, Floats, Ints
from streamgauge.calls import Call
from streamgauge.durations import DAY
from streamgauge.events import EventKind, Events
from streamgauge.kernels import kernel
from streamgauge.signal import MOVING, PART, ROW, TIME, UNIT, VALUE, Signal
from streamgauge.state import Block

__all__ = ["VERSION", "AdwinDetector", "build"]

VERSION = 1

UP, DOWN = int(EventKind.DRIFT_UP), int(EventKind.DRIFT_DOWN)
TOTAL, VARIANCE, WIDTH, ALARM = adwin.TOTAL, adwin.VARIANCE, adwin.WIDTH, adwin.ALARM
add = adwin.update
# The false alarms a day that one part may give, and the writer's number, follow ADWIN's settings.
ALARMS, OWN_WRITER = adwin.GRACE + 1, adwin.GRACE + 2
# `delta` bounds false alarms per check, and from far above: at 0.002 there are at most 0.3 in
# 100,000 independent values, one check in 10,000.
_BOUND = 20.0
# Columns of a window's head that ADWIN itself leaves free, as whole numbers: layers in use, and
# when the window began.
DEPTH, BEGUN = adwin.DEPTH, adwin.DEPTH + 1


@kernel
def _delta(head: Floats, begun: int, time: int, limits: Floats) -> float:
    """What follows from how often the values of this window came; at most what was asked for."""
    gap = (time - begun) / max(head[WIDTH], 1.0)
    wanted = _BOUND * limits[ALARMS] * limits[adwin.CLOCK] * gap / DAY
    return float(min(max(wanted, 1e-300), limits[adwin.DELTA]))


@kernel
def _watch(
    codes: Ints, numbers: Floats, n: Ints, log: Ints, log_numbers: Floats, count: Ints,
    stack: Floats, layers: Ints, heads: Ints, limits: Floats,
) -> None:  # fmt: skip
    each = heads.shape[0] // layers.shape[0]
    depth, own_limits = heads[:, DEPTH], limits.copy()
    for i in range(n[0]):
        row, part, value = codes[i, ROW], codes[i, PART], numbers[i, VALUE]
        own = row * each + part
        head = stack[0, own]
        begins = depth[own] == 0 or head[ALARM] == 1.0
        # An alarm cannot follow at once on another, so these are of the window that will be cut.
        width, total = head[WIDTH] + 1.0, head[TOTAL] + value
        if limits[ALARMS] > 0.0 and not begins:
            own_limits[adwin.DELTA] = _delta(head, heads[own, BEGUN], codes[i, TIME], limits)
        changed = add(stack, depth, own, value, own_limits)
        if begins:
            heads[own, BEGUN] = codes[i, TIME]
        layers[row] = max(layers[row], depth[own])
        if not changed:
            continue
        kept = head[WIDTH]
        before, after = (total - head[TOTAL]) / (width - kept), head[TOTAL] / kept
        spread = math.sqrt(max(head[VARIANCE], 0.0) / kept)
        # Where a histogram forgot the times of its values, these are taken for regular.
        lasted = (codes[i, TIME] - heads[own, BEGUN]) * ((kept - 1.0) / (width - 1.0))
        unit = numbers[i, UNIT]
        tell(
            log, log_numbers, count, codes, i, limits[OWN_WRITER], UP if after > before else DOWN,
            codes[i, TIME] - int(lasted), before * unit, after * unit, kept,
            deviations(before, after, spread),
        )  # fmt: skip


class AdwinDetector:
    """One ADWIN per device and part of the signal.

    An event's `before` is the mean of the part that the window dropped, `after` and `size` are the
    mean and the number of the values that it kept. `magnitude` is the difference in standard
    deviations of what was kept, 0 where that does not vary.

    Block "windows" has the windows, those of a device's parts side by side.
    """

    def __init__(self, signal: Signal, capacity: int, max_buckets: int, limits: Floats) -> None:
        each = len(signal.parts)
        # A part's window is a row of the same memory.
        windows = adwin.window(capacity, max_buckets, each, signal.along)
        self.blocks: Mapping[str, Block] = {"windows": windows}
        self._stack = windows.stack.reshape(adwin.LAYERS, capacity * each, -1)
        self._heads = self._stack[0].view(np.int64)
        self._layers = windows.depth
        self._limits = limits

    def call(self, signal: Signal, events: Events) -> Call:
        """Feed all values; see `monitoring.detector.Detector`."""
        writer = events.enrol(signal, "adwin", VERSION)
        given = (signal.codes, signal.numbers, signal.count)
        log = (events.codes, events.numbers, events.count)
        state = (self._stack, self._layers, self._heads)
        return Call(_watch, (*given, *log, *state, np.append(self._limits, float(writer))))

    def ready(self, rows: slice) -> Bools:
        """Which have had enough values; see `monitoring.detector.Detector`."""
        each = len(self._stack[0]) // len(self._layers)
        widths = self._stack[0, :, WIDTH].reshape(-1, each)[rows]
        found: Bools = widths >= max(self._limits[adwin.GRACE], 1.0)
        return found


def build(
    signal: Signal,
    capacity: int,
    *,
    delta: float = 0.002,
    clock: int = 32,
    max_buckets: int = 5,
    min_window_length: int = 5,
    grace_period: int = 10,
    alarms_per_day: float = 0.0,
) -> AdwinDetector:
    """A detector for a signal of up to `capacity` devices.

    `delta` is the probability of a false alarm per check, `clock` the number of values between
    two checks, `max_buckets` the buckets per row of the histogram, `min_window_length` the fewest
    values on either side of a cut, `grace_period` the values before the first check.
    `alarms_per_day`, where it is not 0, is how many false alarms a day one part of one device may
    give: `delta` is then lowered to what follows from it and from how often values come.

    ValueError for a shape: its mean is not what changes.
    """
    refuse("adwin", signal, MOVING, "use chunk_ks")
    if not 0.0 <= alarms_per_day <= 1e6:
        raise ValueError(f"alarms_per_day is {alarms_per_day}; write how many, such as 0.01")
    own = adwin.settings(delta, clock, min_window_length, grace_period)
    limits = np.append(own, alarms_per_day)
    return AdwinDetector(signal, capacity, max_buckets, limits)
