"""The JSON codec: what it reads, what it refuses and why, and that no bytes can upset it."""

import json
import math
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.codecs.json import build
from ingest.rejects import Rejects
from streamgauge.batch import Batch
from streamgauge.delivery import Delivery
from streamgauge.devices import Devices
from streamgauge.schema import Channel, Kind, Schema
from streamgauge.words import Flag

NOW = 1_772_366_400_000_000
SCHEMA = Schema([Channel("temperature"), Channel("load"), Channel("running", kind=Kind.BOOLEAN)])


class Bench:
    """A codec with what it needs around it."""

    def __init__(self, schema: Schema = SCHEMA, *, limit: int = 100, **options: Any) -> None:
        self.devices = Devices(limit)
        self.codec = build(schema, self.devices, **options)
        self.batch = Batch(4, len(schema))
        self.rejects = Rejects()

    def decode(self, *messages: Any, topics: list[str] | None = None, **beside: Any) -> "Bench":
        payloads = [m if isinstance(m, bytes) else json.dumps(m).encode() for m in messages]
        n = len(payloads)
        delivery = Delivery(
            payloads=payloads,
            topics=topics or ["pumps/a/telemetry"] * n,
            received=[NOW + i for i in range(n)],
            **beside,
        )
        # Filled with nonsense, so that a column that is not written shows.
        for column in ("row", "time", "received", "sequence", "values", "flags", "verdict"):
            getattr(self.batch, column)[:] = 77
        self.codec.decode(delivery, self.batch, self.rejects)
        return self

    @property
    def rows(self) -> list[tuple[str | None, int, int, list[float], list[int], int]]:
        b, n = self.batch, self.batch.n
        ids = [self.devices.ids[row] for row in b.row[:n]]
        columns = (b.time[:n], b.received[:n], b.values[:n], b.flags[:n], b.verdict[:n])
        return list(zip(ids, *(column.tolist() for column in columns), strict=True))

    @property
    def values(self) -> list[list[float]]:
        return [row[3] for row in self.rows]

    @property
    def flags(self) -> list[list[int]]:
        return [row[4] for row in self.rows]

    @property
    def reasons(self) -> dict[str, int]:
        return dict(self.rejects.counts)


def message(**fields: Any) -> dict[str, Any]:
    """A good message with some fields changed."""
    return {"device": "a", "time": 1_772_366_400, "temperature": 20.5, "load": 3} | fields


def same(left: Any, right: Any) -> bool:
    """Equal to the bit, NaN being equal to NaN."""
    return repr(left) == repr(right)


def test_a_batch_in_message_order() -> None:
    """Rows follow the messages, new devices get rows in that order, every column is written."""
    bench = Bench().decode(message(device="b"), message(), message(device="b", running=True))
    at = NOW
    assert same(
        bench.rows,
        [
            ("b", at, NOW, [20.5, 3.0, math.nan], [0, 0, 0], 0),
            ("a", at, NOW + 1, [20.5, 3.0, math.nan], [0, 0, 0], 0),
            ("b", at, NOW + 2, [20.5, 3.0, 1.0], [0, 0, 0], 0),
        ],
    )
    assert bench.devices.ids == ["b", "a"]
    assert not bench.reasons


def test_more_messages_than_the_batch_holds() -> None:
    """The batch grows to the delivery."""
    bench = Bench().decode(*[message(load=i) for i in range(50)])
    assert [v[1] for v in bench.values] == list(range(50))


