"""`streamgauge demo` as a newcomer starts it, and what its fleet shows in the first minutes."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from ingest.sources.simulator import Fleet, worn
from monitoring.skill import skill
from stream_processor.pipeline import Pipeline
from stream_processor.settings import load_text
from streamgauge.delivery import Delivery
from streamgauge.events import EventKind
from tests.services.ports import free_port, wait_for

COMMAND = Path(sys.executable).with_name("streamgauge")
DEVICES = 6
START_SECONDS = 240
"""The first start on a machine compiles every kernel."""
STOP_SECONDS = 3


class Demo:
    """The running command; `page` and `broker` are the addresses that it printed."""

    def __init__(self, process: "subprocess.Popen[str]", home: Path) -> None:
        self.process = process
        self.home = home
        """Where it keeps temporary folders."""
        self.printed = ""
        watchdog = threading.Timer(START_SECONDS, process.kill)
        watchdog.start()
        assert process.stdout is not None
        for line in process.stdout:
            self.printed += line
            if "Ctrl-C" in line:
                break
        watchdog.cancel()
        self.page = self._printed(r"live page\s+(http://127\.0\.0\.1:\d+)\n")
        self.broker = int(self._printed(r"mqtt://127\.0\.0\.1:(\d+)"))

    def _printed(self, pattern: str) -> str:
        found = re.search(pattern, self.printed)
        assert found, f"the demo printed {self.printed!r} and ended with {self.process.poll()}"
        return found[1]

    def ask(self, path: str, **parameters: Any) -> Any:
        """What the API answers."""
        answer = httpx.get(f"{self.page}{path}", params=parameters, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def end(self, word: signal.Signals) -> None:
        """It ends in time with code 0, says nothing on stderr and leaves nothing behind."""
        self.process.send_signal(word)
        assert self.process.wait(STOP_SECONDS) == 0
        assert self.process.stderr is not None
        assert self.process.stderr.read() == ""
        assert list(self.home.iterdir()) == []


@contextmanager
def running(home: Path, port: int) -> Iterator[Demo]:
    """The real command with a small fleet."""
    process = subprocess.Popen(
        [str(COMMAND), "demo", "--port", str(port), "--devices", str(DEVICES)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(home)},
    )
    with process:
        try:
            yield Demo(process, home)
        finally:
            process.kill()


def messages_of(port: int, count: int) -> list[tuple[str, bytes]]:
    """Topic and payload of some messages that a broker carries."""
    seen: list[tuple[str, bytes]] = []
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _, __, one: seen.append((one.topic, bytes(one.payload)))
    client.connect("127.0.0.1", port)
    client.subscribe("pumps/#", 1)
    client.loop_start()
    try:
        wait_for(lambda: len(seen) >= count, what=f"{count} MQTT messages")
    finally:
        client.disconnect()
        client.loop_stop()
    return seen


def test_it_runs_until_ctrl_c(tmp_path: Path) -> None:
    """Page, MQTT, predictions and scores are there; Ctrl-C ends all of it, listeners too."""
    with running(tmp_path, free_port()) as demo:
        assert "<title>streamgauge</title>" in httpx.get(demo.page).text
        topics = {topic for topic, _ in messages_of(demo.broker, 3 * DEVICES)}
        assert f"pumps/{worn(DEVICES)}/telemetry" in topics
        wait_for(lambda: len(demo.ask("/v1/devices")["items"]) == DEVICES, what="every pump")

        def skills() -> list[float]:
            path = "/v1/tasks/power_ahead/scores"
            items = demo.ask(path, devices=DEVICES, horizon="5s")["items"]
            return [one["skill"] for one in items if one["skill"] is not None]

        wait_for(lambda: len(skills()) == 1 + DEVICES, what="a score of every pump")
        newest = demo.ask("/v1/devices/pump-001/predictions")["items"]
        assert {one["task"] for one in newest} == {
            one["task"] for one in demo.ask("/v1/tasks")["items"]
        }
        assert all(one["prediction"] is not None for one in newest)
        with httpx.stream("GET", f"{demo.page}/v1/stream", timeout=20) as stream:
            lines = stream.iter_lines()
            assert next(line for line in lines if line.startswith("event: prediction"))
            demo.end(signal.SIGINT)


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """The page moves to another port and says so; SIGTERM ends it like Ctrl-C."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running(tmp_path, port) as demo:
            assert not demo.page.endswith(f":{port}")
            assert demo.ask("/v1/status")["name"] == "pumps"
            demo.end(signal.SIGTERM)


