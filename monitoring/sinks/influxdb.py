"""Results to InfluxDB 2, or to what understands its line protocol: InfluxDB 3, VictoriaMetrics.

Points carry event time and fixed float fields, so whatever is sent twice overwrites itself. What is
written, and under which tags: see `_lines.LinesEncoder`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monitoring.sinks._buffered import Buffered
from monitoring.sinks._influx_server import Server
from monitoring.sinks._lines import LinesEncoder
from streamgauge import durations
from streamgauge.hosts import unencrypted, web_server
from streamgauge.schedule import Lane

__all__ = ["notes", "open"]


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
    tls: bool | None = None,
) -> Buffered[bytes]:
    """A sink that writes to a bucket. The server need not be there: what it cannot take waits.

    - `per_device`: also every device's predictions, which is a series per device, task and horizon:
      10,000 devices × 3 tasks are 30,000 series and a point per prediction. Without it only scores
      and drift over all devices are written.
    - `batch`: lines per request
    - `buffer_bytes`: what may wait, at about 100 bytes per record; beyond it the oldest is dropped
      and counted
    - `timeout`: of one request
    - `tls`: left out, https is expected except on this machine; false allows http

    ValueError for an address or duration that is none.
    """
    web_server(url, tls)
    if batch < 1:
        raise ValueError(f"batch = {batch} sends nothing; 5000 lines per request work well")
    server = Server(url, org, bucket, token, durations.microseconds(timeout) / 1e6)
    encoder = LinesEncoder(lanes, stream, per_device=per_device)
    return Buffered(
        encoder.encode, server, clock, name="influxdb", batch=batch, buffer_bytes=buffer_bytes
    )


def notes(options: Mapping[str, Any]) -> list[str]:
    """What is allowed but may surprise."""
    return unencrypted("influxdb", options, "written")
