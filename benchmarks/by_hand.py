"""The job as a user would hand-write it with River, from the same JSON messages.

Events per second of both, side by side. streamgauge's clock stops when every prediction is on the
board and durable in the embedded store. `journal` adds the log that MQTT messages go through.
"""

import json
import math
import random
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from river import drift, linear_model, metrics, preprocessing, stats, utils

from serving.compose import Running
from serving.run import clock
from stream_processor.pipeline import ENOUGH
from stream_processor.settings import load_text
from stream_processor.table import Table
from streamgauge.delivery import Delivery
from streamgauge.output import Output

CHANNELS = ("temperature", "humidity", "pressure", "vibration")
DEVICES = 1_000
EVENTS = {1: 120_000, 10: 400_000, 100: 600_000, 1_000: 600_000}
"""Readings per batch: events measured."""
BY_HAND = 40_000
CONFIG = Path(__file__).with_suffix(".toml")


def messages(count: int, devices: int = DEVICES) -> list[bytes]:
    """JSON readings, one device after the other."""
    chance = random.Random(7)
    made = []
    for i in range(count):
        d, t = i % devices, 1.7e9 + i // devices
        reading = {
            "device": f"dev-{d:05d}",
            "ts": t,
            "temperature": 20 + math.sin(t / 60 + d) + chance.gauss(0, 0.1),
            "humidity": 45 + chance.gauss(0, 1),
            "pressure": 1013 + chance.gauss(0, 0.5),
            "vibration": abs(chance.gauss(0, 0.01)),
        }
        made.append(json.dumps(reading).encode())
    return made


class Device:
    """All that the hand-written job keeps of one device."""

    def __init__(self) -> None:
        self.last = -1.0
        self.lag: dict[str, deque[float]] = {c: deque(maxlen=2) for c in CHANNELS}
        self.mean = {c: utils.Rolling(stats.Mean(), window_size=10) for c in CHANNELS}
        self.var = {c: utils.Rolling(stats.Var(), window_size=10) for c in CHANNELS}
        self.model = preprocessing.StandardScaler() | linear_model.LinearRegression()
        self.pending: tuple[dict[str, float], float] | None = None
        self.mae = metrics.MAE()
        self.adwin = drift.ADWIN()


def by_hand(payloads: list[bytes]) -> tuple[float, dict[str, list[float]]]:
    """Seconds, and the predictions of each device in order."""
    devices: dict[str, Device] = {}
    predictions: dict[str, list[float]] = {}
    began = time.perf_counter()
    for payload in payloads:
        reading = json.loads(payload)
        name = reading["device"]
        device = devices.get(name)
        if device is None:
            device = devices[name] = Device()
            predictions[name] = []
        if reading["ts"] <= device.last:
            continue
        device.last = reading["ts"]
        target = reading["temperature"]
        if not -40 <= target <= 125:
            continue
        if device.pending is not None:
            x, answer = device.pending
            device.mae.update(target, answer)
            device.adwin.update(abs(target - answer))
            device.model.learn_one(x, target)
        x = _features(device, reading)
        answer = device.model.predict_one(x)
        device.pending = (x, answer)
        predictions[name].append(answer)
    return time.perf_counter() - began, predictions


def _features(device: Device, reading: dict[str, Any]) -> dict[str, float]:
    x: dict[str, float] = {}
    for channel in CHANNELS:
        value = reading[channel]
        x[channel] = value
        lag = device.lag[channel]
        for j, earlier in enumerate(lag):
            x[f"{channel}_lag{len(lag) - j}"] = earlier
        device.mean[channel].update(value)
        device.var[channel].update(value)
        x[f"{channel}_mean"] = device.mean[channel].get()
        x[f"{channel}_var"] = device.var[channel].get()
        lag.append(value)
    return x


class Collected:
    """A sink that keeps what was put out, for comparing predictions; not there while timing."""

    def __init__(self, lanes: Any) -> None:
        self.table = Table(lanes)

    def write(self, output: Output) -> None:
        self.table.add(output)

    def flush(self, timeout: float) -> bool:
        return True

    def state(self) -> dict[str, Any]:
        return {"ok": True, "why": ""}

    def close(self) -> None:
        pass


def streamgauge(
    payloads: list[bytes], size: int, *, journal: bool, collect: bool = False
) -> tuple[float, Any]:
    """Seconds until all of it was durable, with the pipeline and the sinks that `run` builds."""
    with tempfile.TemporaryDirectory() as folder:
        text = CONFIG.read_text(encoding="utf-8")
        env = {"STREAMGAUGE_KEY_FILE": str(Path(folder) / "key")}
        settings = load_text(text + "[serve]\nport = 0\n", Path(folder) / "by_hand.toml", env)
        running = Running(settings, env, clock)
        collected = Collected(running.pipeline.walk.stages.lanes)
        if collect:
            running.worker.sinks = [*running.sinks, collected]
        parts = [payloads[k : k + size] for k in range(0, len(payloads), size)]
        deliveries = [
            Delivery(0, part, ["sensors/a"] * len(part), [1_800_000_000_000_000] * len(part))
            for part in parts
        ]
        began = time.perf_counter()
        work(running, deliveries, journal=journal)
        if not running.history.flush(120.0):
            raise RuntimeError("the store did not become durable in two minutes")
        took = time.perf_counter() - began
        running.stop()
        return took, collected.table


def work(running: Running, deliveries: list[Delivery], *, journal: bool) -> None:
    """Feed deliveries as the worker's loop does."""
    worker, pipeline = running.worker, running.pipeline
    sealed = time.monotonic()
    for delivery in deliveries:
        if journal:
            worker.work([delivery])
        else:
            pipeline.feed(delivery)
        now = time.monotonic()
        if now - sealed >= 0.05 or pipeline.walk.gathered >= ENOUGH:
            worker.hand_out()
            sealed = now
    worker.hand_out()


def compare(payloads: list[bytes], expected: dict[str, list[float]]) -> float:
    """Largest relative difference between the predictions of both."""
    _, table = streamgauge(payloads, 100, journal=False, collect=True)
    frame = table.frame()
    worst = 0.0
    for device, group in frame.groupby("device"):
        found = group["prediction"].to_numpy()
        wanted = np.array(expected[str(device)])
        if len(found) != len(wanted):
            raise RuntimeError(f"{device}: {len(found)} predictions, by hand {len(wanted)}")
        scale = np.maximum(np.abs(wanted), 1e-12)
        worst = max(worst, float(np.max(np.abs(found - wanted) / scale)))
    return worst


def run() -> list[dict[str, Any]]:
    """One row by hand, one per batch size, and the same with the journal."""
    payloads = messages(max(EVENTS.values()))
    streamgauge(payloads[:2_000], 100, journal=True)
    seconds, expected = by_hand(payloads[:BY_HAND])
    worst = compare(payloads[:BY_HAND], expected)
    rows = []
    for size, count in EVENTS.items():
        for journal in (False, True):
            again, _ = by_hand(payloads[:BY_HAND])
            seconds = min(seconds, again)
            took, _ = streamgauge(payloads[:count], size, journal=journal)
            rows.append(
                {
                    "readings per batch": size,
                    "journal": "yes" if journal else "no",
                    "by hand, events/s": round(BY_HAND / again),
                    "streamgauge, events/s": round(count / took),
                    "times": (count / took) / (BY_HAND / again),
                    "largest relative difference": worst,
                }
            )
    return rows
