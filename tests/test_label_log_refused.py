"""Labels from elsewhere: settings, topics and messages, and what is wrong with them."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.labels import LabelCodec, Told, matches
from ingest.rejects import Rejects
from stream_processor.settings import Problems, load_text
from streamgauge.brokers import meet
from tests.label_logs import CONFIG, HERE, REPLAYED
from tests.streams import BEGIN, COMPILED, RIVER


@pytest.mark.parametrize(
    ("change", "key", "said"),
    [
        (('scope = "device"', 'scope = "tag:site"'), "scope", "no table says which"),
        (('scope = "device"', 'scope = "all"'), "scope", 'is no scope.*"fleet" for one that all'),
        (('"column:y"', '"colum:y"'), "label.from", "no place of labels.*topic:labels"),
        (('"column:y"', '"column:a"'), "label.from", "also a channel.*remove the channel"),
        (('"column:y"', '"http", delay = "1d"'), "label.delay", "only a column's labels"),
        (('"column:y"', '"http", match = "name"'), "label.match", "time_within"),
        (
            ('"column:y"', '"http", expire_after = "1d", teach_until = "2d"'),
            "label.teach_until",
            "later than expire_after",
        ),
        (('scope = "device"', 'target = "a"'), "target", "come from elsewhere.*inputs"),
        (('scope = "device"', 'predict = "change"'), "predict", 'write predict = "level"'),
        (('label = { from = "column:y" }', ""), "target", "missing; add target"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_a_remedy(
    change: tuple[str, str], key: str, said: str
) -> None:
    """Each mistake is one problem, at its key, that says what to write instead."""
    text = REPLAYED.format(source='"column:y"', model=COMPILED, scope="device").replace(*change)
    with pytest.raises(Problems) as raised:
        load_text(text, HERE, {}, for_replay=True)
    found = {problem.key: str(problem) for problem in raised.value.problems}
    assert re.search(said, found[f"tasks.by_topic.{key}"])


def test_labels_that_nobody_would_bring_are_noted() -> None:
    """`check` says which topic no source subscribes to."""
    text = CONFIG.replace('"labels/+"]', '"labs/+"]').format(compiled=COMPILED, river=RIVER)
    notes = "\n".join(load_text(text, HERE, {}).notes)
    assert "tasks.named: no [[source]] subscribes to labels/+" in notes
    plain = CONFIG.format(compiled=COMPILED, river=RIVER)
    posted = "its labels come over HTTP, but there is no"
    lonely = plain.replace('"topic:labels/+"', '"http"')
    assert any(posted in note for note in load_text(lonely, HERE, {}).notes)
    served = lonely + '\n[[source]]\nuse = "http"\n'
    assert not any(posted in note for note in load_text(served, HERE, {}).notes)
    assert not any("subscribes" in note for note in load_text(plain, HERE, {}).notes)
    http = 'use = "http"\n'
    elsewhere = plain.replace('use = "mqtt"\ntopics = ["t/+", "labels/+"]\n', http)
    assert "tasks.named: no [[source]] subscribes to labels/+" in "\n".join(
        load_text(elsewhere.replace('"topic:1"', '"field:id"'), HERE, {}).notes
    )


FIELDS = {"id": "meta.id", "device": "topic:1", "time": "at", "label": "value", "task": "task"}


def test_label_messages_say_what_is_wrong_with_them() -> None:
    """Configured fields, arrays and lines; each bad entry is counted by its reason alone."""
    rejects = Rejects()
    codec = LabelCodec(FIELDS, "UTC")
    good = b'{"meta": {"id": "t/d/1"}, "value": "12.5", "task": "t"}'
    timed = b'{"at": "2026-01-01T00:00:00Z", "value": 2}'
    bad = [b'{"at": "noon", "value": 1}', b'{"value": 3}', b'{"at": 5, "value": NaN}', b"7", b"{x"]
    payload = b"\n".join([good, timed, *bad])
    found = list(codec.decode(payload, "labels/d7", 5, rejects))
    assert found == [Told("t/d/1", "", 0, "t", 12.5), Told("", "d7", BEGIN, "", 2.0)]
    assert rejects.counts == {"bad_time": 1, "no_prediction": 1, "bad_label": 1, "malformed": 2}
    assert len(list(codec.decode(b"[" + good + b"," + good + b"]", "labels/d7", 5, rejects))) == 2
    assert not list(codec.decode(b" " * 1_000_001, "labels/d7", 5, rejects))
    assert rejects.counts["too_large"] == 1


@given(
    st.binary(max_size=200)
    | st.text('[]{}":,0123456789.eE-\n nulabeidtmv', max_size=80).map(str.encode)
)
@settings(max_examples=300, deadline=None)
def test_no_payload_raises(payload: bytes) -> None:
    """Whatever comes is a label or a reject."""
    rejects = Rejects()
    plain = {"id": "id", "device": "device", "time": "time", "label": "label", "task": "task"}
    assert (
        list(LabelCodec(plain, "UTC").decode(payload, "t", 0, rejects))
        or rejects.counts
        or (payload.strip() in (b"[]", b"") or b"[" in payload)
    )


@pytest.mark.parametrize(
    ("pattern", "topic", "fits"),
    [
        ("labels/+", "labels/a", True),
        ("labels/+", "labels", False),
        ("labels/+", "labels/a/b", False),
        ("labels/#", "labels", True),
        ("labels/#", "labels/a/b", True),
        ("#", "a/b", True),
        ("labels", "labels", True),
        ("+/b", "a/b", True),
        ("a/b", "a", False),
    ],
)
def test_filters_are_those_of_mqtt(pattern: str, topic: str, fits: bool) -> None:
    """A `+` is one level, a last `#` any number; a filter meets each topic that fits it."""
    assert matches(pattern, topic) is fits
    assert meet(pattern, topic) is meet(topic, pattern) is fits