@pytest.mark.parametrize("count", [1, 3])
def test_device_and_time_beside_the_payload(count: int) -> None:
    """A log's key, headers and time serve alone and in a run, for good messages and for those that
    need the second look."""
    keys, headers = ["a", "b", "a"][:count], [{"id": "x"}, {"id": "y"}, {"id": "x"}][:count]
    stamps = [7, 8, 9][:count]
    given: dict[str, Any] = {"keys": keys, "headers": headers, "stamps": stamps}
    for load in (3, "3"):
        messages = [{"load": load}] * count
        bench = Bench(device="key", time="message").decode(*messages, **given)
        assert [row[:2] for row in bench.rows] == list(zip(keys, stamps, strict=True))
        assert [row[3][1] for row in bench.rows] == [3.0] * count
        bench = Bench(device="header:id", time="received").decode(*messages, **given)
        ids = [each["id"] for each in headers]
        assert [row[:2] for row in bench.rows] == [(one, NOW + i) for i, one in enumerate(ids)]
        bench = Bench(device="key", time="header:at").decode(
            *messages, keys=keys, headers=[{"at": "1772366400"}] * count
        )
        assert [row[1] for row in bench.rows] == [NOW] * count


def test_messages_without_what_should_stand_beside_them() -> None:
    """A missing key, header or time costs its message alone, by name."""
    given: dict[str, Any] = {"keys": ["", "a"], "headers": [{}, {"id": "a"}]}
    for device in ("key", "header:id"):
        bench = Bench(device=device, time="received").decode({"load": 1}, {"load": 2}, **given)
        assert (len(bench.rows), bench.reasons) == (1, {"no_device": 1})
    bench = Bench(device="key", time="message").decode({"load": 1}, keys=["a"], stamps=[None])
    assert bench.reasons == {"no_time": 1}
    assert Bench(device="key").decode(message(), topics=["t"]).reasons == {"no_device": 1}


def test_an_empty_delivery() -> None:
    """Nothing in, nothing out."""
    assert Bench().decode().batch.n == 0


@pytest.mark.parametrize("channel", ["temperature", "running"])
@pytest.mark.parametrize("literal", [b"NaN", b"Infinity", b"-Infinity", b"1e400", b"9" * 5000])
def test_what_is_not_finite_costs_only_itself(literal: bytes, channel: str) -> None:
    """NaN, infinities and numbers beyond float64 become NaN with their flag; the rest is kept."""
    text = b'{"device":"a","time":1772366400,"load":3,"%s":%s}' % (channel.encode(), literal)
    bench = Bench().decode(text, message())
    column = SCHEMA.index[channel]
    assert math.isnan(bench.values[0][column])
    assert bench.flags[0][column] == Flag.NON_FINITE
    assert bench.values[0][1] == 3
    assert len(bench.rows) == 2


@pytest.mark.parametrize(
    ("value", "read", "flag"),
    [
        (True, math.nan, Flag.WRONG_TYPE),
        ("on", math.nan, Flag.WRONG_TYPE),
        ("1_0", math.nan, Flag.WRONG_TYPE),
        ("", math.nan, Flag.WRONG_TYPE),
        ([1], math.nan, Flag.WRONG_TYPE),
        ({"v": 1}, math.nan, Flag.WRONG_TYPE),
        ("12.5", 12.5, 0),
        (" -1e3 ", -1000.0, 0),
        ("1e400", math.nan, Flag.NON_FINITE),
        (None, math.nan, 0),
        (7, 7.0, 0),
        (10**30, 1e30, 0),
        (10**400, math.nan, Flag.NON_FINITE),
    ],
)
def test_values_of_a_number_channel(value: Any, read: float, flag: int) -> None:
    """Numbers and text that holds one are read; the wrong type is flagged; null is absent."""
    for bench in (
        Bench().decode(message(temperature=value)),
        Bench().decode(message(temperature=value), message()),
    ):
        assert same(bench.values[0][0], read)
        assert bench.flags[0][0] == flag
        assert bench.values[0][1] == 3


@pytest.mark.parametrize(
    ("value", "read", "flag"),
    [
        (True, 1.0, 0), (False, 0.0, 0), (1, 1.0, 0), (0, 0.0, 0), (1.0, 1.0, 0),
        (None, math.nan, 0), (2, math.nan, Flag.WRONG_TYPE), ("true", 1.0, 0),
        (" Off ", 0.0, 0), ("Ja", 1.0, 0),
        ("", math.nan, 0), ("maybe", math.nan, Flag.WRONG_TYPE), ([], math.nan, Flag.WRONG_TYPE),
    ],
)  # fmt: skip
def test_values_of_a_boolean_channel(value: Any, read: float, flag: int) -> None:
    """true, false, 1, 0 and the words for them are read, nothing else."""
    bench = Bench().decode(message(running=value))
    assert same(bench.values[0][2], read)
    assert bench.flags[0][2] == flag


