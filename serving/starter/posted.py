"""A first look at what is posted: the service's own address, before there is a service."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from ingest.rejects import Rejects
from ingest.sources import http
from ingest.sources.http import READINGS, HttpSource, TooMany
from serving.api import problems
from serving.api.body import body_of
from serving.api.intake import Intake
from serving.api.problems import Problem
from serving.api.readings import PATHS
from serving.api.server import HttpServer
from serving.live import Live
from stream_processor.settings.fields import PluginUse
from streamgauge.schema import Schema

__all__ = ["posted"]


@contextmanager
def posted(port: int, clock: Callable[[], int]) -> Iterator[tuple[HttpSource, str]]:
    """A source of what is posted to `/v1/readings` on this machine, and its address. Any codec
    will do: an array or lines of JSON are cut, any other body is one message."""
    inbox = http.open(Schema([]), 0, clock, Rejects())
    intake = Intake(inbox, PluginUse(http.CODEC), Schema([]), clock)
    server = HttpServer(_app(intake), Live(), host="127.0.0.1", port=port)
    server.start()
    try:
        yield inbox, f"{server.url}{PATHS[0]}"
    finally:
        server.stop()


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
