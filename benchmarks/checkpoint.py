"""A checkpoint of 100,000 devices while readings come: what the worker stands still for, and costs.

4 channels, 20 features, one forecast a reading ahead; batches of 1,000 readings of random devices.
The same stream is walked with and without a checkpoint under way, in turns. A pause is what a
batch waits for the copy: the copy's first moment, a slice, or the batch's own rows copied ahead.
"""

import gc
import tempfile
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from benchmarks.fleet import pipeline, stream
from stream_processor.checkpoint import Part, write
from stream_processor.pipeline import Pipeline
from stream_processor.snapshot import begin, capture
from streamgauge.delivery import Delivery, Readings

DEVICES = 100_000
BATCH = 1_000
ROUNDS = 5
QUIET = 300
"""Batches walked without a checkpoint, to compare with."""


def filled() -> Pipeline:
    """A fleet of which every device has sent twelve readings."""
    made = pipeline()
    for k in range(12):
        for delivery in stream(DEVICES, k):
            made.feed(delivery)
            made.sealed()
    return made


class Load:
    """Readings of random devices, without end."""

    def __init__(self, made: Pipeline) -> None:
        self._made, self._random, self._time = made, np.random.default_rng(0), 1_800 * 10**12

    def walk(self) -> float:
        """Walk one batch; the seconds that took."""
        devices = [f"dev-{d:06d}" for d in self._random.integers(0, DEVICES, BATCH).tolist()]
        self._time += 10**6
        time_of = np.arange(BATCH) + self._time
        values = self._random.normal(20.0, 1.0, (BATCH, 4))
        readings = Readings(devices, time_of, time_of, values)
        began = time.perf_counter()
        self._made.feed(Delivery(readings=readings))
        took = time.perf_counter() - began
        self._made.sealed()
        return took


def measure(made: Pipeline, load: Load, folder: Path) -> dict[str, Any]:
    """One checkpoint under load, beside as many batches without one."""
    quiet = sorted(load.walk() for _ in range(QUIET))
    parts: SimpleQueue[Part | None] = SimpleQueue()
    began = time.perf_counter()
    facts = begin(made.walk, {}, {}, parts.put)
    pauses, batches = [time.perf_counter() - began], []
    writer = threading.Thread(
        target=lambda: write(folder / "checkpoint", facts, iter(parts.get, None), b"k" * 32)
    )
    writer.start()
    while writer.is_alive():
        batches.append(load.walk())
        if made.walk.copying is not None:
            start = time.perf_counter()
            made.walk.copying.slice()
            pauses.append(time.perf_counter() - start)
            if made.walk.copying.done:
                made.walk.copying = None
    took = time.perf_counter() - began
    writer.join()
    usual = quiet[len(quiet) // 2]
    longest = max(*pauses, max(batches) - usual)
    start = time.perf_counter()
    capture(made.walk, {}, {})
    return {
        "all at once, ms": (time.perf_counter() - start) * 1e3,
        "longest pause, ms": longest * 1e3,
        "first moment, ms": pauses[0] * 1e3,
        "longest slice, ms": max(pauses[1:]) * 1e3,
        "longest batch, ms": max(batches) * 1e3,
        "usual batch, ms": usual * 1e3,
        "longest without, ms": quiet[-1] * 1e3,
        "throughput while copying": usual * len(batches) / took,
        "seconds": took,
        "MB": (folder / "checkpoint").stat().st_size / 1e6,
    }


def run() -> list[dict[str, Any]]:
    """A row per checkpoint."""
    made = filled()
    load = Load(made)
    gc.collect()
    gc.freeze()
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(made, load, Path(folder)) for _ in range(ROUNDS)]
    gc.unfreeze()
    return rows
