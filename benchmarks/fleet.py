"""Memory per device, stalls while a fleet grows, and cost per event by number of devices.

4 channels, 20 features, one forecast a reading ahead. Resident memory is that of a process of its
own, after twelve readings of each device; the fleet grows by batches of 1,000 new devices, and a
stall is the longest that one such batch took. Cost is the walk's, decoding included.
"""

import gc
import multiprocessing
import time
from pathlib import Path
from typing import Any

from benchmarks.by_hand import CONFIG, messages
from stream_processor.pipeline import Pipeline
from stream_processor.settings import load_text
from streamgauge.delivery import Delivery

SIZES = (10, 1_000, 100_000)
BATCH = 1_000
ROUNDS = {10: 20_000, 1_000: 300, 100_000: 12}
"""Readings of each device."""
RECEIVED = 1_800_000_000_000_000


def pipeline() -> Pipeline:
    """The walk of the hand-written job."""
    return Pipeline(load_text(CONFIG.read_text(encoding="utf-8"), Path("fleet.toml"), {}))


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def deliveries(devices: int, rounds: range) -> list[Delivery]:
    """Readings of every device, round by round."""
    size = devices * len(rounds)
    payloads = messages(devices * rounds.stop, devices)[devices * rounds.start :]
    parts = [payloads[k : k + BATCH] for k in range(0, size, BATCH)]
    return [Delivery(0, part, ["sensors/a"] * len(part), [RECEIVED] * len(part)) for part in parts]


def measure(devices: int, answers: "multiprocessing.Queue[dict[str, Any]]") -> None:
    """Grow to that many devices, then time a steady stream; runs in a process of its own."""
    made = pipeline()
    for delivery in deliveries(10, range(200)):
        made.feed(delivery)
    made = pipeline()
    growing = deliveries(devices, range(1))
    # As the worker does before it begins.
    gc.collect()
    gc.freeze()
    slowest = 0.0
    for delivery in growing:
        began = time.perf_counter()
        made.feed(delivery)
        slowest = max(slowest, time.perf_counter() - began)
        made.sealed()
    rounds = ROUNDS[devices]
    more = deliveries(devices, range(1, rounds))
    took = 0.0
    for delivery in more:
        began = time.perf_counter()
        made.feed(delivery)
        took += time.perf_counter() - began
        made.sealed()
    gc.unfreeze()
    answers.put(
        {
            "devices": devices,
            "longest stall while growing, ms": slowest * 1e3,
            "us per event": took / (devices * (rounds - 1)) * 1e6,
            "resident bytes per device": "",
        }
    )


def bytes_per_device(answers: "multiprocessing.Queue[dict[str, Any]]") -> None:
    """Resident memory of 100,000 devices with 12 readings each, beside that of 10."""
    made = pipeline()
    for delivery in deliveries(10, range(200)):
        made.feed(delivery)
        made.sealed()
    devices, rounds = 100_000, 12
    before = resident()
    for k in range(rounds):
        for delivery in stream(devices, k):
            made.feed(delivery)
            made.sealed()
    answers.put({"bytes": (resident() - before) / devices})


def stream(devices: int, k: int) -> Any:
    """Round k of every device, made as it is needed: messages must not count as the fleet's."""
    for start in range(0, devices, BATCH):
        payloads = [
            f'{{"device": "dev-{d:06d}", "ts": {1.7e9 + k}, "temperature": {20 + (d + k) % 7 / 10},'
            f' "humidity": {45 + k % 3}, "pressure": 1013.{k}, "vibration": 0.0{d % 9}}}'.encode()
            for d in range(start, min(start + BATCH, devices))
        ]
        n = len(payloads)
        yield Delivery(0, payloads, ["sensors/a"] * n, [RECEIVED] * n)


def apart(function: Any, *arguments: Any) -> dict[str, Any]:
    """What a function puts into its queue, run in a process of its own."""
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[dict[str, Any]] = context.Queue()
    process = context.Process(target=function, args=(*arguments, answers))
    process.start()
    answer = answers.get(timeout=600)
    process.join()
    return answer


def run() -> list[dict[str, Any]]:
    """One row per size; the memory in the row of the largest."""
    rows = []
    for devices in SIZES:
        row = apart(measure, devices)
        if devices == max(SIZES):
            row["resident bytes per device"] = round(apart(bytes_per_device)["bytes"])
        rows.append(row)
    return rows
