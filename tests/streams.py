"""Recorded streams and pipelines for tests of the whole walk."""

from pathlib import Path

import numpy as np

from stream_processor.evicted import FILE
from stream_processor.pipeline import Pipeline
from stream_processor.settings import load_text
from streamgauge.delivery import Readings

SECOND = 10**6
BEGIN = 1_767_225_600 * SECOND
"""2026-01-01 UTC."""

CONFIG = """
[devices]
limit = {limit}
evict_after = "{evict_after}"
silent_after = "10s"
[channels.load]
range = [-50, 50]
[channels.heat]
range = [-50, 50]
outside = "reject"
silent_after = "30s"
[features]
lags = {{ load = [1, 2], heat = [1] }}
rolling = [
  {{ of = ["load"], window = {{ readings = 4 }}, stats = ["mean", "std", "min", "max"] }},
  {{ of = ["load", "heat"], window = "20s", stats = ["mean", "var"] }},
]
calendar = ["hour", "weekday"]
[tasks.load_soon]
kind = "forecast"
target = "load"
horizons = ["5s", {{ readings = 2 }}]
tolerance = "2s"
ready_after = 3
pending = {pending}
model = {model}
[tasks.heat_now]
kind = "regression"
target = "heat"
ready_after = 0
pending = {pending}
model = {model}
[drift]
detector = {{ use = "adwin", delta = 0.9, clock = 1, grace_period = 1, min_window_length = 1 }}
[scores]
window = 20
"""

COMPILED = (
    '["preprocessing.StandardScaler", { use = "clip", limit = 4 },'
    ' { use = "linear_model.LinearRegression", clip_gradient = 10 }]'
)
RIVER = (
    '["preprocessing.StandardScaler",'
    ' { use = "linear_model.LinearRegression", optimizer = { use = "optim.Newton", lr = 0.01 } }]'
)


def share_evicted(folder: Path, made: Pipeline) -> None:
    """Let it keep the state of evicted devices where the one before it did."""
    made.walk.eviction.store.open(folder / FILE, b"k" * 32)


def pipeline(
    model: str = COMPILED, *, limit: int = 8, evict_after: str = "3m", pending: int = 2
) -> Pipeline:
    """A pipeline with one of everything; small rooms, so that streams reach every limit."""
    text = CONFIG.format(model=model, limit=limit, evict_after=evict_after, pending=pending)
    return Pipeline(load_text(text, Path("test.toml"), {}, for_replay=True))


def stream(n: int, seed: int, devices: int = 5) -> Readings:
    """Dirty readings: gaps, duplicates, late ones, times from the future and before clocks were
    set, values missing, out of range, not finite, beyond anything; devices that come and go."""
    random = np.random.default_rng(seed)
    step = random.choice([0, 1, 1, 1, 2, 12, 90], n, p=[0.1, 0.3, 0.2, 0.2, 0.15, 0.04, 0.01])
    clock = BEGIN + np.cumsum(step) * SECOND
    time = clock + random.choice([0, -4, 0, 900], n, p=[0.9, 0.05, 0.045, 0.005]) * SECOND
    time[random.random(n) < 0.003] = 5 * SECOND
    who = random.integers(0, devices, n)
    busy = (np.arange(n) // 97) % devices
    who = np.where(random.random(n) < 0.5, busy, who)
    load = np.sin(time / (40 * SECOND)) * 8 + random.normal(size=n) + who
    load += np.where(np.arange(n) > n // 2, 9.0, 0.0)
    heat = 0.5 * load + random.normal(size=n)
    values = np.stack([load, heat], axis=1)
    spoiled = random.choice([np.nan, 99.0, np.inf, 1e308], (n, 2))
    values = np.where(random.random((n, 2)) < 0.08, spoiled, values)
    return Readings([f"d{k}" for k in who.tolist()], time, clock, values)
