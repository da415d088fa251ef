"""What a real service refuses is kept through kills, browsed, and sent again by new rules."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from httpx import Client
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.services.mosquitto import Mosquitto, mosquitto
from tests.services.ports import wait_for
from tests.services.service import Service, command, environment

BEGIN = 1_772_366_400
CONFIG = """
[[source]]
{source}
time = "field:{time}"

[channels.temp]
range = [0, {high}]
{path}
[channels.load]
{rate}
[tasks.next]
kind = "forecast"
target = "temp"
horizons = [{{ readings = 1 }}]
ready_after = 0
model = ["preprocessing.StandardScaler", "linear_model.LinearRegression"]
"""


HTTP = 'use = "http"'


def configured(
    source: str = HTTP, *, time: str = "ts", high: int = 50, path: str = "", rate: str = ""
) -> str:
    """A pipeline.toml whose rules may be wrong."""
    return CONFIG.format(source=source, time=time, high=high, path=path, rate=rate)


def of(broker: Mosquitto, client: str = "one") -> str:
    """A source that reads the broker's readings."""
    return f'use = "mqtt"\nurl = "{broker.url}"\nclient_id = "{client}"\ntopics = ["plant/#"]'


def publish(broker: Mosquitto, messages: Sequence[dict[str, Any]]) -> None:
    """Publish messages at QoS 1; returns once the broker has them."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="plant")
    client.max_inflight_messages_set(1_000)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    for sent in [client.publish("plant/a", json.dumps(m), qos=1) for m in messages]:
        sent.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that keeps nothing of another test for its clients."""
    with mosquitto(tmp_path / "broker") as one:
        yield one


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Service]:
    """A service that has not been started."""
    one = Service(tmp_path, configured())
    yield one
    one.kill()


def post(service: Service, messages: Sequence[dict[str, Any]]) -> None:
    """Post messages, at most 200 at a time; what is accepted is in the journal."""
    with Client(base_url=service.url) as client:
        for k in range(0, len(messages), 200):
            answer = client.post("/v1/readings", json=messages[k : k + 200])
            assert answer.status_code in (202, 422), answer.text


def message(device: str, k: int, **values: float) -> dict[str, Any]:
    """A device's k-th reading."""
    return {"device": device, "ts": BEGIN + k, **values}


