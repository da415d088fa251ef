"""Alerts as messages: the webhook of Alertmanager (version 4), and text for people.

https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from monitoring.alerts.rule import Alert
from streamgauge.instants import iso

__all__ = ["Group", "subject", "text", "webhook"]

NEVER = "0001-01-01T00:00:00Z"
"""What Alertmanager writes for an alert that has not ended."""


@dataclass(frozen=True, slots=True)
class Group:
    """Alerts of one rule that go out together."""

    stream: str
    rule: str
    receiver: str
    alerts: Sequence[Alert]
    url: str = ""
    """Where the live page is; "" = no links."""
    truncated: int = 0
    """Alerts of the group that this message leaves out."""
    key: str = ""
    """The same whenever this very message is tried again."""

    @property
    def status(self) -> str:
        return "firing" if any(not alert.ends for alert in self.alerts) else "resolved"


def link(group: Group, alert: Alert) -> str:
    """The page with the alert's device and task chosen."""
    if not group.url:
        return ""
    places = {"device": alert.matter.device, "task": alert.matter.task}
    chosen = urlencode({name: value for name, value in places.items() if value})
    return f"{group.url.rstrip('/')}/" + (f"#{chosen}" if chosen else "")


def webhook(group: Group) -> dict[str, Any]:
    """The body that Alertmanager posts to a webhook, and takes from nobody else."""
    alerts = [_one(group, alert) for alert in group.alerts]
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{group.rule}"}}',
        "truncatedAlerts": group.truncated,
        "status": group.status,
        "receiver": group.receiver,
        "groupLabels": {"alertname": group.rule},
        "commonLabels": _common([one["labels"] for one in alerts]),
        "commonAnnotations": _common([one["annotations"] for one in alerts]),
        "externalURL": group.url,
        "alerts": alerts,
    }


def _one(group: Group, alert: Alert) -> dict[str, Any]:
    own = {
        "alertname": alert.matter.rule,
        "severity": alert.severity,
        "stream": group.stream,
        "device": alert.matter.device,
        "task": alert.matter.task,
        "channel": alert.matter.channel,
    }
    return {
        "status": alert.status,
        "labels": {**alert.labels, **{name: value for name, value in own.items() if value}},
        "annotations": {"summary": alert.summary, "description": alert.description},
        "startsAt": iso(alert.starts),
        "endsAt": iso(alert.ends) if alert.ends else NEVER,
        "generatorURL": link(group, alert),
        "fingerprint": alert.matter.fingerprint,
    }


def _common(each: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *others = each
    return {k: v for k, v in first.items() if all(other.get(k) == v for other in others)}


def subject(group: Group) -> str:
    """One line."""
    first = group.alerts[0]
    mark = "resolved" if group.status == "resolved" else first.severity
    more = len(group.alerts) + group.truncated - 1
    return f"[{mark}] {first.summary}" + (f" (and {more} more)" if more else "")


def text(group: Group) -> str:
    """All alerts, for people: what happened, since when, compared with what, and where to look."""
    lines = []
    for alert in group.alerts:
        over = f", over since {iso(alert.ends)}" if alert.ends else ""
        lines += [
            f"{alert.summary} ({alert.severity}{over})",
            alert.description,
            link(group, alert),
            "",
        ]
    if group.truncated:
        lines.append(f"{group.truncated} more alerts of rule {group.rule} are not listed here.")
    return "\n".join(line for k, line in enumerate(lines) if line or (k and lines[k - 1])).strip()
