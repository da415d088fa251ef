"""`streamgauge demo`: broker, fleet, pipeline, API and page on one machine, nothing installed."""

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from ingest.sources.simulator import Fleet, publish, worn
from serving.broker import broker, free_from
from serving.compose import Running
from serving.logs import logs
from serving.run import clock, serve
from stream_processor.pipeline import Pipeline
from stream_processor.settings import Settings, load_text

__all__ = ["demo"]

STOP_SECONDS = 2.0


def demo(*, port: int, devices: int) -> int:
    """Run the demo until Ctrl-C or SIGTERM; returns the exit code.

    Where `port` is taken, the page is at another one.
    """
    if not 0 <= port <= 65_535 or devices < 1:
        wrong = f"--port is {port} and --devices {devices}"
        print(f"{wrong}; a port is 0 to 65535, and one pump is needed", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(port, devices)
    except KeyboardInterrupt:
        # Told to stop before all parts ran.
        return 0


def _run(port: int, devices: int) -> int:
    print(
        "starting broker, pumps, pipeline and page (the first start on a machine also compiles "
        "the kernels: about half a minute) ...",
        flush=True,
    )
    with (
        logs("text", sys.stderr),
        tempfile.TemporaryDirectory(prefix="streamgauge-demo-") as state,
        broker() as mqtt,
        _pumps(mqtt, devices) as begin,
    ):
        settings = _settings(Path(state), mqtt, free_from(port))
        # Compiles now, while Ctrl-C still interrupts.
        Pipeline(settings)

        def ready(running: Running) -> None:
            begin.set()
            print(_welcome(running.server.url, mqtt, devices), flush=True)

        return serve(settings, ready)


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
    return f"""{devices} pumps publish to mqtt://127.0.0.1:{mqtt}, topics pumps/+/telemetry

    live page   {url}
    API         {url}/openapi.json, for example {url}/v1/tasks

half a minute   the models have warmed up and begin to predict
one minute      the bearing of {worn(devices)} begins to fail: see vibration_now and power_ahead
one and a half  the cooling water grows warmer: see temperature_now, at every pump

Ctrl-C stops everything."""
