"""Which horizons a task may have."""

from stream_processor.settings.document import KeyPath
from stream_processor.settings.problems import Findings
from stream_processor.settings.tasks import TaskSettings

__all__ = ["check_horizons"]

NO_HORIZON = {
    "regression": "a regression has no horizon",
    "anomaly": "an anomaly is one of its own reading, so there is no horizon",
    "clustering": "a reading is in its cluster at once, so there is no horizon",
}


def check_horizons(task: TaskSettings, path: KeyPath, findings: Findings) -> None:
    """Note what is wrong with the horizons of one task."""
    given = findings.document.found(path) is not None
    if given and task.kind in NO_HORIZON:
        findings.add(path, NO_HORIZON[task.kind], 'remove it, or set kind = "forecast"')
    if task.kind == "forecast" and not task.horizons and not findings.within(*path):
        findings.add(path, "a forecast needs a horizon", 'add horizons = ["10m"]')
    seen: set[tuple[int, int]] = set()
    for i, horizon in enumerate(task.horizons):
        key = (horizon.duration, horizon.readings)
        if key in seen:
            findings.add((*path, i), f"the horizon {horizon.text} stands here twice", "remove one")
        seen.add(key)
