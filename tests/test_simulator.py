"""The simulated fleet: pure in seed and time, with the flaws and the show that it promises."""

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.codecs import json as codec
from ingest.rejects import Rejects
from ingest.source import Source
from ingest.sources import mqtt, simulator
from ingest.sources.simulator import CHANNELS, Fleet, name
from serving.broker import broker
from streamgauge.batch import Batch
from streamgauge.delivery import Delivery
from streamgauge.devices import Devices
from streamgauge.schema import Channel, Schema
from tests.services.mosquitto import mosquitto
from tests.services.ports import wait_for

BEGIN = 1_772_366_400_000_000
SECOND = 1_000_000
SCHEMA = Schema([Channel(channel) for channel in CHANNELS])
FLEET = Fleet(begin=BEGIN)


def sent(fleet: Fleet, seconds: int, first: int = 0) -> list[tuple[str, dict[str, Any]]]:
    """Topic and content of every message of some seconds."""
    return [
        (topic, json.loads(payload))
        for second in range(first, first + seconds)
        for topic, payload in fleet.messages(BEGIN + second * SECOND)
    ]


def test_pure_in_seed_and_time() -> None:
    """The same moment gives the same messages, in any order of asking; another seed others."""
    moments = [BEGIN + k * SECOND for k in range(5)]
    there = [FLEET.messages(moment) for moment in moments]
    back = [Fleet(begin=BEGIN).messages(moment) for moment in reversed(moments)][::-1]
    assert there == back
    assert there[0] == FLEET.messages(BEGIN + SECOND - 1)
    assert there[0] != there[1]
    assert there[0] != replace(FLEET, seed=8).messages(BEGIN)


def test_messages_are_lost_doubled_and_incomplete() -> None:
    """About one in a hundred is missing, one in two hundred comes twice or lacks a channel."""
    messages = sent(FLEET, 170)
    keys = [(topic, body["time"]) for topic, body in messages]
    possible = 170 * FLEET.devices
    assert 0.003 < 1 - len(set(keys)) / possible < 0.03
    assert 5 <= len(keys) - len(set(keys)) <= 40
    assert 5 <= sum(len(body) < 1 + len(CHANNELS) for _, body in messages) <= 40


def test_one_pump_falls_silent() -> None:
    """The radio link of one pump is down for 20 seconds in three minutes."""
    quiet = {topic for topic, _ in sent(FLEET, 20, first=0)}
    silent = [second for second in range(170, 220) if len(
        {topic for topic, _ in sent(FLEET, 1, first=second)} & {"pumps/pump-006/telemetry"}
    ) == 0]  # fmt: skip
    assert "pumps/pump-006/telemetry" in quiet
    assert 20 <= len(silent) <= 25


def test_times_are_a_little_past() -> None:
    """Event times lie within the interval before the moment they are sent, in milliseconds."""
    for _, body in sent(FLEET, 1, first=7):
        assert BEGIN + 6.5 * SECOND <= body["time"] * 1_000 <= BEGIN + 7 * SECOND


def test_values_are_physical() -> None:
    """Over ten minutes, fault included, every channel stays within the demo's ranges."""
    ranges = {"temperature": (-40, 150), "pressure": (0, 25), "flow": (0, 500)}
    ranges |= {"vibration": (0, 100), "power": (0, 500)}
    for _, body in sent(FLEET, 600):
        assert all(low < body[key] < high for key, (low, high) in ranges.items() if key in body)


def test_the_fault_begins_when_it_should() -> None:
    """The vibration of one pump, and of no other, grows from second 60 on."""
    vibration = CHANNELS.index("vibration")

    def against_healthy(second: int) -> Any:
        tick = BEGIN // SECOND + second
        healthy = replace(FLEET, start_fault=10**15)
        return (FLEET.values(tick) - healthy.values(tick))[:, vibration]

    assert not against_healthy(60).any()
    assert np.flatnonzero(against_healthy(75)).tolist() == [3]
    assert against_healthy(120)[3] == pytest.approx(11.0)


