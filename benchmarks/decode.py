"""Readings per second and core from JSON into columns, one or many readings in a message."""

import json
import statistics
import time
from typing import Any

from ingest.codecs.json import build
from ingest.rejects import Rejects
from streamgauge.batch import Batch
from streamgauge.delivery import Delivery
from streamgauge.devices import Devices
from streamgauge.schema import Channel, Schema

READINGS = 20_000
ROUNDS = 9
START = 1_772_366_400
CHANNELS = ("temperature", "humidity", "pressure", "voltage")
DEVICES = 1_000


def run() -> list[dict[str, Any]]:
    """Median over rounds in which the shapes take turns; `slowest` and `fastest` tell the noise."""
    shapes = {name: _prepared(*shape) for name, shape in _shapes().items()}
    seconds: dict[str, list[float]] = {name: [] for name in shapes}
    for _ in range(ROUNDS):
        for name, (codec, delivery, batch) in shapes.items():
            rejects = Rejects()
            begin = time.process_time()
            codec.decode(delivery, batch, rejects)
            seconds[name].append(time.process_time() - begin)
            assert (batch.n, rejects.counts.total()) == (READINGS, 0)
    first = statistics.median(next(iter(seconds.values())))
    return [
        {
            "shape": name,
            "readings/s": round(READINGS / statistics.median(took)),
            "slowest": round(READINGS / max(took)),
            "fastest": round(READINGS / min(took)),
            "times the first": first / statistics.median(took),
        }
        for name, took in seconds.items()
    ]


def _shapes() -> dict[str, tuple[list[bytes], dict[str, Any]]]:
    readings = [_reading(k) for k in range(READINGS)]
    texts = [{**one, "time": f"2026-03-01T12:{k // 60 % 60:02}:{k % 60:02}Z"}
             for k, one in enumerate(readings)]  # fmt: skip
    bare = [{key: one[key] for key in one if key != "device"} for one in readings]
    grouped = [
        {"device": f"pump-{k}", "readings": bare[k * 20 : k * 20 + 20]}
        for k in range(READINGS // 20)
    ]
    arrays = [readings[k : k + 100] for k in range(0, READINGS, 100)]
    return {
        "one reading, time as number": (_payloads(readings), {}),
        "one reading, time as ISO text": (_payloads(texts), {}),
        "one reading, device from the topic": (_payloads(bare), {"device": "topic:1"}),
        "array of 100 readings": (_payloads(arrays), {}),
        "20 readings of one device": (_payloads(grouped), {"readings": "readings"}),
    }


def _reading(k: int) -> dict[str, Any]:
    numbers = (20 + k % 97 / 10, 40 + k % 311 / 10, 1013.25 - k % 89 / 10, 3.3 - k % 13 / 100)
    values = {name: round(x, 2) for name, x in zip(CHANNELS, numbers, strict=True)}
    return {"device": f"pump-{k % DEVICES}", "time": START + k, **values}


def _payloads(messages: list[Any]) -> list[bytes]:
    return [json.dumps(message).encode() for message in messages]


def _prepared(payloads: list[bytes], options: dict[str, Any]) -> tuple[Any, Delivery, Batch]:
    schema = Schema([Channel(name) for name in CHANNELS])
    topics = [f"pumps/pump-{k % DEVICES}/data" for k in range(len(payloads))]
    delivery = Delivery(0, payloads, topics, [START * 10**6] * len(payloads))
    batch = Batch(READINGS, schema.width)
    codec = build(schema, Devices(2 * DEVICES), **options)
    codec.decode(delivery, batch, Rejects())
    return codec, delivery, batch
