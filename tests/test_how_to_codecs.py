"""The page on codecs shows what the codecs read: each message becomes the reading beside it."""

import re
from datetime import datetime
from pathlib import Path

import pytest

from ingest.rejects import Rejects
from stream_processor.settings import load_text
from streamgauge import plugins
from streamgauge.batch import Batch
from streamgauge.delivery import Delivery
from streamgauge.devices import Devices
from tests.contracts.golden import RECEIVED, micros

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "codecs.md"
SECTION = re.compile(
    r"^`(?P<topic>[^`]+)`\n```(?P<form>json|text|hex)\n(?P<payload>.*?)\n```\n"
    r"```toml\n(?P<toml>.*?)```\n"
    r"`(?P<device>[^`]+)` at (?P<time>\S+): (?P<values>[^\n]*)$",
    re.DOTALL | re.MULTILINE,
)
SHOWN = list(SECTION.finditer(PAGE.read_text(encoding="utf-8")))


def codec_of(shown: re.Match[str]) -> str:
    """The codec that a section is about."""
    return re.findall(r'codec = "(\w+)"', shown["toml"])[0]


def test_every_codec_has_its_section() -> None:
    """One section each, so that a new codec is explained."""
    assert sorted(map(codec_of, SHOWN)) == sorted(plugins.names("ingest.codecs"))


@pytest.mark.parametrize("shown", SHOWN, ids=codec_of)
def test_the_message_becomes_the_reading(shown: re.Match[str]) -> None:
    """Device, time and values, and no other channel."""
    settings = load_text(shown["toml"], Path("/somewhere/pipeline.toml"), {})
    [source] = settings.sources
    assert source.codec is not None
    schema, devices = settings.schema(), Devices(10)
    module = plugins.load("ingest.codecs", source.codec.use)
    codec = module.build(schema, devices, **source.codec.options)
    text = shown["payload"]
    payload = bytes.fromhex(text) if shown["form"] == "hex" else text.encode()
    batch, rejects = Batch(8, len(schema)), Rejects()
    codec.decode(Delivery(0, [payload], [shown["topic"]], [micros(RECEIVED)]), batch, rejects)
    assert (batch.n, dict(rejects.counts)) == (1, {})
    assert devices.ids[batch.row[0]] == shown["device"]
    at = datetime.fromisoformat(shown["time"]).timestamp()
    assert batch.time[0] == pytest.approx(at * 1e6, abs=1)
    found = {
        channel.name: value
        for channel, value in zip(schema.channels, batch.values[0], strict=True)
        if value == value
    }
    said = dict(pair.rsplit(" ", 1) for pair in shown["values"].split(", "))
    assert found == pytest.approx({name: float(value) for name, value in said.items()})