def test_a_worn_bearing_draws_power_unevenly() -> None:
    """Once its bearing is worn, the power of the faulty pump scatters far more than before."""
    power = CHANNELS.index("power")

    def scatter(pump: int, first: int) -> float:
        off = [
            body["power"] - FLEET.values(BEGIN // SECOND + second)[pump, power]
            for second in range(first, first + 60)
            for topic, body in sent(FLEET, 1, second)
            if topic == f"pumps/{name(pump)}/telemetry" and "power" in body
        ]
        return float(np.std(off))

    assert scatter(3, 0) == pytest.approx(0.25, rel=0.4)
    assert scatter(3, 120) > 10 * scatter(3, 0)
    assert scatter(2, 120) == pytest.approx(0.25, rel=0.4)


def test_the_drift_begins_when_it_should() -> None:
    """From second 90 on, the temperature of every pump is ten degrees off what its load tells."""
    before, after = (BEGIN // SECOND + second for second in (90, 95))
    calm = replace(FLEET, start_drift=10**15)
    assert (FLEET.values(before) == calm.values(before)).all()
    difference = FLEET.values(after) - calm.values(after)
    assert difference[:, 0] == pytest.approx(10.0)
    assert not difference[:, 1:].any()


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> int:
        return self.now


def test_the_source_sends_each_tick_once() -> None:
    """Whatever the pace of taking, every tick's messages come once, and decode to readings."""
    clock = Clock()
    source: Source = simulator.open(SCHEMA, 2, clock, Rejects(), devices=7)
    source.start()
    seen: list[tuple[str, bytes]] = []
    for step in (0, 1, 300_000, 700_000, 3_000_000, 999_998):
        clock.now += step
        while (delivery := source.take(3, 0.0)) is not None:
            assert delivery.source == 2
            assert len(delivery.payloads) <= 3
            assert delivery.received == [clock.now] * len(delivery.payloads)
            seen += zip(delivery.topics, delivery.payloads, strict=True)
    fleet = Fleet(devices=7, begin=BEGIN)
    assert seen == [m for k in range(5) for m in fleet.messages(BEGIN + k * SECOND)]
    assert source.state()["received"] == len(seen)
    source.stop()
    clock.now += 10 * SECOND
    assert source.take(10, 10.0) is None


def test_the_source_skips_what_is_long_past() -> None:
    """After a pause of an hour it goes on with the last minute."""
    clock = Clock()
    source = simulator.open(SCHEMA, 0, clock, Rejects(), devices=1)
    source.start()
    clock.now += 3_600 * SECOND
    seen = 0
    while (delivery := source.take(1_000, 0.0)) is not None:
        seen += len(delivery.payloads)
    assert 50 <= seen <= 70


@pytest.mark.parametrize("options", [{"devices": 0}, {"interval": "10us"}, {"interval": "often"}])
def test_options_that_mean_nothing(options: dict[str, Any]) -> None:
    """A wrong option is refused."""
    with pytest.raises(ValueError, match=r"at least|not a duration"):
        simulator.open(SCHEMA, 0, lambda: BEGIN, Rejects(), **options)


def readings_over(url: str) -> Batch:
    """What arrives of a fleet of five that really publishes there, decoded as the demo does."""

    def now() -> int:
        return time.time_ns() // 1_000

    source = mqtt.open(
        SCHEMA, 0, now, Rejects(), topics=["pumps/+/telemetry"], url=url, client_id="t"
    )
    devices, rejects, batch = Devices(10), Rejects(), Batch(1_000, len(SCHEMA))
    decoder = codec.build(SCHEMA, devices, device="topic:1")
    stop = threading.Event()
    fleet = Fleet(devices=5, interval=20_000, begin=now())
    thread = threading.Thread(target=simulator.publish, args=(url, fleet, stop, now))
    source.start()
    try:
        wait_for(lambda: source.state()["ok"], what="a subscription")
        thread.start()
        everything = Delivery()

        def take() -> bool:
            delivery = source.take(1_000, 0.05)
            if delivery is not None:
                source.acknowledge(delivery.tokens)
                everything.payloads += delivery.payloads
                everything.topics += delivery.topics
                everything.received += delivery.received
            return len(everything.payloads) >= 50

        wait_for(take, what="fifty messages")
        decoder.decode(everything, batch, rejects)
    finally:
        stop.set()
        thread.join()
        source.stop()
    assert not rejects.counts
    assert devices.known == 5
    return batch


def test_publishing_to_mosquitto(tmp_path: Path) -> None:
    """The fleet publishes to a real broker, and the MQTT source and codec read it."""
    with mosquitto(tmp_path) as server:
        batch = readings_over(server.url)
    assert batch.n >= 50
    assert (abs(batch.time[: batch.n] - batch.received[: batch.n]) < 5 * SECOND).all()
    assert np.isfinite(batch.values[: batch.n]).mean() > 0.95


def test_publishing_to_the_embedded_broker() -> None:
    """The demo's own broker carries the fleet as well."""
    with broker() as port:
        assert readings_over(f"mqtt://127.0.0.1:{port}").n >= 50
