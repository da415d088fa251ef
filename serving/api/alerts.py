"""/v1/alerts: what fires, and whether somebody is told."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from serving.api.problems import described
from serving.api.service import Read
from serving.api.values import Instant

__all__ = ["routes"]

routes = APIRouter(tags=["alerts"])


class AlertModel(BaseModel):
    """One alert."""

    fingerprint: str = Field(description="The same for the same matter, whenever it fires.")
    rule: str
    severity: Literal["info", "warning", "critical"]
    status: Literal["pending", "firing", "resolved"]
    device: str | None = Field(description="null = the fleet or the service.")
    task: str | None = Field(description="With its horizon, as in ids of predictions.")
    channel: str | None = Field(description="Or the part of the service that is not ready.")
    summary: str
    description: str
    labels: dict[str, str]
    starts_at: Instant
    ends_at: Instant | None
    held: str = Field(description='Why nobody is told of it: a silence, cool_down; "" = told.')


class AlertList(BaseModel):
    """Alerts, oldest first."""

    items: list[AlertModel]


@routes.get("/v1/alerts", operation_id="list_alerts", responses=described(401, 422))
def list_alerts(
    service: Read,
    *,
    resolved: Annotated[
        bool, Query(description="Those of the last days that are over too.")
    ] = False,
) -> AlertList:
    """Alerts that are pending or firing. None where the configuration has no rules."""
    states = ("pending", "firing", "over") if resolved else ("pending", "firing")
    found = service.alerts.standing(*states) if service.alerts is not None else []
    return AlertList(
        items=[
            AlertModel.model_validate(
                {
                    "fingerprint": one.matter.fingerprint,
                    "rule": one.matter.rule,
                    "severity": one.alert.severity,
                    "status": "resolved" if one.state == "over" else one.state,
                    "device": one.matter.device or None,
                    "task": one.matter.task or None,
                    "channel": one.matter.channel or None,
                    "summary": one.alert.summary,
                    "description": one.alert.description,
                    "labels": dict(one.alert.labels),
                    "starts_at": one.alert.starts,
                    "ends_at": one.alert.ends or None,
                    "held": one.held,
                }
            )
            for one in found
        ]
    )
