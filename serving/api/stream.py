"""/v1/stream: results as they come, as server-sent events."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.responses import StreamingResponse

from serving.api.problems import Problem, described
from serving.api.service import Read
from serving.api.tasks import require
from serving.live import Client, Full
from serving.messages import KINDS, Message, Wanted

__all__ = ["routes"]

routes = APIRouter(tags=["stream"])
RETRY_MILLISECONDS = 2_000
RETRY_SECONDS = 5
IDLE_SECONDS = 15.0
"""Silence after which a comment is sent: proxies close connections on which nothing passes."""

_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
_FIELDS = {
    "data": {"type": "string"},
    "event": {"type": "string"},
    "id": {"type": "string"},
    "retry": {"type": "integer", "minimum": 0},
}
_DESCRIBED: dict[str, Any] = {
    "content": {"text/event-stream": {"itemSchema": {"type": "object", "properties": _FIELDS}}}
}


async def client(
    service: Read,
    device: Annotated[str | None, Query(description="Only this device.")] = None,
    task: Annotated[str | None, Query(description="Only this task.")] = None,
    kind: Annotated[
        list[str] | None,
        Query(description=f"Only these kinds: {', '.join(KINDS)}. May be repeated."),
    ] = None,
) -> AsyncIterator[Client]:
    """A place among the listeners, given back when the request ends."""
    kinds = frozenset(kind or KINDS)
    if unknown := sorted(kinds.difference(KINDS)):
        raise Problem(422, f"no kind {', '.join(unknown)}; there are: {', '.join(KINDS)}")
    if task is not None:
        require(service.board, task)
    try:
        listener = service.live.subscribe(Wanted(device, task, kinds))
    except Full as full:
        headers = {"Retry-After": str(RETRY_SECONDS)}
        raise Problem(503, f"{full}; try again in {RETRY_SECONDS} s", headers=headers) from None
    try:
        yield listener
    finally:
        service.live.unsubscribe(listener)


class Events(StreamingResponse):
    """Server-sent events, whose body is read where it is sent.

    FastAPI's own streams pass it through two tasks, one of which fails when the listener leaves
    between an event and its sending.
    """

    media_type = "text/event-stream"


def _event(message: Message) -> bytes:
    return format_sse_event(data_str=message.json(), event=message.kind, id=message.id or None)


async def _events(listener: Client, *, resumed: bool) -> AsyncIterator[bytes]:
    yield format_sse_event(comment="streamgauge", retry=RETRY_MILLISECONDS)
    if resumed:
        yield _event(Message("", "dropped", {"count": None}))
    async for message in listener.messages(IDLE_SECONDS):
        yield KEEPALIVE_COMMENT if message is None else _event(message)
        # Sending seldom waits, and only between two events can the loop see that nobody reads.
        await asyncio.sleep(0)


@routes.get(
    "/v1/stream",
    operation_id="stream",
    response_class=Events,
    responses={200: _DESCRIBED, **described(401, 404, 422, 503)},
)
async def stream(
    listener: Annotated[Client, Depends(client)],
    last_event_id: Annotated[
        str | None, Header(description="Taken but not resumed from: see `dropped`.")
    ] = None,
) -> Events:
    """Predictions, outcomes, drift and scores as they come.

    The event's name is its kind, its data one JSON object. A client that reads too slowly loses the
    oldest events and gets a `dropped` event instead, with their count (null = not known). So does
    a client that comes back with a Last-Event-ID: what it missed is in the history routes.
    """
    return Events(_events(listener, resumed=last_event_id is not None), headers=_HEADERS)
