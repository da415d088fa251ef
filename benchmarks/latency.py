"""From publish to board at 1,000 messages per second through Mosquitto, milliseconds.

A publisher process stamps each message with the machine's clock; a channel carries the stamp, and
the board is read without pause: latency is now minus the newest stamp when it first appears.
"""

import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.live import quiet
from serving.compose import Running
from serving.run import clock
from stream_processor.settings import load_text

RATE = 1_000
SECONDS = 20
DEVICES = 100

CONFIG = """
[stream]
name = "latency"
[[source]]
use = "mqtt"
url = "mqtt://127.0.0.1:{port}"
topics = ["sensors/+"]
device = "topic:1"
time = "field:time"
[channels.sent]
[channels.load]
[features]
raw = ["load"]
lags = {{ load = [1, 2] }}
[tasks.next]
kind = "forecast"
target = "load"
horizons = [{{ readings = 1 }}]
model = ["preprocessing.StandardScaler", "linear_model.LinearRegression"]
[serve]
port = 0
"""


def publish(port: int) -> None:
    """One message each millisecond; runs in a process of its own."""
    client = Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    begin = time.time()
    for k in range(RATE * SECONDS):
        time.sleep(max(0.0, begin + k / RATE - time.time()))
        now = time.time()
        payload = f'{{"time": {now:.6f}, "sent": {now:.6f}, "load": {k % 7}}}'
        client.publish(f"sensors/{k % DEVICES}", payload, qos=1)
    time.sleep(1.0)
    client.disconnect()
    client.loop_stop()


def watch(running: Running) -> list[float]:
    """Latencies, in milliseconds, of readings as they appear in the board's own state."""
    admit = running.pipeline.walk.stages.admit.blocks["admit"]
    sent, count = admit.view("last")[:DEVICES, 0], admit.view("count")[:DEVICES]
    seen = 0.0
    found: list[float] = []
    quiet_since = time.time()
    # The publisher's process takes a while to start.
    while time.time() - quiet_since < (3.0 if found else 60.0):
        with running.pipeline.lock:
            total, newest = float(count.sum()), float(np.nan_to_num(sent).max())
        if total > seen:
            now = time.time()
            found.append((now - newest) * 1e3)
            seen, quiet_since = total, now
        time.sleep(0.0002)
    return found


def run() -> list[dict[str, Any]]:
    """One row."""
    with tempfile.TemporaryDirectory() as folder, quiet(Path(folder) / "broker") as broker:
        env = {"STREAMGAUGE_KEY_FILE": str(Path(folder) / "key")}
        text = CONFIG.format(port=broker.port)
        running = Running(load_text(text, Path(folder) / "p.toml", env), env, clock)
        running.start()
        while not running.sources[0].state()["connected"]:
            time.sleep(0.05)
        process = multiprocessing.get_context("spawn").Process(target=publish, args=(broker.port,))
        process.start()
        found = np.array(watch(running)[RATE:])
        process.join()
        running.stop()
    return [
        {
            "messages/s": RATE,
            "p50 ms": float(np.percentile(found, 50)),
            "p99 ms": float(np.percentile(found, 99)),
            "largest ms": float(found.max()),
            "observations": len(found),
        }
    ]
