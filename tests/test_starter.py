"""What messages mean when a first configuration is written: codec, device, time, channels."""

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from serving.check import check
from serving.starter.decoded import decoded
from serving.starter.guess import Guess, guess
from serving.starter.seen import Sample
from serving.starter.write import Draft, written
from streamgauge import plugins
from streamgauge.schema import Kind
from tests.contracts.golden import Golden, goldens
from tests.starting import NOW, passed


def seen(*messages: Any, topics: Sequence[str] = ("a/b",), keys: Sequence[str] = ("",)) -> Guess:
    """What messages mean."""
    samples = [
        Sample(json.dumps(one).encode(), topics[k % len(topics)], keys[k % len(keys)], NOW + k)
        for k, one in enumerate(messages)
    ]
    return guess(decoded(samples), NOW)


OTHERWISE = {
    "zigbee2mqtt-contact": "json",  # its base topic is not the bridge's own
    "scalar-esphome": "home_assistant",  # DOMAIN/NAME/state, as that has it
}
NOT_TOLD = {
    "csv-declared",  # nothing in it names the columns
    "csv-log",
    "csv-spreadsheet",  # nothing says that a semicolon parts them
    "scalar-pump_unit",
    "scalar-unavailable",
}
"""Real payloads that do not tell their codec by themselves."""


@pytest.mark.parametrize(
    "golden",
    [
        golden
        for codec in plugins.find("ingest.codecs")
        for golden in goldens(codec)
        if golden.expected["readings"] and not golden.expected.get("rejects")
    ],
    ids=str,
)
def test_the_codec_is_told_by_trying(golden: Golden, tmp_path: Path) -> None:
    """Every codec there is, a new one as well, is found by its own real payloads; what is written
    for them passes `check`."""
    samples = [
        Sample(*part)
        for one in golden.deliveries
        for part in zip(one.payloads, one.topics, [""], one.received, strict=True)
    ]
    if str(golden) in NOT_TOLD:
        with pytest.raises(ValueError, match="no codec reads these messages"):
            decoded(samples)
        return
    found = decoded(samples)
    assert found.codec == OTHERWISE.get(str(golden), golden.codec)
    if str(golden) == "cbor-array":  # it holds one value, which is infinite
        with pytest.raises(ValueError, match="nothing in what came is a number"):
            guess(found, NOW)
        return
    meaning = guess(found, samples[0].received + 10**6)
    options = {"topics": ["#"], **found.options}
    output = tmp_path / "pipeline.toml"
    output.write_text(written([Draft("mqtt", options, meaning, found.codec)], "x"))
    said = io.StringIO()
    assert check(output, {}, said) == 0, said.getvalue() + output.read_text()


def test_where_the_device_is() -> None:
    """A field of that name, else the key, else the level in which topics differ."""
    assert seen({"deviceId": "x", "v": 1}, {"deviceId": "y", "v": 2}).device == "field:deviceId"
    assert seen({"v": 1}, {"v": 2}, keys=("k1", "k2")).device == "key"
    assert seen({"v": 1}, {"v": 2}, topics=("a/p1/x", "a/p2/x")).device == "topic:1"
    assert seen({"v": 1}, topics=("plant/pump-7/telemetry",)).device == "topic:1"
    assert seen({"v": 1}, topics=("plant/pump/telemetry",)).device == "topic:1"
    assert seen({"v": 1, "meta": {"id": 7}}).device == "field:meta\x1fid"
    assert seen({"v": 1, "id": None}, {"v": 1}, topics=("a",)).device == "topic:0"


@pytest.mark.parametrize(
    ("value", "origin"),
    [
        ("2026-03-01T12:00:00Z", "field:ts"), (1_772_366_400, "field:ts"), (5, "received"),
        (1_772_366_400_123, "field:ts"), ("soon", "received"), (4e12, "received"),
    ],
)  # fmt: skip
def test_where_the_time_is(value: Any, origin: str) -> None:
    """A field of that name whose values can be times of our days."""
    found = seen({"ts": value, "v": 1.5})
    assert found.time == origin
    assert [one.name for one in found.channels if one.name != "ts"] == ["v"]


def test_what_is_measured() -> None:
    """Nested values get a path, numbers in text are numbers, the rest is left out and told."""
    message = {
        "device": "d", "time": NOW, "a": {"temp": 1.5}, "b": {"temp": "2.5", "mode": "auto"},
        "PM2.5": 3, "on": True, "valve": "open", "seq": 7, "note": None, "list": [1, 2],
    }  # fmt: skip
    found = seen(message, message | {"on": False})
    assert [(one.name, one.path, one.kind) for one in found.channels] == [
        ("a_temp", "a\x1ftemp", Kind.NUMBER),
        ("b_temp", "b\x1ftemp", Kind.NUMBER),
        ("PM2.5", "PM2.5", Kind.NUMBER),
        ("on", "on", Kind.BOOLEAN),
        ("valve", "valve", Kind.BOOLEAN),
    ]
    assert found.others == {"b.mode": "'auto'", "seq": "7"}


def test_words_are_offered(tmp_path: Path) -> None:
    """Words of a few kinds, lines and codes stand behind a "# ", ids of rows do not; without the
    "# ", and with the features that are named beside them, the file passes `check`."""
    found = seen(
        *(
            {
                "device": "d", "ts": NOW // 10**6 + k, "v": k, "id": f"r{k}", "code": f"E{k % 30}",
                "s": {"mode": ["auto", "by hand"][k % 2]}, "log": f"valve {k} jammed again",
            }
            for k in range(90)
        )
    )  # fmt: skip
    assert [(one.path, one.values, one.several) for one in found.worded] == [
        ("code", [], False),
        ("s\x1fmode", ["auto", "by hand"], False),
        ("log", [], True),
    ]
    text = written([Draft("mqtt", {"topics": ["t"]}, found, "json")], "words")
    offers = re.findall(r"^# (.*?)   # and in \[features\]: (.*)$", text, re.MULTILINE)
    assert len(offers) == 3
    for channel, feature in offers:
        text = text.replace(f"# {channel}", channel).replace(
            "[features]\n", f"[features]\n{feature}\n"
        )
    (tmp_path / "p.toml").write_text(text, encoding="utf-8")
    assert {"code", "mode", "log"} < set(passed(tmp_path / "p.toml")["channels"])


def test_readings_inside_a_message() -> None:
    """An array of objects in a message is where its readings are."""
    message = {"device": "d", "data": {"rows": [{"time": NOW + k, "v": k} for k in range(3)]}}
    samples = [Sample(json.dumps(message).encode(), "t", received=NOW)]
    found = decoded(samples)
    assert found.options == {"readings": "data.rows"}
    assert len(found.rows) == 3
    assert guess(found, NOW + 10).device == "field:device"
    assert guess(found, NOW + 10).interval == 1
