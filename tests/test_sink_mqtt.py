"""The MQTT sink against a real Mosquitto."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from monitoring.sinks import mqtt
from monitoring.sinks._messages import encoded
from stream_processor.settings import Problems, load_text
from streamgauge.events import Event, EventKind
from tests.influx import arrived
from tests.outputs import LANES, START, output, predicted, told
from tests.payloads import checked
from tests.services.mosquitto import Mosquitto, mosquitto
from tests.services.ports import wait_for
from tests.services.proxy import proxy

GONE = Event(EventKind.EVICTED, 1, -1, START, -1, np.nan, np.nan, np.nan)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that keeps sessions in memory."""
    with mosquitto(tmp_path / "broker") as running:
        yield running


@contextmanager
def sinking(url: str, **options: Any) -> Iterator[mqtt.Mqtt]:
    """A sink that publishes to that broker."""
    with TemporaryDirectory() as folder:
        sink = mqtt.open(LANES, "pumps", Path(folder), lambda: START, url=url, **options)
        try:
            yield sink
        finally:
            sink.close()


@contextmanager
def hearing(broker: Mosquitto, topic: str = "#") -> Iterator[list[tuple[str, bytes, bool]]]:
    """Topic, payload and retained flag of everything that is published."""
    heard: list[tuple[str, bytes, bool]] = []
    ready = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, client_id="hearer", clean_session=False)
    client.on_message = lambda _, __, one: heard.append((one.topic, bytes(one.payload), one.retain))
    client.on_connect = lambda one, *_: one.subscribe(topic, 1)
    client.on_subscribe = lambda *_: ready.set()
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    assert ready.wait(10)
    try:
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()


def test_every_result_reaches_its_topic(broker: Mosquitto) -> None:
    """Predictions, outcomes and events arrive once each, in order, under device, task and kind,
    with names that would be filters or levels made harmless."""
    piece = output(
        [predicted(1), told(1), predicted(2, 1, 2), predicted(3, 2)],
        names=("pump-1", "hall/+ 2#", "Ölpumpe"),
        events=[GONE],
    )
    with hearing(broker) as heard, sinking(broker.url) as sink:
        sink.write(piece)
        assert sink.flush(10)
        wait_for(lambda: len(heard) >= 5)
        assert [topic for topic, *_ in heard] == [
            "streamgauge/pumps/pump-1/power/prediction",
            "streamgauge/pumps/pump-1/power/outcome",
            "streamgauge/pumps/hall%2F%2B 2%23/flow/prediction",
            "streamgauge/pumps/Ölpumpe/power/prediction",
            "streamgauge/pumps/hall%2F%2B 2%23/_/event",
        ]
        assert [text for _, text, _ in heard] == [text for *_, text in encoded(piece)]
        assert checked(heard[0][1])["id"] == checked(heard[1][1])["id"]
        assert all(checked(text)["id"] for _, text, _ in heard)
        assert not any(retained for *_, retained in heard)
        assert sink.state()["sent_total"] == 5
        assert sink.state()["ok"]


def test_the_newest_is_kept_where_it_is_asked_for(broker: Mosquitto) -> None:
    """With retain, who comes later gets the newest of each topic; other kinds are left out."""
    options: dict[str, Any] = {"topic": "out/{device}", "kinds": ["outcome"], "retain": True}
    with sinking(broker.url, **options) as sink:
        sink.write(output([predicted(1), told(1), told(2)]))
        assert sink.flush(10)
    with hearing(broker, "out/#") as heard:
        wait_for(lambda: heard)
        [(topic, text, retained)] = heard
        assert (topic, retained) == ("out/pump-1", True)
        assert json.loads(text)["id"] == "power@10m/pump-1/2"


