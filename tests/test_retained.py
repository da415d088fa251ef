"""Retained messages: shown as the last known state, learned by nothing."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from stream_processor.pipeline import Pipeline
from stream_processor.settings import load_text
from streamgauge.delivery import Delivery
from streamgauge.state import take_rows
from tests.services.mosquitto import Mosquitto, mosquitto
from tests.services.ports import wait_for
from tests.services.service import service

SECOND = 10**6
NOW = 1_772_366_400 * SECOND
STREAM = """
[[source]]
use = "mqtt"
url = "{url}"
topics = ["pumps/+/telemetry"]
codec = "json"
device = "topic:1"
{time}
[channels.load]
range = [0, 10]
[channels.heat]
[tasks.load_now]
kind = "regression"
target = "load"
inputs = ["heat"]
ready_after = 0
model = "linear_model.LinearRegression"
"""
OWN_TIME, ARRIVAL = 'time = "field:ts"', 'time = "received"'


def pipeline(time: str = OWN_TIME) -> Pipeline:
    """A pipeline of two channels and one task."""
    text = STREAM.format(url="mqtt://localhost", time=time)
    return Pipeline(load_text(text, Path("pipeline.toml"), {}))


def message(device: str, second: int, *, retained: bool, **content: Any) -> Delivery:
    """One message that came in that second."""
    topics, received = [f"pumps/{device}/telemetry"], [NOW + second * SECOND]
    return Delivery(0, [json.dumps(content).encode()], topics, received, retained=retained)


def stamp(second: int) -> int:
    """A device's clock, in milliseconds."""
    return (NOW // SECOND + second) * 1000


def learned(made: Pipeline) -> dict[str, bytes]:
    """Every state array but what is retained and the counts by verdict, as bits."""
    rows = np.arange(len(made.walk.stages.devices))
    taken = take_rows(made.walk.blocks, rows)
    return {k: a.tobytes() for k, a in taken.items() if not k.startswith(("retained", "admit.c"))}


def test_nothing_is_learned_predicted_or_admitted() -> None:
    """Among live readings, retained ones leave every state array and every result as they were."""
    made, other = pipeline(), pipeline()
    for k in range(50):
        live = message("p1", 2 * k, retained=False, ts=stamp(2 * k), load=k % 7, heat=k % 5)
        made.feed(live)
        other.feed(live)
        other.feed(message("p1", 2 * k + 1, retained=True, ts=stamp(2 * k + 1), load=9, heat=9))
    assert learned(made) == learned(other)
    results = [one.sealed()[0].predictions for one in (made, other)]
    assert results[0].numbers.tobytes() == results[1].numbers.tobytes()
    counts = other.board.counts()
    assert counts["readings"]["admitted"] == 50
    assert counts["readings"]["retained"] == 50
    assert counts["rejected"] == {}
    assert not other.rejects.newest


def test_the_board_shows_what_is_newer_or_all_there_is() -> None:
    """A retained value fills a channel that has none, replaces an older one if its own time is
    newer, and never a newer one."""
    made = pipeline()
    made.feed(message("p1", 0, retained=True, ts=stamp(-60), load=1, heat=2))
    view = made.board.device("p1")
    assert view is not None
    assert (view.readings, view.time) == (0, NOW - 60 * SECOND)
    assert view.values == {"load": 1.0, "heat": 2.0}
    made.feed(message("p1", 1, retained=False, ts=stamp(1), load=5))
    view = made.board.device("p1")
    assert view is not None
    assert (view.readings, view.time) == (1, NOW + SECOND)
    assert view.values == {"load": 5.0, "heat": 2.0}
    made.feed(message("p1", 9, retained=True, ts=stamp(8), load=6))
    view = made.board.device("p1")
    assert view is not None
    assert (view.time, view.values["load"]) == (NOW + 8 * SECOND, 6.0)
    made.feed(message("p1", 10, retained=True, ts=stamp(2), load=7))
    view = made.board.device("p1")
    assert view is not None
    assert view.values["load"] == 6.0


def test_without_a_time_of_its_own_nobody_knows_how_old_it_is() -> None:
    """Such a message has no time on the board, and gives way to any admitted reading."""
    made = pipeline(ARRIVAL)
    made.feed(message("p1", 0, retained=True, load=1))
    view = made.board.device("p1")
    assert view is not None
    assert (view.time, view.received, view.values["load"]) == (None, NOW, 1.0)
    made.feed(message("p1", 1, retained=False, load=2))
    made.feed(message("p1", 5, retained=True, load=1))
    view = made.board.device("p1")
    assert view is not None
    assert (view.time, view.values["load"]) == (NOW + SECOND, 2.0)


@pytest.mark.parametrize("time", [OWN_TIME, ARRIVAL])
def test_repeating_it_changes_nothing(time: str) -> None:
    """The same message at each reconnect leaves the same state, and keeps no dead device alive."""
    made = pipeline(time)
    block = made.walk.blocks["retained.state"].array
    made.feed(message("p1", 0, retained=True, ts=stamp(-5), load=1, heat=3))
    before = block[:1].tobytes()
    for k in range(1, 5):
        made.feed(message("p1", 100 * k, retained=True, ts=stamp(-5), load=1, heat=3))
    assert block[:1].tobytes() == before


def test_values_are_vetted() -> None:
    """What is out of range is not shown, and what holds no usable value is nothing."""
    made = pipeline()
    made.feed(message("p1", 0, retained=True, ts=stamp(-1), load=99, heat=3))
    made.feed(message("p2", 0, retained=True, ts=stamp(-1), load=99))
    first, second = made.board.device("p1"), made.board.device("p2")
    assert first is not None
    assert first.values == {"load": None, "heat": 3.0}
    assert second is not None
    assert second.values == {"load": None, "heat": None}


def test_a_device_that_only_left_a_message_stays_until_it_is_evicted() -> None:
    """A tick forgets devices of which nothing usable came, not those that have a last state; an
    eviction forgets that, too."""
    made = pipeline()
    made.feed(message("p1", 0, retained=True, ts=stamp(-1), load=1))
    made.feed(message("p2", 0, retained=True, ts=stamp(-1), load=99))
    made.feed(Delivery(clock=NOW + SECOND))
    assert made.board.device_ids() == ["p1"]
    made.walk.evict_after = 60 * SECOND
    made.feed(Delivery(clock=NOW + 3_600 * SECOND))
    assert made.board.device_ids() == []
    made.feed(message("p3", 9_000, retained=False, ts=stamp(9_000), heat=1))
    view = made.board.device("p3")
    assert view is not None
    assert view.values == {"load": None, "heat": 1.0}


@contextmanager
def publisher(broker: Mosquitto) -> Iterator[Client]:
    """A client that publishes."""
    client = Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def test_the_api_shows_it_and_a_restart_keeps_it(tmp_path: Path) -> None:
    """Through a real broker: the device's page has the value, nothing counts as admitted, and after
    a kill it is still there once."""
    with mosquitto(tmp_path / "broker") as broker, publisher(broker) as client:
        text = json.dumps({"ts": 1_772_366_400, "load": 3.5})
        client.publish("pumps/p1/telemetry", text, 1, retain=True).wait_for_publish(10)
        with service(tmp_path / "s", STREAM.format(url=broker.url, time=OWN_TIME)) as running:
            metric = "streamgauge_readings_total{retained}"
            wait_for(lambda: running.count(metric) >= 1)
            assert running.admitted == 0
            device = running.get("/v1/devices/p1")
            assert (device["readings"], device["values"]["load"]) == (0, 3.5)
            running.kill()
            running.start()
            wait_for(lambda: running.count(metric) >= 2)
            assert running.get("/v1/devices/p1") == device
            assert running.admitted == 0
            assert running.get("/v1/devices/p1/predictions")["items"] == []
