"""Whether the models of a task fit it: the one it names, its candidates, or none."""

from collections.abc import Mapping

from stream_processor.settings.channels import ChannelSettings
from stream_processor.settings.classes import classes_of
from stream_processor.settings.document import KeyPath
from stream_processor.settings.kinds import Steps
from stream_processor.settings.problems import Findings
from stream_processor.settings.tasks import DEFAULT, TaskSettings

__all__ = ["check_models"]


def check_models(
    task: TaskSettings,
    channels: Mapping[str, ChannelSettings],
    path: KeyPath,
    findings: Findings,
) -> None:
    """Refuse what cannot be built, or does not answer the task whose table is at `path`."""
    _check_series(task, path, findings)
    if task.candidates:
        _check_candidates(task, channels, path, findings)
    elif any(findings.within(*path, key) for key in ("model", "candidates", "kind", "classes")):
        return
    elif task.model:
        _check_model(task, task.model, channels, (*path, "model"), findings)
    else:
        _check_unnamed(task, path, findings)


def _check_series(task: TaskSettings, path: KeyPath, findings: Findings) -> None:
    """What a model that continues the target by itself leaves no room for."""
    if not task.series:
        if task.step is not None:
            why = "it is for a forecast by a time series model"
            findings.add((*path, "step"), why, "remove it, or name one, as time_series.HoltWinters")
        return
    reasons = {
        "scope": (task.scope != "device", "values of several devices are not one series"),
        "select": (task.select is not None, "a time series model continues the target alone"),
        "label": (task.label is not None, "a time series model continues a channel"),
        "predict": (
            task.predict == "change" and not task.candidates,
            "a time series model forecasts the value itself",
        ),
        "step": (
            task.step is not None and not any(horizon.duration for horizon in task.horizons),
            "horizons that count readings have the step of a reading",
        ),
    }
    for key, (wrong, why) in reasons.items():
        if wrong and not findings.within(*path, key):
            findings.add((*path, key), why, "remove it")


def _check_unnamed(task: TaskSettings, path: KeyPath, findings: Findings) -> None:
    from models.spec import ANSWERS

    if task.kind == "anomaly" and task.target:
        why = "without a model all inputs are watched"
        remedy = f'remove it, and write inputs = ["{task.target}"]'
        findings.add((*path, "target"), why, remedy)
    if task.kind != "clustering":
        return
    remedy = f'a {task.kind} names one, such as model = "{ANSWERS[task.kind].example}"'
    findings.add((*path, "model"), "missing", remedy)


def _check_candidates(
    task: TaskSettings,
    channels: Mapping[str, ChannelSettings],
    path: KeyPath,
    findings: Findings,
) -> None:
    place = (*path, "candidates")
    if findings.within(*place):
        return
    if task.model:
        findings.add(place, "there is a model beside them", "put it among the candidates")
    if task.by_itself:
        why = f"labels choose among candidates, and a task of kind {task.kind} needs none"
        findings.add(place, why, "name one model")
        return
    if task.choose == "halving" and task.tag:
        why = "halving is for a model of each device, or one of the fleet"
        findings.add((*path, "choose"), why, 'write choose = "best"')
    if len(task.candidates) == 1:
        findings.add(place, "a single one", "name it as model, or add another")
    if any(findings.within(*path, key) for key in ("kind", "classes")):
        return
    for k, steps in enumerate(task.candidates):
        if steps != (DEFAULT,):
            _check_model(task, steps, channels, (*place, k), findings)


def _check_model(
    task: TaskSettings,
    steps: Steps,
    channels: Mapping[str, ChannelSettings],
    path: KeyPath,
    findings: Findings,
) -> None:
    from models.spec import NotAModel, build, refuse_task

    try:
        make = build(steps, task.kind)
        classes = classes_of(task, channels)
        refuse_task(make(), None if classes is None else classes.most, bool(task.target))
    except NotAModel as refused:
        for step, message in refused.problems:
            place = path if step is None else (*path, step)
            findings.refuse(path if findings.document.found(place) is None else place, message)
    except ValueError as refused:
        findings.refuse(path, str(refused))
    except Exception as broken:  # noqa: BLE001 - a model of the user's own may fail in any way
        message = f"{type(broken).__name__}: {broken}"
        findings.add(path, message, "correct the name, or the module that it stands for")
