"""A real MLflow tracking server on a free loopback port.

It wants other versions of our libraries, so it has an environment of its own, which is made once in
the user's cache folder; `python -m tests.services.mlflow` does only that.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.services.ports import absent, free_port, wait_for

__all__ = ["MLflow", "installed", "mlflow"]

VERSION = "3.17.2"


def installed() -> Path:
    """The folder of its programs; installs them where that was not done yet."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamgauge-tests"
    root.mkdir(parents=True, exist_ok=True)
    folder = root / f"mlflow-{VERSION}-{sys.version_info[0]}.{sys.version_info[1]}"
    with (root / "mlflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "whole").exists():
            _install(folder)
            (folder / "whole").touch()
    return folder / "bin"


def _install(folder: Path) -> None:
    python, wanted = str(folder / "bin" / "python"), f"mlflow=={VERSION}"
    uv = shutil.which("uv")
    commands = [
        [sys.executable, "-m", "venv", "--clear", *(["--without-pip"] if uv else []), str(folder)],
        [uv, "pip", "install", "--quiet", "--python", python, wanted]
        if uv
        else [python, "-m", "pip", "install", "--quiet", wanted],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            absent(f"MLflow {VERSION} cannot be installed: {(done.stdout + done.stderr)[-2000:]}")


class MLflow:
    """The server; `url` is where it listens."""

    def __init__(self, folder: Path) -> None:
        self._program = installed() / "mlflow"
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [
            str(self._program), "server", "--host", "127.0.0.1", "--port", str(self.port),
            "--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder}/runs.db",
            "--default-artifact-root", str(self.folder / "artifacts"),
        ]  # fmt: skip
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        with (self.folder / "log").open("ab") as log:
            # Its workers are processes of their own: the group is ended as a whole.
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, env=os.environ | quiet,
                start_new_session=True,
            )  # fmt: skip
        wait_for(self._answers, 180.0, what=f"MLflow, see {self.folder}/log")

    def stop(self) -> None:
        """End it and its workers."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                return True
        except OSError:
            return False

    def asked(self, path: str, what: dict[str, Any] | None = None, **query: str) -> Any:
        """An answer of its REST API: a GET with a query, or a POST of JSON."""
        where = f"{self.url}/api/2.0/mlflow/{path}?{urllib.parse.urlencode(query)}"
        data = None if what is None else json.dumps(what).encode()
        request = urllib.request.Request(where, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def runs(self, experiment: str) -> list[dict[str, Any]]:
        """All runs of an experiment; none where there is no such experiment."""
        named = f"name = '{experiment}'"
        found = self.asked("experiments/search", {"filter": named, "max_results": 1})
        if not found.get("experiments"):
            return []
        ids = [found["experiments"][0]["experiment_id"]]
        runs: list[dict[str, Any]] = self.asked("runs/search", {"experiment_ids": ids}).get(
            "runs", []
        )
        return runs

    def history(self, run: str, metric: str) -> list[tuple[int, int, float]]:
        """Step, milliseconds and value of each point of a metric."""
        found = self.asked("metrics/get-history", run_id=run, metric_key=metric)
        return [
            (int(one["step"]), int(one["timestamp"]), float(one["value"]))
            for one in found.get("metrics", [])
        ]


@contextmanager
def mlflow(folder: Path) -> Iterator[MLflow]:
    """A running server for the length of the context."""
    server = MLflow(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


if __name__ == "__main__":
    print(installed())  # noqa: T201 - a command prints its result
