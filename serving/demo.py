"""`streamgauge demo`: broker, fleet, pipeline, API and page on one machine, nothing installed."""

import asyncio
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from amqtt.broker import Broker

from ingest.sources import simulator
from serving.compose import Running
from serving.run import clock, serve
from stream_processor.settings import load_text

__all__ = ["broker", "demo"]


def demo(*, port: int, devices: int) -> int:
    """Run the demo until Ctrl-C; returns the exit code."""
    print("starting broker, pumps, pipeline and page ...", flush=True)
    with tempfile.TemporaryDirectory(prefix="streamgauge-demo-") as state, broker() as mqtt:
        env = {
            **os.environ,
            "DEMO_STATE": state,
            "DEMO_BROKER_PORT": str(mqtt),
            "DEMO_PORT": str(_free_from(port)),
        }
        text = files("serving").joinpath("demo.toml").read_text(encoding="utf-8")
        settings = load_text(text, Path(state) / "demo.toml", env)
        with _fleet(mqtt, devices) as begin:
            return serve(settings, lambda running: (begin(), _welcome(running, mqtt, devices))[1])


def _welcome(running: Running, mqtt: int, devices: int) -> None:
    print(
        f"{devices} pumps publish to mqtt://127.0.0.1:{mqtt} (topics pumps/+/telemetry);\n"
        "a fault begins after about one minute, a drift after one and a half.\n"
        f"\n    live page:  {running.server.url}\n"
        f"    API:        {running.server.url}/docs\n\n"
        "Ctrl-C stops everything.",
        flush=True,
    )
