"""Every codec reads what devices send, and takes whatever else comes: read or rejected, never
raised."""

import json
import re
import tracemalloc
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.codecs._tokens import word_number
from ingest.rejects import Rejects
from streamgauge import plugins, tokens
from streamgauge.batch import Batch
from streamgauge.delivery import Delivery
from streamgauge.devices import Devices
from streamgauge.words import Flag
from tests.contracts.golden import Golden, goldens, micros

CODECS = list(plugins.find("ingest.codecs"))
LIMIT = 3
COLUMNS = ("row", "time", "received", "sequence", "values", "flags", "verdict")
MOST_BYTES_PER_BYTE = 1_000
"""Memory that a message may take for each of its bytes: an empty map of one byte becomes an object,
twice."""

WORDS = np.uint16(Flag.CORRECTED | Flag.UNKNOWN_CATEGORY)
"""Flags of a word that has a number all the same."""

each_codec = pytest.mark.parametrize("codec", CODECS)


@each_codec
def test_every_codec_has_real_payloads(codec: str) -> None:
    """A codec comes with at least three messages as devices send them, and something is refused."""
    assert len(goldens(codec)) >= 3, f"add payloads to tests/golden/{codec}"
    assert all(golden.expected["about"] for golden in goldens(codec))
    assert any(golden.expected.get("rejects") for golden in goldens(codec)), "none is ugly"


@pytest.mark.parametrize(
    "golden", [golden for codec in CODECS for golden in goldens(codec)], ids=str
)
def test_real_payload(golden: Golden) -> None:
    """What the device sent becomes the readings that it meant."""
    (codec, devices), rejects = built(golden, 100), Rejects()
    found = []
    for delivery in golden.deliveries:
        batch = dirty(golden)
        codec.decode(delivery, batch, rejects)
        found += [shown(batch, k, golden, devices) for k in range(batch.n)]
    assert found == [wanted(reading) for reading in golden.expected["readings"]]
    assert dict(rejects.counts) == golden.expected.get("rejects", {})
    asked = codec.requests() if hasattr(codec, "requests") else []
    hexed = [[topic, payload.hex()] for topic, payload in asked]
    assert hexed == golden.expected.get("requests", [])


def wanted(reading: dict[str, Any]) -> dict[str, Any]:
    """An expectation with what it leaves out."""
    words = {name: list(map(word_number, some)) for name, some in reading.get("words", {}).items()}
    time = micros(reading["time"])
    return {"sequence": -1, "flags": {}} | reading | {"time": time, "words": words}


def shown(batch: Batch, k: int, golden: Golden, devices: Devices) -> dict[str, Any]:
    """A row of a batch as an expectation is written."""
    names = golden.schema.names
    return {
        "device": devices.ids[batch.row[k]],
        "time": int(batch.time[k]),
        "sequence": int(batch.sequence[k]),
        "flags": {n: int(f) for n, f in zip(names, batch.flags[k], strict=False) if f},
        "words": {n: some for n in golden.schema.words if (some := words_of(batch, k, golden, n))},
    } | {n: float(x) for n, x in zip(names, batch.values[k], strict=False) if not np.isnan(x)}


def words_of(batch: Batch, k: int, golden: Golden, channel: str) -> list[int]:
    """The numbers of the words of a text in a row of a batch; none where it is absent."""
    columns = batch.values[k, golden.schema.words[channel]]
    if np.isnan(columns).any():
        assert np.isnan(columns).all()
        return []
    places = [tokens.BITS * place for place in range(tokens.PER_VALUE)]
    numbers = [int(value) >> place & tokens.WORDS for value in columns for place in places]
    return [number for number in numbers if number]


def built(golden: Golden, limit: int) -> tuple[Any, Devices]:
    """A new codec with the options of an expectation, and its devices."""
    devices = Devices(limit)
    module = plugins.load("ingest.codecs", golden.codec)
    return module.build(golden.schema, devices, **golden.options), devices


def dirty(golden: Golden) -> Batch:
    """A batch filled with nonsense, so that a column which is not written shows."""
    batch = Batch(2, golden.schema.width)
    for name in COLUMNS:
        getattr(batch, name)[:] = 77
    return batch


