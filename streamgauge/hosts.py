"""Which hosts are this machine, where nothing needs to be encrypted."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

__all__ = ["exposed", "is_loopback", "unencrypted", "web_server"]


def is_loopback(host: str) -> bool:
    """True where only this machine can connect: localhost and names in it, 127.0.0.0/8, ::1."""
    if f".{host.lower()}".endswith(".localhost"):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def exposed(scheme: str, host: str, tls: bool | None) -> bool:
    """Whether http to that host would be in the clear though nobody allowed it: `tls` None expects
    encryption beyond this machine, True everywhere, False nowhere."""
    return scheme == "http" and tls is not False and (bool(tls) or not is_loopback(host))


def web_server(url: str, tls: bool | None) -> tuple[str, str]:
    """Scheme and host of the url of an HTTP server; ValueError where it is none, or where data and
    passwords would leave this machine in the clear."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("url is no address of a server; write http://HOST:8086")
    if exposed(parts.scheme, parts.hostname, tls):
        raise ValueError(
            f"url: data and passwords would go to {parts.hostname} unencrypted; write https://, "
            "or tls = false where the network is safe"
        )
    return parts.scheme, parts.hostname


def unencrypted(name: str, options: Mapping[str, Any], done: str) -> list[str]:
    """What `check` notes of a plug-in whose options allow to go unencrypted."""
    if options.get("tls") is not False:
        return []
    host = urlsplit(str(options.get("url", ""))).hostname or ""
    return [f"{name}: tls = false: {host} is {done} unencrypted, passwords included"]
