"""/livez, /readyz and /v1/status: whether the service lives, works, and how far it came."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from serving.api.problems import MEDIA_TYPE, described
from serving.api.service import Part, Read
from serving.api.values import Instant
from streamgauge import __version__

__all__ = ["health", "status"]

health = APIRouter(tags=["health"])
status = APIRouter(tags=["status"])


class PartModel(BaseModel):
    """One part of the service."""

    name: str
    ok: bool
    why: str = Field(description="What is wrong and what to do.")
    since: Instant | None = Field(
        description="Since when it works, or does not, as far as the service looked: every few "
        "seconds, and whenever it was asked."
    )


class Readiness(BaseModel):
    """Whether every part does its work."""

    ready: bool
    parts: list[PartModel]


class Status(BaseModel):
    """The stream and the counters of its walk since the start of the state."""

    name: str
    version: str
    time: Instant = Field(description="Clock of the service.")
    ready: bool
    parts: list[PartModel]
    counts: dict[str, int | dict[str, int | dict[str, int]]] = Field(
        description="`readings` by verdict, `flags` by flag, `channel_flags` by channel and flag, "
        "`rejected` by reason, and totals."
    )
    login: bool = Field(description="True when API keys are set.")


def _models(parts: list[Part]) -> list[PartModel]:
    return [PartModel(name=part.name, ok=part.ok, why=part.why, since=part.since) for part in parts]


@health.get("/livez", operation_id="livez")
async def livez() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@health.get("/readyz", operation_id="readyz", response_model=Readiness, responses=described(503))
def readyz(service: Read) -> Any:
    """200 when every part does its work, else 503 naming the parts that do not."""
    parts = _models(service.ready())
    if all(part.ok for part in parts):
        return Readiness(ready=True, parts=parts)
    broken = "; ".join(f"{part.name}: {part.why}" for part in parts if not part.ok)
    body = {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": broken,
        "instance": "/readyz",
        **Readiness(ready=False, parts=parts).model_dump(mode="json"),
    }
    return JSONResponse(body, status_code=503, media_type=MEDIA_TYPE)


@status.get("/v1/status", operation_id="get_status", responses=described(401))
def get_status(service: Read) -> Status:
    """Name of the stream, its parts and its counters."""
    parts = _models(service.ready())
    return Status(
        name=service.stream_name,
        version=__version__,
        time=service.clock(),
        ready=all(part.ok for part in parts),
        parts=parts,
        counts=service.board.counts(),
        login=not service.access.is_open,
    )
