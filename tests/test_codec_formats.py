"""The generic formats against what other writers make, and option by option."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import cbor2
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from influxdb_client import Point, WritePrecision

from ingest.rejects import Rejects
from streamgauge import plugins
from streamgauge.batch import Batch
from streamgauge.delivery import Delivery
from streamgauge.devices import Devices
from streamgauge.schema import Channel, Kind, Schema

NOW = 1_772_366_400_000_000
SCHEMA = Schema([Channel("a"), Channel("b", path="in.b"), Channel("on", kind=Kind.BOOLEAN)])


def decoded(
    codec: str, payload: bytes, topic: str = "t/d", schema: Schema = SCHEMA, **options: Any
) -> tuple[list[Any], dict[str, int]]:
    """Device, time, sequence, values and flags of each reading of a message; the rejects."""
    devices, batch, rejects = Devices(9), Batch(1, len(schema)), Rejects()
    built = plugins.load("ingest.codecs", codec).build(schema, devices, **options)
    built.decode(Delivery(0, [payload], [topic], [NOW]), batch, rejects)
    n = batch.n
    ids = [devices.ids[row] for row in batch.row[:n]]
    columns = (batch.time[:n], batch.sequence[:n], batch.values[:n], batch.flags[:n])
    rows = list(zip(ids, *(column.tolist() for column in columns), strict=True))
    return [repr(row) for row in rows], dict(rejects.counts)


NUMBER = st.one_of(
    st.floats(), st.integers(-(2**63), 2**64 - 1), st.booleans(), st.none(), st.text(max_size=5)
)
READING = st.fixed_dictionaries(
    {"device": st.sampled_from(["p1", "p2", 7, "", None]), "time": st.integers(0, 2_000_000_000)},
    optional={"a": NUMBER, "in": st.fixed_dictionaries({"b": NUMBER}) | NUMBER, "on": NUMBER},
)


@pytest.mark.parametrize(
    ("codec", "encode"), [("cbor", cbor2.dumps), ("messagepack", msgspec.msgpack.encode)]
)
@settings(max_examples=200, deadline=None)
@given(message=READING | st.lists(READING, max_size=3) | NUMBER)
def test_binary_maps_are_read_like_json(
    codec: str, encode: Callable[[Any], bytes], message: Any
) -> None:
    """A message means the same as CBOR, as MessagePack and as JSON."""
    assert decoded(codec, encode(message)) == decoded("json", json.dumps(message).encode())


WORD = st.text("ab,= \\\"'é", min_size=1, max_size=6).filter(
    lambda word: word.strip() == word and not word.endswith("\\") and "\\" not in word
)


@settings(max_examples=200, deadline=None)
@given(
    measurement=WORD.filter(lambda word: not word.startswith("#")),
    device=WORD,
    name=WORD,
    value=st.floats(-1e300, 1e300) | st.integers(-(2**62), 2**62) | st.booleans(),
    text=st.text('ab"\\ ,=\n', max_size=6).filter(lambda text: not text.endswith("\\")),
    time=st.integers(10**12, 10**18),
)
def test_lines_that_the_influxdb_client_writes(
    measurement: str, device: str, name: str, value: Any, text: str, time: int
) -> None:
    """What the vendor's own client writes is read as it was meant, escapes and all."""
    point = Point(measurement).tag("id", device).field(name, value).field("~note", text)
    line = point.time(time, WritePrecision.NS).to_line_protocol()
    kind = Kind.BOOLEAN if isinstance(value, bool) else Kind.NUMBER
    schema = Schema(
        [Channel("x", path=name, kind=kind), Channel("y", path=f"{measurement}.{name}", kind=kind)]
    )
    rows, rejects = decoded(
        "line_protocol", f"{line}\n{line}".encode(), schema=schema, device="field:id"
    )
    assert rejects == {}
    assert rows == [repr((device, time // 1_000, -1, [float(value)] * 2, [0, 0]))] * 2


@pytest.mark.parametrize(
    ("precision", "time"),
    [("ns", NOW * 1000), ("us", NOW), ("ms", NOW // 1000), ("s", NOW // 10**6)],
)
def test_precision_of_lines(precision: str, time: int) -> None:
    """A timestamp counts in the unit that is configured, from 1970 on and before."""
    options: dict[str, Any] = {"device": "field:id", "precision": precision}
    assert decoded("line_protocol", f"m,id=d a=1 {time}".encode(), **options)[0][0].startswith(
        f"('d', {NOW}, "
    )
    assert decoded("line_protocol", f"m,id=d a=1 -{time}".encode(), **options)[0][0].startswith(
        f"('d', -{NOW}, "
    )


CELL = st.text("ab;\"' ,é", max_size=5)


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.tuples(CELL, st.floats(-1e9, 1e9)), min_size=1, max_size=4),
    header=st.booleans(),
)
def test_lines_that_the_csv_module_writes(rows: list[tuple[str, float]], *, header: bool) -> None:
    """Whatever quotes a writer needs, the cells come back."""
    written = io.StringIO()
    writer = csv.writer(written, delimiter=";")
    columns = ["device", "a", "x y"]
    if header:
        writer.writerow(columns)
    writer.writerows([f"d{text}", x, text] for text, x in rows)
    found, rejects = decoded(
        "csv",
        written.getvalue().encode(),
        separator=";",
        time="received",
        columns=[] if header else columns,
    )
    assert rejects == {}
    assert found == [
        repr((f"d{text}".strip(), NOW, -1, [x, np.nan, np.nan], [0, 0, 0])) for text, x in rows
    ]


@settings(max_examples=150, deadline=None)
@given(
    pack=st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "bn": st.sampled_from(["p1:", "p2/", ""]), "bt": st.sampled_from([0, -5, 1.7e9]),
                "bu": st.just("Cel"), "bv": st.floats(-5, 5),
                "n": st.sampled_from(["a", "b", "on"]),
                "t": st.sampled_from([-1, 0, 2, 1.7e9]), "u": st.sampled_from(["Cel", "K", "m"]),
                "v": st.floats(-50, 50), "vb": st.booleans(), "s": st.floats(0, 9),
            },
        ),
        max_size=5,
    )
)  # fmt: skip
def test_senml_means_the_same_in_json_and_cbor(pack: list[dict[str, Any]]) -> None:
    """A pack gives the same readings in both its forms."""
    labels = {
        "bn": -2,
        "bt": -3,
        "bu": -4,
        "bv": -5,
        "n": 0,
        "u": 1,
        "v": 2,
        "vb": 4,
        "s": 5,
        "t": 6,
    }
    short = [{labels[name]: value for name, value in record.items()} for record in pack]
    schema = Schema(
        [Channel("a", unit="degC"), Channel("b", path="p1:b"), Channel("on", kind=Kind.BOOLEAN)]
    )
    as_json = decoded("senml", json.dumps(pack).encode(), schema=schema)
    assert decoded("senml", cbor2.dumps(short), schema=schema) == as_json


