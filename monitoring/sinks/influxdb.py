"""Results to InfluxDB 1, 2 or 3, or to what takes their line protocol: VictoriaMetrics.

Points carry event time and fixed float fields, so whatever is sent twice overwrites itself. What is
written, and under which tags: see `_lines.LinesEncoder`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from monitoring.sinks._buffered import Buffered
from monitoring.sinks._influx_1_server import Server1
from monitoring.sinks._influx_server import Server
from monitoring.sinks._lines import LinesEncoder
from monitoring.sinks._spill import place_of
from streamgauge import durations
from streamgauge.hosts import unencrypted, web_server
from streamgauge.schedule import Lane

__all__ = ["notes", "open"]

BUCKET = "streamgauge"


def open(  # noqa: A001 - what opens a plug-in has one name in every folder
    lanes: Sequence[Lane],
    stream: str,
    folder: Path,
    clock: Callable[[], int],
    *,
    url: str,
    org: str = "",
    bucket: str = "",
    token: str = "",
    database: str = "",
    retention: str = "",
    username: str = "",
    password: str = "",
    per_device: bool = True,
    batch: int = 5_000,
    buffer_bytes: int = 100_000_000,
    spill_bytes: int = 1_000_000_000,
    timeout: str = "10s",
    tls: bool | None = None,
) -> Buffered[bytes]:
    """A sink that writes to a bucket. The server need not be there: what it cannot take waits.

    - `bucket`, `org`, `token`: of InfluxDB 2 and 3; the bucket is left out "streamgauge"
    - `database`, `retention`, `username`, `password`: of InfluxDB 1, instead; the policy may be
      left out. The database must be there.
    - `per_device`: also every device's predictions, which is a series per device, task and horizon:
      10,000 devices × 3 tasks are 30,000 series and a point per prediction. Without it only scores
      and drift over all devices are written.
    - `batch`: lines per request
    - `buffer_bytes`: what may wait in memory, at about 100 bytes per record; from half of it on the
      oldest goes to the disk
    - `spill_bytes`: what may wait on the disk, at about 40 bytes per record; beyond it the oldest
      is dropped and counted. 0 keeps everything in memory.
    - `timeout`: of one request
    - `tls`: left out, https is expected except on this machine; false allows http

    What the server refuses for good is appended to `dead.jsonl`, beside what waits on the disk.
    ValueError for an address or duration that is none, and for sizes that hold nothing.
    """
    web_server(url, tls)
    if batch < 1:
        raise ValueError(f"batch = {batch} sends nothing; 5000 lines per request work well")
    if database and (org or token or bucket):
        raise ValueError(
            "database is of InfluxDB 1; bucket, org and token are of InfluxDB 2 and 3: "
            "leave out what is not of yours"
        )
    if not database and (retention or username or password):
        raise ValueError(
            "retention, username and password are of InfluxDB 1; name its database as well"
        )
    seconds = durations.microseconds(timeout) / 1e6
    server: Server | Server1
    if database:
        server = Server1(url, database, retention, (username, password), seconds)
    else:
        server = Server(url, org, bucket or BUCKET, token, seconds)
    encoder = LinesEncoder(stream, per_device=per_device)
    # Of the address neither a user nor a password: it becomes the name of a folder.
    host, port, path = (where := urlsplit(url)).hostname or "", str(where.port or ""), where.path
    name = place_of(host, port, path, org, database or bucket or BUCKET, retention)
    return Buffered(
        encoder.encode, server, clock, name="influxdb", batch=batch, buffer_bytes=buffer_bytes,
        place=folder / "influxdb" / name, spill_bytes=spill_bytes, predictions=per_device,
    )  # fmt: skip


def notes(options: Mapping[str, Any]) -> list[str]:
    """What is allowed but may surprise."""
    return unencrypted("influxdb", options, "written")
