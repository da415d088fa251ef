"""Where an MQTT broker is, how to get in, and which topics meet: what its source and sink share."""

import hashlib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from streamgauge.hosts import is_loopback

__all__ = [
    "LONGEST_TOPIC",
    "Address",
    "Will",
    "address_of",
    "checked_filters",
    "checked_topic",
    "lasting_id",
    "let_in",
    "meet",
    "plain",
    "shared",
    "will_of",
]

_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
_ENCRYPTED = ("mqtts", "wss")
LONGEST_TOPIC = 65_535
ONLINE = "online"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker listens."""

    url: str
    """As it may be shown: scheme, host and port."""
    host: str
    port: int
    tls: bool
    path: str
    """Path of a websocket; "" where it is none."""

    @property
    def transport(self) -> Any:
        """As paho names it: "websockets" or "tcp"."""
        return "websockets" if self.path else "tcp"

    @property
    def broker(self) -> tuple[str, int]:
        """The same for every name of this machine."""
        return ("localhost" if is_loopback(self.host) else self.host, self.port)


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says of us: `online` once we are connected, `payload` when we are gone."""

    topic: str
    payload: str
    online: str
    retain: bool


def address_of(url: str, *, tls: bool | None) -> Address:
    """Read "mqtt://host[:port]", "mqtts://...", "ws://host[:port]/path" or "wss://...".

    `tls` False allows an address outside this machine without encryption, True forbids one within.
    ValueError that says how otherwise.
    """
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ValueError(
            "a password in the url would show in logs; use username and "
            'password = "${MQTT_PASSWORD}"'
        )
    try:
        port = parts.port
    except ValueError:
        port = -1
    socket = parts.scheme in {"ws", "wss"}
    odd = parts.query or parts.fragment or (parts.path.strip("/") and not socket)
    if parts.scheme not in _PORTS or not parts.hostname or port == -1 or odd:
        raise ValueError(
            f"url = {url!r} is no broker; write mqtt://host:1883, mqtts://host:8883 for TLS, "
            "or wss://host:443/mqtt for a websocket"
        )
    encrypted = parts.scheme in _ENCRYPTED
    port = port or _PORTS[parts.scheme]
    shown = f"{parts.scheme}://{parts.netloc if parts.port else f'{parts.netloc}:{port}'}"
    safe = f"{'wss' if socket else 'mqtts'}://"
    if tls is False and encrypted:
        raise ValueError(f"tls = false contradicts {shown}; remove it")
    if not encrypted and (tls or (tls is None and not is_loopback(parts.hostname))):
        raise ValueError(
            f"url = {shown} sends everything, passwords too, unencrypted over the network; write "
            f"{safe}{parts.hostname}, or tls = false where that is meant"
        )
    return Address(
        shown, parts.hostname, port, encrypted, (parts.path or "/mqtt") if socket else ""
    )


def checked_filters(topics: Sequence[str]) -> list[str]:
    """The topic filters, or ValueError naming the one that no broker would take."""
    if not topics:
        raise ValueError('topics is empty; name at least one filter, such as "sensors/+/telemetry"')
    for topic in topics:
        levels = plain(topic).split("/")
        wild = [level for level in levels if ("+" in level or "#" in level)]
        misplaced = any(len(level) > 1 for level in wild) or "#" in levels[:-1]
        if misplaced or not _writable(topic) or not plain(topic):
            raise ValueError(
                f"{topic!r} is no topic filter; + stands for one whole level, # for all the rest"
            )
        group = topic.split("/")[1] if shared(topic) else "-"
        if not group or set(group) & set("+#") or shared(plain(topic)):
            raise ValueError(f"{topic!r} names no group; write $share/GROUP/FILTER")
    return list(topics)


def checked_topic(topic: str, option: str) -> str:
    """A topic that can be published to; ValueError otherwise."""
    if not _writable(topic) or set(topic) & set("+#"):
        raise ValueError(
            f"{option} = {topic!r} is no topic; write levels without + and #, such as gauges/status"
        )
    return topic


def _writable(topic: str) -> bool:
    return bool(topic) and topic.isprintable() and len(topic.encode()) <= LONGEST_TOPIC


def shared(topic: str) -> bool:
    """Whether a filter is a shared one: $share/GROUP/FILTER."""
    return topic.startswith("$share/")


def plain(topic: str) -> str:
    """What a filter selects, without the group that shares it."""
    return topic.split("/", 2)[2] if shared(topic) and topic.count("/") > 1 else topic


def meet(one: str, other: str) -> bool:
    """Whether some topic matches both filters. A plain topic is a filter that matches itself."""
    left, right = plain(one).split("/"), plain(other).split("/")
    if left[0] != right[0] and "$" in {left[0][:1], right[0][:1]}:
        # Wildcards of the first level stand for no topic that begins with $.
        return False
    for a, b in zip(left, right, strict=False):
        if "#" in {a, b}:
            return True
        if a != b and "+" not in {a, b}:
            return False
    longer = left if len(left) > len(right) else right
    # "a/#" matches "a" itself.
    return len(left) == len(right) or longer[min(len(left), len(right))] == "#"


def will_of(table: Mapping[str, Any] | None) -> Will | None:
    """Read `{ topic = "...", payload = "offline", online = "online", retain = true }`; ValueError
    otherwise."""
    if table is None:
        return None
    known = {"topic": str, "payload": str, "online": str, "retain": bool}
    wrong = [key for key, value in table.items() if type(value) is not known.get(key)]
    if wrong or "topic" not in table:
        raise ValueError(
            f"will: {', '.join(wrong) or 'topic'} is missing or means nothing; write "
            'will = { topic = "gauges/status", payload = "offline", online = "online", '
            "retain = true }"
        )
    topic = checked_topic(table["topic"], "will.topic")
    payload, online = table.get("payload", "offline"), table.get("online", ONLINE)
    return Will(topic, payload, online, table.get("retain", True))


def lasting_id(identity: str) -> str:
    """A client id that is the same after every restart, so that the broker knows us again."""
    return "streamgauge-" + hashlib.blake2b(identity.encode(), digest_size=5).hexdigest()


def let_in(
    client: Any,
    address: Address,
    login: tuple[str, str],
    tls: tuple[Path | None, Path | None, Path | None, bool],
    will: Will | None = None,
) -> None:
    """Give a paho client what it needs to get in and to be missed: login (username, password),
    TLS (ca, cert, key, whether any certificate is accepted), last will."""
    if any(login):
        client.username_pw_set(login[0] or None, login[1] or None)
    if address.path:
        client.ws_set_options(path=address.path)
    if will is not None:
        client.will_set(will.topic, will.payload, 1, will.retain)
    ca, cert, key, insecure = tls
    if not address.tls:
        if ca or cert or key or insecure:
            raise ValueError(
                f"ca, cert, key and insecure need an mqtts:// or wss:// url, not {address.url}"
            )
        return
    try:
        client.tls_set(
            ca,
            cert,
            key,
            cert_reqs=ssl.CERT_NONE if insecure else ssl.CERT_REQUIRED,
        )
        if insecure:
            client.tls_insecure_set(True)
    except (OSError, ValueError) as wrong:
        raise ValueError(f"cannot use ca, cert or key: {wrong}; name readable PEM files") from wrong
