"""The Kafka sink against a real Kafka."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from kafka import KafkaConsumer, TopicPartition

from monitoring.sinks import kafka as sink_file
from monitoring.sinks._buffered import Buffered
from monitoring.sinks._messages import encoded
from stream_processor.settings import Problems, load_text
from streamgauge.events import Event, EventKind
from streamgauge.output import Output
from tests.influx import arrived
from tests.outputs import LANES, START, output, predicted, told
from tests.payloads import checked
from tests.services.kafka import kafka, new_topic, shared
from tests.services.ports import wait_for

GONE = Event(EventKind.EVICTED, 1, -1, START, -1, np.nan, np.nan, np.nan)


@contextmanager
def sinking(bootstrap: str, topic: str, **options: Any) -> Iterator[Buffered[Any]]:
    """A sink that writes everything to that topic."""
    with TemporaryDirectory() as folder:
        sink = sink_file.open(
            LANES, "pumps", Path(folder), lambda: START, bootstrap_servers=bootstrap, topic=topic,
            **options,
        )  # fmt: skip
        try:
            yield sink
        finally:
            sink.close()


def written(bootstrap: str, topic: str) -> list[Any]:
    """Every record of the topic's one partition."""
    place = TopicPartition(topic, 0)
    with KafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed") as consumer:
        consumer.assign([place])
        consumer.seek_to_beginning()
        end, found = consumer.end_offsets([place])[place], []
        while consumer.position(place) < end:
            found += consumer.poll(timeout_ms=500).get(place, [])
    return found


def test_every_result_is_written_under_its_device() -> None:
    """Predictions, outcomes and events come once each, in order; key, id and kind go with them."""
    bootstrap = shared()
    topic = new_topic(bootstrap)
    piece = output([predicted(1), told(1), predicted(2, 1, 2)], events=[GONE])
    with sinking(bootstrap, topic) as sink:
        sink.write(piece)
        assert sink.flush(20)
        assert sink.state()["sent_total"] == 4
        assert sink.state()["ok"]
    records = written(bootstrap, topic)
    said = list(encoded(piece))
    assert [checked(record.value)["id"] for record in records] == [one[3] for one in said]
    assert [record.value for record in records] == [payload for *_, payload in said]
    assert [(record.key or b"").decode() for record in records] == [
        device for _, device, *_ in said
    ]
    assert [dict(record.headers)["id"].decode() for record in records] == [one[3] for one in said]
    assert [dict(record.headers)["kind"].decode() for record in records] == [one[0] for one in said]


def test_a_kind_of_its_own_topic() -> None:
    """Places in the topic are filled, kinds that are not wanted left out."""
    bootstrap = shared()
    topic = new_topic(bootstrap)
    with sinking(bootstrap, topic.replace("readings", "{kind}"), kinds=["outcome"]) as sink:
        made = f"outcome-{topic.removeprefix('readings-')}"
        brokers: Any = sink._server
        assert brokers._topics == {"outcome": made}
    with sinking(bootstrap, topic, kinds=["outcome"]) as sink:
        sink.write(output([predicted(1), told(1)]))
        assert sink.flush(20)
    [record] = written(bootstrap, topic)
    assert json.loads(record.value)["id"] == "power@10m/pump-1/1"


def test_what_a_killed_broker_did_not_take_is_written_later(tmp_path: Path) -> None:
    """Nothing is lost, in order, nobody who writes waits, and the state says why meanwhile."""
    with kafka(tmp_path) as broker:
        topic = new_topic(broker.bootstrap)
        with sinking(broker.bootstrap, topic) as sink:
            sink.write(output([predicted(0)]))
            assert sink.flush(20)
            broker.kill()
            for k in range(1, 50):
                sink.write(output([predicted(k)]))
            wait_for(lambda: sink.state()["retries_total"] >= 3, 60.0)
            assert "Kafka" in sink.state()["why"]
            broker.start()
            arrived(sink)
            assert sink.state()["ok"]
        ids = [json.loads(record.value)["id"] for record in written(broker.bootstrap, topic)]
        assert list(dict.fromkeys(ids)) == [f"power@10m/pump-1/{k}" for k in range(50)]
        # Once by the producer, which had them under way, and once from the disk.
        assert max(Counter(ids).values()) <= 2


def test_a_record_that_is_too_large_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that Kafka never takes holds nobody up; the others of its part are written, once."""
    bootstrap = shared()
    topic = new_topic(bootstrap)

    def grown(piece: Output) -> Any:
        for kind, device, task, name, payload in encoded(piece):
            large = name.endswith("/3")
            yield kind, device, task, name, b"x" * 2_000_000 if large else payload

    monkeypatch.setattr(sink_file, "encoded", grown)
    with sinking(bootstrap, topic) as sink:
        sink.write(output([predicted(k) for k in range(6)]))
        assert sink.flush(30)
        assert sink.state()["dead_total"] == 1
        assert sink._dead is not None
        [letter] = sink._dead.path.read_text().splitlines()
        assert json.loads(letter)["letter"] == "x" * 2_000_000
        assert "too large for Kafka" in json.loads(letter)["why"]
        assert sink.state()["sent_total"] == 5
    names = [dict(record.headers)["id"].decode() for record in written(bootstrap, topic)]
    assert sorted(names) == [f"power@10m/pump-1/{k}" for k in (0, 1, 2, 4, 5)]


def test_a_topic_that_is_not_there_is_told() -> None:
    """A sink whose topic nobody makes says so and keeps what it has."""
    with sinking(shared(), "not-there") as sink:
        sink.write(output([predicted(0)]))
        wait_for(lambda: "cannot write to Kafka" in sink.state()["why"], 20.0)
        assert sink.flush(20)
        assert sink.state()["spilled"] == 1


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"topic": "{device}"}, "places"), ({"topic": "."}, "is no topic"),
        ({"kinds": ["all"]}, "prediction, outcome, event"), ({"bootstrap_servers": "x:y"}, "9092"),
        ({"sasl": "x"}, "PLAIN"),
    ],
)  # fmt: skip
def test_options_that_mean_nothing(options: dict[str, Any], match: str) -> None:
    """A wrong option is refused before anything is connected."""
    with pytest.raises(ValueError, match=match):
        sink_file.open(LANES, "pumps", Path(), lambda: START, **options)


LOOP = """
[[source]]
use = "kafka"
topics = ["streamgauge.stream.outcome"]
{tls}
[[sink]]
use = "kafka"
[channels.a]
"""


def test_a_sink_that_its_source_reads_is_refused(tmp_path: Path) -> None:
    """What is written must not come back as readings; with another topic it passes, and TLS that
    is switched off for another machine is noted."""
    name = 'name = "stream"\n'
    with pytest.raises(Problems, match="read again by the source"):
        load_text(f"[stream]\n{name}" + LOOP.format(tls=""), tmp_path / "p.toml", {})
    plain = 'bootstrap_servers = "kafka.example:9092"\ntls = false'
    settings = load_text(f"[stream]\n{name}" + LOOP.format(tls=plain), tmp_path / "p.toml", {})
    assert any("kafka.example:9092 is read unencrypted" in note for note in settings.notes)
