"""Live through Mosquitto: the service beside a bare paho consumer that only counts.

Broker and publisher are processes of their own. Each consumer subscribes with a persistent session,
goes away while 100,000 messages of QoS 1 pile up, comes back and drains them. streamgauge journals,
acknowledges, learns, and stores every prediction; the numbers received, learned and stored must be
equal.
"""

import multiprocessing
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.by_hand import CONFIG, DEVICES, messages
from serving.compose import Running
from serving.run import clock
from stream_processor.settings import load_text
from tests.services.mosquitto import Mosquitto

MESSAGES = 100_000
TOPIC = "sensors/backlog"


@contextmanager
def quiet(folder: Path) -> Iterator[Mosquitto]:
    """A broker that does not log every packet."""
    broker = Mosquitto(folder)
    config = folder / "mosquitto.conf"
    config.write_text(config.read_text().replace("log_type all", "log_type error"))
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


def publish(port: int, count: int) -> None:
    """Send the backlog; runs in a process of its own."""
    client = Client(CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(1_000)
    client.connect("127.0.0.1", port)
    client.loop_start()
    info = None
    for k, payload in enumerate(messages(count)):
        info = client.publish(TOPIC, payload, qos=1)
        if k % 2_000 == 0:
            info.wait_for_publish(60)
    if info is not None:
        info.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


def backlog(port: int, names: list[str]) -> None:
    """Leave persistent sessions behind and fill them."""
    for name in names:
        client = Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
        subscribed = threading.Event()
        client.on_subscribe = lambda *_, done=subscribed: done.set()
        client.on_connect = lambda one, *_: one.subscribe("sensors/#", qos=1)
        client.connect("127.0.0.1", port)
        client.loop_start()
        subscribed.wait(10)
        client.disconnect()
        client.loop_stop()
    process = multiprocessing.get_context("spawn").Process(target=publish, args=(port, MESSAGES))
    process.start()
    process.join()


def bare(port: int, name: str) -> float:
    """Seconds in which a consumer that only counts has drained the backlog."""
    client = Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
    count, done = [0], threading.Event()

    def message(_: Client, __: Any, ___: MQTTMessage) -> None:
        count[0] += 1
        if count[0] == MESSAGES:
            done.set()

    client.on_message = message
    began = time.perf_counter()
    client.connect("127.0.0.1", port)
    client.loop_start()
    if not done.wait(120):
        raise RuntimeError(f"the bare consumer got {count[0]:,} of {MESSAGES:,} messages")
    took = time.perf_counter() - began
    client.disconnect()
    client.loop_stop()
    return took


def service(port: int, name: str) -> tuple[float, dict[str, int]]:
    """Seconds in which streamgauge has drained, learned and stored it, and what it counted."""
    with tempfile.TemporaryDirectory() as folder:
        text = CONFIG.read_text(encoding="utf-8").replace(
            'use = "mqtt"', f'use = "mqtt"\nurl = "mqtt://127.0.0.1:{port}"\nclient_id = "{name}"'
        )
        env = {"STREAMGAUGE_KEY_FILE": str(Path(folder) / "key")}
        settings = load_text(text + "[serve]\nport = 0\n", Path(folder) / "live.toml", env)
        running = Running(settings, env, clock)
        began = time.perf_counter()
        running.start()
        counts = running.pipeline.board.counts
        while counts()["readings"]["admitted"] < MESSAGES:
            if time.perf_counter() - began > 120 or not running.worker.alive:
                got = counts()["readings"]
                raise RuntimeError(f"streamgauge got {got}; {running.worker.failure}")
            time.sleep(0.01)
        found = counts()
        records = found["predictions"] + found["labels"]
        while written(running) < records:
            running.history.flush(1.0)
            time.sleep(0.005)
        took = time.perf_counter() - began
        stored = written(running) - found["labels"]
        running.stop()
        # The last reading of each device waits for its label.
        learned = found["labels"] + DEVICES
        received = sum(found["readings"].values())
        return took, {"received": received, "learned": learned, "stored": stored}


def written(running: Running) -> int:
    """Predictions and outcomes that are durable."""
    return int(running.history.state()["written_total"])


def run() -> list[dict[str, Any]]:
    """Three rounds of both, each on its own full session."""
    rows = []
    for k in range(3):
        with tempfile.TemporaryDirectory() as folder, quiet(Path(folder)) as broker:
            backlog(broker.port, ["bare", "gauge"])
            paho = bare(broker.port, "bare")
            took, counted = service(broker.port, "gauge")
        rows.append(
            {
                "round": k + 1,
                "bare paho, messages/s": round(MESSAGES / paho),
                "streamgauge, messages/s": round(MESSAGES / took),
                "ratio": paho / took,
                **counted,
            }
        )
    return rows
