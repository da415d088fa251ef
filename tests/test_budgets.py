"""Thresholds follow from how many false alarms a day there may be."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamgauge import plugins
from streamgauge.events import Events
from streamgauge.signal import ROW, SOURCE, TIME, UNIT, VALUE, Kind, Signal

DEVICES, DAYS, A_DAY = 40, 5, 1_440
MINUTE = 60_000_000
EACH = 0.05
"""False alarms a day that a device may give: 10 in all."""
LENIENT: Mapping[str, tuple[Kind, Mapping[str, Any]]] = {
    "adwin": (Kind.ERROR, {"delta": 0.99, "clock": 1}),
    "chunk_ks": (Kind.SHAPE, {"chunk": 100, "reference": 20, "deviations": 1.0, "in_a_row": 1}),
    "cusum": (Kind.LEVEL, {"h": 10.0, "hold": 100}),
    "hellinger": (Kind.SHAPE, {"chunk": 100, "reference": 20, "deviations": 1.0, "in_a_row": 1}),
    "kswin": (Kind.LEVEL, {"alpha": 0.05}),
    "mann_kendall": (Kind.LEVEL, {"block": 600.0, "p_value": 0.1}),
    "psi": (Kind.LEVEL, {"p_value": 0.1}),
    "wasserstein": (Kind.SHAPE, {"chunk": 100, "reference": 20, "deviations": 1.0, "in_a_row": 1}),
    "window_ks": (Kind.LEVEL, {"p_value": 0.1}),
}
"""Of each detector with a budget what it watches, and options by which it alarms far oftener."""


def alarms(name: str, **options: Any) -> int:
    """How many there are in independent values, one a minute, of which nothing changes."""
    kind, lenient = LENIENT[name]
    n = DAYS * A_DAY * DEVICES
    signal, events = Signal(kind, "channels", ["heat"], n), Events(n)
    signal.count[0] = n
    signal.codes[:, ROW] = np.tile(np.arange(DEVICES), DAYS * A_DAY)
    signal.codes[:, TIME] = np.repeat(1 + np.arange(DAYS * A_DAY), DEVICES) * MINUTE
    signal.codes[:, SOURCE] = np.arange(n)
    values: NDArray[np.float64] = np.random.default_rng(5).normal(size=n)
    signal.numbers[:] = np.abs(values[:, None]) if kind is Kind.ERROR else values[:, None]
    signal.numbers[:, UNIT], signal.numbers[:, VALUE] = 1.0, signal.numbers[:, VALUE]
    module = plugins.load("monitoring.detectors", name)
    module.build(signal, DEVICES, **{**lenient, **options}).call(signal, events).run()
    return len(events)


def test_no_detector_that_takes_a_budget_is_left_out() -> None:
    """Whatever comes into the folder is tried below."""
    taking = {
        name
        for name, module in plugins.find("monitoring.detectors").items()
        if "alarms_per_day" in plugins.options(module)
    }
    assert taking == set(LENIENT)


@pytest.mark.parametrize("name", LENIENT)
def test_a_budget_is_held(name: str) -> None:
    """In 200 days of devices there are no more alarms than it allows, and without it there are."""
    allowed = EACH * DEVICES * DAYS
    assert alarms(name) > 2.0 * allowed
    assert alarms(name, alarms_per_day=EACH) <= 1.5 * allowed
    assert alarms(name, alarms_per_day=EACH / 100.0) <= 2


@pytest.mark.parametrize("name", LENIENT)
def test_a_budget_is_a_number(name: str) -> None:
    """Not a negative one."""
    with pytest.raises(ValueError, match="alarms_per_day is -1"):
        alarms(name, alarms_per_day=-1.0)
