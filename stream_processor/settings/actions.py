"""[drift.actions]: what is done where a signal drifts."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from monitoring.alerts.rule import matches
from stream_processor.settings.document import KeyPath
from stream_processor.settings.fields import REQUIRED, Names
from stream_processor.settings.problems import Findings
from stream_processor.settings.tasks import TaskSettings

__all__ = ["QUIET", "ActionSettings", "acted_on", "check_action"]

QUIET = ("note", "alert")
"""Actions that change nothing of a model."""


@dataclass(frozen=True, slots=True)
class ActionSettings:
    """drift.actions.SIGNAL; a plain name means `use`."""

    __shorthand__: ClassVar[str] = "use"

    use: Literal["note", "alert", "restart"] = field(default="alert", metadata=REQUIRED)
    tasks: Names = ("*",)
    """Patterns of names, `*` and `?` as in file names; "!" in front excludes."""


def acted_on(action: ActionSettings, tasks: dict[str, TaskSettings]) -> Iterator[str]:
    """The tasks whose models an action may change."""
    if action.use not in QUIET:
        for name, task in tasks.items():
            if task.scope == "device" and matches(action.tasks, name):
                yield name


def check_action(
    signal: str, action: ActionSettings, tasks: dict[str, TaskSettings], findings: Findings
) -> None:
    """An action fits the tasks that there are."""
    path: KeyPath = ("drift", "actions", signal)
    if findings.within(*path) or findings.within("tasks"):
        return
    if action.use in QUIET:
        if action.tasks != ("*",):
            why = f'means nothing with use = "{action.use}", which changes no model'
            findings.add((*path, "tasks"), why, "remove it")
    elif not any(acted_on(action, tasks)):
        findings.add(
            path,
            "no task that fits has a model for each device, and what all share one device must "
            "not change",
            'write scope = "device" in the task, or use = "alert" here',
        )
