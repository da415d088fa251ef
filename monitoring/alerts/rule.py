"""What a rule looks at, and an alert as receivers get it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from hashlib import blake2b

from monitoring.alerts.condition import Condition

__all__ = ["SEVERITIES", "Alert", "Matter", "Rule", "When", "matches"]

SEVERITIES = ("info", "warning", "critical")


class When(StrEnum):
    """What makes a rule's alert fire."""

    DRIFT = "drift"
    """A detector says that the error of a task rose; over when it says that it fell, or after
    `resolve_after`."""
    CHANNEL_DRIFT = "channel_drift"
    """Level, noise or shape of a channel changed; over after `resolve_after`."""
    NEW_CLUSTER = "new_cluster"
    """A device came into a cluster where it had not been before; over after `resolve_after`."""
    ANOMALY = "anomaly"
    """An anomaly score is beyond the threshold of a task's budget; over after `resolve_after`."""
    ACTION = "action"
    """Something was done about a model because of drift; over when its effect is known, or after
    `resolve_after`."""
    SILENCE = "silence"
    """A device or channel fell silent; over when it is heard of again or forgotten."""
    SCORE = "score"
    """The condition holds of a task's scores over all devices."""
    SERVICE = "service"
    """A source, a sink, the worker or the state is not ready."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a configuration. Times are microseconds."""

    name: str
    when: When
    severity: str = "warning"
    devices: tuple[str, ...] = ("*",)
    tasks: tuple[str, ...] = ("*",)
    condition: Condition | None = None
    text: str = ""
    """The condition as it was written."""
    lasting: int = 0
    """For how long it must be so before the alert fires."""
    resolve_after: int = 3_600 * 10**6
    cool_down: int = 3_600 * 10**6
    """After a message about the same matter, none for this long."""
    labels: Mapping[str, str] = field(default_factory=dict)
    inhibits: tuple[str, ...] = ()
    """Rules that say nothing of a device while this one's alert about it is firing."""


@dataclass(frozen=True, slots=True)
class Matter:
    """What an alert is about: one alert at a time for each."""

    rule: str
    device: str = ""
    task: str = ""
    channel: str = ""
    """Of a service, the part that is not ready."""

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits, the same for the same matter in every process."""
        parts = (self.rule, self.device, self.task, self.channel)
        return blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert, firing or over. Times are microseconds UTC; `ends` is 0 while it fires."""

    matter: Matter
    severity: str
    labels: Mapping[str, str]
    summary: str
    description: str
    starts: int
    ends: int = 0

    @property
    def status(self) -> str:
        return "resolved" if self.ends else "firing"


def matches(patterns: tuple[str, ...], name: str) -> bool:
    """Whether a name fits: `*` and `?` as in file names, "!" in front excludes."""
    chosen = False
    for pattern in patterns:
        if pattern.startswith("!"):
            chosen = chosen and not fnmatchcase(name, pattern[1:])
        else:
            chosen = chosen or fnmatchcase(name, pattern)
    return chosen
