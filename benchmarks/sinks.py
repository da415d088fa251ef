"""Sinks whose server is away: what the worker loses, what memory holds, what arrives in the end.

`worker`: the hand-written job at full speed, with journal and history, 1,000 devices, in turns
alone and with an InfluxDB sink to an address where nobody listens, whose results go to the disk.
Which of the two is first changes from round to round, so that neither has the warmer machine, and
what else runs there only ever takes time away: the share is that of the fastest of each, and so is
the processor time. `outage`: 5,000 points a second for five minutes into the
sink of a VictoriaMetrics that is stopped, and then started again.
"""

import gc
import tempfile
import time
from collections import deque
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.by_hand import messages
from benchmarks.fleet import RECEIVED, apart, pipeline, resident
from ingest.journal import Journal
from monitoring.sinks import influxdb, store
from monitoring.sinks._buffered import Buffered
from serving.run import clock
from stream_processor.worker import Worker
from streamgauge.delivery import Delivery
from tests.outputs import LANES, START, Record, output
from tests.services.ports import free_port
from tests.services.victoria_metrics import victoria_metrics

DEVICES = 1_000
EVENTS = 400_000
ROUNDS = 8
"""Even, so that each of the two is first as often as the other."""
BUFFER = 20_000_000
"""Bytes of memory: half full within a second at the worker's speed."""
RATE, OUTAGE = 5_000, 300
SLICE = 0.1
"""Seconds between two outputs."""


def sink(folder: Path, url: str, lanes: Any, **options: Any) -> Buffered[bytes]:
    """An InfluxDB sink at work."""
    one = influxdb.open(lanes, "bench", folder, lambda: START, url=url, **options)
    one.resume(0)
    return one


class Queue:
    """A source of messages that have come."""

    finished = False

    def __init__(self, deliveries: list[Delivery]) -> None:
        self._waiting = deque(deliveries)

    def start(self) -> None:
        return

    def stop(self) -> None:
        return

    def take(self, limit: int, timeout: float) -> Delivery | None:
        if self._waiting:
            return self._waiting.popleft()
        time.sleep(timeout)
        return None

    def acknowledge(self, tokens: list[Any]) -> None:
        return

    def resume(self, position: Any) -> None:
        return

    def state(self) -> dict[str, Any]:
        return {"ok": True, "why": ""}


def worked(deliveries: list[Delivery], *, dead: bool) -> tuple[float, float, dict[str, Any]]:
    """Events per second of a worker with journal and history, microseconds of processor per event
    over all threads, and what the dead sink says."""
    with tempfile.TemporaryDirectory() as name:
        folder, made, extra = Path(name), pipeline(), []
        lanes = made.walk.stages.lanes
        history = store.open(lanes, "bench", folder, clock)
        if dead:
            nowhere = f"http://127.0.0.1:{free_port()}"
            extra.append(sink(folder, nowhere, lanes, buffer_bytes=BUFFER))
        journal = Journal(folder / "journal", max_bytes=10**10)
        source = Queue(deliveries)
        one = Worker(
            made, [source], [history, *extra], journal, folder, b"k" * 32, clock, history=history
        )
        one.recover()
        events = sum(len(delivery.payloads) for delivery in deliveries)
        began, used = time.perf_counter(), time.process_time()
        one.start()
        while made.board.counts()["readings"]["admitted"] < events:
            time.sleep(0.002)
        took, used = time.perf_counter() - began, time.process_time() - used
        state = extra[0].state() if extra else {}
        one.stop()
        journal.close()
    return events / took, used / events * 1e6, state


def worker(answers: Any) -> None:
    """Events per second with and without the sink; runs in a process of its own."""
    payloads = messages(EVENTS, DEVICES)
    parts = [payloads[k : k + DEVICES] for k in range(0, EVENTS, DEVICES)]
    deliveries = [Delivery(0, p, ["sensors/a"] * len(p), [RECEIVED] * len(p)) for p in parts]
    worked(deliveries[:20], dead=True)
    rates: dict[bool, list[float]] = {False: [], True: []}
    costs: dict[bool, list[float]] = {False: [], True: []}
    state: dict[str, Any] = {}
    for k in range(ROUNDS):
        for dead in (k % 2 == 1, k % 2 == 0):
            gc.collect()
            rate, cost, told = worked(deliveries, dead=dead)
            rates[dead].append(rate)
            costs[dead].append(cost)
            state = told or state
    pairs = zip(rates[False], rates[True], strict=True)
    answers.put(
        {
            "what": "worker",
            "alone, events/s": max(rates[False]),
            "dead sink, events/s": max(rates[True]),
            "share": max(rates[True]) / max(rates[False]),
            "share, median of rounds": median(beside / alone for alone, beside in pairs),
            "alone, CPU us per event": min(costs[False]),
            "dead sink, CPU us per event": min(costs[True]),
            "records on disk": state["spilled"],
            "dropped": state["dropped_total"],
        }
    )


def points(k: int, count: int) -> list[Record]:
    """The k-th so many predictions of a thousand devices: every point is its own."""
    records: list[Record] = []
    for i in range(k * count, (k + 1) * count):
        made = START + i // DEVICES * 10**6
        codes = (0, 2, i % DEVICES, i // DEVICES, made, made, 0, 1)
        records.append((codes, (float(i), float(i) - 0.5, np.nan, np.nan)))
    return records


def outage(answers: Any) -> None:
    """Points that arrive, and memory meanwhile; runs in a process of its own."""
    names = [f"device-{k:04d}" for k in range(DEVICES)]
    each, slices = round(RATE * SLICE), round(OUTAGE / SLICE)
    with tempfile.TemporaryDirectory() as folder, victoria_metrics(Path(folder) / "vm") as server:
        to = sink(Path(folder), server.url, LANES, buffer_bytes=BUFFER)
        to.write(output(points(0, each), names=names))
        to.flush(60.0)
        server.stop()
        before, most, waited, began = resident(), 0, 0, time.perf_counter()
        for k in range(1, slices):
            to.write(output(points(k, each), names=names))
            most, waited = max(most, resident()), max(waited, to.state()["backlog_bytes"])
            time.sleep(max(0.0, began + k * SLICE - time.perf_counter()))
        spilled = to.state()["spilled_bytes"]
        server.start()
        began = time.perf_counter()
        while not (to.flush(1.0) and to.state()["spilled"] == 0):
            time.sleep(0.05)
        caught_up = time.perf_counter() - began
        state = to.state()
        to.close()
        found = server.points("iot_prediction_value")
    answers.put(
        {
            "what": "outage",
            "written": each * slices,
            "arrived": sum(map(len, found.values())),
            "dropped": state["dropped_total"],
            "waited in memory, MB": waited / 1e6,
            "resident more, MB": (most - before) / 1e6,
            "on disk, MB": spilled / 1e6,
            "caught up, s": caught_up,
        }
    )


def run() -> list[dict[str, Any]]:
    """Both, one below the other."""
    found = [apart(worker), apart(outage)]
    return [
        {"what": row["what"], "figure": key, "value": value}
        for row in found
        for key, value in row.items()
        if key != "what"
    ]
