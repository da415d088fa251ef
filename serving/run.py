"""`streamgauge run`: the service, until it is told to stop."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from monitoring.sinks.store import StoreDamaged, StoreInUse
from serving.api.access import OpenBind
from serving.compose import InUse, Running
from serving.first_compile import compiling_told, say
from serving.hidden import hider, secrets_of
from serving.logs import LOG, LogFormat, logs
from serving.part_changes import PartChanges
from serving.traces import NoTraces, traces
from stream_processor.checkpoint import CheckpointRefused, ConfigurationChanged
from stream_processor.settings import load
from stream_processor.settings.model import Settings
from stream_processor.settings.problems import Problems
from streamgauge import __version__
from streamgauge.timing import Listener

__all__ = ["clock", "run", "serve"]

REFUSALS = (
    CheckpointRefused,
    InUse,
    OpenBind,
    StoreDamaged,
    StoreInUse,
    MemoryError,
    OSError,
    ValueError,
)
"""What the state folder, the machine or the configuration may cause. Constructors refuse what they
are given with a ValueError; JournalDamaged is one, CannotListen an OSError."""
LOOK = 1.0
"""Seconds between two looks at the parts."""


def clock() -> int:
    """Our clock, microseconds UTC."""
    return time.time_ns() // 1_000


def run(config: Path, *, accept: bool = False, log: LogFormat = "text", trace: bool = False) -> int:
    """Run the service that the file describes; returns the exit code.

    `accept`: go on although the configuration changed, see `stream_processor.changes`. `trace`:
    send spans, see `serving.traces`.
    """
    told = LOG.info if log == "json" else say
    with logs(log, sys.stderr) as hiding, compiling_told(told):
        try:
            settings = load(config, os.environ)
        except Problems as wrong:
            _complain(str(wrong))
            return 2
        hiding.hidden = hider(secrets_of(settings.document.tree, os.environ))
        ready = partial(_listens, settings.stream.name, log)
        if not trace:
            return serve(settings, ready, accept=accept)
        try:
            with traces(settings) as listener:
                return serve(settings, ready, accept=accept, listener=listener)
        except NoTraces as missing:
            _complain(str(missing))
            return 2


def _listens(stream: str, log: LogFormat, running: Running) -> None:
    if log == "text":
        print(f"streamgauge listens on {running.server.url}", flush=True)
    facts = {"url": running.server.url, "stream": stream, "version": __version__}
    fields = {**facts, "replayed": running.worker.replayed}
    LOG.info("streamgauge listens", extra={"fields": fields})


class _Told(Exception):
    """A signal came while the state is taken back, which may last: nothing is to be saved yet."""


def serve(
    settings: Settings,
    ready: Callable[[Running], None],
    *,
    accept: bool = False,
    listener: Listener | None = None,
) -> int:
    """Run until a signal comes or the worker ends; `ready` is called once all parts run, and
    `listener` told how long each stage takes."""
    stop, made = threading.Event(), list[Running]()

    def told(*_: object) -> None:
        stop.set()
        if made and made[0].worker.recovering:
            raise _Told

    for word in (signal.SIGINT, signal.SIGTERM):
        signal.signal(word, told)
    try:
        running = Running(settings, os.environ, clock)
    except REFUSALS as refusal:
        return _refused(refusal)
    made.append(running)
    running.pipeline.timing.listener = listener
    try:
        running.start(accept=accept)
        ready(running)
        _until_stopped(running, stop)
    except _Told:
        return 0
    except REFUSALS as refusal:
        return _refused(refusal)
    finally:
        running.stop()
    if running.worker.failure:
        _complain(f"the worker ended: {running.worker.failure}")
        return 1
    LOG.info("streamgauge stopped")
    return 0


def _refused(refusal: BaseException) -> int:
    """Say why the service does not run; the exit code."""
    _complain(str(refusal) or type(refusal).__name__)
    return 2 if isinstance(refusal, ConfigurationChanged) else 1


def _complain(why: str) -> None:
    """Say why the service ends."""
    LOG.error(why, extra={"plain": True})


def _until_stopped(running: Running, stop: threading.Event) -> None:
    """Return when `stop` is set or the worker ended by itself; meanwhile, say what fails."""
    changes, looked = PartChanges(), time.monotonic()
    while not stop.wait(0.2) and running.worker.alive:
        if time.monotonic() - looked >= LOOK:
            looked = time.monotonic()
            for words, facts in changes.since(running.parts()):
                LOG.warning(words, extra={"fields": facts})
