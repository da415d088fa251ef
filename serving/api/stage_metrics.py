"""Time per stage, delay and batch sizes, as Prometheus histograms."""

from collections.abc import Iterable

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from streamgauge.timing import Counted, Timing

__all__ = ["stages"]


def stages(timing: Timing) -> Iterable[Metric]:
    """What the timing of a pipeline has counted."""
    spent = HistogramMetricFamily(
        "streamgauge_stage_duration_seconds",
        "Time of the worker for a stage, each time that it ran: for up to 1,024 readings.",
        labels=["stage"],
    )
    for stage, found in timing.stages().items():
        spent.add_metric([stage.name.lower()], *_buckets(found))
    yield spent
    yield HistogramMetricFamily(
        "streamgauge_delivery_delay_seconds",
        "From the arrival of the first message of a delivery until it was worked off.",
        *_buckets(timing.delays.counted()),
    )
    yield HistogramMetricFamily(
        "streamgauge_batch_readings",
        "Readings that were worked off together.",
        *_buckets(timing.sizes.counted()),
    )


def _buckets(found: Counted) -> tuple[list[tuple[str, float]], float]:
    bounds = [*map(floatToGoString, found.bounds), "+Inf"]
    return list(zip(bounds, map(float, found.up_to()), strict=True)), found.total
