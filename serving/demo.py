"""`streamgauge demo`: broker, fleet, pipeline, API and page on one machine, nothing installed."""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from ingest.sources.simulator import Fleet, publish
from serving.broker import broker, free_from
from serving.compose import Running
from serving.run import clock, serve
from stream_processor.settings import Settings, load_text

__all__ = ["demo"]

STOP_SECONDS = 2.0


def demo(*, port: int, devices: int) -> int:
    """Run the demo until Ctrl-C; returns the exit code."""
    print(
        "starting broker, pumps, pipeline and page (the first start on a machine also compiles "
        "the kernels: about half a minute) ...",
        flush=True,
    )
    with (
        tempfile.TemporaryDirectory(prefix="streamgauge-demo-") as state,
        broker() as mqtt,
        _pumps(mqtt, devices) as begin,
    ):

        def ready(running: Running) -> None:
            begin.set()
            print(_welcome(running.server.url, mqtt, devices), flush=True)

        return serve(_settings(Path(state), mqtt, free_from(port)), ready)


def _settings(state: Path, mqtt: int, port: int) -> Settings:
    env = {
        **os.environ,
        "DEMO_STATE": str(state),
        "DEMO_BROKER": f"mqtt://127.0.0.1:{mqtt}",
        "DEMO_PORT": str(port),
    }
    text = files("serving").joinpath("demo.toml").read_text(encoding="utf-8")
    return load_text(text, state / "demo.toml", env)


@contextmanager
def _pumps(mqtt: int, devices: int) -> Iterator[threading.Event]:
    """Pumps in a thread of their own, which publish once the event is set."""
    begin, stop = threading.Event(), threading.Event()

    def run() -> None:
        begin.wait()
        if not stop.is_set():
            publish(f"mqtt://127.0.0.1:{mqtt}", Fleet(devices, begin=clock()), stop, clock)

    thread = threading.Thread(target=run, name="pumps", daemon=True)
    thread.start()
    try:
        yield begin
    finally:
        stop.set()
        begin.set()
        thread.join(STOP_SECONDS)


def _welcome(url: str, mqtt: int, devices: int) -> str:
    return (
        f"{devices} pumps publish to mqtt://127.0.0.1:{mqtt}, topics pumps/+/telemetry;\n"
        "a bearing begins to fail after about one minute, the cooling water warms after one and a "
        f"half.\n\n    live page   {url}\n    API         {url}/docs\n\n"
        "Ctrl-C stops everything."
    )
