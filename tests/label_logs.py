"""Readings and labels from elsewhere as a log of messages, and pipelines that take them."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from stream_processor.pipeline import Pipeline
from stream_processor.settings import load_text
from streamgauge.delivery import Delivery
from streamgauge.output import Output
from tests.streams import BEGIN, COMPILED, RIVER, SECOND

__all__ = ["CONFIG", "HERE", "REPLAYED", "deliveries", "log", "pipeline", "run", "views"]

HERE = Path("/somewhere/pipeline.toml")
CONFIG = """
[devices]
limit = 5
evict_after = "5m"
[[source]]
use = "mqtt"
topics = ["t/+", "labels/+"]
codec = "json"
device = "topic:1"
[channels.force]
[features]
lags = {{ force = [1] }}
[tasks.ahead]
kind = "forecast"
target = "force"
horizons = ["3s"]
ready_after = 0
model = {compiled}
[tasks.named]
kind = "regression"
ready_after = 2
model = {compiled}
label = {{ from = "topic:labels/+", expire_after = "90s", teach_until = "20s" }}
[tasks.timed]
kind = "regression"
ready_after = 2
scope = "fleet"
model = {compiled}
label = {{ from = "topic:labels/+", match = {{ time_within = "3s" }}, expire_after = "2m" }}
[tasks.shared]
kind = "forecast"
horizons = ["5s"]
ready_after = 2
scope = "fleet"
model = {river}
label = {{ from = "topic:labels/a", match = {{ time_within = "2s" }}, expire_after = "2m" }}
"""
"""Every way in which labels meet, compiled and River models, of devices and of the fleet."""


def pipeline(text: str = CONFIG, *, pending: int = 1024) -> Pipeline:
    """A pipeline of these settings."""
    text = text.format(compiled=COMPILED, river=RIVER)
    if pending != 1024:
        text = text.replace('kind = "regression"', f'kind = "regression"\npending = {pending}')
    return Pipeline(load_text(text, HERE, {}))


Message = tuple[str, bytes, int]


def log(n: int, seed: int) -> list[Message | int]:
    """Messages (topic, payload, received) and clock ticks: readings, labels, both dirty."""
    random = np.random.default_rng(seed)
    clock, count = BEGIN, dict.fromkeys(range(6), 0)
    found: list[Message | int] = []
    last = {0: BEGIN}
    for _ in range(n):
        clock += (
            int(random.choice([0, 1, 1, 2, 60, 400], p=[0.2, 0.4, 0.2, 0.17, 0.02, 0.01])) * SECOND
        )
        luck, device = random.random(), int(random.integers(6))
        if luck < 0.5:
            text = {"time": clock / 1e6, "force": float(random.normal())}
            found.append((f"t/d{device}", json.dumps(text).encode(), clock))
            count[device] += 1
            last[device] = clock
        elif luck < 0.55:
            found.append(clock)
        else:
            found.append(("labels/" + "ab"[luck > 0.8], _label(random, device, count, last), clock))
    return found


def _label(
    random: np.random.Generator, device: int, count: dict[int, int], last: dict[int, int]
) -> bytes:
    label = float(random.normal()) if random.random() < 0.95 else "high"
    if random.random() < 0.5:
        sequence = max(0, count[device] - int(random.integers(0, 6)))
        entry: Any = {"id": f"named/d{device}/{sequence}", "label": label}
    else:
        time = last.get(device, BEGIN) / 1e6 + int(random.integers(-8, 8))
        entry = {"device": f"d{device}", "time": time, "label": label}
    if random.random() < 0.1:
        entry = [entry, {"label": 1.0}, entry]
    return json.dumps(entry).encode() if random.random() < 0.97 else b"{nonsense"


def deliveries(messages: list[Message | int], cuts: list[int]) -> list[Delivery]:
    """The log as deliveries that are cut there, and around ticks."""
    found: list[Delivery] = []
    for start, stop in pairwise([0, *sorted(cuts), len(messages)]):
        waiting: list[Message] = []
        for entry in [*messages[start:stop], None]:
            if isinstance(entry, tuple):
                waiting.append(entry)
                continue
            if waiting:
                topics, payloads, received = (list(c) for c in zip(*waiting, strict=True))
                found.append(Delivery(payloads=payloads, topics=topics, received=received))
                waiting = []
            if isinstance(entry, int):
                found.append(Delivery(clock=entry))
    return found


def run(made: Pipeline, log: list[Delivery]) -> list[Output]:
    """Feed all of it; all outputs."""
    outputs = []
    for delivery in log:
        made.feed(delivery)
        outputs += made.sealed()
    return outputs


def views(made: Pipeline) -> list[Any]:
    """What the board says of all tasks."""
    return [made.board.scores(task) for task in made.settings.tasks]


REPLAYED = """
[channels.a]
[features]
lags = {{ a = [1] }}
[tasks.by_topic]
kind = "regression"
ready_after = 0
scope = "{scope}"
model = {model}
label = {{ from = {source} }}
"""
