"""The page about watching the pipeline: metrics, stages and attributes that it names are there."""

import re
from pathlib import Path

from ingest.rejects import Rejects
from ingest.sources import kafka, mqtt
from monitoring.sinks import influxdb
from streamgauge.delivery import Delivery
from streamgauge.schema import Channel, Schema
from streamgauge.timing import Stage
from tests.services.stand import LANES, Stand
from tests.test_metrics import samples, scrape
from tests.test_traces import spans

PAGE = (Path(__file__).parents[1] / "docs" / "how-to" / "watching.md").read_text(encoding="utf-8")


def test_its_metrics_are_there(tmp_path: Path) -> None:
    """Each is scraped, with the label that the page says; sources and sinks are the product's."""
    schema, clock = Schema([Channel("a")]), lambda: 0
    sink = influxdb.open(LANES, "s", tmp_path, clock, url="http://127.0.0.1:1", token="t", org="o")
    sources = {
        "mqtt": mqtt.open(schema, 0, clock, Rejects(), topics=["a"]).state(),
        "kafka": kafka.open(schema, 0, clock, Rejects(), topics=["a"]).state(),
    }
    stand = Stand()
    told = {"source": sources, "sink": {"influxdb": sink.state()}}
    sink.close()
    told["sink"]["influxdb"] |= {"lost": {"dropped": {"memory": 1}}}
    checkpoint = {"time": 0, "count": 1, "bytes": 1, "pause_seconds": 0.1, "write_seconds": 0.1}
    told["state"] = {"checkpoint": checkpoint, "journal": {"bytes": 1}}
    told["state"]["evicted"] = {"devices": 2, "bytes": 1}
    stand.states = told
    stand.board.laps.spent(Stage.DECODE, 0)
    stand.board.laps.by_lane([[], []])
    found = samples(scrape(stand))
    names = {re.sub("_bucket$", "", name) for name, _ in found} | {name for name, _ in found}
    named = set(re.findall(r"streamgauge_[a-z0-9_]+", PAGE))
    assert len(named) > 25
    assert named <= names
    for metric, label in re.findall(r"`(streamgauge_\w+)` by `(\w+)`", PAGE):
        of = [dict(labels) for name, labels in found if re.sub("_bucket$", "", name) == metric]
        assert of, metric
        assert all(label in labels for labels in of), metric


def test_its_stages_are_all_there_are() -> None:
    """Each stage has its row, and no other."""
    table = PAGE.partition("| stage | the time of |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) == {stage.name.lower() for stage in Stage}


def test_its_attributes_are_those_of_the_spans() -> None:
    """Of a batch."""
    traced, kept = spans()
    traced.lap(Stage.DECODE, 1, 2)
    traced.worked_off(Delivery(payloads=[b""]), 1)
    *_, batch = kept.get_finished_spans()
    assert set(re.findall(r"`(streamgauge\.[a-z.]+)`", PAGE)) == set(batch.attributes or {})
