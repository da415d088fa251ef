"""History from an InfluxDB, so that models start warm: read once, then finished.

Asked in InfluxQL at `/query`, which InfluxDB 1 has, InfluxDB 2 offers where the bucket is mapped to
a database (`influx v1 dbrp create`), and InfluxDB 3 has again. Tested with InfluxDB 1.6; versions
2 and 3 could not be run and stand on their makers' documentation. VictoriaMetrics takes InfluxDB's
lines but does not answer InfluxQL: it cannot be read here.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from ingest.columns import Columns
from ingest.rejects import Rejects
from ingest.source import Source
from ingest.sources._influx_query import Points, Server, quoted
from ingest.sources._table_reader import TableReader, rows_at_once
from ingest.times import instant, zone_named
from streamgauge import durations
from streamgauge.hosts import unencrypted
from streamgauge.schema import Schema

__all__ = ["READS", "notes", "open", "sample"]

READS = ("url", "database", "retention", "measurement", "where")
"""Options that say what is read: a position holds for these rows."""

FIRST = 0
"""1970: before it, no sensor sent anything to an InfluxDB."""


def open(  # noqa: A001 - the name that every source has
    schema: Schema,
    source_index: int,
    clock: Callable[[], int],
    rejects: Rejects,
    *,
    url: str,
    database: str,
    measurement: str,
    retention: str = "",
    username: str = "",
    password: str = "",
    token: str = "",
    device: str = "device",
    device_id: str = "",
    where: str = "",
    since: str = "",
    until: str = "now",
    page: int = 0,
    timeout: str = "30s",
    tls: bool | None = None,
) -> Source:
    """Read a measurement in the order of time, then be finished. With `first = true` beside it
    nothing is taken from other sources before.

    - `url`: http://HOST:8086; `username` and `password`, or `token`, from the environment
    - `database`, `measurement`, `retention`: where the points are; the policy may be left out
    - `device`: tag (or field) that names the device; `device_id`: the one device of all instead.
      Channels are fields, by their name or `path`.
    - `where`: a further condition in InfluxQL, such as "site" = 'a'
    - `since`, `until`: a time such as 2026-01-31T12:00:00Z, or how long ago, such as "30d"; all
      there is, up to the moment when reading began, unless given. Points that come later are not
      read, nor any of them again after a restart.
    - `tls`: left out, https is expected except on this machine; false allows http
    - `page`: points at a time; 0 = 4096, fewer where there are many channels

    ValueError on options that mean nothing.
    """
    if not database or not measurement:
        raise ValueError("database and measurement must be named")
    if page < 0:
        raise ValueError(f"page = {page} reads nothing; write at least 2, or 0")
    server = Server(
        url, database, (username, password), token, durations.microseconds(timeout) / 1e6, tls
    )
    columns = Columns(schema, device, "time", zone_named("UTC"), device_id)
    channels = [channel.path or channel.name for channel in schema.channels]
    now, most = clock(), rows_at_once(schema)
    points = Points(
        server, _from(retention, measurement), channels if device_id else [device, *channels],
        columns, where=where, since=_time(since, now, "since") if since else FIRST,
        until=_time(until, now, "until"), rows=max(2, min(page or most, most)),
    )  # fmt: skip
    return TableReader(points, columns.none(), source_index, clock, rejects, every=None)


def notes(options: Mapping[str, Any]) -> list[str]:
    """What is allowed but may surprise."""
    return unencrypted("influxdb", options, "read")


def sample(
    *,
    rows: int = 1_000,
    url: str,
    database: str,
    measurement: str,
    retention: str = "",
    username: str = "",
    password: str = "",
    token: str = "",
    tls: bool | None = None,
) -> pd.DataFrame:
    """The newest points, as they are."""
    server = Server(url, database, (username, password), token, 30.0, tls)
    try:
        names = _from(retention, measurement)
        table = server.ask(
            f"SELECT * FROM {names} ORDER BY time DESC LIMIT {int(rows)}"  # noqa: S608 - quoted
        )
    finally:
        server.close()
    return table.iloc[::-1].reset_index(drop=True)


def _from(retention: str, measurement: str) -> str:
    names: Iterable[str] = [retention, measurement] if retention else [measurement]
    return ".".join(map(quoted, names))


def _time(text: str, now: int, option: str) -> int:
    """Nanoseconds UTC of a time, or of so long ago."""
    if text == "now":
        return now * 1_000
    try:
        return (now - durations.microseconds(text)) * 1_000
    except ValueError:
        found = instant(text, zone_named("UTC"))
    if found is None:
        raise ValueError(
            f'{option} = {text!r} is no time; write one like 2026-01-31T12:00:00Z, "now", or how '
            'long ago, such as "30d"'
        )
    return found * 1_000
