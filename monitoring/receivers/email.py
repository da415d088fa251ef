"""Sends alerts by e-mail over SMTP. A message that is tried again has the same Message-ID."""

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate
from typing import Literal

from monitoring.alerts.payload import Group, subject, text
from monitoring.alerts.receiver import NotDelivered

__all__ = ["Email", "open"]

Security = Literal["starttls", "tls", "none"]
PORTS: dict[Security, int] = {"starttls": 587, "tls": 465, "none": 25}
PATIENCE = 20.0
"""Seconds that a server may take for each answer."""
PERMANENT = 500
"""Answers from here on will not be others tomorrow (RFC 5321, 4.2.1)."""


def open(  # noqa: A001 - what opens a plug-in has one name in every folder
    *,
    host: str,
    to: list[str],
    sender: str,
    port: int | None = None,
    security: Security = "starttls",
    username: str = "",
    password: str = "",
) -> "Email":
    """Send from `sender` to all of `to` by the server at `host`.

    `security`: "starttls" (port 587 unless given), "tls" (465) or "none" (25), which lets everybody
    on the way read and change what is sent.
    """
    for address in (sender, *to):
        if "@" not in address or any(c in address for c in "\r\n"):
            raise ValueError(f"{address!r} is no e-mail address; write name@example.com")
    if not to:
        raise ValueError("to = [] reaches nobody; name at least one address")
    if username and security == "none":
        raise ValueError('a password over security = "none" could be read; use "starttls" or "tls"')
    return Email(host, port or PORTS[security], sender, to, security, (username, password))


class Email:
    """A receiver; see `monitoring.alerts.receiver`."""

    def __init__(
        self,
        host: str,
        port: int,
        sender: str,
        to: list[str],
        security: Security,
        login: tuple[str, str],
    ) -> None:
        self._host, self._port = host, port
        self._sender, self._to = sender, to
        self._security, self._login = security, login

    def __call__(self, group: Group) -> None:
        try:
            with self._connected() as server:
                server.send_message(self._written(group))
        except smtplib.SMTPResponseException as refused:
            said = refused.smtp_error
            told = said.decode(errors="replace") if isinstance(said, bytes) else said
            raise NotDelivered(
                f"{self._host} answered {refused.smtp_code}: {told}",
                again=refused.smtp_code < PERMANENT,
            ) from refused
        except smtplib.SMTPRecipientsRefused as refused:
            raise NotDelivered(f"{self._host} refuses {refused}", again=False) from refused
        except (OSError, smtplib.SMTPException) as refused:
            raise NotDelivered(f"cannot send by {self._host}:{self._port}: {refused}") from refused

    def _connected(self) -> smtplib.SMTP:
        trusted = ssl.create_default_context()
        if self._security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self._host, self._port, timeout=PATIENCE, context=trusted
            )
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=PATIENCE)
        if self._security == "starttls":
            server.starttls(context=trusted)
        if self._login[0]:
            server.login(*self._login)
        return server

    def _written(self, group: Group) -> EmailMessage:
        message = EmailMessage()
        message["From"], message["To"] = self._sender, ", ".join(self._to)
        message["Subject"] = subject(group).replace("\n", " ")
        message["Message-ID"] = f"<{group.key}@streamgauge>"
        message["Date"] = formatdate()
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text(group))
        return message

    def close(self) -> None:
        pass
