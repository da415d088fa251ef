"""/v1/quarantine: what was refused or dropped, as it was sent, with the reason."""

from datetime import datetime
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field

from ingest.quarantine_file import Record, Wanted, connected, counts, find
from serving.api.problems import described
from serving.api.service import Read, Service
from serving.api.values import Instant

__all__ = ["routes"]

routes = APIRouter(tags=["quarantine"])
SHOWN = 4_096


class QuarantinedModel(BaseModel):
    """One message, reading or value that was refused or dropped."""

    number: int
    kind: str = Field(description="message (no reading could be made of it) or reading.")
    received: Instant
    time: Instant | None = Field(description="Event time; null where it is not known.")
    device: str = Field(description='"" where it is not known.')
    channel: str = Field(description='The channel at fault; "" = the reading or message as such.')
    reason: str
    detail: str
    rule: str = Field(description='The setting that refused it, as it then was; "" where none did.')
    source: str
    topic: str
    values: dict[str, Any] = Field(description="Values of a reading as they were sent.")
    flags: dict[str, list[str]] = Field(description="What cleaning did, by channel.")
    payload: str = Field(
        description="A message as it came, at most 4,096 bytes; what is not UTF-8 as \\xNN."
    )
    requested: Instant | None = Field(description="When a replay was asked for that is to come.")
    replayed: Instant | None = Field(description="When it was sent again.")


class OutsideModel(BaseModel):
    """One message that its source could not take."""

    received: Instant
    reason: str
    detail: str
    topic: str
    payload: str = Field(description="At most 1,024 bytes; what is not UTF-8 as \\xNN.")


class QuarantineList(BaseModel):
    """What was refused or dropped, newest first."""

    items: list[QuarantinedModel]
    outside: list[OutsideModel] = Field(
        description="With the first page of those of any device: the newest since the start that "
        "never came into the log, as their source could not take them. They cannot be sent again."
    )
    counts: dict[str, int] = Field(description="All that fit the filters, by reason.")
    next: str | None = Field(description="Pass as `cursor` to get the next page; null at the end.")


@routes.get("/v1/quarantine", operation_id="list_quarantine", responses=described(401, 422))
def list_quarantine(
    service: Read,
    device: Annotated[str | None, Query(description="Of this device.")] = None,
    channel: Annotated[str | None, Query(description="Of this channel.")] = None,
    reason: Annotated[str | None, Query(description="Only those with this reason.")] = None,
    since: Annotated[AwareDatetime | None, Query(description="Received then or later.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Received before.")] = None,
    replayed: Annotated[bool | None, Query(description="Sent again already, or not yet.")] = None,
    cursor: Annotated[int | None, Query(ge=1, description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=0, le=1000)] = 100,
) -> QuarantineList:
    """What was refused or dropped, as it was sent; `streamgauge quarantine replay` sends it once
    more. Nothing where the configuration says quarantine = "none"."""
    any_device = device is None and channel is None and cursor is None
    outside = _outside(service, reason, limit) if any_device else []
    if service.quarantine is None:
        return QuarantineList(items=[], outside=outside, counts={}, next=None)
    wanted = Wanted(reason, device, channel, _microseconds(since), _microseconds(until), replayed)
    with connected(service.quarantine) as file:
        found = find(file, wanted, before=cursor, limit=limit + 1)
        by_reason = counts(file, wanted)
    more = len(found) > limit > 0
    items = [shown(record) for record in found[:limit]]
    return QuarantineList(
        items=[QuarantinedModel.model_validate(item) for item in items],
        outside=outside,
        counts=by_reason,
        next=str(items[-1]["number"]) if more else None,
    )


def _outside(service: Service, reason: str | None, limit: int) -> list[OutsideModel]:
    newest = (one for one in reversed(service.outside()) if reason in (None, one.reason))
    return [
        OutsideModel(
            received=one.received,
            reason=one.reason,
            detail=one.detail,
            topic=one.topic,
            payload=one.payload.decode(errors="backslashreplace"),
        )
        for one in islice(newest, limit)
    ]


def _microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1e6)


def shown(record: Record) -> dict[str, Any]:
    """A record as JSON has it."""
    names = QuarantinedModel.model_fields.keys() - {"values", "flags", "payload"}
    return {name: getattr(record, name) for name in names} | {
        "values": record.values,
        "flags": record.flagged,
        "payload": record.payload[:SHOWN].decode(errors="backslashreplace"),
    }
