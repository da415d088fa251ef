"""Kafka drained by the service's source, journal and walk, beside a bare kafka-python consumer.

100,000 messages of 150 bytes lie in the 4 partitions of a topic of a real Kafka. The bare consumer
polls and discards, with the same settings and its own record parsing. streamgauge decodes, journals
where they stand, learns and shows. Both begin to count with the first message that comes.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from benchmarks.by_hand import CONFIG, messages
from ingest.journal import Journal
from ingest.sources import _kafka_client as client
from ingest.sources import kafka as source_file
from serving.run import clock
from stream_processor.pipeline import Pipeline
from stream_processor.settings import load_text
from stream_processor.worker import Worker
from tests.services.kafka import Kafka, kafka, new_topic

MESSAGES = 100_000
PARTITIONS = 4
SIZE = 150
ROUNDS = 5


def fill(bootstrap: str) -> str:
    """A topic that holds them all, each device in one partition."""
    topic = new_topic(bootstrap, partitions=PARTITIONS)
    with KafkaProducer(bootstrap_servers=bootstrap, linger_ms=20, batch_size=65_536) as producer:
        for k, payload in enumerate(messages(MESSAGES)):
            producer.send(topic, payload.ljust(SIZE), partition=k % PARTITIONS)
    return topic


Took = tuple[float, float]
"""Seconds, and seconds of this process's CPU, for all messages."""


def bare(bootstrap: str, topic: str) -> Took:
    """How long a consumer that discards takes to drain the topic."""
    with KafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        isolation_level="read_committed",
        fetch_max_bytes=client.FETCH_MOST_BYTES,
        max_partition_fetch_bytes=client.FETCH_BYTES,
        max_poll_records=4_096,
        metrics_enabled=False,
    ) as consumer:
        consumer.assign([TopicPartition(topic, k) for k in range(PARTITIONS)])
        consumer.seek_to_beginning()
        count = _polled(consumer)
        began, first = _now(), count
        while count < MESSAGES:
            count += _polled(consumer)
        ended = _now()
    return _scaled(began, ended, first)


def _now() -> Took:
    return time.perf_counter(), time.process_time()


def _scaled(began: Took, ended: Took, first: int) -> Took:
    scale = MESSAGES / (MESSAGES - first)
    return (ended[0] - began[0]) * scale, (ended[1] - began[1]) * scale


def _polled(consumer: KafkaConsumer) -> int:
    return sum(map(len, consumer.poll(timeout_ms=10_000).values()))


def service(broker: Kafka, topic: str) -> Took:
    """How long streamgauge takes to drain it through source, journal and walk."""
    with tempfile.TemporaryDirectory() as folder:
        text = CONFIG.read_text(encoding="utf-8").replace(
            'use = "mqtt"\ntopics = ["sensors/#"]',
            f'use = "kafka"\ntopics = ["{topic}"]\nbootstrap_servers = "{broker.bootstrap}"',
        )
        pipeline = Pipeline(load_text(text, Path(folder) / "k.toml", {}))
        options = pipeline.settings.sources[0].options | {"group": f"{topic}-{time.time_ns()}"}
        source: Any = source_file.open(
            pipeline.walk.stages.schema, 0, clock, pipeline.rejects, **options
        )
        journal = Journal(Path(folder) / "journal")
        worker = Worker(pipeline, [source], [], journal, Path(folder), b"k" * 32, clock)
        worker.recover()
        worker.start()
        admitted = pipeline.board.counts
        while not (first := admitted()["readings"]["admitted"]):
            time.sleep(0.0005)
        began = _now()
        while (done := sum(admitted()["readings"].values())) < MESSAGES:
            if time.perf_counter() - began[0] > 60 or not worker.alive:
                raise RuntimeError(f"streamgauge got {done:,}; {worker.failure}")
            time.sleep(0.002)
        ended = _now()
        worker.stop()
        return _scaled(began, ended, first)


def run() -> list[dict[str, Any]]:
    """Rounds of both, one after the other, on the same topic; the first of each only warms up."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, kafka(Path(folder)) as broker:
        topic = fill(broker.bootstrap)
        for k in range(ROUNDS + 1):
            discards, learns = bare(broker.bootstrap, topic), service(broker, topic)
            if k:
                rows.append(
                    {
                        "round": k,
                        "bare kafka-python, messages/s": round(MESSAGES / discards[0]),
                        "CPU, µs each": 1e6 * discards[1] / MESSAGES,
                        "streamgauge, messages/s": round(MESSAGES / learns[0]),
                        "its CPU, µs each": 1e6 * learns[1] / MESSAGES,
                        "ratio": discards[0] / learns[0],
                    }
                )
    return rows
