"""/metrics: the fleet's counters and scores as Prometheus text.

Never a label per device: ten thousand of them would make every scrape 15 MB.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from monitoring.skill import skill
from serving.api.part_metrics import parts
from serving.api.problems import described
from serving.api.service import Service
from serving.api.stage_metrics import stages
from streamgauge import __version__
from streamgauge.output import SCORE_COLUMNS

__all__ = ["registry", "routes"]

routes = APIRouter(tags=["metrics"])

_BY = {
    "readings": ("verdict", "Readings by what was decided about them."),
    "flags": ("flag", "Values that cleaning changed, by what it did."),
    "rejected": ("reason", "Messages and readings that were not admitted."),
    "drifts": ("change", "Changes that drift detectors found, by signal and direction."),
    "silences": ("event", "Devices and channels that fell silent, and that returned."),
}
_GAUGES = {
    "devices": "Devices known now.",
    "devices_silent": "Devices silent for longer than devices.silent_after.",
    "channels_calibrating": "Channels of devices of which it is not yet known what is usual.",
    "devices_clock_wrong": "Devices whose clock is further from ours than devices.max_skew.",
}
_COUNTERS = {
    "predictions": "Predictions made.",
    "labels": "Labels that met their prediction.",
    "expired": "Predictions whose label did not come in time.",
    "overflowed": "Predictions pushed out before their label could come.",
    "devices_refused": "Readings of devices beyond the limit.",
}
FATES = ("taught", "scored", "duplicate", "late", "unmatched")
_COUNTED_SCORES = ("labels", "expired", "overflowed")


def _usable(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _counts(counts: Mapping[str, Any]) -> Iterable[Metric]:
    for name, (label, words) in _BY.items():
        family = CounterMetricFamily(f"streamgauge_{name}", words, labels=[label])
        for key, value in sorted(counts.get(name, {}).items()):
            family.add_metric([str(key)], value)
        yield family
    words = "Parts of devices (channels, features, tasks) whose detector has not seen enough."
    waiting = GaugeMetricFamily("streamgauge_signals_calibrating", words, labels=["signal"])
    for key, value in counts.get("signals_calibrating", {}).items():
        waiting.add_metric([key], value)
    yield waiting
    for name, words in _GAUGES.items():
        yield GaugeMetricFamily(f"streamgauge_{name}", words, counts.get(name, 0))
    for name, value in counts.items():
        if name not in _BY and name not in _GAUGES and _usable(value):
            words = _COUNTERS.get(name, f"{name} of the walk.")
            yield CounterMetricFamily(f"streamgauge_{name}", words, value)


def _channel_flags(counts: Mapping[str, Any]) -> Iterable[Metric]:
    labels = ["channel", "flag"]
    found = CounterMetricFamily(
        "streamgauge_channel_flags",
        "Values of admitted readings by channel and by what cleaning did to them.",
        labels=labels,
    )
    share = GaugeMetricFamily(
        "streamgauge_channel_flag_share_ratio",
        "The same as a share of all admitted readings.",
        labels=labels,
    )
    admitted = counts.get("readings", {}).get("admitted", 0)
    for channel, of in counts.get("channel_flags", {}).items():
        for flag, values in of.items():
            found.add_metric([channel, flag], values)
            share.add_metric([channel, flag], values / max(1, admitted))
    return (found, share)


def _scores(service: Service) -> Iterable[Metric]:
    names = [name for name in SCORE_COLUMNS if name not in _COUNTED_SCORES]
    labels = ["task", "horizon"]
    families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {
        name: GaugeMetricFamily(
            f"streamgauge_task_{name}", f"Over all devices: {name}.", labels=labels
        )
        for name in names
    }
    for name in _COUNTED_SCORES:
        words = f"Over all devices: {name}."
        families[name] = CounterMetricFamily(f"streamgauge_task_{name}", words, labels=labels)
    words = "1 - error / error of the last value, or of the majority class: above 0 beats it."
    families["skill"] = GaugeMetricFamily("streamgauge_task_skill_ratio", words, labels=labels)
    for task in sorted({view.task for view in service.board.tasks()}):
        for view in service.board.scores(task):
            found = {**view.scores, "skill": skill(dict(view.scores))}
            for name, family in families.items():
                if _usable(found.get(name)):
                    family.add_metric([view.task, view.horizon], float(found[name] or 0.0))
    return families.values()


def _labels(service: Service) -> Iterable[Metric]:
    """What became of labels from elsewhere."""
    names = ["task", "horizon"]
    fates = CounterMetricFamily(
        "streamgauge_task_told", "Labels from elsewhere, by their fate.", labels=[*names, "fate"]
    )
    covered = GaugeMetricFamily(
        "streamgauge_task_label_coverage_ratio",
        "Share of settled predictions that got their label.",
        labels=names,
    )
    lag = GaugeMetricFamily(
        "streamgauge_task_label_lag_seconds",
        "How long labels from elsewhere took.",
        labels=[*names, "quantile"],
    )
    for task in sorted({view.task for view in service.board.tasks()}):
        for view in service.board.scores(task):
            own, found = [view.task, view.horizon], view.labels
            for fate in FATES:
                if fate in found:
                    fates.add_metric([*own, fate], float(found[fate] or 0.0))
            if _usable(found.get("coverage")):
                covered.add_metric(own, float(found["coverage"] or 0.0))
            for quantile, key in (("0.5", "lag_p50"), ("0.95", "lag_p95")):
                if _usable(found.get(key)):
                    lag.add_metric([*own, quantile], float(found[key] or 0.0))
    return (fates, covered, lag)


def _models(service: Service) -> Iterable[Metric]:
    labels = ["task", "horizon"]
    compiled = GaugeMetricFamily(
        "streamgauge_task_compiled",
        "1 where the task's model runs compiled, 0 where it is called event by event.",
        labels=labels,
    )
    models = GaugeMetricFamily(
        "streamgauge_task_models",
        "Models now: one for each known device, or those that several share.",
        labels=labels,
    )
    for view in service.board.tasks():
        compiled.add_metric([view.task, view.horizon], float(view.compiled))
        models.add_metric([view.task, view.horizon], view.models)
    return (compiled, models)


def _spent(service: Service, seconds: Sequence[float]) -> Metric:
    """`seconds` are in the order of tasks and horizons."""
    spent = CounterMetricFamily(
        "streamgauge_task_model_seconds",
        "Time of the worker for the task's models: their answers and what they learn.",
        labels=["task", "horizon"],
    )
    for view, own in zip(service.board.tasks(), seconds, strict=False):
        spent.add_metric([view.task, view.horizon], own)
    return spent


class _Walk(Collector):
    def __init__(self, service: Service) -> None:
        self._service = service

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        build = {"version": __version__, "stream": self._service.stream_name}
        yield InfoMetricFamily("streamgauge_build", "What runs.", build)
        counts = self._service.board.counts()
        yield from _counts(counts)
        yield from _channel_flags(counts)
        yield from _scores(self._service)
        yield from _labels(self._service)
        yield from _models(self._service)
        timing = self._service.board.timing()
        yield from stages(timing)
        yield _spent(self._service, timing.lanes())
        yield from parts(self._service)


def registry(service: Service) -> CollectorRegistry:
    """The collectors of one application: the walk's counters and those of the process."""
    found = CollectorRegistry()
    found.register(_Walk(service))
    ProcessCollector(namespace="streamgauge", registry=found)
    return found


@routes.get(
    "/metrics", operation_id="get_metrics", response_class=Response, responses=described(401)
)
def get_metrics(request: Request, accept: Annotated[str, Header()] = "") -> Response:
    """The fleet's counters and scores, for Prometheus."""
    encode, media_type = choose_encoder(accept)
    return Response(encode(request.app.state.metrics), headers={"Content-Type": media_type})
