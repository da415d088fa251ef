"""Checks of where a task's labels come from."""

from collections.abc import Iterator

from stream_processor.settings.document import KeyPath
from stream_processor.settings.model import Settings
from stream_processor.settings.problems import Findings
from stream_processor.settings.tasks import TaskSettings

__all__ = ["check_label", "check_label_channels"]


def check_label(task: TaskSettings, path: KeyPath, findings: Findings) -> None:
    """Keys of one task that must fit each other."""
    label = task.label
    if task.kind == "clustering":
        for key, given in (("label", label), ("target", task.target)):
            if given:
                findings.add((*path, key), "clusters are found without labels", "remove it")
        return
    if label is None:
        if task.by_itself:
            return
        if not task.target and not findings.within(*path):
            findings.add(
                (*path, "target"), "missing", "add target = ..., or label = { from = ... }"
            )
        return
    if task.target and task.kind != "anomaly":
        findings.add(
            (*path, "target"),
            "the labels come from elsewhere",
            f'remove it, and name what must not be an input: inputs = ["*", "!*{task.target}*"]',
        )
    if task.predict == "change" and task.kind in ("forecast", "regression"):
        findings.add(
            (*path, "predict"),
            "a label from elsewhere has no last value to start from",
            'write predict = "level"',
        )
    for key, problem, remedy in _refusals(task):
        findings.add((*path, "label", key), problem, remedy)


def _refusals(task: TaskSettings) -> Iterator[tuple[str, str, str]]:
    label = task.label
    assert label is not None
    within = label.column or label.teach_until is None or label.teach_until <= label.expire_after
    if not within:
        yield "teach_until", "later than expire_after", "write the same or a shorter time"
    if label.delay is not None and not label.column:
        yield "delay", "only a column's labels are delayed", "remove it; labels come when they come"
    counted = any(horizon.readings for horizon in task.horizons)
    if counted and not label.by_id:
        yield (
            "match",
            "a horizon in readings is for no time that a label could name",
            'write match = "id", or horizons in time',
        )


def check_label_channels(settings: Settings, findings: Findings) -> None:
    """A label is no channel: it would be an input of the very task."""
    for name, task in settings.tasks.items():
        if task.label is not None and task.label.column in settings.channels:
            findings.add(
                ("tasks", name, "label", "from"),
                "also a channel, so the task would see its own labels",
                "remove the channel, or write target instead of label",
            )
