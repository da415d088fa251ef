"""What durability costs: deliveries written down until they may be acknowledged, at both levels.

A round holds what several sources have at once: one write and, with `durability = "power"`, one
sync. The latency is that of a round, and every message of it waits that long for its
acknowledgement. The levels take turns, round by round, on the disk of the temporary folder.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from ingest.journal import Journal
from streamgauge.delivery import Delivery

SECONDS = 4.0
PAYLOAD = b'{"time": 1700000000.123, "temperature": 21.5, "load": 40.25, "power": 3.125}'
SHAPES = ((1, 1), (1, 20), (4, 20), (1, 1_000), (4, 1_000))
"""Sources in a round, and messages of each: 20 are what a broker usually lets be in flight."""


def delivery(source: int, messages: int) -> Delivery:
    """Messages such as MQTT brings."""
    topics = [f"sensors/pump-{k}/telemetry" for k in range(messages)]
    received = [1_700_000_000_000_000 + k for k in range(messages)]
    return Delivery(source, [PAYLOAD] * messages, topics, received)


def measure(folder: Path, sources: int, messages: int) -> dict[str, list[float]]:
    """Seconds of each round, by level."""
    levels = {
        level: Journal(folder / level, sync=level == "power") for level in ("process", "power")
    }
    group = [delivery(source, messages) for source in range(sources)]
    took: dict[str, list[float]] = {level: [] for level in levels}
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        for level, journal in levels.items():
            begin = time.perf_counter()
            place = journal.append(*group)[-1]
            took[level].append(time.perf_counter() - begin)
            if journal.size > 1_000_000_000:
                journal.trim(place)
    for journal in levels.values():
        journal.close()
    return took


def run() -> list[dict[str, Any]]:
    """A row per shape and level."""
    rows = []
    for sources, messages in SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            took = measure(Path(folder), sources, messages)
        for level, seconds in took.items():
            found = np.array(seconds)
            rows.append(
                {
                    "sources": sources,
                    "messages each": messages,
                    "durability": level,
                    "messages/s": sources * messages / float(found.mean()),
                    "ack p50 ms": float(np.percentile(found, 50)) * 1e3,
                    "ack p99 ms": float(np.percentile(found, 99)) * 1e3,
                    "rounds": len(found),
                }
            )
    return rows
