"""How to reach a Kafka: addresses, TLS and login, as its source and its sink both need them."""

import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from streamgauge.hosts import is_loopback

__all__ = ["access", "addresses", "close_what_fails", "notes_of", "obstacle"]

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
DEFAULT_PORT = 9092
KNOCK = 1.0
"""Seconds that a broker has to answer when we ask why it did not."""
DIRECT = "direct"
"""The scheme of what stands for a proxy and is none."""


def access(
    bootstrap_servers: str,
    *,
    tls: bool | None,
    ca: Path | None,
    cert: Path | None,
    key: Path | None,
    insecure: bool,
    sasl: str,
    username: str,
    password: str,
) -> dict[str, Any]:
    """Arguments for a client of kafka-python; ValueError on options that mean nothing.

    `tls` None is TLS unless every broker is on this machine. `cert` and `key` are our own
    certificate; `insecure` accepts any certificate. `sasl` counts where there is a username.
    """
    brokers = addresses(bootstrap_servers)
    encrypted = not all(map(_loopback, brokers)) if tls is None else tls
    if not encrypted and (ca or cert or key or insecure):
        raise ValueError("ca, cert, key and insecure need TLS; write tls = true")
    if sasl not in MECHANISMS:
        raise ValueError(f"sasl = {sasl!r}; write one of {', '.join(MECHANISMS)}")
    if bool(username) != bool(password):
        raise ValueError("username and password belong together; give both or none")
    protocol = f"{'SASL_' if username else ''}{'SSL' if encrypted else 'PLAINTEXT'}"
    settings: dict[str, Any] = {
        "bootstrap_servers": brokers,
        "security_protocol": protocol,
        "proxy_url": f"{DIRECT}://",
    }
    if encrypted:
        settings["ssl_context"] = _context(ca, cert, key, insecure=insecure)
    if username:
        settings |= {
            "sasl_mechanism": sasl,
            "sasl_plain_username": username,
            "sasl_plain_password": password,
        }
    return settings


def addresses(bootstrap_servers: str) -> list[str]:
    """Read "host[:port],host[:port]"; ValueError that says how otherwise."""
    brokers = [each.strip() for each in bootstrap_servers.split(",")]
    for k, broker in enumerate(brokers):
        host, colon, port = broker.rpartition(":") if ":" in broker else (broker, "", "")
        right = port.isascii() and port.isdigit() and 0 < int(port) < 65_536  # a TCP port
        if not host or "/" in broker or "@" in broker or (colon and not right):
            raise ValueError(
                f"bootstrap_servers = {bootstrap_servers!r} names no brokers; write "
                "host:9092, several with commas between them"
            )
        brokers[k] = broker if colon else f"{broker}:{DEFAULT_PORT}"
    return brokers


def notes_of(options: Mapping[str, Any], done: str) -> list[str]:
    """What is allowed but may surprise, for `check`; `done` is "read" or "written"."""
    where = options.get("bootstrap_servers", "localhost")
    found = []
    if options.get("tls") is False and not all(map(_loopback, addresses(where))):
        found.append(f"kafka: tls = false: {where} is {done} unencrypted, passwords included")
    if options.get("insecure"):
        found.append(f"kafka: insecure = true: whoever answers at {where} is believed")
    return found


def close_what_fails(sockets: Any) -> None:
    """Let the clients that `access` makes close a socket that does not connect, which kafka-python
    leaves to the garbage collector. `sockets` is its class of these, `KafkaNetSocket`."""

    class Closing(sockets):  # type: ignore[misc]  # known at run time only
        SCHEMES = (DIRECT,)

        def socket(self, *kind: Any) -> Any:
            self._made = super().socket(*kind)
            return self._made

        async def connect(self, *given: Any, **named: Any) -> Any:
            try:
                return await super().connect(*given, **named)
            except BaseException:
                self._made.close()
                raise


def _loopback(broker: str) -> bool:
    return is_loopback(broker.rpartition(":")[0])


def obstacle(settings: dict[str, Any]) -> str:
    """What keeps a client with these settings from its brokers, as far as it can be found out; the
    client itself only says that it got nowhere."""
    found = ""
    for broker in settings["bootstrap_servers"]:
        try:
            _knock(broker, settings.get("ssl_context"))
        except OSError as failed:
            found = f"{broker}: {failed}; is Kafka running?"
    if not found and "sasl_mechanism" in settings:
        found = "no login; check username, password, sasl and tls"
    return found or "no answer in Kafka's protocol; check bootstrap_servers and tls"


def _knock(broker: str, context: ssl.SSLContext | None) -> None:
    host, _, port = broker.rpartition(":")
    host = host.strip("[]")
    with socket.create_connection((host, int(port)), timeout=KNOCK) as plain:
        if context is not None:
            with suppress(TimeoutError), context.wrap_socket(plain, server_hostname=host):
                pass


class _ClosingSocket(ssl.SSLSocket):
    """Closed as soon as a handshake fails, for the same reason as in `close_what_fails`."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT002  # as it is in ssl
        try:
            super().do_handshake(block)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError:
            self.close()
            raise


def _context(
    ca: Path | None, cert: Path | None, key: Path | None, *, insecure: bool
) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
        if cert or key:
            context.load_cert_chain(cert or "", key)
    except (OSError, ValueError) as wrong:
        raise ValueError(f"cannot use ca, cert or key: {wrong}; name readable PEM files") from wrong
    context.sslsocket_class = _ClosingSocket
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
