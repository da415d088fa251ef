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
    """A beginning that such models cannot have; `path` is that of the task."""
    key = "start" if task.start == "fleet" else "before_ready"
    if "fleet" not in (task.start, task.before_ready) or findings.within(*path, "kind"):
        return
    if task.scope == "fleet":
        remedy = "remove it" if key == "start" else 'write "last" or "none"'
        findings.add((*path, key), "all devices share one model already", remedy)
    elif task.candidates and (key == "before_ready" or not task.unnamed):
        why = "candidates have no model of the fleet beside them"
        findings.add((*path, key), why, "remove it, or name one model")
    elif task.series:
        why = "such a model continues the series of one device"
        findings.add((*path, key), why, "remove it, or name a model that learns from features")
    elif task.kind == "clustering":
        why = "clusters of two models have numbers of their own"
        findings.add((*path, key), why, 'remove it, or write scope = "fleet"')
    elif key == "start" and task.kind == "anomaly" and task.model:
        why = "a detector has no errors by which the better one could be told"
        findings.add((*path, key), why, 'write before_ready = "fleet" instead')
    elif task.beside_fleet and task.tag:
        why = "a named model that several devices share has none of the fleet beside it"
        findings.add((*path, key), why, 'remove it, or write scope = "device"')
    elif task.beside_fleet and task.select is not None:
        why = "each device's model sees its own features, the fleet's would need them all"
        findings.add((*path, "select"), why, f"remove it, or {key}")
    elif not task.model and task.start == "empty":
        why = "models that begin empty have none of the fleet beside them"
        findings.add((*path, "before_ready"), why, 'remove start = "empty", or write "last"')
