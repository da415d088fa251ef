"""`streamgauge run` that kills itself when it has come to a named point so many times.

A server of processes: it imports the product and loads its kernels once, then forks a process for
each order on its stdin, so that a start takes a moment and not seconds. The process runs the very
command line of a user. The product knows nothing of this: the points are wrapped from outside.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from ingest.journal import Journal
from serving.cli import main as streamgauge
from serving.live import Live
from stream_processor import worker
from stream_processor.evicted import Evicted
from stream_processor.pipeline import Pipeline
from stream_processor.settings import load
from stream_processor.walk import Walk
from streamgauge.delivery import Delivery

__all__ = ["EVICTIONS", "POINTS", "Processes", "processes"]

POINTS = ("decode", "journal", "process", "sink", "checkpoint", "trim", "acknowledge")
EVICTIONS = ("evict", "return", "prune", "settle", "checkpoint")
"""Points of a service whose devices come and go."""
KEPT = "kept"
"""Folder beside the journal in which every segment stays, also when it is trimmed."""
SEGMENT = 20_000
"""Bytes: so small that there is always something to trim."""


def owner(point: str, pipeline: Pipeline) -> tuple[Any, str]:
    """What is called when the point is reached."""
    if point == "acknowledge":
        source = pipeline.settings.sources[0].use
        module = {"mqtt": "ingest.sources._mqtt_source", "kafka": "ingest.sources.kafka"}[source]
        name = {"mqtt": "MqttSource", "kafka": "_KafkaSource"}[source]
        return vars(import_module(module))[name], "acknowledge"
    return {
        "decode": (Pipeline, "_decode"),
        "journal": (Journal, "append"),
        "process": (Walk, "_run"),
        "sink": (Live, "write"),
        "checkpoint": (worker, "write"),
        "trim": (Journal, "trim"),
        "evict": (Evicted, "add"),
        "return": (Evicted, "take"),
        "prune": (Evicted, "_delete"),
        "settle": (Evicted, "settle"),
    }[point]


def arm(point: str, count: int, moment: str, pipeline: Pipeline) -> None:
    """Be killed at the count-th call of the point: "before" it, "after" it, or, in the journal,
    with the record written by half ("torn")."""
    where, name = owner(point, pipeline)
    called: Callable[..., Any] = getattr(where, name)
    hits = 0

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal hits
        hits += 1
        if hits < count:
            return called(*arguments, **named)
        if moment == "torn":
            Journal._write = _torn  # type: ignore[method-assign]  # the product has no hook for dying
        if moment != "before":
            called(*arguments, **named)
        die()
        return None

    setattr(where, name, counted)


def die() -> None:
    """SIGKILL: no moment is left."""
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def _torn(self: Journal, data: bytes) -> None:
    os.write(self._file, data[: len(data) // 2])
    die()


def keep_segments() -> None:
    """Trimming forgets what it should, but a second name keeps each file for the test."""
    begin, trim = Journal.__init__, Journal.trim

    def small(self: Journal, folder: Path, **options: Any) -> None:
        begin(self, folder, **options | {"segment_bytes": SEGMENT})

    def kept(self: Journal, position: int) -> None:
        link_all(self._folder)
        trim(self, position)

    Journal.__init__ = small  # type: ignore[method-assign]  # the product has no hook for dying
    Journal.trim = kept  # type: ignore[method-assign]  # the product has no hook for dying


def link_all(journal: Path) -> None:
    """Give every segment its second name."""
    kept = journal.parent / KEPT
    kept.mkdir(exist_ok=True)
    for path in journal.glob("*.log"):
        if not (kept / path.name).exists():
            os.link(path, kept / path.name)


def child(config: str, order: dict[str, Any], pipeline: Pipeline) -> None:
    """Become `streamgauge run`."""
    folder = Path(config).parent
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_CREAT | os.O_APPEND | os.O_WRONLY), number)
    keep_segments()
    if order["point"]:
        arm(order["point"], order["count"], order["moment"], pipeline)
    sys.exit(streamgauge(["run", config]))


def serve(config: str) -> None:
    """Fork a process for each order; say its pid, then how it ended."""
    pipeline = Pipeline(load(Path(config), os.environ))
    pipeline.feed(Delivery(clock=1))
    # The command imports what it needs when it is called, which takes two seconds of each process.
    import_module("serving.run")
    owner("acknowledge", pipeline)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            child(config, json.loads(line), pipeline)
        say(pid)
        _, status = os.waitpid(pid, 0)
        say(os.waitstatus_to_exitcode(status))


def say(number: int) -> None:
    """Tell the test."""
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


class Processes:
    """The server of processes, from the test's side."""

    def __init__(self, config: Path, environment: dict[str, str]) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.crashing", str(config)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
            cwd=Path(__file__).resolve().parents[1],
        )  # fmt: skip

    def launch(self, point: str = "", count: int = 0, moment: str = "") -> int:
        """Start a process, which is to be killed at that point; its pid."""
        assert self._server.stdin is not None
        order = {"point": point, "count": count, "moment": moment}
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return int(self._said())

    def ended(self) -> int:
        """Wait for the end of the process; its exit code, negative for a signal."""
        return int(self._said())

    def _said(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline()

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(20)
        assert self._server.stdout is not None
        self._server.stdout.close()


@contextmanager
def processes(config: Path, environment: dict[str, str]) -> Iterator[Processes]:
    """A server of processes for one configuration."""
    server = Processes(config, environment)
    try:
        yield server
    finally:
        server.close()


if __name__ == "__main__":
    serve(sys.argv[1])