def test_unknown_fields_are_skipped() -> None:
    """What the schema does not name changes nothing."""
    bench = Bench().decode(message(firmware="1.2", extra={"a": [1, 2]}))
    assert bench.values[0][:2] == [20.5, 3.0]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "malformed"), (b"online", "malformed"), (b"21.5", "malformed"),
        (b'"text"', "malformed"), (b"{", "malformed"), (b'{"device":"\xff"}', "malformed"),
        (b"[" * 100_000, "malformed"),
        (b"[1]", "malformed"), (b"\xff\xfe{\x00}\x00", "malformed"), (b"null", "malformed"),
        (b'{"x":' + b"[" * 40 + b"]" * 40 + b',"load":"x"}', "malformed"),
        (b'{"x":' + b"[" * 10**5 + b"]" * 10**5 + b"}", "malformed"),
        (b'{"time":1}', "no_device"), (b'{"device":null,"time":1}', "no_device"),
        (b'{"device":"","time":1}', "bad_device"), (b'{"device":1.5,"time":1}', "bad_device"),
        (b'{"device":true,"time":1}', "bad_device"), (b'{"device":"a\\nb","time":1}', "bad_device"),
        (b'{"device":"\\ud800","time":1}', "bad_device"),
        (b'{"device":"%s","time":1}' % (b"x" * 257), "bad_device"),
        (b'{"device":%s,"time":1}' % (b"9" * 40), "bad_device"),
        (b'{"device":"a"}', "no_time"), (b'{"device":"a","time":null}', "no_time"),
        (b'{"device":"a","time":"soon"}', "bad_time"), (b'{"device":"a","time":true}', "bad_time"),
        (b'{"device":"a","time":NaN}', "bad_time"), (b'{"device":"a","time":1e300}', "bad_time"),
        (b'{"device":"a","time":1,"pad":"%s"}' % (b"x" * 10**6), "too_large"),
    ],
)  # fmt: skip
def test_reasons(payload: bytes, reason: str) -> None:
    """Each refusal has its name, alone and among good messages, which are not harmed."""
    assert Bench().decode(payload).reasons == {reason: 1}
    bench = Bench().decode(message(), payload, message(load=4))
    assert bench.reasons == {reason: 1}
    assert [v[1] for v in bench.values] == [3.0, 4.0]
    assert bench.devices.ids == ["a"]
    reject = bench.rejects.newest[0]
    assert reject.topic == "pumps/a/telemetry"
    assert reject.received == NOW + 1
    assert reject.detail


def test_two_halves_do_not_make_a_reading() -> None:
    """Messages that would be valid only when joined are both refused."""
    whole = json.dumps(message()).encode()
    bench = Bench().decode(whole[:20], whole[20:], message())
    assert bench.reasons == {"malformed": 2}
    assert bench.batch.n == 1


def test_device_from_the_topic() -> None:
    """A topic level names the device; a topic that is too short is a mismatch."""
    bench = Bench(device="topic:1")
    bench.decode(*[message(device=5)] * 4, topics=["p/x/t", "p", "p//t", "p/y"])
    assert [row[0] for row in bench.rows] == ["x", "y"]
    assert bench.reasons == {"topic_mismatch": 1, "bad_device": 1}
    assert [row[0] for row in bench.decode({"time": 1}, topics=["p/x"]).rows] == ["x"]


def test_time_from_elsewhere() -> None:
    """Our clock or a topic level can be the event time."""
    bench = Bench(time="received").decode({"device": "a"}, {"device": "b"})
    assert [row[1] for row in bench.rows] == [NOW, NOW + 1]
    bench = Bench(time="topic:1").decode(
        *[{"device": "a"}] * 3, topics=["p/1772366400000", "p/never", "p"]
    )
    assert [row[1] for row in bench.rows] == [NOW]
    assert bench.reasons == {"bad_time": 1, "topic_mismatch": 1}


