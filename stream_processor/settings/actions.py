"""[drift.actions]: what is done where a signal drifts."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from monitoring.alerts.rule import matches
from stream_processor.settings.document import KeyPath
from stream_processor.settings.fields import REQUIRED, Names
from stream_processor.settings.kinds import Duration
from stream_processor.settings.problems import Findings
from stream_processor.settings.tasks import TaskSettings
from streamgauge.durations import DAY, WEEK

__all__ = ["QUIET", "ActionSettings", "acted_on", "check_action"]

QUIET = ("note", "alert")
"""Actions that change nothing of a model."""


@dataclass(frozen=True, slots=True)
class ActionSettings:
    """drift.actions.SIGNAL; a plain name means `use`."""

    __shorthand__: ClassVar[str] = "use"

    use: Literal["note", "alert", "restart", "learn_faster", "relearn"] = field(
        default="alert", metadata=REQUIRED
    )
    tasks: Names = ("*",)
    """Patterns of names, `*` and `?` as in file names; "!" in front excludes."""
    lasting: Duration | None = field(default=None, metadata={"key": "for"})
    """How long a model learns faster, a day where nothing is said, or another one is given time to
    become better, a week; by the device's clock."""
    factor: Annotated[int, Field(ge=2, le=100)] = 5
    """How often a label teaches a model that learns faster."""

    @property
    def span(self) -> int:
        """`lasting`, or what is usual."""
        return self.lasting or (WEEK if self.use == "relearn" else DAY)


OWN = {
    "tasks": ("restart", "learn_faster", "relearn"),
    "lasting": ("learn_faster", "relearn"),
    "factor": ("learn_faster",),
}
"""Options, and the actions that have them."""


def acted_on(action: ActionSettings, tasks: dict[str, TaskSettings]) -> Iterator[str]:
    """The tasks whose models an action may change."""
    if action.use not in QUIET:
        for name, task in tasks.items():
            if matches(action.tasks, name) and not _unfit(action, task):
                yield name


def _unfit(action: ActionSettings, task: TaskSettings) -> str:
    """Why the task's models cannot be acted on; "" where they can."""
    if task.scope != "device":
        return "its model is shared, and one device must not change what all have learned"
    if action.use != "restart" and task.by_itself:
        return (
            "its models learn from readings by themselves, and this is about learning from labels"
        )
    if action.use != "restart" and task.select is not None:
        return "its models are taught by what selects their features"
    return ""


def check_action(
    signal: str, action: ActionSettings, tasks: dict[str, TaskSettings], findings: Findings
) -> None:
    """An action fits the tasks that there are."""
    path: KeyPath = ("drift", "actions", signal)
    if findings.within(*path) or findings.within("tasks"):
        return
    for each in fields(action):
        key = each.metadata.get("key", each.name)
        if getattr(action, each.name) != each.default and action.use not in OWN.get(
            each.name, (action.use,)
        ):
            why = f'means nothing with use = "{action.use}"'
            findings.add((*path, key), why, "remove it")
    if action.use not in QUIET and not any(acted_on(action, tasks)):
        unfit = [
            f"{name}: {_unfit(action, task)}"
            for name, task in tasks.items()
            if matches(action.tasks, name)
        ]
        findings.add(
            path,
            f"no task that fits ({'; '.join(unfit) or 'none has such a name'})",
            'write use = "alert", or name another task',
        )