def decoded(
    golden: Golden, deliveries: Sequence[Delivery]
) -> tuple[dict[str, bytes], Rejects, list[str | None], Any]:
    """What a new codec makes of these deliveries, one after the other: columns, rejects, devices
    and what it remembers."""
    codec, devices = built(golden, LIMIT)
    rejects = Rejects()
    parts: dict[str, list[bytes]] = {name: [] for name in COLUMNS}
    for delivery in deliveries:
        batch = dirty(golden)
        codec.decode(delivery, batch, rejects)
        check_batch(batch, delivery, devices)
        for name in COLUMNS:
            parts[name].append(getattr(batch, name)[: batch.n].tobytes())
    remembered = codec.snapshot() if hasattr(codec, "snapshot") else None
    columns = {name: b"".join(column) for name, column in parts.items()}
    return columns, rejects, devices.ids, remembered


def check_batch(batch: Batch, delivery: Delivery, devices: Devices) -> None:
    """Every reading is whole: its device is known, what is flagged as no value is absent, nothing
    infinite."""
    n = batch.n
    assert 0 <= n <= batch.capacity == len(batch.row)
    assert ((batch.row[:n] >= 0) & (batch.row[:n] < len(devices))).all()
    assert devices.known <= LIMIT
    assert not batch.verdict[:n].any()
    assert (batch.sequence[:n] >= -1).all()
    assert not np.isinf(batch.values[:n]).any()
    assert np.isnan(batch.values[:n][(batch.flags[:n] & ~WORDS) != 0]).all()
    received = batch.received[:n].tolist()
    assert set(received) <= set(delivery.received)
    assert received == sorted(received), "the readings are not in order"


def delivery_of(golden: Golden, payloads: Sequence[bytes], start: int = 0) -> Delivery:
    """These messages, each with a topic and time of its own."""
    own = [topic for delivery in golden.deliveries for topic in delivery.topics]
    known = [*own, "pumps/p1/x", "pumps", "", "a/Ü/b"]
    places = range(start, start + len(payloads))
    topics = [known[k % len(known)] for k in places]
    return Delivery(0, list(payloads), topics, [1_772_366_400_000_000 + k for k in places])


def drawn(data: st.DataObject, codec: str) -> tuple[Golden, list[bytes]]:
    """An expectation of the codec, and messages: its own, spoiled ones and any bytes."""
    golden = data.draw(st.sampled_from(goldens(codec)))
    every = [payload for each in goldens(codec) for payload in each.payloads]
    return golden, data.draw(st.lists(payloads(golden.payloads, every), max_size=8))


def payloads(own: list[bytes], others: list[bytes]) -> st.SearchStrategy[bytes]:
    """Any bytes, messages, and messages with a piece cut out and another put in."""
    message = st.sampled_from([*own, *others])
    noise = st.one_of(st.binary(max_size=6), message)

    def spliced(whole: bytes, at: float, gone: int, put: bytes) -> bytes:
        k = round(at * len(whole))
        return whole[:k] + put + whole[k + gone :]

    return st.one_of(
        message,
        st.binary(max_size=40),
        st.builds(spliced, message, st.floats(0.0, 1.0), st.integers(0, 9), noise),
    )


@each_codec
@settings(deadline=None, max_examples=150, derandomize=True)
@given(data=st.data())
def test_codec_takes_any_bytes(codec: str, data: st.DataObject) -> None:
    """Nothing raises, each reject has a reason, and no codec is found to be wrong itself; messages
    give the same readings, rejects, devices and memory together and one by one."""
    golden, messages = drawn(data, codec)
    whole, rejects, ids, memory = decoded(golden, [delivery_of(golden, messages)])
    singles = [delivery_of(golden, [message], k) for k, message in enumerate(messages)]
    alone, others, ids_alone, memory_alone = decoded(golden, singles)
    assert (whole, rejects.counts, ids, memory) == (alone, others.counts, ids_alone, memory_alone)
    assert "codec_failed" not in rejects.counts, rejects.newest
    for reject in rejects.newest:
        assert re.fullmatch(r"[a-z_]+", reject.reason)
        assert reject.detail
        assert len(reject.payload) <= 1_024