def test_text_times_use_the_configured_zone() -> None:
    """A clock without a zone is read in the stream's own."""
    bench = Bench(zone="Europe/Berlin").decode(message(time="2026-03-01T13:00:00"), message())
    assert [row[1] for row in bench.rows] == [NOW, NOW]


def test_nested_paths() -> None:
    """Dotted paths lead to device, time and channels; a missing branch is an absent value."""
    schema = Schema([Channel("t", path="data.in.t"), Channel("h", path="data.h")])
    bench = Bench(schema, device="field:meta.id", time="field:meta.at")
    meta = {"id": "a", "at": 1_772_366_400}
    good = {"meta": meta, "data": {"in": {"t": 1}, "h": 2}}
    bench.decode(good, {"meta": meta}, {"meta": meta, "data": {"in": "x", "h": 3}}, {"data": 1})
    assert same(bench.values, [[1.0, 2.0], [math.nan] * 2, [math.nan, 3.0]])
    assert bench.reasons == {"no_device": 1}
    assert same(bench.decode(good).values, [[1.0, 2.0]])


def test_a_field_that_is_read_twice() -> None:
    """Device and a channel may come from one field."""
    bench = Bench(Schema([Channel("id"), Channel("v", path="id.v")]), device="field:id")
    bench.decode({"id": 7, "time": 1}, {"id": 8, "time": 1})
    assert [row[0] for row in bench.rows] == ["7", "8"]
    assert same(bench.values, [[7.0, math.nan], [8.0, math.nan]])


def test_one_channel_from_topic_and_arrival() -> None:
    """A lone nested value is read when device and time come from elsewhere."""
    bench = Bench(Schema([Channel("t", path="a.t")]), device="topic:1", time="received")
    assert bench.decode({"a": {"t": 5}}, {"a": {"t": 6}}).values == [[5.0], [6.0]]


def test_integer_device_ids() -> None:
    """An integer id is its decimal text, alone or in a batch."""
    bench = Bench().decode(message(device=17), message(device="17"))
    assert [row[0] for row in bench.rows] == ["17", "17"]
    assert [row[0] for row in bench.decode(message(device=17)).rows] == ["17"]


def test_arrays_of_readings() -> None:
    """A message that is an array, or holds one, gives one row per element, in order."""
    bench = Bench().decode([message(load=1), message(load=2), 5, message(device="")], message())
    assert [v[1] for v in bench.values] == [1.0, 2.0, 3.0]
    assert bench.reasons == {"malformed": 1, "bad_device": 1}
    bench = Bench(readings="data.list")
    around = {"device": "g", "time": 1_772_366_400}
    bench.decode(
        around
        | {"data": {"list": [{"load": i} for i in range(9)] + [{"device": "own", "load": 9}]}},
        around | {"data": {}},
    )
    assert [v[1] for v in bench.values] == list(range(10))
    assert [row[0] for row in bench.rows] == ["g"] * 9 + ["own"]
    assert bench.reasons == {"malformed": 1}


def test_too_many_readings_in_one_message() -> None:
    """One message cannot make the batch grow without bound."""
    assert Bench().decode(b"[" + b"{}," * 10_000 + b"{}]").reasons == {"too_large": 1}
    good = [message()] * 10_001
    assert Bench().decode(good, message()).reasons == {"too_large": 1}
    assert Bench().decode(good).batch.n == 0
    group = {"device": "a", "time": 1, "rows": good}
    assert Bench(readings="rows").decode(group).reasons == {"too_large": 1}
    assert Bench(readings="rows").decode(group | {"rows": good[1:]}).batch.n == 10_000


def test_devices_beyond_the_limit() -> None:
    """Strangers beyond the limit are refused with their own reason and get no row."""
    bench = Bench(limit=2).decode(*[message(device=d) for d in "abcab"])
    assert [row[0] for row in bench.rows] == ["a", "b", "a", "b"]
    assert bench.reasons == {"device_limit": 1}


