"""The page about MQTT: what it shows works, and what it names is there."""

import inspect
import re
from pathlib import Path

from ingest.rejects import Rejects
from ingest.sources import mqtt as source
from monitoring.sinks import mqtt as sink
from stream_processor.settings import load_text
from stream_processor.settings.document import parse
from streamgauge.schema import Channel, Schema

PAGE = (Path(__file__).parents[1] / "docs" / "how-to" / "mqtt.md").read_text(encoding="utf-8")
OF_THE_CODEC = {"device", "time", "use"}


def test_its_configurations_name_options_that_there_are() -> None:
    """Every key of every table is an option of source or sink."""
    blocks = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        if "ca = " not in block:  # its files are the reader's
            load_text(block, Path("pipeline.toml"), {})
        tree = parse(block).tree
        for one in tree["source"]:
            assert set(one) <= set(inspect.signature(source.open).parameters) | OF_THE_CODEC
        for one in tree.get("sink", []):
            assert set(one) <= set(inspect.signature(sink.open).parameters) | OF_THE_CODEC


def test_its_counters_are_those_of_the_state() -> None:
    """Every counter in round brackets is a key of a state."""
    plain = source.open(Schema([Channel("a")]), 0, lambda: 0, Rejects(), topics=["a"])
    split = source.open(
        Schema([Channel("a")]), 0, lambda: 0, Rejects(), topics=["a", "b"], connections=2
    )
    known = {*plain.state(), *split.state()}
    named = set(re.findall(r"\((?:counted: )?`(\w+)`\)", PAGE))
    assert {"severed", "silences", "revived", "readers_died", "dropped_qos0"} <= named
    assert named <= known
