"""Kafka's record batches as columns, a chunk each, in place of one Python object per record."""

import gzip
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.util import decode_varint

from ingest.sources._kafka_parse import COLUMNS, OFFSET, TIME, places
from streamgauge.arrays import Ints

__all__ = ["Chunk", "ChunkRecords"]

_GZIP, _SNAPPY = 1, 2
_STREAMED = {3: "lz4", 4: "zstd"}
_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_HEADER = 16


@dataclass(slots=True)
class Chunk:
    """Records of one partition in order, as parallel columns; tombstones are left out."""

    topic: str
    partition: int
    offsets: Ints
    payloads: list[bytes]
    keys: list[str]
    headers: list[dict[str, str]]
    stamps: list[int | None]
    """Microseconds UTC."""
    tombstones: int = 0
    size: int = field(init=False)
    """Bytes of the payloads."""

    def __post_init__(self) -> None:
        self.size = sum(map(len, self.payloads))

    def __len__(self) -> int:
        return len(self.payloads)

    @property
    def offset(self) -> int:
        """Of the last record: the client asks it whether all of this lies before its position.
        Without a record, where only tombstones count, beyond any."""
        return int(self.offsets[-1]) if len(self.offsets) else sys.maxsize

    def part(self, start: int, stop: int) -> "Chunk":
        """Records `start` to `stop`."""
        cut = slice(start, stop)
        columns = (self.offsets, self.payloads, self.keys, self.headers, self.stamps)
        return Chunk(self.topic, self.partition, *(column[cut] for column in columns))  # type: ignore[arg-type]  # each column keeps its type


class ChunkRecords(Fetcher.PartitionRecords):  # type: ignore[misc]  # the client has no stubs
    """What a `KafkaConsumer` makes of a fetched partition: chunks where it would give records.

    Put in place of `Fetcher.PartitionRecords`. Transactions, control batches and positions are
    treated as there; `max_records` of a poll counts chunks.
    """

    next_fetch_offset: int

    def _unpack_records(self, tp: Any, records: Any, *_: Any) -> Iterator[Chunk]:
        while (batch := records.next_batch()) is not None:
            if self.check_crcs and not batch.validate_crc():
                raise CorruptRecordError(f"{tp}: the batch at {batch.base_offset} fails its CRC")
            if isinstance(batch, DefaultRecordBatch):
                self.leader_epoch = batch.leader_epoch
                after = batch.next_offset
                chunk = None if self._passed_over(batch) else _columns(tp, batch, self.fetch_offset)
            else:
                records_before_2 = list(batch)
                chunk = _one_by_one(tp, records_before_2, self.fetch_offset)
                after = records_before_2[-1].offset + 1
            self.next_fetch_offset = after
            if chunk is not None and (chunk.payloads or chunk.tombstones):
                self.records_read += len(chunk)
                self.bytes_read += chunk.size
                yield chunk
        self.drain()

    def _passed_over(self, batch: Any) -> bool:
        """Whether the batch is a marker or belongs to a transaction that was aborted."""
        if self.isolation_level and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return True
        return bool(batch.is_control_batch)


def _columns(tp: Any, batch: Any, first: int) -> Chunk:
    """The records of a batch from an offset on."""
    data, at = _uncompressed(batch)
    # A record takes seven bytes at least; what says more of them is damaged.
    count = min(max(batch.records_count, 0), len(data))
    found = np.empty((count, COLUMNS), np.int64)
    if count != batch.records_count or places(np.frombuffer(data, np.uint8), at, found) != len(
        data
    ):
        raise CorruptRecordError(f"{tp}: the batch at {batch.base_offset} is not whole records")
    offsets = found[:, OFFSET] + batch.base_offset
    wanted = (offsets >= first) & (found[:, 5] >= 0)
    passed = int(np.count_nonzero((offsets >= first) & (found[:, 5] < 0)))
    if not wanted.all():
        found, offsets = found[wanted], offsets[wanted]
    if batch.timestamp_type:
        times = np.full(len(found), batch.max_timestamp)
    else:
        times = found[:, TIME] + batch.first_timestamp
    cuts = found.T.tolist()
    return Chunk(
        tp.topic,
        tp.partition,
        offsets,
        [data[start:end] for start, end in zip(cuts[4], cuts[5], strict=True)],
        _keys(data, cuts[2], cuts[3]),
        _headers(data, cuts[6], cuts[7]),
        _stamps(times),
        passed,
    )


def _keys(data: bytes, starts: list[int], ends: list[int]) -> list[str]:
    if max(ends, default=-1) < 0:
        return [""] * len(ends)
    # An escaped byte keeps two binary keys apart, where a replacement would make them one.
    return [
        data[start:end].decode(errors="backslashreplace") if end >= 0 else ""
        for start, end in zip(starts, ends, strict=True)
    ]


def _headers(data: bytes, starts: list[int], counts: list[int]) -> list[dict[str, str]]:
    if not any(counts):
        return [{}] * len(counts)
    return [_pairs(data, at, count) for at, count in zip(starts, counts, strict=True)]


def _pairs(data: bytes, at: int, count: int) -> dict[str, str]:
    """The headers of one record; of two with one name the last, null as ""."""
    texts: list[str] = []
    for _ in range(2 * count):
        length, at = decode_varint(data, at)
        texts.append(data[at : at + max(length, 0)].decode(errors="backslashreplace"))
        at += max(length, 0)
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _stamps(milliseconds: Ints) -> list[int | None]:
    known: list[int | None] = (milliseconds * 1_000).tolist()
    if len(milliseconds) and milliseconds.min() < 0:
        return [stamp if stamp is not None and stamp >= 0 else None for stamp in known]
    return known


def _one_by_one(tp: Any, records: list[Any], first: int) -> Chunk:
    """The records of a batch in a format before 2."""
    wanted = [record for record in records if record.offset >= first]
    kept = [record for record in wanted if record.value is not None]
    times = np.array([-1 if r.timestamp is None else r.timestamp for r in kept], np.int64)
    return Chunk(
        tp.topic,
        tp.partition,
        np.array([record.offset for record in kept], np.int64),
        [bytes(record.value) for record in kept],
        [bytes(record.key or b"").decode(errors="backslashreplace") for record in kept],
        [{}] * len(kept),
        _stamps(times),
        len(wanted) - len(kept),
    )


def _uncompressed(batch: Any) -> tuple[bytes, int]:
    """The bytes that hold a batch's records, and where they begin."""
    data, start, kind = bytes(batch._buffer), batch.HEADER_STRUCT.size, batch.compression_type  # noqa: SLF001  # the client has no other way to them
    if not kind:
        return data, start
    if kind == _GZIP:
        return gzip.decompress(data[start:]), 0
    if kind == _SNAPPY:
        return _unsnapped(data[start:]), 0
    if kind not in _STREAMED:
        raise CorruptRecordError(f"the batch at {batch.base_offset} has an unknown compression")
    with pa.CompressedInputStream(pa.BufferReader(data[start:]), _STREAMED[kind]) as stream:
        return bytes(stream.read()), 0


def _unsnapped(data: bytes) -> bytes:
    """Snappy, in the frames that the Java client puts around it or without."""
    if not data.startswith(_XERIAL):
        return _unsnapped_block(data)
    blocks, at = [], _XERIAL_HEADER
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        blocks.append(_unsnapped_block(data[at + 4 : at + 4 + size]))
        at += 4 + size
    return b"".join(blocks)


def _unsnapped_block(block: bytes) -> bytes:
    length = shift = 0
    for byte in block[:5]:
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    return bytes(pa.decompress(block, decompressed_size=length, codec="snappy", asbytes=True))
