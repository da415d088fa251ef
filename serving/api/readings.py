"""POST /v1/readings and /v1/labels: what sensors send over HTTP."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from ingest.sources._keys import digest
from ingest.sources.http import LABELS, READINGS, Full, HttpSource, KeyReused, Post, TooMany
from serving.api.body import RETRY, body_of, media_type_of
from serving.api.intake import Fault, Intake, Messages
from serving.api.problems import Problem, described
from serving.api.service import Read, Service

__all__ = ["PATHS", "routes"]

Answer = TypeVar("Answer")
routes = APIRouter(tags=["readings"])
PATHS = ("/v1/readings", "/v1/labels")
"""Where bodies may be long; they are read within bounds of their own."""
AT_ONCE = 16_384
"""Bytes of a body that are looked through on the event loop; more would hold others up."""
SHOWN = 20
LONGEST_KEY = 255
NO_SOURCE = (
    "this service takes nothing over HTTP: its configuration has no such source; "
    'add [[source]] with use = "http" to the pipeline.toml and start it again'
)
NOT_YET = "the service takes its state back and takes nothing new; send it again after 1 s"
NO_LABELS = (
    'no task takes labels over HTTP; give one label = { from = "http" } in the pipeline.toml '
    "and start the service again"
)

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=LONGEST_KEY,
        description="Any text that is yours for this body: sent again with it, after a timeout or "
        "a lost answer, the body is answered as before and not learned twice.",
    ),
]


class RefusedMessage(BaseModel):
    """A message that cannot be taken."""

    line: int | None = Field(None, description="Its line, from 1, in a body of JSON lines.")
    index: int | None = Field(None, description="Its index, from 0, in an array.")
    reason: str
    detail: str = Field(description="What was found and where.")


class Accepted(BaseModel):
    """What was taken, durably."""

    accepted: int = Field(description="Messages that will be learned from.")
    refused: int = Field(0, description="Messages that will not be; 0 unless the source says so.")
    errors: list[RefusedMessage] = Field([], description="The first 20 that were refused.")


_ANY: dict[str, Any] = {"schema": {}}
_BODY = {
    "requestBody": {
        "required": True,
        "description": "One message, an array of them, or one per line; other types by codec.",
        "content": dict.fromkeys(("application/json", "application/x-ndjson", "*/*"), _ANY),
    }
}
_STATUSES = described(401, 403, 404, 408, 413, 415, 422, 429, 503)


@routes.post(
    PATHS[0], operation_id="post_readings", status_code=202, response_model=Accepted,
    responses=_STATUSES, openapi_extra=_BODY,
)  # fmt: skip
async def post_readings(
    request: Request, service: Read, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Take readings: one, an array, or one per line. 202 = they are in the journal, and survive a
    crash; what is refused later (late, twice, out of range) is counted like any other reading."""
    return await _take(request, service, READINGS, idempotency_key)


