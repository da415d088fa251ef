"""Every codec takes whatever comes: each message by itself, read or rejected, never raised."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.rejects import Rejects
from streamgauge import plugins
from streamgauge.batch import Batch
from streamgauge.delivery import Delivery
from streamgauge.devices import Devices
from streamgauge.schema import Channel, Kind, Schema

SCHEMA = Schema([Channel("a"), Channel("b", path="data.b"), Channel("on", kind=Kind.BOOLEAN)])
LIMIT = 3


@dataclass(frozen=True)
class Format:
    """Options of a codec, and messages that become readings with them."""

    codec: str
    messages: tuple[bytes, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


FORMATS = (
    Format(
        "json",
        (
            b'{"device":"p1","time":"2026-03-01T12:00:00Z","a":21.5,"data":{"b":-3e2},"on":true}',
            b'{"device":7,"time":1772366400.25,"a":"1.5","on":0}',
            b'[{"device":"p1","time":1772366400,"a":1},{"device":"p2","time":1772366401,"b":"x"}]',
            b'{"device":"p3","time":1772366400123,"a":NaN,"data":{"b":null},"on":7}',
        ),
    ),
    Format(
        "json",
        (b'{"a":1,"data":{"b":2.5},"on":false}', b'{"a":null}'),
        {"device": "topic:1", "time": "received"},
    ),
    Format(
        "json",
        (b'{"device":"p1","rows":[{"time":1772366400,"a":1},{"time":1772366401,"on":1}]}',),
        {"readings": "rows"},
    ),
)
each_format = pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.codec}")


def test_every_codec_has_messages() -> None:
    """A new codec cannot slip past the fuzz."""
    assert set(plugins.find("ingest.codecs")) == {form.codec for form in FORMATS}


Columns = dict[str, bytes]


def decoded(form: Format, deliveries: Sequence[Delivery]) -> tuple[Columns, Rejects, list[int]]:
    """What a new codec makes of these deliveries, one after the other; the readings of each."""
    devices, rejects, batch = Devices(LIMIT), Rejects(), Batch(2, len(SCHEMA))
    codec = plugins.load("ingest.codecs", form.codec).build(SCHEMA, devices, **form.options)
    parts: dict[str, list[bytes]] = {}
    counts = []
    for delivery in deliveries:
        batch.values[:], batch.flags[:], batch.verdict[:], batch.row[:] = 77.0, 255, 255, -9
        codec.decode(delivery, batch, rejects)
        check_batch(batch, delivery, devices)
        counts.append(batch.n)
        for name in ("row", "time", "received", "sequence", "values", "flags", "verdict"):
            parts.setdefault(name, []).append(getattr(batch, name)[: batch.n].tobytes())
    return {name: b"".join(columns) for name, columns in parts.items()}, rejects, counts


def check_batch(batch: Batch, delivery: Delivery, devices: Devices) -> None:
    """Every reading is whole: its device is known, what is flagged is absent, nothing infinite."""
    n = batch.n
    assert 0 <= n <= batch.capacity == len(batch.row)
    assert ((batch.row[:n] >= 0) & (batch.row[:n] < len(devices))).all()
    assert devices.known <= LIMIT
    assert not batch.verdict[:n].any()
    assert not np.isinf(batch.values[:n]).any()
    assert np.isnan(batch.values[:n][batch.flags[:n] != 0]).all()
    received = batch.received[:n].tolist()
    assert set(received) <= set(delivery.received)
    assert received == sorted(received), "the readings are not in order"


def delivery_of(payloads: Sequence[bytes], start: int = 0) -> Delivery:
    """These messages, each with a topic and time of its own."""
    places = range(start, start + len(payloads))
    topics = [("pumps/p1/x", "pumps/p2", "pumps", "", "a/Ü/b")[k % 5] for k in places]
    return Delivery(0, list(payloads), topics, [1_772_366_400_000_000 + k for k in places])


def payloads(form: Format) -> st.SearchStrategy[bytes]:
    """Any bytes, messages, and messages with a piece cut out and another put in."""
    message = st.sampled_from(form.messages)
    noise = st.one_of(st.binary(max_size=6), message)
    place = st.floats(0.0, 1.0)

    def spliced(whole: bytes, at: float, gone: int, put: bytes) -> bytes:
        k = round(at * len(whole))
        return whole[:k] + put + whole[k + gone :]

    return st.one_of(
        message,
        st.binary(max_size=40),
        st.builds(spliced, message, place, st.integers(0, 9), noise),
    )


@each_format
@settings(deadline=None, max_examples=150, derandomize=True)
@given(data=st.data())
def test_codec_takes_any_bytes(form: Format, data: st.DataObject) -> None:
    """Nothing raises, and each message is either read or rejected."""
    messages = data.draw(st.lists(payloads(form), max_size=8))
    _, rejects, _ = decoded(form, [delivery_of(messages)])
    singles = [delivery_of([message], k) for k, message in enumerate(messages)]
    for reject in rejects.newest:
        assert re.fullmatch(r"[a-z_]+", reject.reason)
        assert reject.detail
        assert len(reject.payload) <= 1_024
    for single in singles:
        _, refused, (readings,) = decoded(form, [single])
        empty = single.payloads[0].strip() == b"[]"
        assert empty or readings + sum(refused.counts.values()) >= 1, "neither read nor rejected"


@each_format
@settings(deadline=None, max_examples=150, derandomize=True)
@given(data=st.data())
def test_codec_decodes_each_message_by_itself(form: Format, data: st.DataObject) -> None:
    """Messages give the same readings and rejects in one delivery and in one delivery each."""
    drawn = data.draw(st.lists(payloads(form), min_size=1, max_size=8))
    whole, rejects, _ = decoded(form, [delivery_of(drawn)])
    alone, others, _ = decoded(form, [delivery_of([one], k) for k, one in enumerate(drawn)])
    assert rejects.counts == others.counts
    assert whole == alone


@each_format
def test_codec_reads_its_messages(form: Format) -> None:
    """Each message of a format is read without a reject, and the fuzz reaches rejects too."""
    for message in form.messages:
        _, rejects, (readings,) = decoded(form, [delivery_of([message])])
        assert readings >= 1
        assert not rejects.counts
    _, rejects, (readings,) = decoded(form, [delivery_of([b"\xff\x00", b"", b"{", b"7"])])
    assert (readings, sum(rejects.counts.values())) == (0, 4)
