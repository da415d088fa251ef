"""Lines to an InfluxDB, as often as it takes: waiting, splitting, setting aside what is refused."""

import random
import time
from collections import deque
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

from monitoring.sinks._lines import Lines
from monitoring.sinks._outbox import GaveUp

__all__ = ["Delivery", "GaveUp", "Refused", "Server", "retry_after"]

FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0
"""Seconds between two tries: the first wait, then twice as long each time, up to the longest."""
LONGEST_ASKED = 300.0
"""Seconds that a server may ask for in Retry-After."""
TOO_LARGE = 413
MALFORMED = (400, 422)
REFUSALS = 200
"""Refused requests after which the rest of a batch is set aside whole: it is not a single line."""
KEPT = 20
"""Dead letters kept for inspection."""


class Refused(Exception):
    """The server did not take it: `status` 0 where it was not reached."""

    def __init__(self, why: str, *, status: int = 0, wait: float | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.wait = wait
        """Seconds that the server asked to wait."""


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


class Delivery:
    """Sends lines in batches until each is taken or found to be unacceptable.

    `sleep(seconds)` waits and returns True when told to stop meanwhile; `chance()` gives numbers in
    [0, 1), by which waits differ between services that lost the same server.
    """

    def __init__(
        self,
        post: Callable[[bytes], None],
        batch: int,
        sleep: Callable[[float], bool],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.batch = batch
        """Lines per request; smaller once the server said that a request was too large."""
        self.why = ""
        """What keeps the lines from being delivered now; "" when nothing does."""
        self.counts = {"sent_total": 0, "retries_total": 0, "dead_total": 0}
        self.dead: deque[tuple[str, str]] = deque(maxlen=KEPT)
        """Lines that no try will deliver, and why: the newest."""
        self._post = post
        self._sleep = sleep
        self._chance = chance

    def send(self, lines: Lines) -> None:
        """Deliver all of them; GaveUp when told to stop before."""
        done = 0
        while done < len(lines):
            stop = min(done + self.batch, len(lines))
            self._batch(lines, done, stop)
            done = stop

    def _batch(self, lines: Lines, start: int, stop: int) -> None:
        parts, refusals = [(start, stop)], 0
        while parts:
            start, stop = parts.pop()
            refused = self._try(lines.part(start, stop))
            if refused is None:
                self.counts["sent_total"] += stop - start
                continue
            if refused.status == TOO_LARGE:
                self.batch = max(1, (stop - start) // 2)
            else:
                refusals += 1
            if stop - start == 1 or refusals > REFUSALS:
                self._set_aside(lines, start, stop, str(refused))
            else:
                middle = (start + stop) // 2
                parts += [(middle, stop), (start, middle)]

    def _try(self, body: bytes) -> Refused | None:
        """Until the server takes it or says that it never will: None or why not."""
        wait = FIRST_WAIT
        while True:
            try:
                self._post(body)
            except Refused as refused:
                if refused.status == TOO_LARGE or refused.status in MALFORMED:
                    self.why = ""
                    return refused
                self.why = str(refused)
                jittered = wait * (0.5 + 0.5 * self._chance())
                if self._sleep(jittered if refused.wait is None else refused.wait):
                    raise GaveUp from None
                self.counts["retries_total"] += 1
                wait = min(2.0 * wait, LONGEST_WAIT)
            else:
                self.why = ""
                return None

    def _set_aside(self, lines: Lines, start: int, stop: int, why: str) -> None:
        self.counts["dead_total"] += stop - start
        for k in range(max(start, stop - KEPT), stop):
            self.dead.append((lines.part(k, k + 1).decode(errors="replace").rstrip("\n"), why))
