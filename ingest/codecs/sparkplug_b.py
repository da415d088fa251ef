"""Sparkplug B: births, data and deaths of edge nodes and their devices, in protobuf."""

from collections.abc import Iterator

from ingest.codecs._by_message import by_message
from ingest.codecs._origins import channel_name
from ingest.codecs._reading import DecodeError, Message, Reading
from ingest.codecs._sparkplug_node import Nodes
from ingest.codecs._sparkplug_payload import NotProtobuf, payload
from ingest.source import Codec
from streamgauge.devices import Devices
from streamgauge.schema import Schema

__all__ = ["MEDIA_TYPES", "build"]

MEDIA_TYPES = ("application/x-protobuf", "application/octet-stream")
"""What a body of such messages is called over HTTP."""

_BIRTHS, _DATA, _DEATHS = ("NBIRTH", "DBIRTH"), ("NDATA", "DDATA"), ("NDEATH", "DDEATH")


def build(
    schema: Schema,
    devices: Devices,
    *,
    device: str = "",
    time: str = "",
    zone: str = "UTC",
    units: dict[str, str] | None = None,
    max_bytes: int = 1_000_000,
) -> Codec:
    """Metrics under their names; subscribe to `spBv1.0/GROUP/#`.

    The device is `GROUP/NODE` or `GROUP/NODE/DEVICE`, the time that of the metric or else of the
    payload: metrics of one message that have different times are several readings. What is
    compressed (as by Eclipse Tahu) is inflated, to at most 1,000,000 bytes and 64 times its size.
    Aliases, types and units (`engUnit`) are remembered from the births, and with the checkpoint. A
    gap in the sequence, data or a device's birth without the births before it, or an alias that no
    birth named ask the node for a rebirth, at most once in 30 seconds; what can be read is read all
    the same. A death whose `bdSeq` is not that of the last birth is older than it, and changes
    nothing. What a node kept while it was cut off (`is_historical`) are readings of their own time;
    `devices.reorder` lets what comes later wait for them.

    - `device`, `time`: overrule where they are taken from, as for JSON
    - `zone`: time zone of clocks that name none
    - `units`: by channel, the unit that the devices use; values convert to the channel's own
    - `max_bytes`: longer messages are rejected

    Source: Eclipse Sparkplug specification 3.0.
    """
    nodes = Nodes()

    def readings(message: Message) -> Iterator[Reading | DecodeError]:
        return _readings(nodes, message)

    return by_message(
        readings, schema, devices,
        device=device, time=time, zone=zone, units=units, max_bytes=max_bytes,
        path_to=channel_name, memory=nodes,
    )  # fmt: skip


def _readings(nodes: Nodes, message: Message) -> Iterator[Reading | DecodeError]:
    levels = message.topic.split("/")
    if not 4 <= len(levels) <= 5 or levels[0] != "spBv1.0" or not all(levels):
        raise DecodeError("no_reading", f"topic {message.topic[:80]!r} is none of Sparkplug B")
    kind, place = levels[2], (levels[1], levels[3])
    device = "/".join((*place, *levels[4:]))
    if kind not in (*_BIRTHS, *_DATA, *_DEATHS):
        raise DecodeError("no_reading", f"a {kind[:20]} message carries no values of a device")
    try:
        content = payload(message.payload)
    except NotProtobuf as wrong:
        raise DecodeError("malformed", f"no Sparkplug B payload: {wrong}") from None
    node = nodes.at("/".join(place))
    if kind in _DEATHS:
        node.died(content, device, whole=kind == "NDEATH")
        if kind == "DDEATH" and node.skipped(content, first=False):
            nodes.ask("/".join(place), message.received)
        raise DecodeError("no_reading", f"{device[:80]} has gone")
    if kind in _BIRTHS:
        node.born(content, device, whole=kind == "NBIRTH")
    missed = node.missed(content, device, first=kind == "NBIRTH")
    if missed:
        nodes.ask("/".join(place), message.received)
    yield from node.readings(content, device)