def test_what_was_under_way_is_sent_again(broker: Mosquitto) -> None:
    """Through a stalled and cut network nothing is lost, in order, and nobody who writes waits."""
    with (
        proxy(broker.port) as between,
        hearing(broker) as heard,
        sinking(f"mqtt://localhost:{between.port}", keepalive=1) as sink,
    ):
        sink.write(output([predicted(0)]))
        assert sink.flush(10)
        between.stall()
        for k in range(1, 200):
            sink.write(output([predicted(k)]))
        wait_for(lambda: not sink.state()["ok"])
        between.cut()
        between.resume()
        arrived(sink)
        wait_for(lambda: len({text for _, text, _ in heard}) >= 200)
        ids = [json.loads(text)["id"] for _, text, _ in heard]
        assert list(dict.fromkeys(ids)) == [f"power@10m/pump-1/{k}" for k in range(200)]


def test_a_broker_that_is_away_holds_nobody_up(tmp_path: Path) -> None:
    """What is written meanwhile waits within the bound, the oldest is dropped and counted, and the
    rest goes out once the broker is there."""
    broker = Mosquitto(tmp_path / "broker")
    with sinking(broker.url, buffer_bytes=20_000, spill_bytes=0) as sink:
        for k in range(100):
            sink.write(output([predicted(k)]))
        wait_for(lambda: "is the broker running?" in sink.state()["why"])
        dropped = sink.state()["dropped_total"]
        assert dropped > 0
        broker.start()
        try:
            assert sink.flush(20)
            assert sink.state()["sent_total"] == 100 - dropped
        finally:
            broker.stop()


def test_a_wrong_login_is_told_without_the_password(tmp_path: Path) -> None:
    """The state says who refuses, not the secret."""
    with (
        mosquitto(tmp_path / "broker", passwords={"gauge": "secret"}) as broker,
        sinking(broker.url, username="gauge", password="hunter2") as sink,
    ):
        wait_for(lambda: "refuses us" in sink.state()["why"])
        assert "hunter2" not in str(sink.state())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"topic": "out/{unit}"}, "its places are"), ({"topic": "out/#"}, "no topic"),
        ({"topic": "{device"}, "its places are"), ({"kinds": ["scores"]}, "name some of"),
        ({"kinds": []}, "name some of"), ({"keepalive": 0}, "from 1 to"),
        ({"url": "mqtt://broker"}, "tls = false"),
    ],
)  # fmt: skip
def test_options_that_mean_nothing(options: dict[str, Any], match: str) -> None:
    """A wrong option is refused before anything is connected, with what to write instead."""
    with pytest.raises(ValueError, match=match):
        mqtt.open(LANES, "pumps", Path(), lambda: 0, **options)


LOOP = """
[[source]]
use = "mqtt"
url = "mqtt://127.0.0.1:1883"
topics = [{topics}]
[channels.a]
range = [0, 1]
[[sink]]
use = "mqtt"
{sink}
"""


@pytest.mark.parametrize(
    ("topics", "sink", "looped"),
    [
        ('"#"', "", True), ('"streamgauge/+/+/a/#"', "", True), ('"sensors/#"', "", False),
        ('"sensors/#"', 'topic = "sensors/{device}"', True),
        ('"$share/g/sensors/+/out"', 'topic = "sensors/x{device}/out"', True),
        ('"sensors/+/in"', 'topic = "sensors/{device}/out"', False),
        ('"#"', 'url = "mqtt://localhost:1884"', False), ('"+/stream/#"', "", True),
        ('"+/other/#"', "", False),
    ],
)  # fmt: skip
def test_a_sink_that_would_feed_its_source_is_refused(
    topics: str, sink: str, looped: bool, tmp_path: Path
) -> None:
    """Results that would be read as readings are a problem with a remedy, on the same broker by
    whatever name, and only there."""
    text = LOOP.format(topics=topics, sink=sink)
    if not looped:
        load_text(text, tmp_path / "p.toml", {})
        return
    with pytest.raises(Problems, match="choose a topic that no source reads"):
        load_text(text, tmp_path / "p.toml", {})


def test_check_notes_what_may_surprise(tmp_path: Path) -> None:
    """Plain text over a network and shared subscriptions each have a note."""
    text = LOOP.format(topics='"$share/g/a"', sink='url = "mqtt://h"\ntls = false')
    notes = " ".join(load_text(text, tmp_path / "p.toml", {}).notes)
    assert "overtake" in notes
    assert "unencrypted" in notes