@pytest.mark.parametrize("wrong", [["--port", "99999"], ["--devices", "0"]])
def test_what_makes_no_sense_is_refused(wrong: list[str]) -> None:
    """A port that there is not, or a fleet of none, is said in a line."""
    done = subprocess.run(
        [str(COMMAND), "demo", *wrong], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert wrong[1] in done.stderr
    assert "Traceback" not in done.stderr


class Show:
    """The demo's pipeline over its own fleet, without waiting: what a newcomer would have seen."""

    BEGIN = 1_772_366_400_000_000

    def __init__(self) -> None:
        env = {"DEMO_STATE": "/nowhere", "DEMO_BROKER": "mqtt://127.0.0.1:1", "DEMO_PORT": "1"}
        text = files("serving").joinpath("demo.toml").read_text(encoding="utf-8")
        self.pipeline = Pipeline(load_text(text, Path("/nowhere/demo.toml"), env))
        self.fleet = Fleet(begin=self.BEGIN)
        self.second = 0
        self.rose: dict[str, dict[str, float]] = {}
        """Task → device → second of its first alarm that the error rose."""

    def until(self, second: int) -> None:
        """Let the fleet run to that second."""
        for passed in range(self.second, second):
            now = self.BEGIN + passed * 10**6
            sent = self.fleet.messages(now)
            topics, payloads = [topic for topic, _ in sent], [payload for _, payload in sent]
            received = [now] * len(sent)
            self.pipeline.feed(Delivery(payloads=payloads, topics=topics, received=received))
        self.second = second
        for output in self.pipeline.sealed():
            for event in output.events:
                if event.kind is EventKind.DRIFT_UP:
                    task = self.pipeline.walk.stages.lanes[event.lane].task
                    when = (event.time - self.BEGIN) / 1e6
                    self.rose.setdefault(task, {}).setdefault(output.device(event.row), when)

    def skills(self, task: str, horizon: str) -> dict[str, float]:
        """Skill of each device."""
        views = self.pipeline.board.device_scores(task, 100, horizon)
        return {one.device: skill(dict(one.scores)) or 0.0 for one in views}


def test_what_a_newcomer_sees() -> None:
    """Warming up first; within a minute better than the last value at every pump; then the fault is
    noticed at its pump alone and the drift at all, and nothing before."""
    show = Show()
    show.until(20)
    early = show.pipeline.board.predictions("pump-001")
    assert early is not None
    assert {one.status for one in early if one.horizon} == {"warming_up"}
    assert all(one.prediction == one.last_value for one in early)
    show.until(60)
    for task, horizon in (("power_ahead", "5s"), ("power_ahead", "15s"), ("temperature_now", "")):
        assert min(show.skills(task, horizon).values()) > 0.05
        assert len(show.skills(task, horizon)) == show.fleet.devices
    show.until(90)
    assert set(show.rose) <= {"vibration_now"}
    show.until(180)
    faulty = worn(show.fleet.devices)
    assert set(show.rose["vibration_now"]) == {faulty}
    assert 60 < show.rose["vibration_now"][faulty] < 100
    assert set(show.rose["power_ahead"]) == {faulty}
    assert len(show.rose["temperature_now"]) == show.fleet.devices
    assert max(show.rose["temperature_now"].values()) < 120
    overall = {
        (one.task, one.horizon): skill(dict(one.scores)) or 0.0
        for task in show.pipeline.settings.tasks
        for one in show.pipeline.board.scores(task)
    }
    assert min(overall.values()) > 0.25
    assert overall["power_ahead", "5s"] > 0.6
    assert next(iter(show.skills("power_ahead", "5s"))) == faulty


def test_compiled_and_river_side_by_side() -> None:
    """One task of the demo runs as River, all others compiled."""
    tasks = Show().pipeline.board.tasks()
    assert {one.task for one in tasks if not one.compiled} == {"flow_ahead"}
    assert len(tasks) == 5
