"""What must never be seen in a log: secrets of the configuration, and whatever looks like one."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from stream_processor.settings.environment import REFERENCE

__all__ = ["hider", "secrets_of"]

HIDDEN = "***"
LEAST = 4
"""Characters of a secret: less cannot be told from the words around it."""
_PLAIN = re.compile(r"[\d.:]*|[./~].*|true|false", re.IGNORECASE)
"""Numbers, addresses made of them, paths and switches: no secrets."""
_SERVERS = (
    *("http", "https", "mqtt", "mqtts", "ws", "wss", "kafka", "kafkas", "influxdb"),
    *("postgresql", "mysql", "mariadb", "mssql", "oracle", "sqlite"),
)
"""Schemes of addresses whose host may be seen; what stands there in others is often a token."""
_LOOKS = (
    (re.compile(r"(://[^/\s:@]*):[^/\s@]+@"), rf"\1:{HIDDEN}@"),
    (
        re.compile(
            r"([?&][^=&\s]*(?:token|key|secret|password|sig)[^=&\s]*=)[^&\s'\"]+", re.IGNORECASE
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"\b(Bearer|Basic|Token|Splunk|GenieKey)(\s+)[\w.~+/=-]{8,}"), rf"\1\2{HIDDEN}"),
)


def secrets_of(tree: Any, env: Mapping[str, str]) -> set[str]:
    """What a configuration, its references unresolved, takes from the environment: all values but
    numbers, paths, and scheme and host of addresses; and the keys that the product itself reads
    there."""
    named = {name for text in _texts(tree) for name in REFERENCE.findall(text)}
    named |= {name for name in env if name.endswith(("_API_KEY", "_HEADERS"))}
    parts = {part for name in named for part in _parts(env.get(name, ""))}
    return {part for part in parts if len(part) >= LEAST}


def hider(secrets: set[str]) -> Callable[[str], str]:
    """A function that gives a text without these secrets, passwords in addresses and tokens."""
    spelled = {way(secret) for secret in secrets for way in (str, _quoted, _escaped)}
    longest = sorted(spelled, key=len, reverse=True)
    known = re.compile("|".join(map(re.escape, longest))) if longest else None

    def hidden(text: str) -> str:
        if known is not None:
            text = known.sub(HIDDEN, text)
        for look, instead in _LOOKS:
            text = look.sub(instead, text)
        return text

    return hidden


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _parts(value: str) -> Iterator[str]:
    """Those parts of a value that may be secret."""
    if _PLAIN.fullmatch(value):
        return
    scheme, found, rest = value.partition("://")
    if not found:
        yield value
        return
    place, _, query = rest.partition("?")
    server, _, path = place.partition("/")
    login, _, host = server.rpartition("@")
    user, _, password = login.partition(":")
    parts = [password or user, path, query]
    if scheme.partition("+")[0] not in _SERVERS:
        parts += [rest, host, *path.split("/")]
    for part in parts:
        yield part
        yield unquote(part)


def _quoted(secret: str) -> str:
    return quote(secret, safe="")


def _escaped(secret: str) -> str:
    """As `repr` shows it."""
    return repr(secret)[1:-1]
