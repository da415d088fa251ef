"""How a delivery becomes a record of the journal, and how records are found again in a file.

A segment begins with 16 bytes: magic, 4 random bytes that mark its records, 4 that seed their
checksums. A record is mark, length of the body, CRC-32, body (MessagePack).
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from streamgauge.delivery import Delivery, Readings, Run

__all__ = [
    "FRAME",
    "HEADER",
    "MAGIC",
    "JournalDamaged",
    "damaged",
    "framed",
    "records",
    "segment_keys",
    "synced_behind",
    "unpacked",
    "whole_record",
]

MAGIC = b"SGJRNL01"
HEADER = 16
_frame = struct.Struct("<4sII")
FRAME = _frame.size


class JournalDamaged(ValueError):
    """The log cannot be read where it should be: file, offset and what to do are in the text."""


class _Columns(msgspec.Struct, array_like=True, gc=False):
    devices: list[str]
    time: bytes
    received: bytes
    values: bytes


class _Record(msgspec.Struct, array_like=True, gc=False):
    source: int
    payloads: list[bytes]
    topics: list[str]
    received: list[int]
    clock: int
    position: dict[str, Any] | None
    readings: _Columns | None
    keys: list[str] = []
    headers: list[dict[str, str]] = []
    retained: bool = False
    runs: list[Run] = []
    synced: int = 0
    """Up to which position the log was on the disk when this was written, as far as was known."""
    stamps: list[int | None] = []
    replays: list[int] = []


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Record).decode


def segment_keys(path: Path, data: bytes) -> tuple[bytes, int]:
    """The mark of a segment's records and the seed of their checksums, from its header."""
    if data[: len(MAGIC)] != MAGIC:
        raise damaged(path, 0)
    return data[8:12], int.from_bytes(data[12:HEADER], "little")


def whole_record(data: bytes, offset: int, mark: bytes, seed: int) -> bytes:
    """The body of the whole record at an offset, b"" where there is none."""
    if offset + FRAME > len(data):
        return b""
    found, length, checksum = _frame.unpack_from(data, offset)
    body = data[offset + FRAME : offset + FRAME + length]
    whole = found == mark and len(body) == length and zlib.crc32(body, seed ^ length) == checksum
    return body if whole else b""


def synced_behind(data: bytes, offset: int, mark: bytes, seed: int) -> int:
    """Up to which position the log was on the disk, as far as whole records behind an offset know:
    what stands at the offset is damage if that is beyond it, and the end of the log if not."""
    at, synced = data.find(mark, offset + 1), 0
    while at >= 0:
        if body := whole_record(data, at, mark, seed):
            synced = max(synced, _decode(body).synced)
        at = data.find(mark, at + 1)
    return synced


def records(path: Path, data: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """The offset behind each record, and its body, from an offset to the end of the data."""
    mark, seed = segment_keys(path, data)
    offset = max(offset, HEADER)
    while offset < len(data):
        body = whole_record(data, offset, mark, seed)
        if not body:
            raise damaged(path, offset)
        offset += FRAME + len(body)
        yield offset, body


def damaged(path: Path, offset: int) -> JournalDamaged:
    """The error for a segment that is not whole at an offset."""
    return JournalDamaged(
        f"{path}: what stands at byte {offset} is not what was written there; restore the file, or "
        "move the whole state folder away to start anew"
    )


def framed(delivery: Delivery, mark: bytes, seed: int, synced: int) -> bytes:
    """A delivery as the bytes of one record; `synced` see `synced_behind`."""
    body = _encode(_packed(delivery, synced))
    return _frame.pack(mark, len(body), zlib.crc32(body, seed ^ len(body))) + body


def _packed(delivery: Delivery, synced: int) -> _Record:
    readings, elsewhere = delivery.readings, bool(delivery.runs)
    return _Record(
        delivery.source,
        [] if elsewhere else delivery.payloads,
        [] if elsewhere else delivery.topics,
        delivery.received,
        delivery.clock,
        delivery.position,
        None
        if readings is None or elsewhere
        else _Columns(
            readings.devices,
            readings.time.tobytes(),
            readings.received.tobytes(),
            readings.values.tobytes(),
        ),
        [] if elsewhere else delivery.keys,
        [] if elsewhere else delivery.headers,
        delivery.retained,
        delivery.runs,
        synced,
        [] if elsewhere else delivery.stamps,
        delivery.replays,
    )


def unpacked(path: Path, offset: int, body: bytes) -> Delivery:
    """The delivery in a record's body."""
    try:
        record = _decode(body)
    except ValueError as wrong:
        raise damaged(path, offset) from wrong
    return Delivery(
        source=record.source,
        payloads=record.payloads,
        topics=record.topics,
        received=record.received,
        readings=None if record.readings is None else _readings(record.readings),
        clock=record.clock,
        position=record.position,
        keys=record.keys,
        headers=record.headers,
        retained=record.retained,
        runs=record.runs,
        stamps=record.stamps,
        replays=record.replays,
    )


def _readings(columns: _Columns) -> Readings:
    values = np.frombuffer(columns.values, np.float64)
    return Readings(
        columns.devices,
        np.frombuffer(columns.time, np.int64),
        np.frombuffer(columns.received, np.int64),
        values.reshape(len(columns.devices), -1) if columns.devices else values.reshape(0, 0),
    )
