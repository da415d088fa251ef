"""`streamgauge run` as a process of its own, asked over HTTP as users ask it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.services.ports import free_port, wait_for

__all__ = ["Service", "command", "environment", "service"]


COMPILING = re.compile(r"^(compiling kernels, once|\d+ kernels compiled).*\n", re.MULTILINE)


def command(*arguments: str | Path) -> list[str]:
    """The installed `streamgauge` command with these arguments."""
    return [str(Path(sys.executable).with_name("streamgauge")), *map(str, arguments)]


def environment(folder: Path) -> dict[str, str]:
    """Ours, with a signing key of the test's own."""
    return os.environ | {"STREAMGAUGE_KEY_FILE": str(folder / "signing.key")}


class Service:
    """The service that a configuration describes; it can be stopped, killed and started again.

    `text` is a pipeline.toml without [state] and [serve]; `every` is how often it checkpoints.
    """

    def __init__(
        self, folder: Path, text: str, *, every: str = "1s", wait_for_sinks: str = "10m"
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.config, self.state = folder, folder / "pipeline.toml", folder / "state"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.every, self.wait_for_sinks = every, wait_for_sinks
        self.configure(text)
        self.options: tuple[str, ...] = ()
        """Of the command, from the next start on."""
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, text: str) -> None:
        """Write the configuration; it counts from the next start on."""
        state = f'\n[state]\ndir = "state"\ncheckpoint_every = "{self.every}"\n'
        state += f'wait_for_sinks = "{self.wait_for_sinks}"\n'
        serve = f"\n[serve]\nport = {self.port}\n"
        self.config.write_text(text + state + serve, encoding="utf-8")

    def launch(self) -> None:
        """Start the process; see `start`."""
        with (self.folder / "out").open("ab") as out, (self.folder / "err").open("ab") as err:
            self.process = subprocess.Popen(
                command("run", self.config, *self.options),
                stdout=out,
                stderr=err,
                env=environment(self.folder),
            )

    def start(self) -> None:
        """Start it and wait until it answers and every part works."""
        self.launch()
        wait_for(self.answers, 60.0, what=f"the service: {self.errors}")
        wait_for(lambda: self.answers() and self.ready, 60.0, what=f"readiness, see {self.folder}")

    def answers(self) -> bool:
        """Whether it lives; fails the test where it ended by itself."""
        if self.process is not None and self.process.poll() is not None:
            pytest.fail(f"the service ended with {self.process.returncode}: {self.errors}")
        try:
            return bool(self.get("/livez") == {"status": "alive"})
        except OSError:
            return False

    @property
    def ready(self) -> bool:
        """What /readyz says."""
        try:
            return bool(self.get("/readyz")["ready"])
        except OSError:
            return False

    @property
    def errors(self) -> str:
        """What it wrote to stderr, without what it said of kernels that it had to compile."""
        path = self.folder / "err"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return COMPILING.sub("", text)

    def text(self, path: str) -> str:
        """The body of an answer; urllib.error.HTTPError where it is a refusal."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return str(answer.read().decode())

    def refusal(self, path: str) -> Any:
        """The JSON of an answer that is not 2xx."""
        with pytest.raises(urllib.error.HTTPError) as refused:
            self.text(path)
        with refused.value as answer:
            return json.loads(answer.read())

    def get(self, path: str) -> Any:
        """An answer's JSON."""
        return json.loads(self.text(path))

    def metrics(self) -> dict[str, float]:
        """The samples of /metrics: `name` or `name{value of its last label}`."""
        return {
            f"{sample.name}{{{','.join(sample.labels.values())}}}"
            if sample.labels
            else sample.name: sample.value
            for family in text_string_to_metric_families(self.text("/metrics"))
            for sample in family.samples
        }

    def count(self, metric: str) -> int:
        """One sample of /metrics, 0 where it is not there or the service does not answer."""
        try:
            return int(self.metrics().get(metric, 0))
        except OSError:
            return 0

    @property
    def admitted(self) -> int:
        """Readings admitted so far."""
        return self.count("streamgauge_readings_total{admitted}")

    def wait_admitted(self, number: int, seconds: float = 30.0) -> None:
        """Return once so many readings were admitted."""
        wait_for(lambda: self.admitted >= number, seconds, what=f"{number} readings")

    def kill(self) -> None:
        """SIGKILL: it has no moment left."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self, word: int = signal.SIGTERM) -> tuple[int, float]:
        """Ask it to end; its exit code and the seconds that it took."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(word)
        code = self.process.wait(20)
        self.process = None
        return code, time.monotonic() - began

    def refused(self, seconds: float = 60.0) -> tuple[int, str]:
        """Start it where it cannot work: its exit code and what it said."""
        (self.folder / "err").unlink(missing_ok=True)
        self.launch()
        assert self.process is not None
        code = self.process.wait(seconds)
        self.process = None
        return code, self.errors


@contextmanager
def service(folder: Path, text: str, *, every: str = "1s") -> Iterator[Service]:
    """A running service for the length of the context."""
    one = Service(folder, text, every=every)
    try:
        one.start()
        yield one
    finally:
        one.kill()
