"""The page about MQTT: the counters that it names are there."""

import re
from pathlib import Path

from ingest.rejects import Rejects
from ingest.sources import mqtt as source
from streamgauge.schema import Channel, Schema

PAGE = (Path(__file__).parents[1] / "docs" / "how-to" / "mqtt.md").read_text(encoding="utf-8")


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
