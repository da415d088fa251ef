"""/v1/tasks/{task}/selection: which features the models see, and why."""

from typing import Annotated
from urllib.parse import unquote

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from serving.api.problems import Problem, described
from serving.api.service import Read
from serving.api.tasks import Task, require
from serving.api.values import Number

__all__ = ["routes"]

routes = APIRouter(tags=["tasks"])


class ChoiceModel(BaseModel):
    """What was decided on one feature."""

    feature: str
    kept: Number = Field(
        description="The share of the models that see it: 1 or 0 of one, null while there is none."
    )
    score: Number = Field(
        description="What the selection is by: a variance, an absolute correlation with the label, "
        "mutual information in nats, or a share of the model's weight; of several models the "
        "median. null where nothing is known yet."
    )
    why: str = Field(description="In words; empty of several models.")


class SelectionModel(BaseModel):
    """The features of a task at one horizon."""

    task: str
    horizon: str
    device: str | None = Field(description="null = over all devices, or of the fleet's one model")
    scope: str = Field(description="Who shares a model: device, fleet or tag:NAME.")
    by: str = Field(description="The way of selection, as configured.")
    models: int = Field(description="How many models the numbers are of.")
    choices: list[ChoiceModel]


class SelectionList(BaseModel):
    """Selections, per horizon of the task; none where it has no `select`."""

    items: list[SelectionModel]


@routes.get(
    "/v1/tasks/{task}/selection", operation_id="get_selection", responses=described(401, 404, 422)
)
def get_selection(
    service: Read,
    task: Task,
    device: Annotated[str | None, Query(description="Of this device, not over all.")] = None,
) -> SelectionList:
    """Which features a task's models see now and which they do not, by which score and why."""
    name, board = unquote(task), service.board
    require(board, name)
    if device and board.device(device) is None:
        raise Problem(404, f"no device {device!r} is known; GET /v1/devices lists those there are")
    views = board.selections(name, device or "")
    return SelectionList(
        items=[
            SelectionModel(
                task=view.task,
                horizon=view.horizon,
                device=view.device or None,
                scope=view.scope,
                by=view.by,
                models=view.models,
                choices=[
                    ChoiceModel(feature=one.feature, kept=one.kept, score=one.score, why=one.why)
                    for one in view.choices
                ],
            )
            for view in views
        ]
    )
