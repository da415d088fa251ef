"""Words of texts: kept by every codec and stage, weighed as River's TFIDF weighs them."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from river.feature_extraction import TFIDF

from ingest.codecs._tokens import tokens, word_number
from ingest.codecs._words import text
from ingest.rejects import Rejects
from stream_processor.changes import compare
from stream_processor.definition import definition
from stream_processor.features import tfidf
from stream_processor.pipeline import Pipeline
from stream_processor.settings import Problems, load_text
from stream_processor.snapshot import capture, restore
from streamgauge.arrays import Floats
from streamgauge.batch import Batch, Features
from streamgauge.delivery import Delivery
from streamgauge.devices import Devices
from streamgauge.plugins import load
from streamgauge.schema import Channel, Kind, Schema
from streamgauge.tokens import BITS, PER_VALUE, WORDS
from streamgauge.words import Flag

calm = settings(deadline=None, max_examples=60, derandomize=True)
VOCABULARY = ["pump", "Pümp", "seized", "bearing-7", "E1042", "the", "of", "a", "é", "_x", "ÀB"]
lines = st.lists(
    st.one_of(
        st.lists(st.sampled_from(VOCABULARY), max_size=12).map(" ".join),
        st.text(max_size=40),
        st.none(),
    ),
    min_size=1,
    max_size=25,
)
LOG = [
    f"{level} unit-{k % 7}: {what} after {k * 37 % 211} ms (code E{1000 + k % 13})"
    for k in range(300)
    for level, what in [
        [("INFO", "valve opened"), ("WARN", "pressure high, retry"), ("ERROR", "valve jammed")][
            k * k % 3
        ]
    ]
]


def schema_of(**options: Any) -> Schema:
    """A number, and a text whose words are kept."""
    return Schema([Channel("load"), Channel("note", kind=Kind.TEXT, **{"words": 63, **options})])


def batch_of(schema: Schema, texts: Sequence[Any], rows: Sequence[int] | int = 0) -> Batch:
    """A reading of each text."""
    batch = Batch(len(texts), schema.width)
    batch.n, batch.row[:] = len(texts), rows
    channel = schema.channels[1]
    read = tokens(channel)
    for i, one in enumerate(texts):
        batch.values[i, 1] = text(one, 4_096)[0]
        batch.values[i, schema.words["note"]] = read(one)
    return batch


def weighed(schema: Schema, batch: Batch, devices: int = 1, **options: Any) -> Floats:
    """float64[n, buckets]: the features of these readings."""
    operator = tfidf.build(schema, devices, 0, of=["note"], **options)
    features = Features(operator.names, operator.channels, max(1, batch.n))
    operator.call(batch, features).run(n=batch.n)
    return features.x[: batch.n].copy()


def rivers(river: TFIDF, one: str | None, buckets: int, counters: int) -> list[float]:
    """River's values of a text, summed by bucket."""
    if text(one, 4_096)[0] != text(one, 4_096)[0]:
        return [math.nan] * buckets
    river.learn_one(one)
    wanted = [0.0] * buckets
    for word, value in river.transform_one(one).items():
        wanted[(word_number(word) - 1) % counters % buckets] += value
    return wanted


def shared(river: TFIDF, channel: Channel, texts: Sequence[str | None], size: int) -> bool:
    """Whether two words of these texts share a counter, or one has more words than are kept."""
    found = [list(river.process_text(one)) for one in texts if one]
    words = {word for some in found for word in some}
    places = {(word_number(word) - 1) % size for word in words}
    return len(places) < len(words) or max(map(len, found), default=0) > channel.words


