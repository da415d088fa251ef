"""From the start of `streamgauge run` to the first reading walked, with the state of a whole fleet.

4 channels, 20 features, one forecast a reading ahead; compiled kernels and bytecode are there. The
fleet of 10 shows what a start costs by itself. CPU is that of the whole process until it was
stopped again, in seconds: beside other work the clock says less.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from paho.mqtt.publish import single

from benchmarks.by_hand import CONFIG
from benchmarks.fleet import pipeline, stream
from benchmarks.live import quiet
from stream_processor.checkpoint import write
from stream_processor.definition import definition
from stream_processor.key import signing_key
from stream_processor.snapshot import capture
from tests.services.ports import wait_for
from tests.services.service import Service

SIZES = (10, 100_000)
ROUNDS = 3


def prepare(service: Service, devices: int) -> None:
    """Write the state of a fleet in which every device has sent twelve readings."""
    made = pipeline()
    for k in range(12):
        for delivery in stream(devices, k):
            made.feed(delivery)
            made.sealed()
    place = {"journal": 0, "sources": [None], "codecs": {}}
    saved = capture(made.walk, definition(made.settings, made.walk.stages), place)
    service.state.mkdir()
    key = signing_key(service.folder / "signing.key")
    write(service.state / "checkpoint", saved.facts, saved.parts, key)


def restart(service: Service, port: int) -> dict[str, float]:
    """Start, walk one reading, stop; seconds."""
    began, before = time.perf_counter(), os.times().children_user + os.times().children_system
    service.launch()
    wait_for(service.answers, 60.0, what="an answer")
    answers = time.perf_counter() - began
    admitted = service.admitted
    payload = f'{{"device": "dev-000000", "ts": {time.time()}, "temperature": 21.5}}'
    single("sensors/a", payload, qos=1, hostname="127.0.0.1", port=port)
    service.wait_admitted(admitted + 1)
    walked = time.perf_counter() - began
    service.stop()
    cpu = os.times().children_user + os.times().children_system - before
    return {"answers, s": answers, "reading walked, s": walked, "CPU, s": cpu}


def run() -> list[dict[str, Any]]:
    """A row per restart, the first of each fleet left out."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, quiet(Path(folder) / "broker") as broker:
        text = CONFIG.read_text(encoding="utf-8").replace('[state]\ndir = "state"\n', "")
        text = text.replace('use = "mqtt"', f'use = "mqtt"\nurl = "mqtt://127.0.0.1:{broker.port}"')
        for devices in SIZES:
            service = Service(Path(folder) / str(devices), text, every="1h")
            prepare(service, devices)
            restart(service, broker.port)
            rows += [{"devices": devices, **restart(service, broker.port)} for _ in range(ROUNDS)]
    return rows
