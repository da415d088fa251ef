"""Sends alerts wherever Apprise can: Slack, Teams, Telegram, PagerDuty, Twilio, SNS and 100 more.

https://github.com/caronc/apprise/wiki lists the URLs. `pip install "streamgauge[alerts]"`.
"""

from typing import Any

from monitoring.alerts.payload import Group, subject, text
from monitoring.alerts.receiver import NotDelivered

__all__ = ["Apprise", "open"]

TYPES = {"info": "info", "warning": "warning", "critical": "failure"}


def open(  # noqa: A001 - what opens a plug-in has one name in every folder
    *, urls: list[str]
) -> "Apprise":
    """Send to all of `urls`, such as "${SLACK_URL}" = slack://...; they hold secrets, so they come
    from the environment."""
    try:
        import apprise
    except ImportError as missing:
        raise ValueError('apprise is not installed: pip install "streamgauge[alerts]"') from missing
    services = apprise.Apprise()
    for k, url in enumerate(urls):
        if not services.add(url):
            raise ValueError(f"urls[{k}] is no address that Apprise knows; see its list of URLs")
    if not urls:
        raise ValueError("urls = [] reaches nobody; name at least one")
    return Apprise(services)


class Apprise:
    """A receiver; see `monitoring.alerts.receiver`. All services count as one: where one fails, all
    are tried again."""

    def __init__(self, services: Any) -> None:
        self._services = services

    def __call__(self, group: Group) -> None:
        worst = group.alerts[0].severity
        kind = "success" if group.status == "resolved" else TYPES[worst]
        if not self._services.notify(body=text(group), title=subject(group), notify_type=kind):
            raise NotDelivered("a service of Apprise did not take the message; its log says why")

    def close(self) -> None:
        pass