def test_refused_messages_make_no_device() -> None:
    """A device is interned only with a reading that is admitted."""
    bench = Bench().decode(message(device="x", time="never"), message(device="y"))
    assert bench.devices.ids == ["y"]


@pytest.mark.parametrize("extra", [{}, {"load": "no"}], ids=["typed", "second look"])
def test_the_device_counts_its_readings(extra: dict[str, Any]) -> None:
    """A whole number is the reading's sequence; what is none leaves it without one."""
    counts = [0, 7, "8", 2**63 - 1, 2**63, -1, None, 1.5, "x", True, 10**30]
    read = [0, 7, 8, 2**63 - 1, -1, -1, -1, -1, -1, -1, -1]
    bench = Bench(sequence="field:n").decode(*[message(n=n, **extra) for n in counts])
    assert bench.batch.sequence[: bench.batch.n].tolist() == read
    for n, number in zip(counts, read, strict=True):
        alone = Bench(sequence="field:n").decode(message(n=n, **extra))
        assert alone.batch.sequence[:1].tolist() == [number]
    assert Bench().decode(message(n=3)).batch.sequence[:1].tolist() == [-1]
    topics = ["a/5", "a"]
    bench = Bench(sequence="topic:1").decode(message(**extra), message(**extra), topics=topics)
    assert bench.batch.sequence[:2].tolist() == [5, -1]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"device": "topic:x"}, "topic:N"), ({"device": "received"}, "names no place"),
        ({"time": "field:"}, "received"), ({"device": "field:a..b"}, "empty name"),
        ({"zone": "Nowhere"}, "Europe/Berlin"), ({"max_bytes": 0}, "max_bytes"),
        ({"readings": "a."}, "empty name"),
    ],
)  # fmt: skip
def test_options_that_mean_nothing(options: dict[str, Any], match: str) -> None:
    """A wrong option is refused with what to write instead."""
    with pytest.raises(ValueError, match=match):
        Bench(**options)


VALUE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.floats(0, 100),
    st.lists(st.integers(), max_size=2),
)  # fmt: skip
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "device": st.one_of(st.sampled_from(["a", "b", "c", 17]), VALUE),
        "time": st.one_of(st.integers(1_700_000_000, 1_800_000_000), VALUE),
        "temperature": VALUE,
        "load": VALUE,
        "running": VALUE,
        "x": VALUE,
    },
)
GOOD = st.builds(
    lambda device, load: message(device=device, load=load), st.sampled_from("abcd"), st.floats(0, 9)
)
PAYLOAD = st.one_of(
    st.binary(max_size=40),
    GOOD.map(lambda m: json.dumps(m).encode()),
    FIELDS.map(lambda m: json.dumps(m).encode()),
    st.lists(FIELDS, max_size=3).map(lambda m: json.dumps(m).encode()),
    FIELDS.flatmap(
        lambda m: st.integers(0, len(json.dumps(m))).map(lambda cut: json.dumps(m).encode()[:cut])
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PAYLOAD, max_size=8))
def test_any_bytes_and_any_cut(payloads: list[bytes]) -> None:
    """No bytes raise; messages one by one give the very rows and rejects of one delivery; every
    value is finite or NaN."""
    whole = Bench(limit=3).decode(*payloads)
    parts, rows = Bench(limit=3), []
    for i, payload in enumerate(payloads):
        parts.decode(payload)
        rows += [(row[0], row[1], NOW + i, *row[3:]) for row in parts.rows]
    times_of_arrival_aside = [(row[0], row[1], row[2], *row[3:]) for row in whole.rows]
    assert same(rows, times_of_arrival_aside)
    assert whole.reasons == parts.reasons
    assert whole.devices.ids == parts.devices.ids
    assert not np.isinf(whole.batch.values[: whole.batch.n]).any()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_numbers_are_read_exactly(numbers: list[float]) -> None:
    """Every float64 that was written comes back bit for bit, by the typed and the second look."""
    typed = Bench().decode(*[message(load=x) for x in numbers])
    assert same([v[1] for v in typed.values], numbers)
    slow = Bench().decode(*[message(load=x, temperature="no") for x in numbers])
    assert same([v[1] for v in slow.values], numbers)


