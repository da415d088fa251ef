"""A real VictoriaMetrics on a free loopback port: it takes InfluxDB's line protocol."""

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services.ports import free_port, listening, program, wait_for

__all__ = ["Points", "VictoriaMetrics", "victoria_metrics"]

Points = dict[tuple[str, ...], dict[int, float]]
"""(metric, "tag=value", ...) → time in milliseconds UTC → value."""


class VictoriaMetrics:
    """The server; `url` is where it listens. It can be stopped, killed and started again."""

    def __init__(self, folder: Path) -> None:
        name = "victoria-metrics"
        self._program = program(name, name)
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [
            self._program,
            f"-httpListenAddr=127.0.0.1:{self.port}",
            f"-storageDataPath={self.folder / 'data'}",
            # The tests' points lie in the past, whatever the day.
            "-retentionPeriod=100y",
            "-memory.allowedPercent=5",
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(lambda: listening(self.port), what=f"VictoriaMetrics, see {self.folder}/log")

    def kill(self) -> None:
        """End it at once: what it had not written is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it in order: what it had taken is written."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def points(self, metric: str) -> Points:
        """Every point of the metrics whose name matches; duplicates must agree."""
        # New series would otherwise be found only some seconds later.
        self._ask("/internal/force_flush")
        query = urllib.parse.urlencode({"match[]": f'{{__name__=~"{metric}"}}'})
        series = [json.loads(line) for line in self._ask(f"/api/v1/export?{query}").splitlines()]
        found: Points = {}
        for one in series:
            tags = {key: value for key, value in one["metric"].items() if key != "__name__"}
            key = (one["metric"]["__name__"], *sorted(f"{k}={v}" for k, v in tags.items()))
            known = found.setdefault(key, {})
            for time, value in zip(one["timestamps"], one["values"], strict=True):
                assert known.setdefault(time, value) == value, (key, time)
        return found

    def _ask(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return bytes(answer.read())


@contextmanager
def victoria_metrics(folder: Path, *, running: bool = True) -> Iterator[VictoriaMetrics]:
    """A server for the length of the context; skips the test where it is not installed."""
    server = VictoriaMetrics(folder)
    try:
        if running:
            server.start()
        yield server
    finally:
        server.kill()
