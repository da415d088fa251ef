"""The Things Stack v3: uplinks of LoRaWAN devices, `v3/APP@TENANT/devices/ID/up`."""

from collections.abc import Iterator

from ingest.codecs._by_message import by_message
from ingest.codecs._documents import document, inner, no_reading, plain
from ingest.codecs._lorawan import best_link
from ingest.codecs._reading import DecodeError, Message, Reading
from ingest.source import Codec
from streamgauge.devices import Devices
from streamgauge.schema import Schema

__all__ = ["build"]


def build(
    schema: Schema,
    devices: Devices,
    *,
    device: str = "",
    time: str = "",
    sequence: str = "",
    zone: str = "UTC",
    units: dict[str, str] | None = None,
    max_bytes: int = 1_000_000,
) -> Codec:
    """Values of `decoded_payload`, and the link's `rssi`, `snr` and `f_port` under those names.

    The device is `device_id`, the time when the network received it, the count `f_cnt`. A field
    that is 0 is left out by the stack: a missing `f_cnt` or `snr` is 0.

    - `device`, `time`, `sequence`: overrule where they are taken from, as for JSON
    - `zone`: time zone of clocks that name none
    - `units`: by channel, the unit that the devices use; values convert to the channel's own
    - `max_bytes`: longer messages are rejected

    Source: the data formats and MQTT pages of The Things Stack's documentation.
    """
    return by_message(
        _readings, schema, devices,
        device=device, time=time, sequence=sequence, zone=zone, units=units, max_bytes=max_bytes,
    )  # fmt: skip


def _readings(message: Message) -> Iterator[Reading]:
    event = document(message)
    uplink = event.get("uplink_message")
    if not isinstance(uplink, dict):
        raise no_reading("no uplink_message: an answer, a join or a downlink")
    decoded = uplink.get("decoded_payload")
    if not isinstance(decoded, dict):
        if "frm_payload" not in uplink:
            raise no_reading("an uplink without a payload: the device only answered the network")
        raise DecodeError(
            "not_decoded", "no decoded_payload: give the device a payload formatter in the console"
        )
    yield Reading(
        best_link(uplink.get("rx_metadata")) | {"f_port": uplink.get("f_port", 0)} | plain(decoded),
        device=inner(event, "end_device_ids").get("device_id"),
        time=uplink.get("received_at", event.get("received_at")),
        sequence=uplink.get("f_cnt", 0),
    )
