"""/v1/events: devices and channels that fell silent or returned, devices that were evicted or came
into a cluster where they had not been before, values that came back from the quarantine, and what
was done about drift."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from serving.api.problems import described
from serving.api.service import Read
from serving.api.values import Instant, Number

__all__ = ["routes"]

routes = APIRouter(tags=["events"])


class EventModel(BaseModel):
    """Something that happened to a device."""

    time: Instant
    device: str
    channel: str | None = Field(
        description="null = the device as a whole; of an anomaly the strangest, where known"
    )
    kind: str = Field(
        description="silent, returned, evicted, new_cluster, anomaly or recovered; of what was "
        "done about drift restarted, learns_faster, relearns, replaced, kept, or effect: "
        "what it brought."
    )
    seconds: Number = Field(description="How long nothing was heard, else null.")
    value: Number = Field(
        default=None,
        description="The recovered value: it was refused once, and passed its corrected rule when "
        "it was sent again, too late to teach.",
    )
    task: str | None = Field(
        None,
        description="Whose cluster is new to the device, whose score is an alarm, or of whose "
        "model something was done.",
    )
    horizon: str | None = None
    before: Number = Field(
        None,
        description="The cluster where it was before, or the threshold; what a drift says of an "
        "action; of its effect, and of replaced and kept, the mean error of the running model.",
    )
    after: Number = Field(
        None,
        description="The new cluster, or the score; of an effect the mean error since, of replaced "
        "and kept that of the other model.",
    )
    size: Number = Field(None, description="Values or labels that `after` rests on.")
    signal: str | None = Field(None, description="Whose drift something was done about.")
    detector: str | None = Field(None, description="Who said so.")
    since: Instant | None = Field(
        None, description="Of an action since when it drifted, of an effect when it was taken."
    )
    text: str | None = Field(None, description="An action, or its effect, in a sentence.")


class EventList(BaseModel):
    """Events, newest first."""

    items: list[EventModel]


@routes.get("/v1/events", operation_id="list_events", responses=described(401, 422))
def list_events(
    service: Read,
    device: Annotated[str | None, Query(description="Of this device.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> EventList:
    """Events of devices, newest first. Drift has a list of its own."""
    found = service.history.events(limit, device)
    return EventList(
        items=[
            EventModel.model_validate({**one, "channel": one["channel"] or None}) for one in found
        ]
    )
