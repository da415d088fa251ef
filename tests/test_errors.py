"""What drift detectors of tasks are given: the errors of labelled steps, and no others."""

import math

import numpy as np

from monitoring.errors import Errors
from streamgauge.schedule import DUE, LANE, RESIDUAL, ROW, SOURCE, STEP, Lane, Schedule
from streamgauge.signal import PART, SEEN, TIME, UNIT, VALUE
from streamgauge.signal import ROW as SIGNAL_ROW
from streamgauge.signal import SOURCE as SIGNAL_SOURCE
from streamgauge.words import Step

LANES = [Lane(name, "", 0, 0, 0, 0, False, (0,), 0, "last", "device") for name in ("power", "heat")]
ODD = [math.nan, math.inf, -math.inf, 1e25, -1e308]
"""Residuals that are no errors of a model that works."""


def test_labelled_steps_are_collected_in_order() -> None:
    """Residuals without their sign, each with device, lane, time and reading; no predictions, no
    expired labels, nothing that is no number."""
    schedule = Schedule(9, 1)
    residuals = [2.0, -3.0, 7.0, *ODD, 1e24]
    steps = [Step.LEARN, Step.SCORE, Step.PREDICT, *[Step.LEARN] * 5, Step.SCORE]
    schedule.codes[:, STEP] = steps
    schedule.codes[:, ROW], schedule.codes[:, LANE] = 5, np.arange(9) % 2
    schedule.codes[:, DUE], schedule.codes[:, SOURCE] = np.arange(9) + 100, np.arange(9) + 10
    schedule.numbers[:, RESIDUAL] = residuals
    errors = Errors(LANES, 9)
    errors.call(schedule).run(steps=9)
    signal = errors.signal
    assert signal.parts == ("power", "heat")
    assert len(signal) == 3
    assert signal.numbers[:3, VALUE].tolist() == [2.0, 3.0, 1e24]
    assert signal.numbers[:3, SEEN].tolist() == [2.0, 3.0, 1e24]
    assert signal.numbers[:3, UNIT].tolist() == [1.0] * 3
    assert signal.codes[:3, PART].tolist() == [0, 1, 0]
    assert signal.codes[:3, SIGNAL_ROW].tolist() == [5] * 3
    assert signal.codes[:3, TIME].tolist() == [100, 101, 108]
    assert signal.codes[:3, SIGNAL_SOURCE].tolist() == [10, 11, 18]
    schedule.codes[:, STEP] = Step.EXPIRE
    errors.call(schedule).run(steps=9)
    assert len(signal) == 0
