"""A network between Kafka and us that is gone for longer than the group waits for its members."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from kafka import KafkaAdminClient

from tests.kafka_reader import produce
from tests.services.kafka import Kafka, kafka, new_topic
from tests.services.ports import free_port, wait_for
from tests.services.proxy import Proxy, proxy
from tests.services.service import Service
from tests.test_kafka_restart import Stand, messages
from tests.test_walk import state


@pytest.fixture(scope="module")
def between(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kafka, Proxy]]:
    """A broker that we reach through the proxy alone; who writes goes straight to it."""
    inside, folder = free_port(), tmp_path_factory.mktemp("kafka")
    settings = {"group.min.session.timeout.ms": "1000"}
    with (
        proxy(inside) as way,
        kafka(folder, behind=(inside, way.port), settings=settings) as broker,
    ):
        yield broker, way


def members(broker: Kafka, group: str) -> int:
    """How many members the group has, as the broker knows."""
    with KafkaAdminClient(bootstrap_servers=broker.bootstrap) as admin:
        [found] = admin.describe_groups([group]).values()
    return len(found["members"])


@pytest.mark.slow
@pytest.mark.parametrize("gone", ["silent", "silent and then ended", "ended and refused"])
def test_a_network_that_is_gone_for_longer_than_the_session(
    tmp_path: Path, between: tuple[Kafka, Proxy], gone: str
) -> None:
    """The group gives our partitions up, the source says that it is away and that it is back, and
    the state is that of a run with a whole network; a restart finds the same in the journal."""
    broker, way = between
    topic = new_topic(broker.bootstrap)
    outside = f"127.0.0.1:{way.port}"
    one = Stand(tmp_path / "cut", outside, topic, session="1s").start()
    produce(broker.bootstrap, topic, messages(0, 200))
    one.until(200)
    wait_for(lambda: one.source.state()["ok"])
    (way.refuse if gone == "ended and refused" else way.stall)()
    produce(broker.bootstrap, topic, messages(200, 300))
    wait_for(lambda: outside in one.source.state()["why"], 30.0, what="word of it")
    assert not one.source.state()["ok"]
    wait_for(lambda: members(broker, topic) == 0, 30.0, what="the group to give us up")
    produce(broker.bootstrap, topic, messages(300, 400))
    if gone == "silent and then ended":
        way.cut()
    way.resume()
    one.until(400)
    wait_for(lambda: one.source.state()["ok"], 30.0, what=str(one.source.state()))
    produce(broker.bootstrap, topic, messages(400, 500))
    one.until(500)
    assert members(broker, topic) == 1
    one.kill()

    whole = Stand(tmp_path / "whole", broker.bootstrap, topic, group=f"{topic}-whole").start()
    whole.until(500)
    whole.worker.stop()
    assert state(one.pipeline) == state(whole.pipeline)
    again = Stand(tmp_path / "cut", outside, topic)
    again.worker.recover()
    assert state(again.pipeline) == state(whole.pipeline)
    again.worker.stop()


CONFIG = """
[[source]]
use = "kafka"
topics = ["{topic}"]
bootstrap_servers = "127.0.0.1:{port}"
group = "{topic}"
device = "key"
[[source]]
use = "http"
[channels.load]
"""


@pytest.mark.slow
def test_a_restart_while_kafka_is_away_lives_and_says_what_it_waits_for(
    tmp_path: Path, between: tuple[Kafka, Proxy]
) -> None:
    """/livez answers, /readyz tells, nothing new is taken, SIGTERM ends it; nothing is lost."""
    broker, way = between
    topic = new_topic(broker.bootstrap)
    running = Service(tmp_path, CONFIG.format(topic=topic, port=way.port), every="1h")
    try:
        running.start()
        produce(broker.bootstrap, topic, messages(0, 200))
        running.wait_admitted(200)
        running.kill()
        way.refuse()
        running.launch()
        wait_for(running.answers, 60.0, what="a service that lives")
        wait_for(
            lambda: f"reading again what the journal names of {topic}" in told(running),
            30.0,
            what="word of what it waits for",
        )
        assert "worker: it takes its state back" in told(running)
        post = {"device": "d", "time": 1, "load": 1}
        assert httpx.post(f"{running.url}/v1/readings", json=post).status_code == 503
        code, seconds = running.stop()
        assert (code, seconds < 10.0) == (0, True)
        way.resume()
        running.start()
        running.wait_admitted(200)
        assert running.admitted == 200
    finally:
        way.resume()
        running.kill()


def told(running: Service) -> str:
    """What is wrong, by /readyz."""
    return str(httpx.get(f"{running.url}/readyz").json().get("detail", ""))
