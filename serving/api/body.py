"""The body of a post, read within bounds of size and memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.requests import ClientDisconnect

from serving.api.intake import Intake
from serving.api.problems import Problem

__all__ = ["RETRY", "body_of", "media_type_of"]

HELD_BYTES = 128_000_000
"""Of all bodies together that are being read and looked at."""
RETRY = {"Retry-After": "1"}
"""Header of what may be sent again, seconds."""


def media_type_of(request: Request, accepted: tuple[str, ...], codec: str) -> str:
    """What the body is; Problem 415 where it is none of `accepted`, not in UTF-8, or compressed."""
    header = request.headers.get("content-type", accepted[0])
    media_type, _, parameters = (part.strip().lower() for part in header.partition(";"))
    charset = parameters.partition("charset=")[2].strip('" ')
    if media_type not in accepted or charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise Problem(
            415,
            f"Content-Type {header[:100]!r} is not what codec {codec!r} reads; send one of "
            f"{', '.join(accepted)} in UTF-8",
            headers={"Accept-Post": ", ".join(accepted)},
        )
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise Problem(
            415, f"Content-Encoding {encoding[:40]!r} is not read here; send the body as it is",
            headers={"Accept-Encoding": "identity"},
        )  # fmt: skip
    return media_type


@asynccontextmanager
async def body_of(request: Request, intake: Intake) -> AsyncIterator[bytes]:
    """The body, while room is kept for it.

    Problem 413 as soon as it is, or says that it is, longer than the source takes; 429 where bodies
    of others leave no room.
    """
    most, parts, size = intake.source.max_request, list[bytes](), 0
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > most:
        raise _too_long(most)
    try:
        async for part in request.stream():
            size += len(part)
            intake.held += len(part)
            if size > most:
                raise _too_long(most)
            if intake.held > max(HELD_BYTES, most):
                raise Problem(
                    429, "too many bodies are being read at once; send it again after 1 s",
                    headers=RETRY | {"Connection": "close"},
                )  # fmt: skip
            parts.append(part)
        body = b"".join(parts)
        parts.clear()
        yield body
    except ClientDisconnect:
        raise Problem(408, "the client left before its body was complete") from None
    finally:
        intake.held -= size


def _too_long(most: int) -> Problem:
    return Problem(
        413,
        f"the body is longer than max_request = {most:,} bytes; send it in parts, or raise "
        'max_request of the source "http"',
        headers={"Connection": "close"},
    )
