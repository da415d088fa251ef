"""/v1/devices: the devices, their newest readings and their predictions."""

from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from serving.api.problems import Problem, described
from serving.api.service import Read, Service
from serving.api.values import Instant, Number
from stream_processor.views import Board, DeviceView

__all__ = ["routes"]

routes = APIRouter(tags=["devices"])
SEARCHED_AT_ONCE = 5_000

Device = Annotated[
    str,
    Path(
        description="The device's id, percent-encoded where it holds other than A-Z a-z 0-9 - . _ ~"
    ),
]


class FlagModel(BaseModel):
    """How often cleaning did something to a channel's values."""

    values: int
    share: float = Field(description="Of the device's admitted readings, 0 to 1.")


class DeviceModel(BaseModel):
    """A device and its newest reading."""

    id: str
    time: Instant | None = Field(description="Event time of the newest reading.")
    received: Instant | None = Field(description="When the newest reading came.")
    readings: int = Field(description="Readings admitted since the device became known.")
    values: dict[str, Number] = Field(description="Last usable value of each channel.")
    clock_skew: Number = Field(
        description="Seconds that the device's clock is ahead of ours; null until that is known."
    )
    clock_wrong: bool = Field(description="Whether that is more than devices.max_skew.")
    flags: dict[str, dict[str, FlagModel]] = Field(
        description="By channel and flag, what cleaning did to values of admitted readings."
    )
    watched: dict[str, str] = Field(
        description="Channels that are watched for drift: watched, or calibrating until it is "
        "known what is usual for them."
    )
    signals: dict[str, dict[str, str]] = Field(
        description="By signal and channel, feature or task: watched, or calibrating until the "
        "detector of its drift has seen enough."
    )


class DevicePage(BaseModel):
    """A page of devices in alphabetical order."""

    items: list[DeviceModel]
    next: str | None = Field(description="Give it as `after` for the next page; null on the last.")


class PredictionModel(BaseModel):
    """A prediction and, once known, its outcome."""

    id: str
    task: str
    horizon: str
    made_at: Instant
    target_time: Instant | None = Field(
        description="What the prediction is for; null while a horizon in readings is not reached."
    )
    prediction: Number
    last_value: Number = Field(description="The target's last value when the prediction was made.")
    status: str = Field(description="pending, labelled, expired or warming_up.")
    label: Number
    residual: Number = Field(description="label - prediction")
    model_version: int = Field(description="Labels that the device's model had learned.")
    lower: Number = Field(
        None,
        description="Of a forecast or regression: the interval around prediction, in which the "
        "share `interval` of the labels is; null until the model's own answers have got 30 labels.",
    )
    upper: Number = None
    predicted_class: str | None = Field(
        None, description="Of a classification: the class at the place that prediction is."
    )
    label_class: str | None = Field(None, description="The class of the label.")
    probabilities: dict[str, Number] | None = Field(
        None, description="Of a classification, by class; empty where the model gives none."
    )
    score: Number = Field(None, description="Of an anomaly detector: higher is stranger.")
    threshold: Number = Field(
        None,
        description="Of an anomaly detector: the score beyond which the next one is an alarm; null "
        "while that is being calibrated.",
    )
    distance: Number = Field(
        None, description="Of a clustering: from the centre of the cluster that prediction is."
    )
    own_share: Number = Field(
        None,
        description="Where a model of all devices runs beside each one's: how much of the answers "
        "is now the device's own model's, 0 to 1.",
    )


class DevicePredictions(BaseModel):
    """The newest predictions of a device."""

    device: str
    items: list[PredictionModel] = Field(description="The newest per task and horizon.")
    history: list[PredictionModel] = Field(description="Per task, newest first.")


def unknown(device: str) -> Problem:
    """The device is not there."""
    return Problem(
        404,
        f"no device {device!r} is known; a device appears with its first admitted reading, "
        "GET /v1/devices lists those there are and GET /v1/quarantine what was not admitted",
    )


def _model(view: DeviceView) -> DeviceModel:
    return DeviceModel(
        id=view.id,
        time=view.time,
        received=view.received,
        readings=view.readings,
        values=dict(view.values),
        clock_skew=view.clock_skew,
        clock_wrong=view.clock_wrong,
        flags={
            channel: {
                flag: FlagModel(values=n, share=n / max(1, view.readings)) for flag, n in of.items()
            }
            for channel, of in view.flags.items()
        },
        watched=dict(view.watched),
        signals={name: dict(of) for name, of in view.signals.items()},
    )


def _matching(board: Board, search: str, after: str, limit: int) -> list[str]:
    """The first ids after `after` that contain `search`, whatever their case."""
    if not search:
        return board.device_ids(after, limit)
    wanted, found = search.casefold(), list[str]()
    while len(found) < limit and (ids := board.device_ids(after, SEARCHED_AT_ONCE)):
        found += [device for device in ids if wanted in device.casefold()]
        after = ids[-1]
    return found[:limit]


@routes.get("/v1/devices", operation_id="list_devices", responses=described(401, 422))
def list_devices(
    service: Read,
    after: Annotated[str, Query(description="`next` of the page before.")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    search: Annotated[str, Query(description="Only ids that contain this text.")] = "",
) -> DevicePage:
    """Known devices in alphabetical order, by pages."""
    ids = _matching(service.board, search, after, limit + 1)
    views = [service.board.device(device) for device in ids[:limit]]
    following = ids[limit - 1] if len(ids) > limit else None
    return DevicePage(items=[_model(view) for view in views if view is not None], next=following)


# Above /v1/devices/{device}, which would take "a/predictions" for a device.
@routes.get(
    "/v1/devices/{device:path}/predictions",
    operation_id="get_device_predictions",
    responses=described(401, 404, 422),
)
def get_device_predictions(
    service: Read,
    device: Device,
    task: Annotated[str | None, Query(description="Only this task.")] = None,
    horizon: Annotated[str | None, Query(description="Only this horizon.")] = None,
    history: Annotated[
        int, Query(ge=0, le=10_000, description="Add the newest N of each task from the store.")
    ] = 0,
) -> DevicePredictions:
    """The newest predictions of a device, per task and horizon, and those before them."""
    device = unquote(device)
    views = service.board.predictions(device)
    if views is None:
        raise unknown(device)
    items = [
        PredictionModel.model_validate(view, from_attributes=True)
        for view in views
        if task in (None, view.task) and horizon in (None, view.horizon)
    ]
    past = _history(service, device, task, horizon, history) if history else []
    return DevicePredictions(device=device, items=items, history=past)


def _history(
    service: Service, device: str, task: str | None, horizon: str | None, limit: int
) -> list[PredictionModel]:
    tasks = {view.task: None for view in service.board.tasks() if task in (None, view.task)}
    found: list[dict[str, Any]] = []
    for name in tasks:
        found += [
            {"horizon": horizon or "", **one, "task": name}
            for one in service.history.predictions(device, name, horizon, limit)
        ]
    return [PredictionModel.model_validate(one) for one in found]


@routes.get(
    "/v1/devices/{device:path}", operation_id="get_device", responses=described(401, 404, 422)
)
def get_device(service: Read, device: Device) -> DeviceModel:
    """One device and its newest reading."""
    view = service.board.device(unquote(device))
    if view is None:
        raise unknown(unquote(device))
    return _model(view)
