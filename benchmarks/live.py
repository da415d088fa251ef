"""Live through Mosquitto: the service beside bare paho consumers that only count.

Broker and publisher are processes of their own. Each consumer has a persistent session in which
100,000 messages of QoS 1 piled up while it was away; it comes back and drains them. All clocks
start with the first message: how long a process takes to start is not the question. paho counts
and acknowledges by itself, or by hand (`manual`); `journal` is the source with the journal, which
acknowledges what is written down; `service` decodes, learns and stores every prediction as well,
and the numbers received, learned and stored must be equal. The last three read two filters with
the journal: over one connection, over two in threads of this process, over two in processes.
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
from ingest.journal import Journal
from ingest.rejects import Rejects
from ingest.sources import mqtt
from serving.compose import Running
from serving.run import clock
from stream_processor.settings import load_text
from streamgauge.schema import Channel, Schema
from tests.services.mosquitto import Mosquitto

MESSAGES = 100_000
HALVES = ["sensors/0/#", "sensors/1/#"]
SESSIONS = {name: ["sensors/#"] for name in ("bare", "manual", "journal", "gauge")}
SESSIONS |= {"one": HALVES, "thread-1": HALVES[:1], "thread-2": HALVES[1:]}
SESSIONS |= {"process-1": HALVES[:1], "process-2": HALVES[1:]}


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
        info = client.publish(f"sensors/{k % 2}/backlog", payload, qos=1)
        if k % 2_000 == 0:
            info.wait_for_publish(60)
    if info is not None:
        info.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


def backlog(port: int) -> None:
    """Leave persistent sessions behind and fill them."""
    for name, topics in SESSIONS.items():
        client = Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
        subscribed = threading.Event()
        client.on_subscribe = lambda *_, done=subscribed: done.set()
        client.on_connect = lambda one, *_, topics=topics: one.subscribe(
            [(topic, 1) for topic in topics]
        )
        client.connect("127.0.0.1", port)
        client.loop_start()
        subscribed.wait(10)
        client.disconnect()
        client.loop_stop()
    process = multiprocessing.get_context("spawn").Process(target=publish, args=(port, MESSAGES))
    process.start()
    process.join()


def bare(port: int, name: str, *, manual: bool) -> float:
    """Seconds in which a consumer that only counts has drained the backlog."""
    client = Client(
        CallbackAPIVersion.VERSION2, client_id=name, clean_session=False, manual_ack=manual
    )
    count, began, done = [0], [0.0], threading.Event()

    def message(_: Client, __: Any, one: MQTTMessage) -> None:
        if not count[0]:
            began[0] = time.perf_counter()
        count[0] += 1
        if manual:
            client.ack(one.mid, one.qos)
        if count[0] == MESSAGES:
            done.set()

    client.on_message = message
    client.connect("127.0.0.1", port)
    client.loop_start()
    if not done.wait(120):
        raise RuntimeError(f"the bare consumer got {count[0]:,} of {MESSAGES:,} messages")
    took = time.perf_counter() - began[0]
    client.disconnect()
    client.loop_stop()
    return took


def journaled(port: int, names: list[str], topics: list[str], connections: int = 1) -> float:
    """Seconds in which sources of these client ids have drained the backlog into a journal, each
    message acknowledged once it was written; the topics are dealt to them."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder), max_bytes=10**9, sync=False)
        sources = [
            mqtt.open(
                Schema([Channel("a")]), 0, clock, Rejects(), url=f"mqtt://127.0.0.1:{port}",
                client_id=name, topics=topics[k :: len(names)], connections=connections,
            )
            for k, name in enumerate(names)
        ]  # fmt: skip
        for source in sources:
            source.start()
        began, count = time.perf_counter(), 0
        while count < MESSAGES:
            for source in sources:
                delivery = source.take(4_096, 0.02 if len(sources) == 1 else 0.001)
                if delivery is not None:
                    began = began if count else time.perf_counter()
                    journal.append(delivery)
                    source.acknowledge(delivery.tokens)
                    count += len(delivery.payloads)
            if time.perf_counter() - began > 120:
                raise RuntimeError(f"{names} got {count:,} of {MESSAGES:,} messages")
        took = time.perf_counter() - began
        for source in sources:
            source.stop()
        journal.close()
    return took


def service(port: int, name: str) -> tuple[float, dict[str, Any]]:
    """Seconds in which streamgauge has drained, learned and stored it, and what it counted."""
    with tempfile.TemporaryDirectory() as folder:
        text = CONFIG.read_text(encoding="utf-8").replace(
            'use = "mqtt"', f'use = "mqtt"\nurl = "mqtt://127.0.0.1:{port}"\nclient_id = "{name}"'
        )
        env = {"STREAMGAUGE_KEY_FILE": str(Path(folder) / "key")}
        settings = load_text(text + "[serve]\nport = 0\n", Path(folder) / "live.toml", env)
        running = Running(settings, env, clock)
        running.start()
        while not sum(source.state()["received"] for source in running.worker.sources):
            time.sleep(0.0005)
        began = time.perf_counter()
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
    """Three rounds of all, each on full sessions of their own."""
    rows = []
    for k in range(3):
        with tempfile.TemporaryDirectory() as folder, quiet(Path(folder)) as broker:
            port = broker.port
            backlog(port)
            took = {
                "bare": bare(port, "bare", manual=False),
                "manual": bare(port, "manual", manual=True),
                "journal": journaled(port, ["journal"], ["sensors/#"]),
            }
            took["service"], counted = service(port, "gauge")
            took["one"] = journaled(port, ["one"], HALVES)
            took["threads"] = journaled(port, ["thread-1", "thread-2"], HALVES)
            took["processes"] = journaled(port, ["process"], HALVES, 2)
        rows.append(
            {
                "round": k + 1,
                "paho manual, messages/s": round(MESSAGES / took["manual"]),
                **{f"{name} / manual": took["manual"] / took[name] for name in took},
                **counted,
            }
        )
    return rows
