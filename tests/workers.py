"""A worker on a folder, with a source that the test fills and a sink that keeps what it gets."""

import json
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from ingest.journal import Journal
from stream_processor.pipeline import Pipeline
from stream_processor.settings import load_text
from stream_processor.worker import Worker
from streamgauge.delivery import Delivery, Position
from streamgauge.output import Output
from tests.services.ports import wait_for
from tests.streams import BEGIN, COMPILED, SECOND

__all__ = ["CONFIG", "KEY", "Kept", "Queue", "Stand", "killed"]

KEY = b"k" * 32
CONFIG = """
[state]
checkpoint_every = "{every}"
[[source]]
use = "mqtt"
topics = ["t"]
codec = "json"
[channels.load]
[tasks.soon]
kind = "forecast"
target = "load"
horizons = ["3s"]
ready_after = 0
model = {model}
"""


class Queue:
    """A source whose messages the test puts in; it notes what was acknowledged."""

    finished = False

    def __init__(self) -> None:
        self.messages: deque[Delivery] = deque()
        self.acknowledged: list[int] = []
        self.running = False

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def take(self, limit: int, timeout: float) -> Delivery | None:
        if self.messages:
            return self.messages.popleft()
        time.sleep(timeout)
        return None

    def acknowledge(self, tokens: list[Any]) -> None:
        self.acknowledged += tokens

    def resume(self, position: Position) -> None:
        raise AssertionError("a source without positions is never resumed")

    def state(self) -> dict[str, Any]:
        return {"ok": True, "why": ""}


class Kept:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.outputs: list[Output] = []
        self.closed = threading.Event()
        self.durable = True

    def write(self, output: Output) -> None:
        self.outputs.append(output)

    def flush(self, timeout: float) -> bool:
        return self.durable

    def state(self) -> dict[str, Any]:
        return {"ok": True, "why": ""}

    def close(self) -> None:
        self.closed.set()

    @property
    def records(self) -> int:
        return sum(len(output.predictions) for output in self.outputs)


class Stand:
    """A worker on a folder, with a clock that stands still unless told."""

    def __init__(
        self, folder: Path, *, model: str = COMPILED, every: str = "1h", config: str = CONFIG
    ) -> None:
        text = config.format(model=model, every=every)
        self.pipeline = Pipeline(load_text(text, folder / "p.toml", {}))
        self.source, self.sink, self.now = Queue(), Kept(), BEGIN + 200 * SECOND
        self.journal = Journal(folder / "journal", segment_bytes=2_000, max_bytes=200_000)
        self.worker = Worker(
            self.pipeline, [self.source], [self.sink], self.journal, folder, KEY, lambda: self.now
        )

    def put(self, numbers: range) -> None:
        """Readings of two devices, a second apart, four messages to a delivery."""
        for k in range(numbers.start, numbers.stop, 4):
            payloads = [
                json.dumps(
                    {"device": f"d{i % 2}", "time": BEGIN / 1e6 + i, "load": float(np.sin(i / 5))}
                ).encode()
                for i in range(k, k + 4)
            ]
            tokens = list(range(k, k + 4))
            self.source.messages.append(
                Delivery(0, payloads, ["t"] * 4, [self.now] * 4, tokens=tokens)
            )

    def admitted(self) -> int:
        return int(self.pipeline.board.counts()["readings"]["admitted"])

    def start(self, *, accept: bool = False) -> "Stand":
        """Recover and begin."""
        self.worker.recover(accept=accept)
        self.worker.start()
        return self

    def work(self, numbers: range) -> None:
        self.put(numbers)
        wait_for(lambda: self.admitted() >= numbers.stop or bool(self.worker.failure))
        assert not self.worker.failure


def killed(stand: Stand) -> None:
    """End the threads as a kill would: nothing is saved, nothing is said to the sinks."""
    stand.worker._stop.set()
    stand.worker._thread.join()
    stand.journal.close()
