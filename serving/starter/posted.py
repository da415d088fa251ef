"""A first look at what is posted: the service's own address, before there is a service."""

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from ingest.rejects import Rejects
from ingest.sources import http
from ingest.sources.http import READINGS, TooMany
from serving.api import problems
from serving.api.body import body_of
from serving.api.intake import Intake
from serving.api.problems import Problem
from serving.api.readings import PATHS
from serving.api.server import HttpServer
from serving.live import Live
from stream_processor.settings.fields import PluginUse
from streamgauge.delivery import Delivery
from streamgauge.schema import Schema

__all__ = ["Posted"]


class Posted:
    """A source of what is posted to `/v1/readings` on this machine, in any codec: an array or lines
    of JSON are cut, any other body is one message. See `ingest.source.Source`."""

    finished = False

    def __init__(self, port: int, clock: Callable[[], int]) -> None:
        self._inbox = http.open(Schema([]), 0, clock, Rejects())
        intake = Intake(self._inbox, PluginUse(http.CODEC), Schema([]), clock)
        self._server = HttpServer(_app(intake), Live(), host="127.0.0.1", port=port)
        self.url = f"{self._server.url}{PATHS[0]}"

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def take(self, limit: int, timeout: float) -> Delivery | None:
        return self._inbox.take(limit, timeout)

    def acknowledge(self, tokens: list[Any]) -> None:
        self._inbox.acknowledge(tokens)

    def state(self) -> dict[str, Any]:
        return self._inbox.state()


def _app(intake: Intake) -> FastAPI:
    app = FastAPI(openapi_url=None)
    problems.install(app)

    @app.post(PATHS[0])
    async def post_readings(request: Request) -> JSONResponse:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        async with body_of(request, intake) as body:
            payloads = _cut(intake, body, media_type)
        post = intake.source.offer(READINGS, payloads, b"", b"")
        if post is not None:
            await post.durable
        return JSONResponse({"accepted": len(payloads)}, status_code=202)

    return app


def _cut(intake: Intake, body: bytes, media_type: str) -> Sequence[bytes]:
    try:
        return intake.messages(body, media_type, READINGS).payloads
    except (ValueError, TooMany) as wrong:
        raise Problem(422, str(wrong) or "too many messages in one body; send fewer") from None
