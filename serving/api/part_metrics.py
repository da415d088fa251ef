"""Sources, sinks, checkpoint and journal: whether they work, what waits in them, what they lost."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from serving.api.service import Service

__all__ = ["parts"]

_NOW = {
    "backlog": "Records that wait until the target takes them.",
    "clients": "Listeners connected now.",
    "connected": "1 while there is a connection.",
    "devices": "Devices that are simulated.",
    "files": "Files that are followed.",
    "firing": "Alerts that fire now.",
    "incomplete": "Files that are not whole yet.",
    "keys": "Idempotency keys that are remembered.",
    "lag": "Messages that the topics hold and we have not fetched.",
    "partitions": "Partitions that are ours.",
    "paused": "1 while nothing is fetched because the queue is full.",
    "progress": "Share of what there is to read that was read.",
    "queued": "Messages that wait for the worker.",
    "spilled": "Records that wait on the disk until the target takes them.",
}
"""What rises and falls; whatever else parts tell, but for units, only rises."""
_UNITS = ("bytes", "ratio", "seconds")
_CHECKPOINT = {
    "bytes": "Size of the newest checkpoint.",
    "pause_seconds": "Longest time that the worker stood still for the newest checkpoint.",
    "write_seconds": "How long the newest checkpoint took to write.",
}
_KEPT = {
    ("journal", "bytes"): "Size of what was journaled and may be needed again.",
    ("evicted", "devices"): "Devices whose state waits on the disk until they come back.",
    ("evicted", "bytes"): "Size of that state.",
}


def parts(service: Service) -> Iterable[Metric]:
    """Metrics of all parts, read once."""
    up = GaugeMetricFamily("streamgauge_part_up", "1 when the part works.", labels=["part"])
    for part in service.ready():
        up.add_metric([part.name], float(part.ok))
    yield up
    states = service.states()
    yield from _told({kind: states[kind] for kind in ("source", "sink") if kind in states})
    yield from _lost(states.get("sink", {}))
    state = states.get("state", {})
    yield from _checkpoint(state.get("checkpoint", {}), service.clock())
    for name, told in state.items():
        if name != "checkpoint":
            yield from _kept(name, told)


def _lost(sinks: Mapping[str, Mapping[str, Any]]) -> Iterable[Metric]:
    """What will not reach a sink's target, by reason."""
    words = "Records that a sink dropped, or that its target refused for good, by reason."
    found = CounterMetricFamily("streamgauge_sink_lost", words, labels=["name", "fate", "reason"])
    for name, state in sorted(sinks.items()):
        for fate, reasons in state.get("lost", {}).items():
            for reason, records in sorted(reasons.items()):
                found.add_metric([name, fate, reason], float(records))
    return (found,) if found.samples else ()


def _kept(name: str, state: Mapping[str, Any]) -> Iterable[Metric]:
    """What a part of the state says of itself."""
    for key, value in state.items():
        if key != "ok" and _usable(value):
            words = _KEPT.get((name, key), f"{key.replace('_', ' ')} of what is {name}.")
            yield GaugeMetricFamily(f"streamgauge_{name}_{key}", words, value)


def _told(states: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterable[Metric]:
    """What sources and sinks say of themselves, by their name."""
    families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for kind, named in sorted(states.items()):
        for name, state in sorted(named.items()):
            for key, value in sorted(state.items()):
                if key == "ok" or not _usable(value):
                    continue
                metric = re.sub(r"\W", "_", f"streamgauge_{kind}_{key}", flags=re.ASCII)
                if metric not in families:
                    families[metric] = _family(metric, kind, key)
                families[metric].add_metric([name], float(value))
    return families.values()


def _family(metric: str, kind: str, key: str) -> CounterMetricFamily | GaugeMetricFamily:
    words = _NOW.get(key, f"{key.removesuffix('_total').replace('_', ' ')} of each {kind}.")
    if key in _NOW or key.endswith(_UNITS):
        return GaugeMetricFamily(metric, words, labels=["name"])
    return CounterMetricFamily(metric, words, labels=["name"])


def _checkpoint(state: Mapping[str, Any], now: int) -> Iterable[Metric]:
    """How old the newest checkpoint is, which is what a restart has to compute again, and what it
    took."""
    words = "Checkpoints written since the start."
    yield CounterMetricFamily("streamgauge_checkpoints", words, state.get("count", 0))
    if "time" in state:
        words = "Since the newest checkpoint was written."
        age = (now - state["time"]) / 1e6
        yield GaugeMetricFamily("streamgauge_checkpoint_age_seconds", words, age)
    for key, words in _CHECKPOINT.items():
        if key in state:
            yield GaugeMetricFamily(f"streamgauge_checkpoint_{key}", words, state[key])


def _usable(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