@calm
@given(
    lines,
    st.sampled_from([(1, 1), (1, 2), (2, 3)]),
    st.sampled_from([(), ("pump", "the")]),
    st.sampled_from([2, 16, 1_024]),
)
def test_values_are_rivers(
    texts: list[str | None], ngrams: tuple[int, int], stop: tuple[str, ...], buckets: int
) -> None:
    """On any texts, summed by bucket; with many buckets, one by one."""
    schema = schema_of(ngrams=ngrams, stop_words=stop)
    river, channel = TFIDF(ngram_range=ngrams, stop_words=set(stop)), schema.channels[1]
    assume(not shared(river, channel, texts, WORDS))
    got = weighed(schema, batch_of(schema, texts), buckets=buckets, counters=WORDS)
    wanted = [rivers(river, one, buckets, WORDS) for one in texts]
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("scope", ["device", "fleet"])
def test_a_log_is_weighed_as_river_does(scope: Any) -> None:
    """By a River model for each device, or one for all; River's values are summed by bucket."""
    schema = schema_of(words=30)
    channel = schema.channels[1]
    assert not shared(TFIDF(), channel, LOG, WORDS)
    rows = [k % 3 for k in range(len(LOG))]
    options = {"buckets": 32, "scope": scope, "counters": WORDS}
    got = weighed(schema, batch_of(schema, LOG, rows), 3, **options)
    models = [TFIDF() for _ in range(3)] if scope == "device" else [TFIDF()] * 3
    wanted = [rivers(models[row], one, 32, WORDS) for row, one in zip(rows, LOG, strict=True)]
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-9)
    assert len({tuple(one) for one in np.round(got, 6).tolist()}) > 100


