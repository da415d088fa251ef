"""ChirpStack v4: uplinks of LoRaWAN devices, `application/ID/device/EUI/event/up`."""

from collections.abc import Iterator, Mapping
from typing import Any

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
    """Values of `object`, and the link's `rssi`, `snr` and `fPort`; of a status event
    `batteryLevel` and `margin`.

    The device is `devEui`, the time when the gateway received it, the count `fCnt`. A field that is
    0 may be left out: a missing `fCnt` is 0, and so is a `margin` or a `batteryLevel`, unless the
    device does not know it or is fed from outside.

    - `device`, `time`, `sequence`: overrule where they are taken from, as for JSON
    - `zone`: time zone of clocks that name none
    - `units`: by channel, the unit that the devices use; values convert to the channel's own
    - `max_bytes`: longer messages are rejected

    Source: the event types of the ChirpStack v4 documentation (JSON marshaler).
    """
    return by_message(
        _readings, schema, devices,
        device=device, time=time, sequence=sequence, zone=zone, units=units, max_bytes=max_bytes,
    )  # fmt: skip


def _readings(message: Message) -> Iterator[Reading]:
    event = document(message)
    device = inner(event, "deviceInfo").get("devEui")
    if {"batteryLevel", "margin"} & event.keys() or message.topic.endswith("/event/status"):
        yield Reading(_status(event), device=device, time=event.get("time"))
        return
    if not {"fPort", "fCnt", "data", "object", "rxInfo"} & event.keys():
        raise no_reading("neither an uplink nor a status: a join, an acknowledgement or a log")
    decoded = event.get("object")
    if not isinstance(decoded, dict):
        if not event.get("data"):
            raise no_reading("an uplink without data: the device only answered the network")
        raise DecodeError("not_decoded", "no object: give the device profile a payload codec")
    yield Reading(
        best_link(event.get("rxInfo")) | {"fPort": event.get("fPort", 0)} | plain(decoded),
        device=device,
        time=event.get("time"),
        sequence=event.get("fCnt", 0),
    )


def _status(event: Mapping[str, Any]) -> dict[str, Any]:
    unmeasured = event.get("batteryLevelUnavailable") or event.get("externalPowerSource")
    battery = event.get("batteryLevel", None if unmeasured else 0)
    return {
        "batteryLevel": None if event.get("batteryLevelUnavailable") else battery,
        "margin": event.get("margin", 0),
    }
