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
    """A detector said that its signal changed."""

    time: Instant
    device: str | None = Field(description="null = the fleet")
    task: str = Field(description='Whose error drifted; "" where a channel did.')
    horizon: str
    channel: str | None = Field(
        description="Which channel or feature drifted, or whose answers or labels did, as "
        '"task@horizon"; null where the error of a task did.'
    )
    signal: str = Field(
        description="What drifted: error, level, noise, shape, feature, prediction, label, "
        "relation, missing or flagged."
    )
    kind: str = Field(description="drift_up, drift_down, or drift where it has no direction.")
    severity: str = Field(description="alarm, or note where nothing became worse.")
    before: Number = Field(description="Mean before; of a shape the usual distance.")
    after: Number = Field(description="Mean after; of a shape the distance found.")
    since: Instant | None = Field(description="From when on, as far as the detector can tell.")
    magnitude: Number = Field(description="Size of the change in standard deviations.")
    size: Number = Field(description="Values that the newer statistic rests on.")
    detector: str
    version: int = Field(description="Of the detector.")
    text: str = Field(description="All of it in a sentence.")


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
        items=[
            DriftModel.model_validate(
                one | {key: one[key] or None for key in ("device", "channel", "since")}
            )
            for one in found
        ]
    )
