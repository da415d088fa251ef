"""Killed at every point, a hundred times, under load: nothing is lost, nothing is learned twice."""

import json
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from kafka import KafkaProducer
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from ingest.journal import Journal
from stream_processor.key import signing_key
from stream_processor.pipeline import Pipeline
from stream_processor.settings import load
from stream_processor.worker import CHECKPOINT, Worker
from streamgauge.delivery import Delivery
from streamgauge.plugins import load as load_plugin
from tests.crashing import EVICTIONS, KEPT, POINTS, Processes, link_all, processes
from tests.services.kafka import new_topic, shared
from tests.services.mosquitto import mosquitto
from tests.services.ports import wait_for
from tests.services.service import Service, environment
from tests.streams import BEGIN, COMPILED, RIVER, SECOND
from tests.test_walk import state, told

KILLS = 50
DEVICES = 8
LATER = 40
"""Readings that are sent before the label of a reading is."""
SHIFT = 800
"""Readings after which the other half of the devices comes, where they take turns."""
COMING = {
    "[devices]": '[devices]\nevict_after = "300ms"\nmax_ahead = "100ms"',
    'horizons = ["3s"]': 'horizons = ["1s"]\ntolerance = "100ms"',
}
"""What lets a device be evicted soon after its last reading: nothing may be due to it then."""
PAUSE = 0.004
"""Seconds between two readings: a load that all tasks together keep up with."""
CONFIG = """
[devices]
duplicates = "{duplicates}"
[channels.load]
[features]
lags = {{ load = [1] }}
[tasks.ahead]
kind = "forecast"
target = "load"
horizons = ["3s"]
ready_after = 0
model = {compiled}
[tasks.by_river]
kind = "forecast"
target = "load"
horizons = [{{ readings = 2 }}]
ready_after = 0
model = {river}
[tasks.named]
kind = "regression"
ready_after = 0
model = {compiled}
label = {{ from = "topic:{labels}", expire_after = "10m", teach_until = "2s" }}
[tasks.timed]
kind = "regression"
scope = "fleet"
ready_after = 0
model = {compiled}
label = {{ from = "topic:{labels}", match = {{ time_within = "500ms" }} }}
[tasks.shared]
kind = "regression"
scope = "fleet"
ready_after = 0
model = {river}
label = {{ from = "topic:{labels}", match = {{ time_within = "500ms" }} }}
{source}
"""
MQTT = """
[[source]]
use = "mqtt"
url = "{url}"
client_id = "crash"
topics = ["t/+", "labels/+"]
device = "topic:1"
"""
KAFKA = """
[[source]]
use = "kafka"
topics = ["{topic}", "{labels}"]
bootstrap_servers = "{bootstrap}"
group = "{topic}"
device = "key"
"""


def text(source: str, labels: str, duplicates: str = "time") -> str:
    """A pipeline with every kind of task on that source."""
    return CONFIG.format(
        source=source, labels=labels, duplicates=duplicates, compiled=COMPILED, river=RIVER
    )


