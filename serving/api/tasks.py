"""/v1/tasks: what is predicted, and how well."""

from typing import Annotated
from urllib.parse import unquote

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from monitoring.skill import skill
from serving.api.problems import Problem, described
from serving.api.service import Read
from serving.api.values import Instant, Number
from stream_processor.views import Board, ScoreView
from streamgauge.output import SCORE_COLUMNS

__all__ = ["Task", "require", "routes"]

routes = APIRouter(tags=["tasks"])

Task = Annotated[str, Path(description="The task's name, as in [tasks.NAME].")]


class TaskModel(BaseModel):
    """A task at one horizon, as configured."""

    task: str
    horizon: str
    kind: str
    target: str
    unit: str
    model: str
    compiled: bool
    why: str = Field(description="What was compiled and what was not.")
    inputs: list[str]
    scope: str = Field(description="Who shares a model: device, fleet or tag:NAME.")
    models: int = Field(0, description="How many models there are now.")
    labels_from: str = Field(description="Where labels come from that are no channel, else empty.")
    classes: list[str] = Field([], description="Of a classification: those known, by place.")
    labels_refused: int = Field(0, description="Labels that were none of the classes.")


class TaskList(BaseModel):
    """Every task at every horizon."""

    items: list[TaskModel]
    tags: list[str] = Field(description="Tags of devices, by which scores may be asked for.")


class ScoreModel(BaseModel):
    """Scores of one task and horizon."""

    task: str
    horizon: str
    device: str | None = Field(description="null = over all devices")
    scores: dict[str, Number] = Field(
        description=f"{', '.join(SCORE_COLUMNS)}; null where not defined yet. persistence_* is "
        "what the last value scores on the very same labels, rolling_* covers the last labels, "
        "in decayed_* the weight of a label halves with every scores.half_life labels."
    )
    group: str | None = Field(
        description='Of scores by tag: its value, "" for devices without one. Else null.'
    )
    of_devices: int = Field(description="Of a group: how many devices it has, else 0.")
    per_class: dict[str, dict[str, Number]] = Field(
        description="Of a classification, by class: labels, precision, recall, f1, and of the last "
        "labels rolling_roc_auc and rolling_pr_auc of its probability. Else empty."
    )
    confusion: list[list[int]] = Field(
        description="Of a classification: how often each class (by row) was told as each (by "
        "column), in the order of per_class; of more than 32 classes over all devices only. Else "
        "empty."
    )
    skill: Number = Field(
        description="1 - mae / persistence_mae: above 0 beats the last value. Of a classification "
        "the share of errors that the better of the two baselines makes and the model does not."
    )
    follows: dict[str, float] = Field(
        description="Of a task that names no model: how much its mixture follows each of its "
        "experts, together 1; over all devices the mean of theirs. Where a model of all devices "
        "runs beside each one's: fleet and own. Else empty."
    )
    labels: dict[str, Number] = Field(
        description="Over all devices, where labels come from elsewhere, else empty. taught and "
        "scored met their prediction (scored: too late to teach); duplicate, late (their "
        "prediction had expired) and unmatched did not; coverage is the share of settled "
        "predictions that got a label; lag_p50 and lag_p95 are in seconds."
    )


class ScoreList(BaseModel):
    """Scores, per horizon of the task."""

    items: list[ScoreModel]


class PastScore(BaseModel):
    """Overall scores at one moment."""

    time: Instant
    scores: dict[str, Number]
    skill: Number


class PastScores(BaseModel):
    """Overall scores over time, newest first."""

    items: list[PastScore]


def require(board: Board, task: str) -> None:
    """Problem 404 unless the task is configured."""
    known = sorted({view.task for view in board.tasks()})
    if task not in known:
        raise Problem(
            404, f"no task {task!r} is configured; there are: {', '.join(known) or 'none'}"
        )


def _model(view: ScoreView) -> ScoreModel:
    scores = dict(view.scores)
    return ScoreModel(
        task=view.task,
        horizon=view.horizon,
        device=view.device or None,
        scores=scores,
        group=view.group,
        of_devices=view.of_devices,
        per_class={name: dict(one) for name, one in view.per_class.items()},
        confusion=[list(row) for row in view.confusion],
        skill=skill(scores),
        labels=dict(view.labels),
        follows=dict(view.follows),
    )


def _by_tag(board: Board, task: str, by: str) -> list[ScoreView]:
    tag = by.removeprefix("tag:")
    if tag not in board.tags():
        known = ", ".join(board.tags()) or "none; name a table of them in devices.tags"
        raise Problem(404, f"no tag {tag!r} is known of devices; there are: {known}")
    return board.group_scores(task, tag)


@routes.get("/v1/tasks", operation_id="list_tasks", responses=described(401))
def list_tasks(service: Read) -> TaskList:
    """Every task at every horizon, as configured."""
    views = service.board.tasks()
    items = [TaskModel.model_validate(v, from_attributes=True) for v in views]
    return TaskList(items=items, tags=list(service.board.tags()))


@routes.get(
    "/v1/tasks/{task}/scores", operation_id="get_scores", responses=described(401, 404, 422)
)
def get_scores(
    service: Read,
    task: Task,
    device: Annotated[str | None, Query(description="Of this device, not over all.")] = None,
    devices: Annotated[
        int,
        Query(ge=0, le=1000, description="Add this many devices, worst against persistence first."),
    ] = 0,
    horizon: Annotated[
        str | None, Query(description="Only this horizon; without it, `devices` are of the first.")
    ] = None,
    by: Annotated[
        str | None,
        Query(
            pattern="^tag:.+",
            description="tag:NAME = one score per value of that tag, not over all.",
        ),
    ] = None,
) -> ScoreList:
    """How well a task predicts, beside what the last value would have scored."""
    name, board = unquote(task), service.board
    require(board, name)
    if device and board.device(device) is None:
        raise Problem(404, f"no device {device!r} is known; GET /v1/devices lists those there are")
    if by and (device or devices):
        raise Problem(422, "by is of all devices; leave out device and devices, or by")
    found = _by_tag(board, name, by) if by else board.scores(name, device or "")
    views = [one for one in found if horizon in (None, one.horizon)]
    if devices:
        views = [*views, *board.device_scores(name, devices, horizon or "")]
    return ScoreList(items=[_model(view) for view in views])


@routes.get(
    "/v1/tasks/{task}/scores/history",
    operation_id="get_score_history",
    responses=described(401, 404, 422),
)
def get_score_history(
    service: Read,
    task: Task,
    horizon: Annotated[str, Query(description="The horizon, as configured.")] = "",
    hours: Annotated[float, Query(gt=0, le=24 * 366, description="How far back.")] = 24.0,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> PastScores:
    """Overall scores of a task and horizon over time, newest first."""
    name = unquote(task)
    require(service.board, name)
    since = service.clock() - round(hours * 3600e6)
    found = service.history.score_history(name, horizon, since, limit)
    items = []
    for one in found:
        scores = {key: one.get(key) for key in SCORE_COLUMNS}
        items.append(PastScore(time=one["time"], scores=scores, skill=skill(scores)))
    return PastScores(items=items)
