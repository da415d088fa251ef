"""Who shares a model, and how a new one begins: `scope` and `start` of the tasks."""

from stream_processor.settings.document import KeyPath
from stream_processor.settings.model import Settings
from stream_processor.settings.problems import Findings
from stream_processor.settings.tasks import TaskSettings

__all__ = ["check_scopes", "check_start"]


def check_scopes(settings: Settings, findings: Findings) -> None:
    """A scope that is a tag needs a table of devices that has the tag."""
    if findings.within("devices", "tags"):
        return
    tags = settings.known_devices(1).tags.names
    for name, task in settings.tasks.items():
        path: KeyPath = ("tasks", name, "scope")
        if not task.tag or task.tag in tags or findings.within(*path):
            continue
        if tags:
            choices = [f"tag:{tag}" for tag in tags]
            findings.unknown(path, "devices.tags has no such tag", choices, task.scope)
        else:
            why = "no table says which device has which tag"
            remedy = f'write [devices] tags = "devices.csv", with columns device and {task.tag}'
            findings.add(path, why, remedy)


def check_start(task: TaskSettings, path: KeyPath, findings: Findings) -> None:
    """A start that means nothing for such a model; `path` is that of the task."""
    if task.start == "fleet" and (not task.unnamed or task.scope == "fleet"):
        why = (
            "a model that is named begins empty, as River's do"
            if not task.unnamed
            else "all devices share one model already"
        )
        findings.add((*path, "start"), why, 'remove it, or write start = "empty"')
