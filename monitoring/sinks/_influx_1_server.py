"""One database of an InfluxDB 1, and what its answers mean."""

import time

from monitoring.sinks._delivery import Refused
from monitoring.sinks._influx_server import retry_after

__all__ = ["Server1"]

SHOWN = 300
"""Characters of an answer that are shown."""


class Server1:
    """One database of one server, through `/write` (InfluxDB 1.x, HTTP API reference).

    A request of which the server dropped some points is answered 400 as well. It is cut like any
    other: points that are written again overwrite themselves.
    """

    def __init__(
        self, url: str, database: str, retention: str, login: tuple[str, str], timeout: float
    ) -> None:
        import httpx

        self.url = url
        self._where = {"db": database, "precision": "u"} | ({"rp": retention} if retention else {})
        self._client = httpx.Client(timeout=timeout, auth=login if any(login) else None)

    def __call__(self, body: bytes) -> None:
        """Write lines whose times are in microseconds; Refused where the server does not."""
        import httpx

        try:
            answer = self._client.post(
                f"{self.url.rstrip('/')}/write", params=self._where, content=body
            )
        except httpx.HTTPError as unreached:
            why = f"{self.url} is not reached: {str(unreached) or type(unreached).__name__}"
            raise Refused(why) from None
        if not answer.is_success:
            wait = retry_after(answer.headers.get("Retry-After"), time.time())
            why = f"{self.url} answered {answer.status_code}: {answer.text.strip()[:SHOWN]}"
            raise Refused(why, status=answer.status_code, wait=wait)

    def close(self) -> None:
        self._client.close()
