"""Cost of a value in the detectors, beside River's where it has one, in microseconds.

1,000 devices in turn, one part each, at batches of 1,000; errors of 0 and 1, of which 1 in 5 is 1,
or standard normal residuals. The default options; windows are full, so that their comparisons are
in the figures. River is called from a bare loop, with an object for each device.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from river import drift

from streamgauge import plugins
from streamgauge.calls import Chain, Now
from streamgauge.events import Events
from streamgauge.signal import ROW, SOURCE, TIME, UNIT, VALUE, Kind, Signal

DEVICES = BATCH = 1_000
ROUNDS, RIVER_BEFORE, RIVER_ROUNDS = 2_000, 100, 20
RIVER: Mapping[str, Callable[[], Any]] = {
    "adwin": drift.ADWIN,
    "page_hinkley": drift.PageHinkley,
    "ddm": drift.binary.DDM,
    "eddm": drift.binary.EDDM,
    "hddm_a": drift.binary.HDDMA,
    "hddm_w": drift.binary.HDDMW,
    "kswin": drift.KSWIN,
}
OTHERS: Mapping[str, Kind] = {
    "cusum": Kind.LEVEL,
    "window_ks": Kind.LEVEL,
    "psi": Kind.LEVEL,
    "mann_kendall": Kind.LEVEL,
    "chunk_ks": Kind.SHAPE,
    "hellinger": Kind.SHAPE,
    "wasserstein": Kind.SHAPE,
}
"""What River has none of, and what it watches."""
BEFORE = 1_600
"""Values of a device before any is timed."""


def ours(name: str, values: Any, kind: Kind = Kind.ERROR) -> float:
    """Microseconds for a value."""
    signal, events = Signal(kind, "lanes", ["lane"], BATCH), Events(BATCH)
    signal.count[0] = BATCH
    signal.codes[:, ROW], signal.codes[:, SOURCE] = np.arange(BATCH), np.arange(BATCH)
    signal.numbers[:, UNIT] = 1.0
    found = plugins.load("monitoring.detectors", name).build(signal, DEVICES)
    chain = Chain([found.call(signal, events)], np.zeros(len(Now), np.int64))
    took = 0.0
    for k in range(-BEFORE, ROUNDS):
        signal.numbers[:, VALUE] = values[k % len(values)]
        signal.codes[:, TIME] = (k + BEFORE) * 60_000_000
        began = time.perf_counter()
        chain.run()
        took += time.perf_counter() - began if k >= 0 else 0.0
        events.clear()
    return took / (ROUNDS * BATCH) * 1e6


def by_river(make: Callable[[], Any], errors: Any) -> float:
    """Microseconds for a value."""
    fleet = [make() for _ in range(DEVICES)]
    began = 0.0
    for k, batch in enumerate(errors.tolist()):
        if k == RIVER_BEFORE:
            began = time.perf_counter()
        for one, error in zip(fleet, batch, strict=True):
            one.update(error)
    return (time.perf_counter() - began) / (RIVER_ROUNDS * BATCH) * 1e6


def run() -> list[dict[str, Any]]:
    """A row per detector."""
    errors = (np.random.default_rng(1).random((RIVER_BEFORE + RIVER_ROUNDS, BATCH)) < 0.2).astype(
        float
    )
    rows = []
    for name, make in RIVER.items():
        own, river = ours(name, errors), by_river(make, errors)
        rows.append({"detector": name, "us per value": own, "River": river, "times": river / own})
    residuals = np.random.default_rng(2).normal(size=(200, BATCH))
    for name, kind in OTHERS.items():
        rows.append({"detector": name, "us per value": ours(name, residuals, kind)})
    return rows
