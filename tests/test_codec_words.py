"""ingest.codecs._words, and channels of words, numbers with a comma and booleans in every codec"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.codecs._tolerant import reader
from ingest.rejects import Rejects
from stream_processor.pipeline import Pipeline
from stream_processor.settings import Problems, load_text
from streamgauge.batch import Batch
from streamgauge.delivery import Delivery
from streamgauge.devices import Devices
from streamgauge.plugins import load
from streamgauge.schema import Channel, Kind, Schema
from streamgauge.words import Flag

MODE = Channel("mode", kind=Kind.CATEGORY, values=("idle", "Run", "fault"))
LOAD = Channel("load", decimal=",")
NOTE = Channel("note", kind=Kind.TEXT)
SCHEMA = Schema([MODE, LOAD, NOTE, Channel("on", kind=Kind.BOOLEAN)])
UNKNOWN, CORRECTED, WRONG = Flag.UNKNOWN_CATEGORY, Flag.CORRECTED, Flag.WRONG_TYPE
NAN = math.nan


@pytest.mark.parametrize(
    ("value", "code", "flag"),
    [
        ("idle", 0, 0), ("Run", 1, 0), ("  RUN\n", 1, 0), ("fault", 2, 0),
        ("fualt", 3, UNKNOWN), ("faullt", 2, CORRECTED), ("idlee", 0, CORRECTED),
        ("stop", 3, UNKNOWN), ("f" * 300, 3, UNKNOWN), (17, 3, UNKNOWN), (True, 3, UNKNOWN),
        ("", NAN, 0), (None, NAN, 0), (NAN, NAN, 0), ([], NAN, WRONG), ({}, NAN, WRONG),
    ],
)  # fmt: skip
def test_a_category_is_its_place_in_the_vocabulary(value: Any, code: float, flag: int) -> None:
    """Case and whitespace aside; misspelt words count as the nearest, others as unknown."""
    np.testing.assert_array_equal(reader(MODE)(value), (code, flag))


def test_numbers_may_be_words() -> None:
    """An error code counts alike as number and as text."""
    read = reader(Channel("code", kind=Kind.CATEGORY, values=("7", "12")))
    assert [read(value)[0] for value in (7, "12", 12.0, 7.5)] == [0.0, 1.0, 1.0, 2.0]


def test_how_like_a_word_must_be_is_chosen() -> None:
    """At 100 nothing is corrected."""
    exact = Channel("mode", kind=Kind.CATEGORY, values=MODE.values, similarity=100.0)
    loose = Channel("mode", kind=Kind.CATEGORY, values=MODE.values, similarity=60.0)
    assert reader(exact)("faullt") == (3.0, UNKNOWN)
    assert reader(loose)("fualt") == (2.0, CORRECTED)


@pytest.mark.parametrize(
    ("value", "number", "flag"),
    [
        ("1.234,5", 1234.5, 0), ("1 234,5", 1234.5, 0), ("-0,25", -0.25, 0), (",5", 0.5, 0),
        ("1.234.567", 1234567.0, 0), ("12", 12.0, 0), ("1,5e3", 1500.0, 0), ("7,", 7.0, 0),
        ("1\u202f234,5", 1234.5, 0), ("1'234,5", 1234.5, 0), (3.25, 3.25, 0), (None, NAN, 0),
        ("1.5", NAN, WRONG), ("1,234.5", NAN, WRONG), ("1.23,5", NAN, WRONG), ("", NAN, WRONG),
        (",", NAN, WRONG), ("1 234.567,0", NAN, WRONG), ("1,2,3", NAN, WRONG), (True, NAN, WRONG),
    ],
)  # fmt: skip
def test_numbers_with_a_comma(value: Any, number: float, flag: int) -> None:
    """Groups of three may be set apart; what could mean two numbers is none."""
    np.testing.assert_array_equal(reader(LOAD)(value), (number, flag))


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.floats(-1e12, 1e12), st.sampled_from(["", ".", " ", "'"]))
def test_a_number_written_with_a_comma_is_read_back(number: float, grouping: str) -> None:
    """With any grouping, the very number that was written."""
    text = f"{number:,.6f}".replace(",", "_").replace(".", ",").replace("_", grouping)
    assert reader(LOAD)(text) == (float(f"{number:.6f}"), 0)


def test_a_text_is_the_same_number_for_ever() -> None:
    """Stored state depends on it; a float holds it exactly."""
    assert reader(NOTE)(" Pump  Seized") == (228411400540505.0, 0)
    assert reader(NOTE)("pump seized")[0] < 2**48
    assert reader(NOTE)([])[1] == WRONG
    assert math.isnan(reader(NOTE)("  ")[0])


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.one_of(st.text(max_size=300), st.floats(), st.integers(), st.booleans(), st.none()))
def test_whatever_comes_is_read(value: Any) -> None:
    """No channel's reader raises, and none gives infinity."""
    for channel in SCHEMA.channels:
        number, flag = reader(channel)(value)
        assert not math.isinf(number)
        assert flag in (0, CORRECTED, UNKNOWN, WRONG, Flag.NON_FINITE)


