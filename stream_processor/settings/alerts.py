"""[alerts]: what is an alert, and who is told."""

import re
from dataclasses import dataclass, field
from datetime import time
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from stream_processor.settings.fields import REQUIRED, REST, Names
from stream_processor.settings.kinds import Duration, Ever

__all__ = ["AlertSettings", "ReceiverSettings", "RuleSettings", "Severity", "quiet_hours"]

Severity = Literal["info", "warning", "critical"]
HOUR = 3_600 * 10**6
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


def quiet_hours(text: str) -> tuple[time, time] | None:
    """Begin and end of "22:00-06:00"; None for ""."""
    found = _HOURS.fullmatch(text)
    if found is None:
        return None
    a, b, c, d = map(int, found.groups())
    return time(a, b), time(c, d)


def _checked_hours(text: str) -> str:
    if text and quiet_hours(text) is None:
        raise ValueError(f'{text!r} is no stretch of the day; write for example "22:00-06:00"')
    return text


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """[alerts.rules.NAME]."""

    when: Literal[
        "drift", "channel_drift", "new_cluster", "anomaly", "action", "silence", "score", "service"
    ] = field(default="drift", metadata=REQUIRED)
    condition: str = ""
    """Of scores, such as "rolling_mae > 2 * persistence_mae"; only with when = "score"."""
    devices: Names = ("*",)
    tasks: Names = ("*",)
    """Patterns of names, `*` and `?` as in file names; "!" in front excludes."""
    severity: Severity = "warning"
    lasting: Duration = field(default=0, metadata={"key": "for"})
    """For how long it must be so before the alert fires."""
    resolve_after: Duration = HOUR
    """Drift, a new cluster or an anomaly that was not seen again for this long is over."""
    cool_down: Ever = HOUR
    """After a message about the same matter none for this long."""
    labels: dict[str, str] = field(default_factory=dict)
    inhibits: tuple[str, ...] = ()
    """Rules that say nothing of a device while this one's alert about it fires."""


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """[alerts.receivers.NAME]: a file of `monitoring/receivers` and its options."""

    use: str = field(default="", metadata=REQUIRED)
    severities: Annotated[tuple[Severity, ...], AfterValidator(tuple)] = (
        "info",
        "warning",
        "critical",
    )
    options: dict[str, Any] = field(default_factory=dict, repr=False, metadata=REST)


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """[alerts]."""

    rules: dict[str, RuleSettings] = field(default_factory=dict)
    receivers: dict[str, ReceiverSettings] = field(default_factory=dict)
    url: str = ""
    """Where the live page can be reached, for links."""
    group_wait: Duration = 10 * 10**6
    """Alerts of one rule that come within it go out together."""
    quiet: Annotated[str, AfterValidator(_checked_hours)] = ""
    """Hours of the day, in devices.timezone, in which only critical alerts are delivered."""