@pytest.mark.parametrize(
    ("text", "value", "flag"),
    [
        ("21.5", 21.5, 0), (" -3e2\n", -300.0, 0), ("+.5", 0.5, 0), ("5.", 5.0, 0), ('"7"', 7.0, 0),
        ("21.5°C", 21.5, 0), ("294.65 K", 21.5, 0), ("70.7 F", 21.5, 0), ("5 m", np.nan, 16),
        ("1e999", np.nan, 1), ("21,5", np.nan, 8), ("1 2", np.nan, 8), ("on", np.nan, 8),
        ("0x10", np.nan, 16), ("1_000", np.nan, 8), ("٣", np.nan, 8), ("", np.nan, 0),
        ("NaN", np.nan, 0), ("Unavailable", np.nan, 0), ("9" * 65, np.nan, 8),
        ("No fault", np.nan, 8),
        ("2026-03-01", np.nan, 8), ("12:30", np.nan, 8),
    ],
)  # fmt: skip
def test_numbers_in_text(text: str, value: float, flag: int) -> None:
    """A number channel takes a number, with a unit that fits or none, and nothing else."""
    schema = Schema([Channel("temperature", unit="°C")])
    rows, rejects = decoded("scalar", text.encode(), "site/p1/temperature", schema)
    device, _, _, (found,), flags = eval(rows[0], {"nan": np.nan})
    assert device == "p1"
    assert np.allclose(found, value, equal_nan=True, rtol=1e-12)
    assert flags == [flag]
    assert rejects == ({"unit_mismatch": 1} if flag == 16 else {})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("ON", 1.0),
        ("off", 0.0),
        ("True", 1.0),
        ("0", 0.0),
        ("1.0", 1.0),
        ("Open", 1.0),
        ("2", np.nan),
        ("maybe", np.nan),
    ],
)
def test_states_in_text(text: str, value: float) -> None:
    """A boolean channel takes the words for on and off, 1 and 0."""
    rows, _ = decoded("scalar", text.encode(), "p1/on")
    assert repr([np.nan, np.nan, value]) in rows[0]


