"""Posts alerts to a URL, in the words of Alertmanager's webhook (version 4)."""

import httpx

from monitoring.alerts.payload import Group, webhook
from monitoring.alerts.receiver import NotDelivered

__all__ = ["Webhook", "open"]

WORTH_ANOTHER_TRY = (408, 425, 429)
"""What a server may refuse now and take later, besides its own failures."""


def open(  # noqa: A001 - what opens a plug-in has one name in every folder
    *, url: str, token: str = "", timeout: float = 10.0
) -> "Webhook":
    """Post to a `url`; `token` goes along as a bearer token, `timeout` is in seconds."""
    parts = httpx.URL(url)
    if parts.scheme not in ("http", "https") or not parts.host:
        raise ValueError(f"url = {url!r} is no address; write http://host/path or https://...")
    return Webhook(url, token, timeout)


class Webhook:
    """A receiver; see `monitoring.alerts.receiver`."""

    def __init__(self, url: str, token: str, timeout: float) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._url = url
        self._client = httpx.Client(headers=headers, timeout=timeout)

    def __call__(self, group: Group) -> None:
        try:
            answer = self._client.post(
                self._url, json=webhook(group), headers={"Idempotency-Key": group.key}
            )
        except httpx.HTTPError as refused:
            raise NotDelivered(f"cannot reach {self._url}: {refused}") from refused
        if answer.is_success:
            return
        again = answer.status_code >= 500 or answer.status_code in WORTH_ANOTHER_TRY
        wait = answer.headers.get("Retry-After", "")
        raise NotDelivered(
            f"{self._url} answered {answer.status_code}: {answer.text[:200]}",
            again=again,
            wait=float(wait) if wait.isdigit() else None,
        )

    def close(self) -> None:
        self._client.close()
