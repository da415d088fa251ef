"""Results to InfluxDB 2, or to what understands its line protocol: InfluxDB 3, VictoriaMetrics.

Points carry event time and fixed float fields, so whatever is sent twice overwrites itself. What is
written, and under which tags: see `_lines.LinesEncoder`.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from monitoring.sinks._influx_delivery import Delivery, Server
from monitoring.sinks._lines import LinesEncoder
from monitoring.sinks._outbox import Outbox
from streamgauge import durations
from streamgauge.output import Output
from streamgauge.schedule import Lane

__all__ = ["InfluxDB", "open"]


def open(  # noqa: A001 - what opens a plug-in has one name in every folder
    lanes: Sequence[Lane],
    stream: str,
    folder: Path,
    clock: Callable[[], int],
    *,
    url: str,
    org: str = "",
    bucket: str = "streamgauge",
    token: str = "",
    per_device: bool = True,
    batch: int = 5_000,
    buffer_bytes: int = 100_000_000,
    timeout: str = "10s",
) -> "InfluxDB":
    """A sink that writes to a bucket. The server need not be there: what it cannot take waits.

    - `per_device`: also every device's predictions, which is a series per device, task and horizon:
      10,000 devices × 3 tasks are 30,000 series and a point per prediction. Without it only scores
      and drift over all devices are written.
    - `batch`: lines per request
    - `buffer_bytes`: what may wait, at about 100 bytes per record; beyond it the oldest is dropped
      and counted
    - `timeout`: of one request

    ValueError for an address or duration that is none.
    """
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        raise ValueError(f"{url!r} is no address of a server; write http://HOST:8086")
    if batch < 1:
        raise ValueError(f"batch = {batch} sends nothing; 5000 lines per request work well")
    server = Server(url, org, bucket, token, durations.microseconds(timeout) / 1e6)
    encoder = LinesEncoder(lanes, stream, per_device=per_device)
    return InfluxDB(encoder, server, clock, batch=batch, buffer_bytes=buffer_bytes)


class InfluxDB:
    """Outputs wait in a bounded buffer; a thread of its own encodes and delivers them in order."""

    def __init__(
        self,
        encoder: LinesEncoder,
        server: Server,
        clock: Callable[[], int],
        *,
        batch: int,
        buffer_bytes: int,
    ) -> None:
        self._server = server
        stop = threading.Event()
        self.delivery = Delivery(server, batch, stop.wait)
        encoding = _Encoding(encoder, self.delivery)
        self._outbox = Outbox(
            "influxdb", encoding, stop, clock, batch=batch, buffer_bytes=buffer_bytes
        )
        self.write, self.flush = self._outbox.write, self._outbox.flush

    def state(self) -> dict[str, Any]:
        """As `Outbox.state`; also lines `sent_total` and `dead_total` (refused for good: see
        `delivery.dead`), and `retries_total`."""
        return {**self._outbox.state(), **self.delivery.counts}

    def close(self, timeout: float = 5.0) -> None:
        """Deliver what waits if the server takes it, then end; the rest is dropped and counted."""
        self._outbox.close(timeout)
        self._server.close()


class _Encoding:
    """Outputs to the delivery of lines."""

    def __init__(self, encoder: LinesEncoder, delivery: Delivery) -> None:
        self._encoder, self._delivery = encoder, delivery

    @property
    def why(self) -> str:
        return self._delivery.why

    def send(self, outputs: Sequence[Output]) -> None:
        self._delivery.send(self._encoder.encode(outputs))
