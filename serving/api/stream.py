"""/v1/stream: results as they come, as server-sent events."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from serving.api.problems import Problem, described
from serving.api.service import Read
from serving.api.tasks import require
from serving.live import Client, Full
from serving.messages import KINDS, Message, Wanted

__all__ = ["routes"]

routes = APIRouter(tags=["stream"])
RETRY_MILLISECONDS = 2_000
RETRY_SECONDS = 5


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


def _event(message: Message) -> ServerSentEvent:
    return ServerSentEvent(raw_data=message.json(), event=message.kind, id=message.id or None)


@routes.get(
    "/v1/stream",
    operation_id="stream",
    response_class=EventSourceResponse,
    responses=described(401, 404, 422, 503),
)
async def stream(
    listener: Annotated[Client, Depends(client)],
    last_event_id: Annotated[
        str | None, Header(description="Taken but not resumed from: see `dropped`.")
    ] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Predictions, outcomes, drift and scores as they come.

    The event's name is its kind, its data one JSON object. A client that reads too slowly loses the
    oldest events and gets a `dropped` event instead, with their count (null = not known). So does
    a client that comes back with a Last-Event-ID: what it missed is in the history routes.
    """
    yield ServerSentEvent(comment="streamgauge", retry=RETRY_MILLISECONDS)
    if last_event_id is not None:
        yield _event(Message("", "dropped", {"count": None}))
    async for message in listener.messages():
        yield _event(message)