def test_a_scalar_is_where_its_topic_says() -> None:
    """Levels count from either end; a topic that is too short names no channel."""
    schema = Schema([Channel("a")])
    for options, topic in (
        ({"device": "topic:0", "channel": "topic:1"}, "p1/a/state"),
        ({"device": "topic:-3", "channel": "topic:-2"}, "x/p1/a/state"),
        ({}, "x/y/p1/a"),
    ):
        rows, rejects = decoded("scalar", b"1", topic, schema, **options)
        assert rows == [repr(("p1", NOW, -1, [1.0], [0]))]
        assert rejects == {}
    assert decoded("scalar", b"1", "a", schema) == ([], {"topic_mismatch": 1})
    assert decoded("scalar", b"1", "a", schema, channel="topic:3") == ([], {"unknown_channel": 1})
    assert decoded("scalar", b"\xff", "p/a", schema) == ([], {"malformed": 1})


@pytest.mark.parametrize(
    ("codec", "options", "match"),
    [
        ("scalar", {"channel": "field:x"}, "only a topic"),
        ("scalar", {"device": "topic:--1"}, "topic:N"),
        ("csv", {"separator": ", "}, "one character"), ("csv", {"separator": '"'}, "one character"),
        ("csv", {"columns": ["a", "b", "a"]}, "twice"), ("cbor", {"max_depth": 0}, "max_depth"),
        ("messagepack", {"readings": "a."}, "empty name"),
        ("senml", {"units": {"x": "m"}}, "known: a"),
        ("line_protocol", {"device": "host"}, "field:NAME"),
        ("line_protocol", {}, "field:host"),
    ],
)  # fmt: skip
def test_options_that_mean_nothing(codec: str, options: Mapping[str, Any], match: str) -> None:
    """A wrong option is refused with what to write instead."""
    with pytest.raises(ValueError, match=match):
        plugins.load("ingest.codecs", codec).build(SCHEMA, Devices(1), **options)


def test_depth_and_size_are_bounded() -> None:
    """What is nested deeper or is longer than configured is refused by name."""
    nested: Any = 1
    for _ in range(6):
        nested = {"x": nested}
    for codec, encode in (("cbor", cbor2.dumps), ("messagepack", msgspec.msgpack.encode)):
        payload = encode({"device": "d", "time": 1, "a": 1, "x": nested})
        assert len(decoded(codec, payload, max_depth=8)[0]) == 1
        assert decoded(codec, payload, max_depth=5) == ([], {"malformed": 1})
        assert decoded(codec, payload, max_bytes=20) == ([], {"too_large": 1})
        assert decoded(codec, payload + b"\x00") == ([], {"malformed": 1})


def test_a_quoted_cell_may_hold_line_breaks() -> None:
    """Line breaks within quotes, and unusual ones anywhere, part no readings."""
    payload = 'device,time,a\n"x\u2028y",1,"2\n"\r\nz,2,3'.encode()
    rows, rejects = decoded("csv", payload)
    assert [eval(row, {"nan": np.nan})[3][0] for row in rows] == [3.0]
    assert rejects == {"bad_device": 1}