def tool(service: Service, action: str, *arguments: str) -> str:
    """What `streamgauge quarantine ACTION` prints."""
    done = subprocess.run(
        command("quarantine", action, service.config, *arguments),
        capture_output=True, text=True, check=False, env=environment(service.folder),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def kept(service: Service, **filters: Any) -> dict[str, Any]:
    """What GET /v1/quarantine answers."""
    asked = "&".join(f"{name}={value}" for name, value in filters.items())
    return dict(service.get(f"/v1/quarantine?{asked}"))


def journaled(service: Service) -> int:
    """Bytes that its journal has."""
    return sum(path.stat().st_size for path in (service.state / "journal").glob("*.log"))


def grown(service: Service, before: int) -> bool:
    """Whether its journal has got more."""
    return journaled(service) > before


def restart(service: Service, text: str, *, kill: bool = False) -> None:
    """Start it again with this configuration."""
    if kill:
        service.kill()
    else:
        assert service.stop()[0] == 0
    service.configure(text)
    service.start()


def test_a_range_that_was_too_narrow(running: Service) -> None:
    """Dropped values and refused readings survive a kill, once each; after the range is corrected
    values of devices that went on come back as events, and others are learned."""
    running.start()
    hot = [message("mixed", k, temp=20.0 if k % 3 else 60.0, load=1.0) for k in range(9)]
    post(running, hot)
    post(running, [message("alone", k, temp=10.0 if k < 2 else 60.0 + k) for k in range(6)])
    wait_for(lambda: kept(running)["counts"] == {"out_of_range": 7}, what="all that was refused")
    running.kill()
    assert "7 out_of_range" in tool(running, "list")
    running.start()
    assert kept(running)["counts"] == {"out_of_range": 7}
    [newest] = kept(running, device="mixed", channel="temp", limit=1)["items"]
    assert newest["values"] == {"temp": 60.0}
    assert newest["time"] == "2026-03-01T12:00:06.000000Z"
    assert newest["rule"] == 'channels.temp.range = [0.0, 50.0], outside = "missing"'
    assert newest["flags"] == {"temp": ["out_of_range"]}
    assert "7 out_of_range: left" in tool(running, "replay")
    before = running.admitted

    running.configure(configured(high=100))
    assert "7 out_of_range: could be" in tool(running, "replay", "--dry-run")
    assert "7 out_of_range: will be" in tool(running, "replay")
    restart(running, configured(high=100))
    wait_for(lambda: kept(running, replayed="true")["counts"] == {"out_of_range": 7})
    wait_for(lambda: len(running.get("/v1/events?device=mixed")["items"]) == 3)
    events = running.get("/v1/events?device=mixed")["items"]
    told = [(one["kind"], one["channel"], one["value"]) for one in events]
    assert told == [("recovered", "temp", 60.0)] * 3
    assert running.admitted == before + 4
    assert running.get("/v1/devices/alone")["values"]["temp"] == 65.0
    assert not running.get("/v1/events?device=alone")["items"]
    assert kept(running)["items"][0]["replayed"]

    assert "nothing to send again" in tool(running, "replay")
    restart(running, configured(high=100), kill=True)
    assert running.admitted == before + 4
    assert len(running.get("/v1/events?device=mixed")["items"]) == 3
    assert kept(running)["counts"] == {"out_of_range": 7}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", [{"time": "when"}, {"path": 'path = "t"'}])
def test_a_codec_that_was_wrong(
    running: Service, broker: Mosquitto, mistake: dict[str, Any]
) -> None:
    """Messages that could not be read are learned once they can be, in order, as by a service that
    could read them from the beginning."""
    messages = [message(f"d{k % 3}", k, temp=20.0 + k % 7) for k in range(60)]
    right = Service(running.folder / "right", configured(of(broker, "other")))
    try:
        right.start()
        running.configure(configured(of(broker), **mistake))
        running.start()
        publish(broker, messages)
        right.wait_admitted(60)
        wait_for(lambda: sum(kept(running)["counts"].values()) == 60)
        item = kept(running, limit=1)["items"][0]
        assert json.loads(item["payload"]) == messages[-1]
        running.options = ("--accept",)
        running.configure(configured(of(broker)))
        assert "60 " in tool(running, "replay")
        restart(running, configured(of(broker)))
        running.wait_admitted(60)
        for k in range(3):
            asked = f"/v1/devices/d{k}/predictions?task=next"
            ours, theirs = (one.get(asked)["items"] for one in (running, right))
            assert ours == theirs
            assert ours
        wait_for(lambda: kept(running, replayed="false")["counts"] == {})
        assert "nothing to send again" in tool(running, "replay")
    finally:
        right.kill()


@pytest.mark.slow
def test_killed_while_it_is_sent_again(running: Service, broker: Mosquitto) -> None:
    """However often it is killed meanwhile, each message is learned once."""
    n = 6_000
    running.configure(configured(of(broker), time="when"))
    running.start()
    publish(broker, [message(f"d{k % 20}", k, temp=20.0) for k in range(n)])
    wait_for(lambda: sum(kept(running, limit=1)["counts"].values()) == n, 60)
    running.options = ("--accept",)
    running.stop()
    running.configure(configured(of(broker)))
    assert f"{n:,} no_time: will be" in tool(running, "replay")
    for _ in range(2):
        before = journaled(running)
        running.launch()
        wait_for(partial(grown, running, before), 60, what="a part of it")
        running.kill()
    running.start()
    running.wait_admitted(n)
    wait_for(lambda: kept(running, replayed="false", limit=1)["counts"] == {}, 60)
    assert running.admitted == n
    assert running.count("streamgauge_readings_total{duplicate}") == 0
