"""A configured MQTT client from the options of the `mqtt` source, or why there is none."""

import hashlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

__all__ = ["Address", "address_of", "checked_topics", "make_client", "protocol_of", "subscription"]

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_PROTOCOLS = {"3.1.1": MQTTProtocolVersion.MQTTv311, "5": MQTTProtocolVersion.MQTTv5}
SESSION_KEPT = 7 * 86_400
"""Seconds that an MQTT 5 broker keeps our session, and what came meanwhile, while we are away."""
RECONNECT_AFTER = (1, 30)
"""Seconds before the first and, doubled each time, before the later tries to reconnect."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker listens."""

    url: str
    host: str
    port: int
    tls: bool


def address_of(url: str) -> Address:
    """Read "mqtt://host[:port]" or "mqtts://host[:port]"; ValueError that says how otherwise."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in _PORTS or not parts.hostname or port == -1 or parts.path.strip("/"):
        raise ValueError(
            f"url = {url!r} is no broker; write mqtt://host:1883, or mqtts://host:8883 for TLS"
        )
    if parts.username or parts.password:
        raise ValueError(
            "a password in the url would show in logs; use username and "
            'password = "${MQTT_PASSWORD}"'
        )
    tls = parts.scheme == "mqtts"
    return Address(url, parts.hostname, port or _PORTS[parts.scheme], tls)


def checked_topics(topics: Sequence[str]) -> list[str]:
    """The topic filters, or ValueError naming the one that no broker would take."""
    if not topics:
        raise ValueError('topics is empty; name at least one filter, such as "sensors/+/telemetry"')
    for topic in topics:
        levels = topic.split("/")
        wild = [level for level in levels if ("+" in level or "#" in level)]
        if not topic or any(len(level) > 1 for level in wild) or "#" in levels[:-1]:
            raise ValueError(
                f"{topic!r} is no topic filter; + stands for one whole level, # for all the rest"
            )
    return list(topics)


def protocol_of(version: str) -> MQTTProtocolVersion:
    """The protocol of that version, "3.1.1" or "5"."""
    if version not in _PROTOCOLS:
        raise ValueError(f'version = {version!r}; write "3.1.1" or "5"')
    return _PROTOCOLS[version]


def make_client(
    address: Address,
    *,
    client_id: str,
    identity: str,
    protocol: MQTTProtocolVersion,
    clean: bool,
    keepalive: int,
    window: int,
    login: tuple[str, str],
    tls: tuple[str, str, str, bool],
) -> Client:
    """A client that will connect to the address once its loop runs, and reconnect by itself.

    `identity` makes a lasting client id where none is given; `login` is username and password;
    `tls` is ca, cert, key and insecure; `window` is how many unacknowledged messages an MQTT 5
    broker may have under way.
    """
    five = protocol is MQTTProtocolVersion.MQTTv5
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id or ("" if clean else _lasting_id(identity)),
        clean_session=None if five else clean,
        protocol=protocol,
        manual_ack=True,
    )
    client.suppress_exceptions = True
    if any(login):
        client.username_pw_set(login[0] or None, login[1] or None)
    _encrypt(client, address, *tls)
    client.reconnect_delay_set(*RECONNECT_AFTER)
    properties = _connect_properties(window, clean=clean) if five else None
    client.connect_async(
        address.host, address.port, keepalive, clean_start=clean, properties=properties
    )
    return client


def subscription(
    topics: Sequence[str], qos: int, protocol: MQTTProtocolVersion
) -> list[tuple[str, int]] | list[tuple[str, SubscribeOptions]]:
    """What to subscribe to; MQTT 5 brokers are asked to replay retained messages only once."""
    if protocol is MQTTProtocolVersion.MQTTv5:
        return [(topic, SubscribeOptions(qos=qos, retainHandling=1)) for topic in topics]
    return [(topic, qos) for topic in topics]


def _lasting_id(identity: str) -> str:
    """The same id after every restart, so that the broker keeps what came meanwhile."""
    return "streamgauge-" + hashlib.blake2b(identity.encode(), digest_size=5).hexdigest()


def _connect_properties(window: int, *, clean: bool) -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's own
    properties.ReceiveMaximum = min(window, 65_535)
    if not clean:
        properties.SessionExpiryInterval = SESSION_KEPT
    return properties


def _encrypt(
    client: Client, address: Address, ca: str, cert: str, key: str, insecure: bool
) -> None:
    if not address.tls:
        if ca or cert or key or insecure:
            raise ValueError(f"ca, cert, key and insecure need an mqtts:// url, not {address.url}")
        return
    try:
        client.tls_set(
            ca or None,
            cert or None,
            key or None,
            cert_reqs=ssl.CERT_NONE if insecure else ssl.CERT_REQUIRED,
        )
    except (OSError, ValueError) as wrong:
        raise ValueError(f"cannot use ca, cert or key: {wrong}; name readable PEM files") from wrong