@pytest.mark.parametrize(
    "golden", [golden for codec in CODECS for golden in goldens(codec)], ids=str
)
def test_codec_goes_on_where_a_checkpoint_was_taken(golden: Golden) -> None:
    """What is remembered is JSON, and a new codec that takes it over reads on as the old one."""
    for cut in range(len(golden.deliveries) + 1):
        codec, devices = built(golden, 100)
        found = []
        for k, delivery in enumerate(golden.deliveries):
            if k == cut and hasattr(codec, "snapshot"):
                saved = json.loads(json.dumps(codec.snapshot()))
                codec, devices = built(golden, 100)
                codec.restore(saved)
            batch = dirty(golden)
            codec.decode(delivery, batch, Rejects())
            found += [shown(batch, row, golden, devices) for row in range(batch.n)]
        assert found == [wanted(reading) for reading in golden.expected["readings"]]


INFLATES = zlib.compress(b"\x12\0" * 499_999)
"""A thousand bytes that would become half a million metrics."""
HOSTILE = {
    "many brackets": b"[" * 200_000,
    "many maps": b'{"a":' * 50_000,
    "many empty maps": b"[" + b"{}," * 100_000 + b"{}]",
    "digits": b"9" * 200_000,
    "number": b'{"device":"a","time":' + b"9" * 200_000 + b"}",
    "separators": b"," * 200_000,
    "lines": b"\n" * 200_000,
    "quotes": b'"' * 200_001,
    "backslashes": b"m f=" + b"\\" * 200_001,
    "digits in a field": b"m a=" + b"1" * 200_000 + b"x",
    "exponent in a field": b"m a=1e" + b"1" * 200_000 + b"x",
    "spaces behind a field": b"m a=1" + b" " * 200_000 + b"x",
    "open quotes": b'm a="' * 30_000,
    "malformed lines": b"x\n" * 100_000,
    "spaces": b"m" + b" " * 200_000 + b"x",
    "fields": b"m " + b"a=1," * 50_000 + b"!",
    "cbor array of 2^60": bytes.fromhex("9b1000000000000000"),
    "cbor map of 2^60": bytes.fromhex("bb1000000000000000"),
    "cbor text of 2^60": bytes.fromhex("7b1000000000000000"),
    "cbor nested": b"\x81" * 200_000,
    "cbor empty maps": b"\x9a\x00\x01\x86\xa0" + b"\xa0" * 100_000,
    "cbor big integer": b"\xa1\x61a\xc2\x5a\x00\x03\x0d\x40" + b"\xff" * 200_000,
    "cbor decimal of 2^31": bytes.fromhex("a16161c4821a7fffffff01"),
    "cbor binary of 2^31": bytes.fromhex("a16161c5821a7fffffff01"),
    "cbor names of one hash": b"\xba\x00\x00\x27\x10"
    + b"".join(b"\xc2\x4a" + (k * (2**61 - 1)).to_bytes(10) + b"\x00" for k in range(1, 10_001)),
    "cbor itself": bytes.fromhex("d81c81d81d00"),
    "msgpack array of 2^32": bytes.fromhex("ddffffffff"),
    "msgpack map of 2^32": bytes.fromhex("dfffffffff"),
    "msgpack bytes of 2^32": bytes.fromhex("c6ffffffff"),
    "msgpack nested": b"\x91" * 200_000,
    "msgpack empty maps": b"\xdd\x00\x01\x86\xa0" + b"\x80" * 100_000,
    "protobuf length of 2^60": b"\x12\x80\x80\x80\x80\x80\x80\x80\x80\x10",
    "protobuf groups": b"\x0b" * 200_000,
    "protobuf that inflates": b'"\x12SPBV1.0_COMPRESSED*'
    + bytes([len(INFLATES) & 127 | 128, len(INFLATES) >> 7])
    + INFLATES,
}


@each_codec
def test_codec_is_not_overwhelmed(codec: str) -> None:
    """Messages that claim, nest or repeat without measure take memory in proportion to their size,
    and are over at once."""
    golden = goldens(codec)[0]
    decoder, _ = built(golden, LIMIT)
    rejects, batch = Rejects(), dirty(golden)
    for name, payload in HOSTILE.items():
        delivery = delivery_of(golden, [payload])
        tracemalloc.start()
        try:
            decoder.decode(delivery, batch, rejects)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most < 8_000_000 + MOST_BYTES_PER_BYTE * len(payload), f"{name}: {most:,} bytes"
        assert batch.n <= 10_000
    assert "codec_failed" not in rejects.counts, rejects.newest
