"""/v1/drift: where the stream or the quality of its predictions changed."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from serving.api.problems import described
from serving.api.service import Read
from serving.api.values import Instant, Number

__all__ = ["routes"]

routes = APIRouter(tags=["drift"])


class DriftModel(BaseModel):
    """A detector said that the mean of its signal changed."""

    time: Instant
    device: str | None = Field(description="null = the fleet")
    task: str
    horizon: str
    kind: str = Field(description="drift_up or drift_down.")
    before: Number = Field(description="Mean before.")
    after: Number = Field(description="Mean after.")


class DriftList(BaseModel):
    """Drift, newest first."""

    items: list[DriftModel]


@routes.get("/v1/drift", operation_id="list_drift", responses=described(401, 422))
def list_drift(
    service: Read,
    device: Annotated[str | None, Query(description="Of this device.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> DriftList:
    """Drift, newest first."""
    found = service.history.drift(limit, device)
    return DriftList(
        items=[DriftModel.model_validate({**one, "device": one["device"] or None}) for one in found]
    )
