"""/v1/rejects: the newest dead letters, with the reason."""

from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from serving.api.problems import described
from serving.api.service import Read
from serving.api.values import Instant

__all__ = ["routes"]

routes = APIRouter(tags=["rejects"])


class RejectModel(BaseModel):
    """One message or reading that was not admitted."""

    received: Instant
    reason: str
    detail: str = Field(description="What was found and where.")
    topic: str
    payload: str = Field(description="The first 1,024 bytes; bytes that are not UTF-8 as \\xNN.")


class RejectList(BaseModel):
    """Dead letters, newest first."""

    items: list[RejectModel]


@routes.get("/v1/rejects", operation_id="list_rejects", responses=described(401, 422))
def list_rejects(
    service: Read,
    reason: Annotated[str | None, Query(description="Only those with this reason.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> RejectList:
    """What was not admitted lately and why, newest first. Counts per reason: GET /metrics."""
    newest = (one for one in reversed(service.rejects()) if reason in (None, one.reason))
    items = [
        RejectModel(
            received=one.received,
            reason=one.reason,
            detail=one.detail,
            topic=one.topic,
            payload=one.payload.decode(errors="backslashreplace"),
        )
        for one in islice(newest, limit)
    ]
    return RejectList(items=items)
