"""OpenTelemetry: a span for each batch, and within it one for each stage.

Spans are made after the fact, from the laps that are taken anyway; what is not asked for is not
even imported. Where they go is said by the variables of OpenTelemetry's SDK, such as
OTEL_EXPORTER_OTLP_ENDPOINT: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from stream_processor.settings.model import Settings
from streamgauge import __version__
from streamgauge.delivery import Delivery
from streamgauge.laps import MONOTONIC
from streamgauge.timing import Stage

if TYPE_CHECKING:
    from opentelemetry.trace import Link, Tracer

__all__ = ["NoTraces", "Traces", "traces"]

_APART = (Stage.JOURNAL, Stage.ACKNOWLEDGE, Stage.SINKS, Stage.CHECKPOINT)
"""Stages of all deliveries of a round together: spans of their own."""


PARENT = "traceparent"
MOST_LINKS = 128
"""As many as OpenTelemetry's SDK keeps of a span by default."""
PATIENCE = 3.0
"""Seconds that the end of the service waits for spans that are not sent yet."""


class NoTraces(Exception):
    """The extra is not installed."""


class Traces:
    """Turns laps into spans; a `streamgauge.timing.Listener`. `sources` are the sources' names;
    `wall` and `now` are nanoseconds of our clock and of the one that the laps are by."""

    def __init__(
        self,
        tracer: "Tracer",
        stream: str,
        sources: Sequence[str],
        wall: Callable[[], int] = time.time_ns,
        now: Callable[[], int] = MONOTONIC.read,
    ) -> None:
        self._tracer: Any = tracer
        self._stream: dict[str, str | int] = {"streamgauge.stream": stream}
        self._sources = sources
        self._wall, self._now = wall, now
        self._laps: list[tuple[Stage, int, int]] = []

    def lap(self, stage: Stage, began: int, ended: int) -> None:
        """Keep a stage until its batch is worked off."""
        if stage not in _APART:
            self._laps.append((stage, began, ended))
            return
        ahead = self._ahead()
        span = self._tracer.start_span(
            stage.name.lower(), attributes=self._stream, start_time=began + ahead
        )
        span.end(ended + ahead)

    def _ahead(self) -> int:
        """How far our clock is ahead of that of the laps, now."""
        return self._wall() - self._now()

    def worked_off(self, delivery: Delivery, place: int) -> None:
        """Give the batch and its stages."""
        from opentelemetry.trace import set_span_in_context

        laps, self._laps = self._laps, []
        if not laps:
            return
        ahead = self._ahead()
        batch = self._tracer.start_span(
            "tick" if delivery.is_tick else "batch",
            attributes=self._stream | self._facts(delivery, place),
            links=_links(delivery),
            start_time=min(began for _, began, _ in laps) + ahead,
        )
        if batch.is_recording():
            within = set_span_in_context(batch)
            for stage, began, ended in laps:
                name = stage.name.lower()
                span = self._tracer.start_span(name, within, start_time=began + ahead)
                span.end(ended + ahead)
        batch.end(max(ended for _, _, ended in laps) + ahead)

    def _facts(self, delivery: Delivery, place: int) -> dict[str, str | int]:
        if delivery.is_tick:
            return {}
        rows = 0 if delivery.readings is None else len(delivery.readings)
        return {
            "streamgauge.source": self._sources[delivery.source],
            "streamgauge.messages": len(delivery.payloads) or rows,
            "streamgauge.journal.position": place,
        }


def _links(delivery: Delivery) -> "list[Link]":
    """To the spans that sent the messages, each once: those of MOST_LINKS at most."""
    from opentelemetry.trace import Link, get_current_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    told = [*delivery.traces, *(one[PARENT] for one in delivery.headers if PARENT in one)]
    read = TraceContextTextMapPropagator().extract
    few = islice(dict.fromkeys(told), MOST_LINKS)
    found = [get_current_span(read({PARENT: one})).get_span_context() for one in few]
    return [Link(context) for context in found if context.is_valid]


@contextmanager
def traces(settings: Settings) -> Iterator[Traces]:
    """Spans by OTLP over HTTP for the length of the context; what waits is sent at its end.

    Raises NoTraces where the extra is missing.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as missing:
        raise NoTraces(
            f'--trace needs {missing.name}; pip install "streamgauge[otel]", or leave --trace out'
        ) from missing
    facts = {"service.version": __version__}
    if "OTEL_SERVICE_NAME" not in os.environ:
        facts["service.name"] = "streamgauge"
    provider = TracerProvider(resource=Resource.create(facts), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer = provider.get_tracer("streamgauge", __version__)
    try:
        yield Traces(tracer, settings.stream.name, settings.source_names)
    finally:
        # The SDK tries for ten seconds, after which who waits for the service to end kills it.
        sending = threading.Thread(target=provider.shutdown, name="traces", daemon=True)
        sending.start()
        sending.join(PATIENCE)