READING = {"mode": " IDLEE", "load": "1.234,5", "note": "seized", "on": "ja"}
DECODED = [0.0, 1234.5, reader(NOTE)("seized")[0], 1.0]


def decoded(codec: str, payloads: list[bytes], **options: Any) -> Batch:
    """What a codec makes of messages."""
    built = load("ingest.codecs", codec).build(SCHEMA, Devices(9), **options)
    batch, n = Batch(8, 4), len(payloads)
    delivery = Delivery(payloads=payloads, topics=["t/d0"] * n, received=[10**15] * n)
    built.decode(delivery, batch, Rejects())
    return batch


def test_every_codec_reads_them() -> None:
    """Text from CSV, MessagePack, CBOR and line protocol as from JSON."""
    import cbor2
    import msgspec

    given = {"device": "d0", "time": 1_772_366_400, **READING}
    messages = {
        "json": json.dumps(given).encode(),
        "messagepack": msgspec.msgpack.encode(given),
        "cbor": cbor2.dumps(given),
        "line_protocol": b'm,device=d0 mode=" IDLEE",load="1.234,5",note="seized",on="ja"',
    }
    for codec, payload in messages.items():
        options = {"device": "topic:1", "time": "received"} if codec == "line_protocol" else {}
        batch = decoded(codec, [payload], **options)
        assert batch.n == 1, codec
        assert batch.values[0].tolist() == DECODED, codec
        assert batch.flags[0].tolist() == [CORRECTED, 0, 0, 0], codec


def test_the_fast_way_through_json_gives_the_same() -> None:
    """Words as they are declared, one message at a time or many, in columns or not."""
    words = [None, "idle", "Run", "fault", "fault", "RUN", "x", 3]
    given = [{"device": "d0", "time": 1_772_366_400 + k, "mode": w} for k, w in enumerate(words)]
    texts = [one | {"note": note, "load": 1.5} for one, note in zip(given, "ab a bcd", strict=True)]
    payloads = [json.dumps(one).encode() for one in texts]
    many = decoded("json", payloads)
    assert many.n == len(words)
    for k, payload in enumerate(payloads):
        single = decoded("json", [payload])
        np.testing.assert_array_equal(single.values[0], many.values[k])
        np.testing.assert_array_equal(single.flags[0], many.flags[k])
    np.testing.assert_array_equal(many.values[:8, 0], [NAN, 0, 1, 2, 2, 1, 3, 3])
    assert many.values[0, 2] == many.values[3, 2] == reader(NOTE)("a")[0]
    absent = decoded("json", [b'{"device":"d0","time":1772366400,"load":1}'] * 2)
    assert np.isnan(absent.values[:2, [0, 2]]).all()


CONFIG = """
[channels.mode]
kind = "category"
values = ["idle", "run", "fault"]
[channels.load]
decimal = ","
[channels.on]
kind = "boolean"
"""


def configured(text: str) -> Pipeline:
    """A pipeline with these channels."""
    return Pipeline(load_text(text, Path("test.toml"), {}, for_replay=True))


def test_recorded_words_are_read_as_live_ones() -> None:
    """A data frame with words, commas and booleans in words."""
    made = configured(CONFIG)
    frame = pd.DataFrame(
        {
            "device": ["a"] * 4,
            "time": pd.date_range("2026-03-01", periods=4, freq="s", tz="UTC"),
            "mode": ["Run", None, "faullt", "x"],
            "load": ["1,5", "2", None, "1.000,25"],
            "on": ["yes", "off", None, "?"],
        }
    )
    made.replay(frame)
    assert made.board.device("a") is not None
    seen = made.walk.stages.admit.last[0].tolist()
    assert seen == [3.0, 1000.25, 0.0]
    assert made.walk.feature_names == ("load", "on")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('values = ["idle", "run", "fault"]', "", "channels.mode.values: missing"),
        ('"run"', '"Idle "', "a word stands here twice"),
        ('kind = "boolean"', 'values = ["a"]', "a number has no words"),
        ('decimal = ","', 'decimal = ";"', "channels.load.decimal"),
    ],
)
def test_wrong_words_are_explained(before: str, after: str, said: str) -> None:
    """With the key and what to write."""
    with pytest.raises(Problems) as raised:
        configured(CONFIG.replace(before, after))
    assert said in "\n".join(map(str, raised.value.problems))
