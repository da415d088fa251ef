"""A configured MQTT client from the options of the `mqtt` source."""

from collections.abc import Sequence
from pathlib import Path

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from streamgauge.brokers import Address, Will, let_in

__all__ = ["DurableClient", "make_client", "protocol_of", "subscription"]

_PROTOCOLS = {"3.1.1": MQTTProtocolVersion.MQTTv311, "5": MQTTProtocolVersion.MQTTv5}
SESSION_KEPT = 7 * 86_400
"""Seconds that an MQTT 5 broker keeps our session, and what came meanwhile, while we are away."""
RECONNECT_AFTER = (1, 30)
"""Seconds before the first and, doubled each time, before the later tries to reconnect."""


class DurableClient(Client):
    """paho's client, but a message of QoS 2 is ours only once it is durable.

    paho itself sends PUBREC, by which the broker forgets the message, before anybody has seen it,
    and hands it over with the broker's answer: what had not reached the disk by then would be lost
    with the process. Here the message is handed over at once, `ack` sends PUBREC, and PUBREL is
    always answered. What comes twice is for the dedupe.
    """

    @property
    def running(self) -> bool:
        """Whether the network thread lives; `is_connected` stays true without it."""
        return self._thread is not None and self._thread.is_alive()

    def ack(self, mid: int, qos: int) -> MQTTErrorCode:
        """The message is durable."""
        return super()._send_pubrec(mid) if qos == 2 else super().ack(mid, qos)

    def _send_pubrec(self, mid: int) -> MQTTErrorCode:
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _handle_publish(self) -> MQTTErrorCode:
        code = super()._handle_publish()
        arrived: dict[int, MQTTMessage] = self._in_messages
        while arrived:
            self._handle_on_message(arrived.pop(next(iter(arrived))))
        return code

    def _handle_pubrel(self) -> MQTTErrorCode:
        return self._send_pubcomp(int.from_bytes(self._in_packet["packet"][:2], "big"))


def protocol_of(version: str) -> MQTTProtocolVersion:
    """The protocol of that version, "3.1.1" or "5"."""
    if version not in _PROTOCOLS:
        raise ValueError(f'version = {version!r}; write "3.1.1" or "5"')
    return _PROTOCOLS[version]


def make_client(
    address: Address,
    *,
    client_id: str,
    protocol: MQTTProtocolVersion,
    clean: bool,
    keepalive: int,
    window: int,
    login: tuple[str, str],
    tls: tuple[Path | None, Path | None, Path | None, bool],
    will: Will | None,
) -> DurableClient:
    """A client that will connect to the address once its loop runs, and reconnect by itself.

    `login`, `tls` and `will` are as for `brokers.let_in`; `window` is how many unacknowledged
    messages an MQTT 5 broker may have under way.
    """
    five = protocol is MQTTProtocolVersion.MQTTv5
    client = DurableClient(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        clean_session=None if five else clean,
        protocol=protocol,
        transport=address.transport,
        manual_ack=True,
    )
    client.suppress_exceptions = True
    let_in(client, address, login, tls, will)
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


def _connect_properties(window: int, *, clean: bool) -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's own
    properties.ReceiveMaximum = min(window, 65_535)
    if not clean:
        properties.SessionExpiryInterval = SESSION_KEPT
    return properties
