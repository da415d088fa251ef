"""Scores and drift as metrics of a run in MLflow, through its REST API: it needs no package.

The run is found again by a tag, so that it goes on after a restart. What is sent twice is there
once: MLflow keeps one of equal points.
"""

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monitoring.sinks._buffered import Buffered
from monitoring.sinks._curves import CurvesEncoder, Point, named_run
from monitoring.sinks._delivery import Refused
from monitoring.sinks._influx_server import retry_after
from streamgauge import __version__, durations
from streamgauge.hosts import unencrypted, web_server
from streamgauge.schedule import Lane

__all__ = ["notes", "open"]

BATCH = 1_000
"""Metrics that MLflow takes in one request."""
PARAMS = 100
"""Parameters that it takes in one request."""
TAGS = 100
"""Tags that it takes in one request."""
LONGEST_TAG = 5_000
"""Characters of a tag."""
TAG = "streamgauge.run"
SHOWN = 300
"""Characters of an answer that are shown."""
_UNFIT = re.compile(r"[^\w\-. :/]", re.ASCII)


def open(  # noqa: A001 - what opens a plug-in has one name in every folder
    lanes: Sequence[Lane],
    stream: str,
    folder: Path,
    clock: Callable[[], int],
    *,
    url: str,
    experiment: str = "streamgauge",
    run: str = "",
    token: str = "",
    username: str = "",
    password: str = "",
    timeout: str = "10s",
    buffer_bytes: int = 100_000_000,
    tls: bool | None = None,
) -> Buffered[Any]:
    """A sink that writes to a tracking server, which need not be there: what it cannot take waits.

    - `experiment`: made if it is not there
    - `run`: the name of this run; left out, the stream's. Give another one to another
      configuration.
    - `token`, or `username` and `password`: where the server asks for them
    - `timeout`: of one request
    - `buffer_bytes`: what may wait; beyond it the oldest is dropped and counted
    - `tls`: left out, https is expected except on this machine; false allows http

    ValueError for an address, a duration or a run that is none.
    """
    web_server(url, tls)
    if token and (username or password):
        raise ValueError("token is one way to log in, username and password another; leave one out")
    if not experiment:
        raise ValueError('experiment = "" names none; write one like "pumps"')
    seconds = durations.microseconds(timeout) / 1e6
    login = (username, password) if username or password else None
    header = {"Authorization": f"Bearer {token}"} if token else {}
    server = _Run(url, (experiment, named_run(run, stream)), lanes, seconds, login, header)
    return Buffered(
        CurvesEncoder().encode, server, clock,
        name="mlflow", batch=BATCH, buffer_bytes=buffer_bytes, predictions=False,
    )  # fmt: skip


def notes(options: Mapping[str, Any]) -> list[str]:
    """What is allowed but may surprise."""
    return unencrypted("mlflow", options, "written")


class _Run:
    """One run of one experiment, found or made with the first points."""

    def __init__(
        self,
        url: str,
        name: tuple[str, str],
        lanes: Sequence[Lane],
        timeout: float,
        login: tuple[str, str] | None,
        header: Mapping[str, str],
    ) -> None:
        import httpx

        self.url = url.rstrip("/")
        self._experiment, self._name = name
        self._lanes = lanes
        self._client = httpx.Client(timeout=timeout, auth=login, headers=dict(header))
        self._id = ""

    def __call__(self, part: list[Point]) -> None:
        """Log points; Refused where the server does not take them."""
        if not self._id:
            self._id = self._found() or self._made(part[0])
        metrics = [
            {"key": _key(one.tag), "value": one.value, "step": one.step,
             "timestamp": round(one.time * 1e3)}
            for one in part if math.isfinite(one.value)
        ]  # fmt: skip
        # Of several drifts of one kind the newest is the one that the run shows in words.
        said = {_key(one.tag): one.text[:LONGEST_TAG] for one in part if one.text}
        tags = [{"key": key, "value": text} for key, text in said.items()]
        try:
            for k in range(0, max(len(tags), 1), TAGS):
                few = {"metrics": metrics if k == 0 else [], "tags": tags[k : k + TAGS]}
                self._asked("POST", "runs/log-batch", {"run_id": self._id, **few})
        except Refused as refused:
            if refused.status == 404:
                self._id = ""
            raise

    def _found(self) -> str:
        """The run of an earlier life, set to running again; "" where there is none."""
        asked = {
            "experiment_ids": [self._experiment_id()],
            "filter": f"tags.\"{TAG}\" = '{self._name}'",
            "order_by": ["attributes.start_time DESC"],
            "max_results": 1,
        }
        runs = self._asked("POST", "runs/search", asked).get("runs", [])
        if not runs:
            return ""
        found = str(runs[0]["info"]["run_id"])
        self._asked("POST", "runs/update", {"run_id": found, "status": "RUNNING"})
        return found

    def _made(self, first: Point) -> str:
        tags = {TAG: self._name, "streamgauge.version": __version__}
        run = {
            "experiment_id": self._experiment_id(),
            "run_name": self._name,
            "start_time": round(first.time * 1e3),
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        }
        made = str(self._asked("POST", "runs/create", run)["run"]["info"]["run_id"])
        params = [
            {"key": _key(f"{lane.name}/{field}"), "value": str(getattr(lane, field))}
            for lane in self._lanes
            for field in ("kind", "scope", "ready_after", "interval")
        ]
        for k in range(0, len(params), PARAMS):
            few = {"run_id": made, "params": params[k : k + PARAMS]}
            self._asked("POST", "runs/log-batch", few)
        return made

    def _experiment_id(self) -> str:
        named = {"experiment_name": self._experiment}
        try:
            found = self._asked("GET", "experiments/get-by-name", named)
        except Refused as refused:
            if refused.status != 404:
                raise
            made = self._asked("POST", "experiments/create", {"name": self._experiment})
            return str(made["experiment_id"])
        return str(found["experiment"]["experiment_id"])

    def _asked(self, method: str, path: str, what: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of the REST API (version 2.0), JSON both ways."""
        import httpx

        sent: dict[str, Any] = {"params": what} if method == "GET" else {"json": what}
        try:
            answer = self._client.request(method, f"{self.url}/api/2.0/mlflow/{path}", **sent)
            if answer.is_success:
                return dict(answer.json())
        except (httpx.HTTPError, ValueError) as unreached:
            why = f"{self.url} is not reached: {str(unreached) or type(unreached).__name__}"
            raise Refused(why) from None
        wait = retry_after(answer.headers.get("Retry-After"), time.time())
        why = f"{self.url} answered {answer.status_code}: {answer.text.strip()[:SHOWN]}"
        raise Refused(why, status=answer.status_code, wait=wait)

    def close(self) -> None:
        """The run is finished, as far as is known; a server that is away learns it from nobody."""
        try:
            if self._id:
                end = {
                    "run_id": self._id,
                    "status": "FINISHED",
                    "end_time": round(time.time() * 1e3),
                }
                self._asked("POST", "runs/update", end)
        except Refused:
            pass
        finally:
            self._client.close()


def _key(tag: str) -> str:
    """A metric's name: of other characters than these MLflow takes none."""
    return _UNFIT.sub("_", tag.replace("@", "/"))