@pytest.mark.parametrize("spoiled", [{}, {"deep": None, "extra": 10**400}])
def test_a_channel_named_with_dots_is_read_under_that_very_name(spoiled: dict[str, Any]) -> None:
    """The name "PM2.5" is read as it stands, fast and slowly; only `path` leads into objects."""
    schema = Schema([Channel("PM2.5"), Channel("deep", path="a.b")])
    message = {"device": "d", "time": 1_700_000_000, "PM2.5": 7.5, "a": {"b": 2}, **spoiled}
    bench = Bench(schema).decode(message)
    assert bench.batch.values[0].tolist() == [7.5, 2.0]


ROWS = st.lists(st.one_of(FIELDS, GOOD, GOOD, GOOD.map(lambda m: m | {"device": None})), max_size=4)
MANY = st.one_of(
    ROWS,
    GOOD,
    st.builds(lambda head, rows: head | {"rows": rows}, FIELDS, ROWS),
    st.builds(lambda head, rows: head | {"rows": rows}, GOOD, st.lists(FIELDS, max_size=3)),
    st.fixed_dictionaries({"device": st.just("g"), "time": st.just(5), "rows": ROWS | VALUE}),
)


@pytest.mark.parametrize(
    "options",
    [
        {}, {"readings": "rows"}, {"readings": "rows", "device": "topic:1", "sequence": "field:x"},
        {"readings": "rows", "time": "received", "sequence": "topic:0"},
        {"time": "received", "sequence": "topic:0", "units": {"load": "percent"}},
    ],
    ids=str,
)  # fmt: skip
@settings(max_examples=120, deadline=None)
@given(messages=st.lists(MANY, max_size=6))
def test_typed_and_second_look_agree(options: dict[str, Any], messages: list[Any]) -> None:
    """Single readings, arrays and groups become the very rows and rejects by either way, and in
    runs of any length."""
    schema = Schema([SCHEMA.channels[0], Channel("load", unit="permille"), SCHEMA.channels[2]])
    payloads = [json.dumps(m).encode() for m in messages]
    topics = [("7/a", "8/b", "p")[k % 3] for k in range(len(messages))]
    fast, slow, short = (Bench(schema, limit=3, **options) for _ in range(3))
    slow.codec._typed = None  # type: ignore[attr-defined]  # so that nothing goes the fast way
    fast.decode(*payloads, topics=topics)
    slow.decode(*payloads, topics=topics)
    with patch("ingest.codecs.json.RUN_BYTES", 100):
        short.decode(*payloads, topics=topics)
    for other in (slow, short):
        assert same(fast.rows, other.rows)
        numbers = [bench.batch.sequence[: bench.batch.n].tolist() for bench in (fast, other)]
        assert numbers[0] == numbers[1]
        assert fast.reasons == other.reasons
        assert fast.devices.ids == other.devices.ids


def test_groups_go_the_fast_way() -> None:
    """Messages of many good readings never reach the second look."""
    head = {"device": "g", "time": 1_772_366_400}
    rows = [{"load": k} for k in range(50)] + [{"device": "own", "load": 50}]
    cases: tuple[tuple[dict[str, Any], Any], ...] = (
        ({"readings": "a.rows"}, head | {"a": {"rows": rows}}),
        ({}, [head | row for row in rows]),
    )
    for options, payload in cases:
        bench = Bench(**options)
        bench.codec._second_look = None  # type: ignore[attr-defined]  # whoever calls it fails
        bench.decode(payload, payload, *([message(load=1)] if not options else []))
        assert [v[1] for v in bench.values][:102] == [float(k) for k in range(51)] * 2
        assert bench.decode(payload).batch.n == 51
        assert {row[0] for row in bench.rows} == {"g", "own"}