@routes.post(
    PATHS[1], operation_id="post_labels", status_code=202, response_model=Accepted,
    responses=_STATUSES, openapi_extra=_BODY,
)  # fmt: skip
async def post_labels(
    request: Request, service: Read, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Take labels for tasks with `label = { from = "http" }`, in one order with the readings."""
    return await _take(request, service, LABELS, idempotency_key)


async def _take(request: Request, service: Service, topic: str, given: str | None) -> JSONResponse:
    intake = service.intake
    if intake is None:
        raise Problem(404, NO_SOURCE)
    if topic == LABELS and not intake.takes_labels:
        raise Problem(404, NO_LABELS)
    if not intake.taking:
        raise Problem(503, NOT_YET, headers=RETRY)
    media_type = media_type_of(request, intake.accepts(topic), intake.codec)
    async with body_of(request, intake) as body:
        key = digest(topic.encode(), given.encode()) if given else b""
        content = digest(media_type.encode(), body) if given else b""
        repeated = _keyed(partial(intake.source.repeats, key, content))
        look = partial(_look if repeated else _look_and_try, intake, body, media_type, topic)
        messages, faults = look() if len(body) <= AT_ONCE else await asyncio.to_thread(look)
    del body, look  # a large one need not wait for the disk
    if repeated or not messages.payloads:
        return _accepted(messages, faults, repeated=repeated)
    _refuse(intake, messages, faults)
    # A large body was looked at in a thread: the same key may have come with another meanwhile.
    trace = request.headers.get("traceparent", "")
    post = _keyed(partial(_offered, intake, topic, messages, key, content, trace))
    if post is not None:
        await _durable(intake, post)
    return _accepted(messages, faults, repeated=post is None)


def _keyed(ask: Callable[[], Answer]) -> Answer:
    """What the source says; Problem 422 where the key came with another body."""
    try:
        return ask()
    except KeyReused:
        raise Problem(
            422, "this Idempotency-Key came with another body before; use a new key for a new body"
        ) from None


def _look(intake: Intake, body: bytes, media_type: str, topic: str) -> tuple[Messages, list[Fault]]:
    try:
        return intake.messages(body, media_type, topic), []
    except TooMany:
        raise _too_many(intake.source) from None
    except ValueError as wrong:
        raise Problem(422, str(wrong)) from None


def _look_and_try(
    intake: Intake, body: bytes, media_type: str, topic: str
) -> tuple[Messages, list[Fault]]:
    messages, _ = _look(intake, body, media_type, topic)
    most = intake.source.max_bytes
    for position, payload in enumerate(messages.payloads):
        if len(payload) > most:
            where = _where(messages, position)
            raise Problem(
                413,
                f"{where}{len(payload):,} bytes in one message, more than max_bytes = {most:,}; "
                'send smaller messages, or raise max_bytes of the source "http"',
            )
    return messages, intake.faults(messages.payloads, topic)


def _where(messages: Messages, position: int) -> str:
    return f"{messages.word} {messages.places[position]}: " if messages.word else ""


def _refuse(intake: Intake, messages: Messages, faults: list[Fault]) -> None:
    """Problem 422 where there are faults, unless the good messages beside them are wanted."""
    bad, number = len(faults), len(messages.payloads)
    if not bad or (intake.source.partial and bad < number):
        return
    shown = "; ".join(
        f"{_where(messages, one.position)}{one.reason}: {one.detail}" for one in faults[:3]
    )
    summary = (
        f"{bad} of {number} messages cannot be read, so none was taken: " if number > 1 else ""
    )
    dots = "; ..." if bad > 3 else ""
    raise Problem(
        422,
        f"{summary}{shown}{dots}; correct or leave out what is wrong and send the rest again",
        more={"refused": bad, "errors": _errors(messages, faults)},
    )


def _errors(messages: Messages, faults: list[Fault]) -> list[dict[str, Any]]:
    places = messages.places
    return [
        ({messages.word: places[one.position]} if messages.word else {})
        | {"reason": one.reason, "detail": one.detail}
        for one in faults[:SHOWN]
    ]


def _offered(
    intake: Intake, topic: str, messages: Messages, key: bytes, content: bytes, trace: str
) -> Post | None:
    source = intake.source
    try:
        return source.offer(topic, messages.payloads, key, content, trace)
    except TooMany:
        raise _too_many(source) from None
    except Full:
        raise Problem(
            429,
            f"{source.queue:,} messages wait already; send again after 1 s",
            headers=RETRY,
        ) from None


def _too_many(source: HttpSource) -> Problem:
    return Problem(
        413,
        f"more messages than could ever wait (queue = {source.queue:,}); send fewer at a time, or "
        'raise queue of the source "http"',
    )


async def _durable(intake: Intake, post: Post) -> None:
    """Return when the messages are in the journal; Problem 503 where that takes too long."""
    source = intake.source
    try:
        async with asyncio.timeout(source.timeout):
            await asyncio.shield(post.durable)
    except TimeoutError:
        nothing = source.withdraw(post)
        fate = "nothing was taken" if nothing else "whether it was taken is not known"
        raise Problem(
            503,
            f"the pipeline did not journal this within {source.timeout:g} s, see /readyz; {fate}: "
            "send again later, with the same Idempotency-Key",
            headers=RETRY,
        ) from None


def _accepted(messages: Messages, faults: list[Fault], *, repeated: bool = False) -> JSONResponse:
    number = len(messages.payloads)
    body: dict[str, Any] = {"accepted": number - len(faults)}
    if faults:
        body |= {"refused": len(faults), "errors": _errors(messages, faults)}
    headers = {"Idempotency-Replayed": "true"} if repeated else None
    return JSONResponse(body, status_code=202, headers=headers)
