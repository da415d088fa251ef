"""From settings to a running service: sources, worker, sinks, API and page."""

import fcntl
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from ingest.journal import Journal
from ingest.quarantine import Quarantine
from ingest.quarantine_file import FILE
from ingest.source import Source
from monitoring.sinks import store
from serving.alerts import alerts_of
from serving.api.access import refuse_open_bind
from serving.api.app import create_app
from serving.api.intake import intake_of
from serving.api.server import HttpServer
from serving.api.service import Part
from serving.hidden import hider, secrets_of
from serving.live import Live
from serving.part_changes import Standing
from stream_processor.key import key_file, signing_key
from stream_processor.pipeline import Pipeline
from stream_processor.quarantine.replays import replays
from stream_processor.settings.model import Settings, numbered
from stream_processor.worker import Worker
from streamgauge.delivery import Delivery
from streamgauge.output import Sink
from streamgauge.plugins import load

__all__ = ["InUse", "Running"]


PATIENCE = 60.0
"""Seconds that a start waits for the quarantine to have all that was refused before."""


class InUse(Exception):
    """Another process works on the same state folder."""


class Running:
    """All parts of one service. To make it raises what is wrong with the state folder, the port or
    the key, and leaves nothing open then; `start` what is wrong with the state itself; `stop` ends
    everything in order and loses nothing that was acknowledged."""

    def __init__(
        self, settings: Settings, env: Mapping[str, str], clock: Callable[[], int]
    ) -> None:
        serve = settings.serve
        self._hidden = hider(secrets_of(settings.document.tree, env))
        self._standing = Standing(clock)
        refuse_open_bind(serve.host, (*serve.api_keys, *serve.read_keys, *serve.write_keys))
        with ExitStack() as opened:
            self._open(settings, env, clock, opened)
            self.server = self._listening(settings, clock)
            opened.pop_all()

    def _open(
        self,
        settings: Settings,
        env: Mapping[str, str],
        clock: Callable[[], int],
        opened: ExitStack,
    ) -> None:
        """Make all parts below the server; how each is closed again goes to `opened`."""
        folder = settings.state.dir
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = opened.enter_context(_only_one(folder))
        self.quarantine: Quarantine | None = None
        if settings.quarantine is not None:
            bounds = settings.quarantine
            self.quarantine = Quarantine(
                folder / FILE, clock, keep=bounds.keep, max_size=bounds.max_size
            )
            opened.callback(self.quarantine.close)
        self.pipeline = Pipeline(settings, quarantine=self.quarantine)
        self.live = Live()
        self.history = store.open(
            self.pipeline.walk.stages.lanes,
            settings.stream.name,
            folder,
            clock,
            keep=settings.store.keep,
            max_size=settings.store.max_size,
        )
        opened.callback(self.history.close)
        others = _sinks(settings, self.pipeline, clock, opened)
        self.alerts = alerts_of(settings, self.pipeline.walk.stages.lanes, clock)
        if self.alerts is not None:
            opened.callback(self.alerts.close)
        told: list[Sink] = [self.alerts] if self.alerts is not None else []
        kept: list[Sink] = [self.quarantine] if self.quarantine is not None else []
        self.sinks: list[Sink] = [self.history, *kept, *others, *told, self.live]
        self.sources = _sources(settings, self.pipeline, clock)
        sync = settings.state.durability == "power"
        self.journal = Journal(folder / "journal", max_bytes=settings.state.journal_max, sync=sync)
        opened.callback(self.journal.close)
        self.worker = Worker(
            self.pipeline,
            self.sources,
            self.sinks,
            self.journal,
            folder,
            signing_key(key_file(env)),
            clock,
            history=self.history,
            first=[k for k, source in enumerate(settings.sources) if source.first],
            before=self._replays(settings, clock),
        )

    def _listening(self, settings: Settings, clock: Callable[[], int]) -> HttpServer:
        """The server, its port taken but not yet answering."""
        self._intake = intake_of(settings, self.sources, clock)
        app = create_app(
            self.pipeline.board,
            self.history,
            self.live,
            self.parts,
            settings.serve.api_keys,
            settings.stream.name,
            clock,
            quarantine=self.quarantine.path if self.quarantine else None,
            outside=lambda: tuple(self.pipeline.rejects.outside),
            states=self._states,
            hosts=settings.serve.hosts,
            with_page=settings.serve.page,
            read_keys=settings.serve.read_keys,
            write_keys=settings.serve.write_keys,
            intake=self._intake,
            alerts=self.alerts.outbox if self.alerts is not None else None,
        )
        return HttpServer(app, self.live, host=settings.serve.host, port=settings.serve.port)

    def start(self, *, accept: bool = False) -> None:
        """Listen, take the state back, then work; `accept` a configuration that changed.

        To take it back may last, where a broker is away that has to give records again: meanwhile
        the process lives, which /livez says, and is not ready, which /readyz says.
        """
        if self._intake is not None:
            self._intake.taking = False
        self.server.start()
        self.worker.recover(accept=accept)
        for sink in self.sinks:
            if hasattr(sink, "resume"):
                sink.resume(self.worker.place)
        self.worker.start()
        if self._intake is not None:
            self._intake.taking = True
        if self.alerts is not None:
            self.alerts.look_at(lambda: [(part.name, part.ok, part.why) for part in self.parts()])

    def stop(self) -> None:
        """End the server, then the worker with a last checkpoint, then the sinks."""
        self.server.stop()
        self.worker.stop()
        self._lock.close()

    def _replays(self, settings: Settings, clock: Callable[[], int]) -> Iterator[Delivery]:
        """What of the quarantine is to be sent again, once it knows what was."""
        if self.quarantine is not None:
            self.quarantine.flush(PATIENCE)
            schema = self.pipeline.walk.stages.schema
            yield from replays(self.quarantine.path, schema, settings.source_names, clock())

    def _states(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        settings = self.pipeline.settings
        sources = settings.source_names
        kept = ["quarantine"] if self.quarantine is not None else []
        told = ["alerts"] if self.alerts is not None else []
        sinks = ["store", *kept, *numbered([sink.use for sink in settings.sinks]), *told, "live"]
        return {
            "source": {n: s.state() for n, s in zip(sources, self.sources, strict=True)},
            "sink": {n: s.state() for n, s in zip(sinks, self.sinks, strict=True)},
            "state": {
                "checkpoint": self.worker.checkpoints,
                "journal": {**self.worker.journal_state, "bytes": self.journal.size},
                "evicted": self.pipeline.walk.eviction.store.state(),
            },
        }

    def parts(self) -> list[Part]:
        """Every part, and whether it does its work now."""
        why = "" if self.worker.alive else self._hidden(self.worker.why)
        parts = [self._part("worker", why)]
        for kind, states in self._states().items():
            for name, state in states.items():
                why = self._hidden(str(state["why"]))
                parts.append(self._part(f"{kind} {name}", why, ok=bool(state["ok"])))
        return parts

    def _part(self, name: str, why: str, *, ok: bool | None = None) -> Part:
        works = not why if ok is None else ok
        return Part(name, works, why, self._standing.since(name, ok=works))


def _only_one(folder: Path) -> IO[str]:
    """A lock on the state folder, held while the returned file is open."""
    file = (folder / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise InUse(
            f"{folder} is in use by another streamgauge; stop it, or give [state] another dir"
        ) from None
    return file


def _sources(settings: Settings, pipeline: Pipeline, clock: Callable[[], int]) -> list[Source]:
    schema = pipeline.walk.stages.schema
    return [
        load("ingest.sources", source.use).open(
            schema, k, clock, pipeline.rejects, **source.options
        )
        for k, source in enumerate(settings.sources)
    ]


def _sinks(
    settings: Settings, pipeline: Pipeline, clock: Callable[[], int], opened: ExitStack
) -> list[Sink]:
    lanes, stream = pipeline.walk.stages.lanes, settings.stream.name
    sinks: list[Sink] = []
    for use in settings.sinks:
        plugin = load("monitoring.sinks", use.use)
        sinks.append(plugin.open(lanes, stream, settings.state.dir, clock, **use.options))
        opened.callback(sinks[-1].close)
    return sinks
