"""A device whose readings come by two sources at once is one device."""

import json
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from httpx import Client
from paho.mqtt import publish

from tests.services.mosquitto import Mosquitto, mosquitto
from tests.services.ports import wait_for
from tests.services.service import Service, service
from tests.streams import BEGIN, COMPILED

HTTP = '[[source]]\nuse = "http"\ntimeout = "2m"\n'
"""So patient that kernels may be compiled meanwhile."""
MQTT = '[[source]]\nuse = "mqtt"\nurl = "{url}"\ntopics = ["t"]\n'
PIPELINE = """
[channels.load]
[tasks.soon]
kind = "forecast"
target = "load"
horizons = [{ readings = 1 }]
ready_after = 0
model = %s
[devices]
%s
"""
N = 80


def reading(k: int) -> dict[str, Any]:
    """The device's reading in that second."""
    return {"device": "d", "time": BEGIN / 1e6 + k, "load": float(k * 7919 % 101)}


def scores(running: Service) -> Any:
    """What the device's model has learned by, and its readings."""
    return running.get("/v1/devices/d")["readings"], running.get("/v1/tasks/soon/scores?device=d")


def post(running: Service, numbers: Iterable[int]) -> None:
    """Send these over HTTP, one after the other."""
    with Client(base_url=running.url, timeout=120.0) as client:
        for k in numbers:
            assert client.post("/v1/readings", json=reading(k)).status_code == 202


def say(broker: Mosquitto, numbers: Iterable[int]) -> None:
    """Publish these over MQTT, and wait until the broker has them."""
    messages: list[Any] = [("t", json.dumps(reading(k)), 1, False) for k in numbers]
    publish.multiple(messages, "127.0.0.1", broker.port)


def verdicts(running: Service) -> dict[str, int]:
    """How many readings were admitted, and how many not."""
    metrics = running.metrics()
    return {
        name: int(metrics.get(f"streamgauge_readings_total{{{name}}}", 0))
        for name in ("admitted", "duplicate", "late")
    }


def alone(folder: Path) -> Any:
    """What the same readings give by one source."""
    with service(folder, HTTP + PIPELINE % (COMPILED, "")) as running:
        post(running, range(N))
        running.wait_admitted(N)
        return scores(running)


def test_what_comes_by_both_is_learned_once(tmp_path: Path) -> None:
    """Every reading over MQTT and over HTTP, at the same time: one of the two is admitted, the
    other refused, and the model is that of one source."""
    with mosquitto(tmp_path / "broker") as broker:
        text = MQTT.format(url=broker.url) + HTTP + PIPELINE % (COMPILED, "")
        with service(tmp_path / "both", text) as both:
            posting = threading.Thread(target=post, args=(both, range(N)))
            posting.start()
            say(broker, range(N))
            posting.join()
            wait_for(lambda: sum(verdicts(both).values()) == 2 * N, what=str(verdicts(both)))
            assert verdicts(both)["admitted"] == N
            found = scores(both)
    assert found == alone(tmp_path / "alone")


@pytest.mark.parametrize("reorder", [False, True])
def test_the_order_between_sources_is_that_of_arrival(tmp_path: Path, *, reorder: bool) -> None:
    """The slower source's readings are late, and none is where `reorder` waits for them."""
    devices = 'reorder = { up_to = "10m", readings = 200 }' if reorder else ""
    with mosquitto(tmp_path / "broker") as broker:
        text = MQTT.format(url=broker.url) + HTTP + PIPELINE % (COMPILED, devices)
        with service(tmp_path / "both", text) as both:
            say(broker, range(0, N, 2))
            both.wait_admitted(0 if reorder else N // 2)
            post(both, range(1, N, 2))
            # What is far ahead lets go of all that waits.
            say(broker, [N + 3_600])
            if reorder:
                both.wait_admitted(N)
                assert verdicts(both)["late"] == 0
            else:
                both.wait_admitted(N // 2 + 2)
                wait_for(lambda: verdicts(both)["late"] == N // 2 - 1)
