"""Record batches as columns: every compression and format, and no bytes that upset the parser."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.legacy_records import LegacyRecordBatchBuilder

from ingest.sources._kafka_chunks import Chunk, ChunkRecords
from ingest.sources._kafka_parse import COLUMNS, places
from tests.kafka_reader import produce, reading
from tests.services.kafka import new_topic, shared

TP = TopicPartition("t", 3)
Record = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]
"""Key, value, headers."""


def batch(records: list[Record]) -> bytes:
    """A batch in format 2 as a producer makes it."""
    made = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=False,
        producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=10**6,
    )  # fmt: skip
    for k, (key, value, headers) in enumerate(records):
        made.append(k, 1_772_366_400_000 + 7 * k, key, value, headers)
    return bytes(made.build())


def chunks(data: bytes, first: int = 0) -> list[Chunk]:
    """What we make of fetched bytes."""
    return list(ChunkRecords(first, TP, MemoryRecords(data)).take())


def theirs(data: bytes, first: int = 0) -> list[Any]:
    """What the client makes of them."""
    return list(Fetcher.PartitionRecords(first, TP, MemoryRecords(data)).take())


blob = st.none() | st.binary(max_size=40)
header = st.tuples(st.text(max_size=5), st.binary(max_size=9))
batches = st.lists(
    st.lists(st.tuples(blob, blob, st.lists(header, max_size=3)), min_size=1, max_size=20),
    min_size=1,
    max_size=3,
)


@given(batches, st.integers(0, 25))
@settings(max_examples=200, deadline=None)
def test_chunks_hold_what_the_client_would_give(made: list[list[Record]], first: int) -> None:
    """Offsets, values, keys, headers and times of the client's own records, from an offset on."""
    data = b"".join(batch(records) for records in made[:1])
    expected = [record for record in theirs(data, first) if record.value is not None]
    found = [chunk for chunk in chunks(data, first) if len(chunk)]
    joined: list[Any] = [[], [], [], [], []]
    for chunk in found:
        assert (chunk.topic, chunk.partition) == TP
        columns = (chunk.offsets.tolist(), chunk.payloads, chunk.keys, chunk.headers, chunk.stamps)
        joined = [column + part for column, part in zip(joined, columns, strict=True)]
    offsets, payloads, keys, headers, stamps = joined
    assert offsets == [record.offset for record in expected]
    assert payloads == [record.value for record in expected]
    assert keys == [(r.key or b"").decode(errors="backslashreplace") for r in expected]
    assert headers == [
        {name: value.decode(errors="backslashreplace") for name, value in r.headers}
        for r in expected
    ]
    assert stamps == [1_000 * record.timestamp for record in expected]


@given(st.binary(max_size=300), st.integers(0, 40), st.integers(0, 310))
@settings(max_examples=500, deadline=None)
def test_no_bytes_upset_the_parser(data: bytes, count: int, at: int) -> None:
    """Whatever stands there: -1, or a place behind at least the six bytes of every record, whose
    fields all lie inside."""
    out = np.zeros((count, COLUMNS), np.int64)
    end = places(np.frombuffer(data, np.uint8), at, out)
    assert end == -1 or at + 6 * count <= end <= max(len(data), at)
    if end > 0:
        assert ((out[:, 2:6] >= -1) & (out[:, 2:6] <= len(data))).all()


@pytest.mark.parametrize("cut", [61, 65, -1])
def test_a_batch_that_is_not_whole_is_refused(cut: int) -> None:
    """A record that ends too early, or a number of records that cannot be, is an error."""
    data = bytearray(batch([(b"k", b"value", [])] * 3))
    data[57:61] = (10**9).to_bytes(4, "big") if cut < 0 else data[57:61]
    if cut > 0:
        data[cut] = 0x7E
    records = ChunkRecords(0, TP, MemoryRecords(bytes(data)), check_crcs=False)
    with pytest.raises(CorruptRecordError, match="not whole records"):
        records.take()
    with pytest.raises(CorruptRecordError, match="CRC"):
        chunks(bytes(data))


def test_a_format_before_the_second() -> None:
    """Topics of very old brokers are read too, record by record."""
    made = LegacyRecordBatchBuilder(magic=1, compression_type=0, batch_size=10**6)
    for k, value in enumerate([b"a", None, b"c"]):
        made.append(k, timestamp=1_000 + k, key=b"k", value=value)
    tombstone, chunk = chunks(bytes(made.build()), 1)
    assert (len(tombstone), tombstone.tombstones) == (0, 1)
    assert (chunk.offsets.tolist(), chunk.payloads, chunk.keys) == ([2], [b"c"], ["k"])
    assert (chunk.stamps, chunk.tombstones) == ([1_002_000], 0)


@pytest.mark.parametrize("kind", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_topics(kind: str) -> None:
    """Whatever a broker compresses with is read."""
    bootstrap = shared()
    topic = new_topic(bootstrap, settings={"compression.type": kind})
    payloads = [b"%d " % k * 50 for k in range(3_000)]
    produce(bootstrap, topic, payloads)
    with reading(bootstrap, topic) as reader:
        reader.until(lambda: len(reader.payloads) >= 3_000)
        assert reader.payloads == payloads
