"""Words of texts go wherever their reading goes: every codec, every stage, every restart."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from river.feature_extraction import TFIDF

from ingest.codecs._tokens import tokens, word_number
from ingest.codecs._words import text
from ingest.rejects import Rejects
from serving.api.intake import _Trial
from stream_processor.changes import compare
from stream_processor.definition import definition
from stream_processor.pipeline import Pipeline
from stream_processor.settings import Problems, load_text
from stream_processor.settings.fields import PluginUse
from stream_processor.snapshot import capture, restore
from streamgauge.arrays import Floats
from streamgauge.batch import Batch
from streamgauge.delivery import Delivery
from streamgauge.devices import Devices
from streamgauge.plugins import load
from streamgauge.schema import Schema
from streamgauge.tokens import BITS, PER_VALUE, WORDS, packed
from streamgauge.words import Flag
from tests.texts import LOG, noted, rivers


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

    schema = noted(words=7)
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


def test_words_beyond_the_limit_are_left_out() -> None:
    """And a text is not longer than 4,096 characters, a plain one not than 256."""
    schema = noted(words=4)
    read = tokens(schema.channels[1])
    assert read("aa bb cc dd ee ff") == read("aa bb cc dd") != read("aa bb cc")
    assert schema.width == 4
    long = "word " * 200
    assert np.isfinite(text(long, 4_096)[0])
    codec = load("ingest.codecs", "json").build(schema, Devices(1))
    for size, flag in ((4_000, 0), (5_000, Flag.WRONG_TYPE)):
        decoded = decode(codec, schema, {"device": "d", "time": 1e9, "note": "ab " * (size // 3)})
        assert decoded.flags[0].tolist() == [0, flag, flag, flag]
        assert np.isnan(decoded.values[0, 2]) == bool(flag)


def test_a_word_is_the_same_number_for_ever() -> None:
    """Stored state depends on it; three of them are a float64 without loss."""
    assert (word_number("pump"), word_number(("pump", "seized"))) == (101266, 44140)
    assert packed([WORDS] * 4, 2) == (2.0**51 - 1, 131071.0)
    assert packed([1, 2], 2) == (1.0 + 2.0 * 2**17, 0.0)
    schema = noted(words=6, ngrams=(1, 2))
    assert tokens(schema.channels[1])("Pump SEIZED")[0] == float(
        101266 + (word_number("seized") << BITS) + (44140 << 2 * BITS)
    )


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


@contextmanager
def watched(made: Pipeline) -> Iterator[list[Floats]]:
    """The features of the admitted readings that are walked meanwhile, part by part."""
    seen: list[Floats] = []
    walk, part = made.walk, made.walk._part

    def walking(n: int, start: int = 0) -> int:
        refused = part(n, start)
        seen.append(walk._features.x[:n][walk._columns.verdict[:n] == 0].copy())
        return refused

    with patch.object(walk, "_part", walking):
        yield seen


def walked(made: Pipeline, payloads: Sequence[bytes], size: int = 7) -> Floats:
    """float64[n, f]: features of what is walked, fed in deliveries of a few."""
    received = 1_772_366_400_000_000
    with watched(made) as seen:
        for at in range(0, len(payloads), size):
            some = list(payloads[at : at + size])
            made.feed(
                Delivery(payloads=some, topics=["t"] * len(some), received=[received] * len(some))
            )
        made.feed(Delivery(clock=received + 10**10))
    return np.concatenate(seen)


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
    said: list[dict[str, Any]] = [
        {"load": 1},
        {"note": ["no text"]},
        {"load": 2},
        {"note": "pump seized"},
    ]
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


def test_what_stands_behind_the_channels_is_no_channel() -> None:
    """Words are no last value, no flag, no silence, nothing retained; alone they admit nothing."""
    config = CONFIG.replace('kind = "text"', 'kind = "text"\nsilent_after = "5m"')
    made = built(config, arranged='silent_after = "1h"')
    received = 1_772_366_400_000_000
    said: list[dict[str, Any]] = [
        {"load": 1.0, "note": "pump seized"},
        {"note": ["no text"]},
        {"load": "?"},
    ]
    payloads = [
        json.dumps({"device": "d", "time": 1_772_366_400 + k, **one}).encode()
        for k, one in enumerate(said)
    ]
    for retained in (True, False):
        count = len(payloads)
        made.feed(
            Delivery(0, payloads, ["t"] * count, [received + 10**7] * count, retained=retained)
        )
    stages = made.walk.stages
    verdicts = stages.admit.verdicts()
    assert [verdicts[name] for name in ("admitted", "empty", "retained")] == [1, 2, 3]
    wanted = [1.0, text("pump seized")[0]]
    assert stages.admit.last[0].tolist() == stages.retained.last(0)[2].tolist() == wanted
    assert stages.admit.flags()["wrong_type"] == 2
    made.feed(Delivery(clock=received + 10**10))
    told = [event for output in made.sealed() for event in output.events]
    found = sorted((event.kind.name, event.channel) for event in told)
    assert found == [("SILENT", ""), ("SILENT", "note")]


def test_a_recording_gives_what_live_messages_give() -> None:
    """Replayed words are those of the stream."""
    plain = walked(built(), messages(shuffled=False))
    said = [json.loads(one) for one in messages(shuffled=False)]
    frame_of_it = pd.DataFrame(said)
    frame_of_it["time"] = pd.to_datetime(frame_of_it["time"], unit="s", utc=True)
    made = built()
    with watched(made) as seen:
        made.replay(frame_of_it)
    np.testing.assert_array_equal(np.concatenate(seen), plain)


def test_posted_words_are_tried_before_they_are_taken() -> None:
    """The trial over HTTP has room for them."""
    schema = built().walk.stages.schema
    trial = _Trial(PluginUse("json"), schema, lambda: 10**15)
    good = json.dumps({"device": "d", "time": 1e9, "note": "pump seized"}).encode()
    assert trial.faults([good], "t") == []
    [fault] = trial.faults([good, b"{"], "t")
    assert fault.position == 1


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
