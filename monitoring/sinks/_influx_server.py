"""One bucket of an InfluxDB, and what its answers mean."""

import time
from email.utils import parsedate_to_datetime
from typing import Any

from monitoring.sinks._delivery import Refused

__all__ = ["Server", "retry_after"]

LONGEST_ASKED = 300.0
"""Seconds that a server may ask for in Retry-After."""


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait by a Retry-After header, which holds seconds or a date; None without."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except ValueError:
            return None
    return min(max(seconds, 0.0), LONGEST_ASKED) if seconds == seconds else None


class Server:
    """One bucket of one server, through influxdb-client's synchronous API.

    Its batching mode is not used: it drops what it could not send after a few minutes, shares one
    thread between all targets of a process, and has a `flush` that does nothing. Nor is its
    `health()`: compatible servers say "fail" and work.
    """

    def __init__(self, url: str, org: str, bucket: str, token: str, timeout: float) -> None:
        from influxdb_client import InfluxDBClient
        from influxdb_client.client.write_api import SYNCHRONOUS

        self.url = url
        self._bucket = bucket
        self._client: Any = InfluxDBClient(
            url=url, token=token, org=org, timeout=round(timeout * 1000)
        )
        self._write: Any = self._client.write_api(write_options=SYNCHRONOUS).write

    def __call__(self, body: bytes) -> None:
        """Write lines whose times are in microseconds; Refused where the server does not."""
        from influxdb_client.rest import ApiException
        from urllib3.exceptions import HTTPError

        try:
            self._write(bucket=self._bucket, record=body, write_precision="us")
        except ApiException as answer:
            wait = retry_after(answer.retry_after, time.time())
            text = answer.message if answer.status else answer.reason
            why = f"{self.url} answered {answer.status}: {str(text).strip()[:300]}"
            raise Refused(why, status=int(answer.status or 0), wait=wait) from None
        except (HTTPError, OSError, ValueError) as unreached:
            # ValueError: the client decodes error pages as UTF-8, which a proxy's may not be.
            raise Refused(f"{self.url} is not reached: {unreached}") from None

    def close(self) -> None:
        self._client.close()