def reading(k: int) -> bytes:
    """The k-th reading of all: each device has one a second."""
    clock = (BEGIN + k // DEVICES * SECOND) / 1e6
    return json.dumps({"time": clock, "load": ((k * 7919) % 1013) / 100}).encode()


def labels_of(k: int) -> list[bytes]:
    """Both labels of the k-th reading: by the id of its prediction, and by device and time."""
    device, value = f"d{k % DEVICES}", ((k * 104_729) % 997) / 100
    return [
        json.dumps({"id": f"named/{device}/{k // DEVICES}", "label": value}).encode(),
        json.dumps({"device": device, "time": BEGIN / 1e6 + k // DEVICES, "label": value}).encode(),
    ]


@dataclass
class Load:
    """A thread that publishes until it is told to stop: readings, and later their labels."""

    send: Any
    """Called with "reading" or "label", the device and the payload."""
    sent: int = 0
    order: Callable[[int], int] = int
    """Which reading is sent as the how manieth."""
    whole: int = 1
    """It ends with a multiple of so many readings."""
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self._stop.wait(PAUSE):
            self.one()

    def one(self) -> None:
        number, self.sent = self.sent, self.sent + 1
        k = self.order(number)
        self.send("reading", f"d{k % DEVICES}", reading(k))
        if number >= LATER:
            earlier = self.order(number - LATER)
            for payload in labels_of(earlier):
                self.send("label", f"d{earlier % DEVICES}", payload)

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()
            while self.sent % self.whole:
                self.one()


def kills(number: int, seed: int, among: Sequence[str] = POINTS) -> Iterator[tuple[str, int, str]]:
    """Points, counts and moments: every point equally often, in a random order."""
    chance = random.Random(seed)
    points = [among[k % len(among)] for k in range(number)]
    chance.shuffle(points)
    most = {"checkpoint": 2, "trim": 2, "sink": 8, "acknowledge": 25, "journal": 25}
    most |= {"evict": 2, "return": 6, "prune": 3, "settle": 2}
    for point in points:
        moments = ("before", "after", "torn") if point == "journal" else ("before", "after")
        yield point, chance.randint(1, most.get(point, 60)), chance.choice(moments)


def crash(
    service: Service, load: Load, started: Processes, number: int, among: Sequence[str] = POINTS
) -> None:
    """Start and be killed so many times under load, then work all of it off and stop."""
    with load.running():
        for point, count, moment in kills(number, 7, among):
            started.launch(point, count, moment)
            code = started.ended()
            assert code == -signal.SIGKILL, (point, count, moment, code, service.errors)
    finish(service, load, started)


def finish(service: Service, load: Load, started: Processes) -> None:
    """One more process, which works all of it off and is stopped in good order."""
    pid = started.launch()
    try:
        wait_for(lambda: service.ready, 60.0, what=f"a ready service: {service.errors}")
        wait_for(lambda: service.admitted >= load.sent, 60.0, what=f"{load.sent} readings")
        wait_for(lambda: settled(service, load), 60.0, what="all labels")
    finally:
        os.kill(pid, signal.SIGTERM)
        assert started.ended() == 0, service.errors


def settled(service: Service, load: Load) -> bool:
    """Whether every label came at least once."""
    found = service.get("/v1/tasks/timed/scores")["items"][0]["labels"]
    return bool(sum(n for name, n in found.items() if name in FATES) >= load.sent - LATER)


FATES = ("taught", "scored", "duplicate", "late", "unmatched")


class Again:
    """A worker that only takes a state folder back: no source is started."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.pipeline = Pipeline(load(service.config, {}))
        settings = self.pipeline.settings.sources[0]
        source = load_plugin("ingest.sources", settings.use).open(
            self.pipeline.walk.stages.schema, 0, time_ns, self.pipeline.rejects, **settings.options
        )
        self.journal = Journal(folder / "journal")
        key = signing_key(service.folder / "signing.key")
        worker = Worker(self.pipeline, [source], [], self.journal, folder, key, time_ns)
        worker.recover()
        self.journal.close()

    def recall(self) -> None:
        """Bring back what was evicted."""
        walk = self.pipeline.walk
        self.evictions = walk.eviction.store.at
        for k in range(DEVICES):
            walk.stages.devices.recall(f"d{k}")
        walk.open()

    def more(self) -> Any:
        """What comes of a thousand further readings and labels, as bits: models that only River
        understands are compared by how they go on."""
        outputs = []
        topic, label = ("t", "labels/x") if self.mqtt else self.topics
        for k in range(10**6, 10**6 + 1_000):
            where = f"t/d{k % DEVICES}" if self.mqtt else topic
            for payloads, on in (([reading(k)], where), (labels_of(k), label)):
                n = len(payloads)
                keys = [f"d{k % DEVICES}"] * n
                clock = [BEGIN * 2 + k] * n
                self.pipeline.feed(
                    Delivery(payloads=payloads, topics=[on] * n, received=clock, keys=keys)
                )
            outputs += self.pipeline.sealed()
        return told(outputs)

    @property
    def mqtt(self) -> bool:
        return self.pipeline.settings.sources[0].use == "mqtt"

    @property
    def topics(self) -> tuple[str, str]:
        first, second = self.pipeline.settings.sources[0].options["topics"]
        return first, second


def time_ns() -> int:
    """Our clock, microseconds."""
    return time.time_ns() // 1_000


def uninterrupted(service: Service) -> Again:
    """One process that is given, from the beginning, the whole log that the killed ones wrote."""
    folder = service.folder / "uninterrupted"
    link_all(service.state / "journal")
    shutil.copytree(service.state / KEPT, folder / "journal")
    return Again(service, folder)


def assert_nothing_lost_or_learned_twice(service: Service, load: Load) -> None:
    """The state is that of an uninterrupted run, and every reading is in it once, in order."""
    survivor, whole = Again(service, service.state), uninterrupted(service)
    assert (service.state / CHECKPOINT).exists()
    assert survivor.journal.first > 0, "nothing was ever trimmed, so the log proved nothing"
    for one in (survivor, whole):
        one.recall()
    assert state(survivor.pipeline) == state(whole.pipeline)
    devices = survivor.pipeline.walk.stages.devices
    assert devices.snapshot() == whole.pipeline.walk.stages.devices.snapshot()
    for k in range(DEVICES):
        view = survivor.pipeline.board.device(f"d{k}")
        assert view is not None
        assert view.readings == (load.sent - k + DEVICES - 1) // DEVICES
        assert view.time == BEGIN + (view.readings - 1) * SECOND
    for task in survivor.pipeline.settings.tasks:
        ours, theirs = survivor.pipeline.board.scores(task), whole.pipeline.board.scores(task)
        assert ours == theirs
        assert ours[0].scores["labels"], task
    assert survivor.more() == whole.more()
    assert state(survivor.pipeline) == state(whole.pipeline)


@contextmanager
def over_mqtt(
    folder: Path, duplicates: str = "time", changed: Mapping[str, str] = MappingProxyType({})
) -> Iterator[tuple[Service, Load, Processes]]:
    """A service on a real Mosquitto, and what publishes to it with QoS 1."""
    with mosquitto(folder / "broker") as broker:
        source = MQTT.format(url=broker.url)
        config = text(source, "labels/+", duplicates)
        for old, new in changed.items():
            config = config.replace(old, new)
        service = Service(folder / "service", config, every="150ms")
        client = Client(CallbackAPIVersion.VERSION2)
        client.max_inflight_messages_set(200)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        waiting = []

        def send(kind: str, device: str, payload: bytes) -> None:
            topic = f"t/{device}" if kind == "reading" else "labels/quality"
            waiting.append(client.publish(topic, payload, qos=1))

        try:
            with processes(service.config, environment(service.folder)) as started:
                # Its session begins with its first subscription; nothing is kept for it before.
                finish(service, Load(send), started)
                yield service, Load(send), started
            for info in waiting:
                info.wait_for_publish(10)
        finally:
            client.disconnect()
            client.loop_stop()


@contextmanager
def over_kafka(folder: Path) -> Iterator[tuple[Service, Load, Processes]]:
    """A service on a real Kafka, its readings in four partitions, its labels in another topic."""
    bootstrap = shared()
    topic, labels = new_topic(bootstrap, partitions=4), new_topic(bootstrap)
    source = KAFKA.format(bootstrap=bootstrap, topic=topic, labels=labels)
    service = Service(folder / "service", text(source, labels), every="150ms")
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=2)

    def send(kind: str, device: str, payload: bytes) -> None:
        if kind == "reading":
            where: dict[str, Any] = {"topic": topic, "partition": int(device[1:]) % 4}
        else:
            where = {"topic": labels}
        producer.send(**where, key=device.encode(), value=payload)

    try:
        with processes(service.config, environment(service.folder)) as started:
            yield service, Load(send), started
    finally:
        producer.close(10)


@pytest.mark.slow
def test_nothing_is_lost_or_learned_twice_over_mqtt(tmp_path: Path) -> None:
    """50 kills at counted hits of seven points, each at least five times, over MQTT with QoS 1."""
    with over_mqtt(tmp_path) as (service, load, started):
        crash(service, load, started, KILLS)
        assert_nothing_lost_or_learned_twice(service, load)


@pytest.mark.slow
def test_nothing_is_lost_or_learned_twice_over_kafka(tmp_path: Path) -> None:
    """50 kills at counted hits of seven points, each at least five times, over Kafka."""
    with over_kafka(tmp_path) as (service, load, started):
        crash(service, load, started, KILLS)
        assert_nothing_lost_or_learned_twice(service, load)


@pytest.mark.slow
def test_without_dedupe_the_same_kills_are_noticed(tmp_path: Path) -> None:
    """What was written down but not yet acknowledged is delivered again: with nothing to tell it
    from something new, it is learned twice, and the checks above say so."""
    with over_mqtt(tmp_path, duplicates="none") as (service, load, started):
        crash(service, load, started, 3 * len(POINTS))
        with pytest.raises(AssertionError):
            assert_nothing_lost_or_learned_twice(service, load)
        learned = Again(service, service.state).pipeline.board.counts()["readings"]["admitted"]
        assert learned > load.sent


def in_shifts(number: int) -> int:
    """Half of the devices have two hundred readings each, then the other half theirs."""
    shift, at = divmod(number, SHIFT)
    return shift // 2 * 2 * SHIFT + at // 4 * DEVICES + shift % 2 * 4 + at % 4


@pytest.mark.slow
def test_devices_that_are_evicted_meanwhile_are_not_lost_or_learned_twice(tmp_path: Path) -> None:
    """Killed while devices leave and come back, 15 times, over MQTT with QoS 1."""
    with over_mqtt(tmp_path, changed=COMING) as (service, load, started):
        load.order, load.whole = in_shifts, 2 * SHIFT
        crash(service, load, started, 15, EVICTIONS)
        assert_nothing_lost_or_learned_twice(service, load)


def test_every_point_is_killed_at_least_five_times() -> None:
    """What the tests above promise of their kills."""
    points = [point for point, *_ in kills(KILLS, 7)]
    assert len(points) == KILLS
    assert min(points.count(point) for point in POINTS) >= 5