def test_words_beyond_the_limit_are_left_out() -> None:
    """And a text is not longer than 4,096 characters, a plain one not than 256."""
    schema = schema_of(words=4)
    batch = batch_of(schema, ["aa bb cc dd ee ff", "aa bb cc dd"])
    np.testing.assert_array_equal(*batch.values[:, schema.words["note"]])
    assert schema.width == 4
    long = "word " * 200
    assert np.isfinite(text(long, 4_096)[0])
    codec = load("ingest.codecs", "json").build(schema, Devices(1))
    for size, flag in ((4_000, 0), (5_000, Flag.WRONG_TYPE)):
        decoded = decode(codec, schema, {"device": "d", "time": 1e9, "note": "ab " * (size // 3)})
        assert decoded.flags[0].tolist() == [0, flag, flag, flag]
        assert np.isnan(decoded.values[0, 2]) == bool(flag)


def test_what_has_no_words_weighs_nothing() -> None:
    """A text of marks and single letters is 0 everywhere; no text, or a filled one, is NaN."""
    schema = schema_of(words=5)
    batch = batch_of(schema, ["7 !", None, " ", "pump", "pump"])
    batch.values[4, schema.words["note"]] = math.nan
    batch.verdict[3] = 1
    got = weighed(schema, batch)
    np.testing.assert_array_equal(got[0], 0.0)
    assert np.isnan(got[1:]).all()


def decode(codec: Any, schema: Schema, *messages: Any) -> Batch:
    """What a codec makes of messages."""
    payloads = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in messages]
    batch, n = Batch(1, schema.width), len(payloads)
    delivery = Delivery(payloads=payloads, topics=["t/d0"] * n, received=[10**15] * n)
    codec.decode(delivery, batch, Rejects())
    assert batch.n == n
    return batch


def test_every_codec_keeps_the_words() -> None:
    """Each the same, on the fast way and on the other, by message, in columns, from a table."""
    import cbor2
    import msgspec

    from ingest.frames import frame

    schema = schema_of(words=7)
    said = {"device": "d0", "time": 1_772_366_400, "load": 1.5, "note": "Pümp 7 seized, E1042"}
    wanted = tokens(schema.channels[1])(said["note"])
    assert len(wanted) == schema.width - 2
    assert [int(wanted[0]) >> BITS * k & WORDS for k in range(PER_VALUE)] == [
        word_number(word) for word in ("pump", "seized", "e1042")
    ]
    messages = {
        "json": json.dumps(said).encode(),
        "messagepack": msgspec.msgpack.encode(said),
        "cbor": cbor2.dumps(said),
        "line_protocol": 'm,device=d0 load=1.5,note="Pümp 7 seized, E1042"'.encode(),
        "csv": 'd0,1772366400,1.5,"Pümp 7 seized, E1042"'.encode(),
    }
    beside: dict[str, dict[str, Any]] = {
        "line_protocol": {"device": "topic:1", "time": "received"},
        "csv": {"columns": ["device", "time", "load", "note"]},
    }
    for name, payload in messages.items():
        codec = load("ingest.codecs", name).build(schema, Devices(9), **beside.get(name, {}))
        got = decode(codec, schema, payload, payload)
        for row in got.values[:2]:
            assert tuple(row[2:]) == wanted, name
        assert tuple(decode(codec, schema, payload).values[0, 2:]) == wanted, name
    codec = load("ingest.codecs", "json").build(schema, Devices(9))
    # A number as text sends the message the slow way.
    assert tuple(decode(codec, schema, said | {"load": "1.5"}).values[0, 2:]) == wanted
    table = pd.DataFrame([said, said | {"note": None, "time": 1_772_366_401}])
    readings = frame(table, schema, Rejects())
    assert tuple(readings.values[0, 2:]) == wanted
    assert np.isnan(readings.values[1, 1:]).all()


CONFIG = """
[devices]
ARRANGED
[[source]]
use = "http"
codec = "json"
device = "field:device"
time = "field:time"
[channels.load]
[channels.note]
kind = "text"
words = 9
[features]
tfidf = { of = ["note"], buckets = 64 }
"""
REORDER = 'reorder = { up_to = "10s", readings = 50 }'


def built(config: str = CONFIG, arranged: str = "") -> Pipeline:
    """A pipeline of this configuration."""
    text_of_it = config.replace("ARRANGED", arranged)
    return Pipeline(load_text(text_of_it, Path("test.toml"), {}, for_replay=True))


def messages(shuffled: bool) -> list[bytes]:
    """Readings of one device, a second apart, some without a text; out of order or not."""
    said = [
        {"device": "d", "time": 1_772_366_400 + k, "load": k, "note": LOG[k] if k % 5 else None}
        for k in range(60)
    ]
    if shuffled:
        said = [said[k ^ 1] for k in range(60)]
    return [json.dumps(one).encode() for one in said]


def walked(made: Pipeline, payloads: Sequence[bytes], size: int = 7) -> Floats:
    """float64[n, f]: features of what is walked, fed in deliveries of a few."""
    seen: list[Floats] = []
    walk = made.walk
    part = walk._part

    def watched(n: int) -> int:
        refused = part(n)
        admitted = walk._columns.verdict[:n] == 0
        seen.append(walk._features.x[:n][admitted].copy())
        return refused

    walk._part = watched  # type: ignore[method-assign]
    received = 1_772_366_400_000_000
    for at in range(0, len(payloads), size):
        some = list(payloads[at : at + size])
        made.feed(
            Delivery(payloads=some, topics=["t"] * len(some), received=[received] * len(some))
        )
    made.feed(Delivery(clock=received + 10**10))
    walk._part = part  # type: ignore[method-assign]
    return np.concatenate(seen) if seen else np.zeros((0, 0))


def test_words_wait_with_their_reading() -> None:
    """What comes out of order has the same features as what does not, once it is in order."""
    plain = walked(built(), messages(shuffled=False))
    assert np.isfinite(plain).all(axis=1).sum() == 48
    ordered = walked(built(arranged=REORDER), messages(shuffled=True), size=11)
    np.testing.assert_array_equal(ordered, plain)


def test_words_survive_a_restart_with_their_reading() -> None:
    """Readings that wait in the buffer when a checkpoint is taken keep their words."""
    payloads = messages(shuffled=True)
    plain = walked(built(arranged=REORDER), payloads)
    here, there = built(arranged=REORDER), built(arranged=REORDER)
    delivery = Delivery(
        payloads=payloads[:20], topics=["t"] * 20, received=[1_772_366_400_000_000] * 20
    )
    here.feed(delivery)
    there.walk.stages.devices.rows(["d"])
    saved = capture(here.walk, definition(here.settings, here.walk.stages), {})
    restore(there.walk, saved)
    rest = walked(there, payloads[20:])
    assert 40 < len(rest) < 60
    np.testing.assert_array_equal(rest, plain[-len(rest) :])


def test_the_last_text_goes_with_a_message_that_has_none() -> None:
    """Text and words together; a text that could not be read takes neither away."""
    made = built(arranged='assemble = { use = "last", within = "1h" }')
    said: list[Any] = ["valve jammed", None, ["no text"], None, "pump"]
    payloads = [
        json.dumps({"device": "d", "time": 1_772_366_400 + k, "note": note, "load": k}).encode()
        for k, note in enumerate(said)
    ]
    got = walked(made, payloads, size=2)[:, 1:]
    river = TFIDF()
    for k, one in enumerate(["valve jammed", "valve jammed", None, "valve jammed", "pump"]):
        np.testing.assert_allclose(got[k], rivers(river, one, 64, 256), atol=1e-9)


def test_a_message_that_lacks_its_words_completes_its_row() -> None:
    """Where rows wait for all channels, the words are not waited for after a wrong text."""
    made = built(arranged='assemble = { use = "wait", up_to = "1h" }')
    said = [{"load": 1}, {"note": ["no text"]}, {"load": 2}, {"note": "pump seized"}]
    payloads = [
        json.dumps({"device": "d", "time": 1_772_366_400 + k, **one}).encode()
        for k, one in enumerate(said)
    ]
    got = walked(made, payloads, size=1)
    assert got[:, 0].tolist() == [1.0, 2.0]
    assert np.isfinite(got[:, 1:]).all(axis=1).tolist() == [False, True]


def test_recorded_words_find_their_place_in_a_changed_configuration() -> None:
    """Readings of the journal whose channels moved keep the words that mean the same."""
    before = built()
    more = CONFIG.replace("[channels.load]", "[channels.new]\n[channels.load]")
    other = more.replace("words = 9", "words = 9\nstop_words = ['the']")
    old = definition(before.settings, before.walk.stages)
    table = pd.DataFrame(
        {"device": ["d"], "time": [1_772_366_400], "load": [1.0], "note": ["pump"]}
    )
    from ingest.frames import frame

    readings = frame(table, before.walk.stages.schema, Rejects())
    for config, kept in ((more, True), (other, False)):
        now = built(config)
        changes = compare(old, definition(now.settings, now.walk.stages))
        moved = changes.delivery(Delivery(readings=readings)).readings
        assert moved is not None
        assert moved.values.shape == (1, now.walk.stages.schema.width)
        np.testing.assert_array_equal(moved.values[0, 1:3], readings.values[0, :2])
        wanted = readings.values[0, 2:] if kept else np.full(3, np.nan)
        np.testing.assert_array_equal(moved.values[0, 3:], wanted)
        anew = [entry for entry in changes.anew if "tfidf" in entry]
        assert bool(anew) is not kept


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("words = 9", "words = 64", "channels.note.words"),
        ("words = 9", "", "whose words are not kept; add words = 30"),
        ('kind = "text"', "", "a number has no words"),
        ("words = 9", "words = 9\nngrams = [2, 1]", "write for example"),
        ('kind = "text"\nwords = 9', 'kind = "text"\nstop_words = ["the"]', "no words are kept"),
        ("buckets = 64", "buckets = 1", "give 2 to 1024"),
        ("buckets = 64", "buckets = 64, counters = 32", "the buckets"),
        ('of = ["note"]', 'of = ["load"]', "'load', which is no text; there are: note"),
    ],
)
def test_wrong_options_are_explained(before: str, after: str, said: str) -> None:
    """With the key and what to write."""
    assert before in CONFIG
    with pytest.raises(Problems) as raised:
        built(CONFIG.replace(before, after))
    assert said in "\n".join(map(str, raised.value.problems))
