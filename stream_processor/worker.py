"""The worker: the one thread that owns all state, from the sources' queues to the sinks.

take → journal → acknowledge → walk → sinks; a checkpoint on an interval, written by a thread of its
own, after which the journal forgets what the checkpoint holds.
"""

import errno
import gc
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from ingest.journal import Journal
from ingest.source import Source
from stream_processor.changes import Changes, compare
from stream_processor.checkpoint import (
    CheckpointRefused,
    ConfigurationChanged,
    Part,
    read,
    write,
)
from stream_processor.definition import definition
from stream_processor.evicted import FILE, stored
from stream_processor.pipeline import ENOUGH, Pipeline
from stream_processor.rounds import groups
from stream_processor.snapshot import begin, restore
from streamgauge.delivery import Delivery, Position
from streamgauge.output import Sink
from streamgauge.timing import Stage

__all__ = ["CHECKPOINT", "Worker"]

CHECKPOINT = "checkpoint"
TAKE = 4_096
"""Messages taken from a source at a time."""
WAIT = 0.02
"""Seconds that an idle worker waits for the first message."""
RETRY = 0.1
"""Seconds between two tries to write a delivery to a full journal."""
TICK = 10**6
"""Microseconds of our clock between two ticks."""
SCORES_EVERY = 60 * 10**6
"""Microseconds of our clock between two records of the scores over all devices."""
PATIENCE = 5.0
"""Seconds that a checkpoint waits at a time for each sink to have all results."""
SEAL = 0.05
"""Seconds after which results go to the sinks, however few they are."""


class Worker:
    """Runs a pipeline on live sources until stopped: `recover`, `start`, `stop`.

    `clock` gives microseconds UTC; `key` signs pickled models. `history` is the sink whose results
    nobody could give again once the journal has forgotten the readings: a checkpoint waits for it,
    and for other sinks up to `state.wait_for_sinks`.
    Nothing is taken from any source until `before` is worked off, nor from other sources until
    those numbered in `first` are finished.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        sources: Sequence[Source],
        sinks: Sequence[Sink],
        journal: Journal,
        folder: Path,
        key: bytes,
        clock: Callable[[], int],
        *,
        history: Sink | None = None,
        first: Collection[int] = (),
        before: Iterable[Delivery] = (),
    ) -> None:
        self.pipeline = pipeline
        self._timing = pipeline.timing
        self.sources = sources
        self._first = [sources[k] for k in first]
        self._before = before
        self.sinks = sinks
        self.journal = journal
        self.failure = ""
        """Why the worker ended by itself; empty while all is well."""
        self.replayed = 0
        """Deliveries taken back from the journal at start."""
        self.recovering = False
        self.checkpoints: dict[str, Any] = {"ok": True, "why": "", "count": 0}
        self.journal_state: dict[str, Any] = {"ok": True, "why": ""}
        self._path = folder / CHECKPOINT
        self._evicted = pipeline.walk.eviction.store
        self._key = key
        self._clock = clock
        self._history = history
        self._late: dict[int, float] = {}
        """Since when sinks have not had all results, seconds of the monotonic clock."""
        self._patience = pipeline.settings.state.wait_for_sinks / 1e6
        self._recovered = False
        self.place = 0
        """Place in the journal up to which the walk has worked."""
        self._handed = 0
        self._changes: Changes | None = None
        """What the configuration of now made of the saved state, until that is saved."""
        self._positions: list[Position | None] = [None] * len(sources)
        self._every = pipeline.settings.state.checkpoint_every / 1e6
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None
        self._parts: SimpleQueue[Part | None] = SimpleQueue()
        """Of the checkpoint that is under way, for the thread that writes it."""
        self._ticked = self._scored = 0

    def start(self) -> None:
        """Begin to work, on the state that `recover` took back."""
        # What exists now lives as long as the process: a full collection that looked at all of it
        # again would stop the worker for 100 ms.
        gc.collect()
        gc.freeze()
        if self._changes is not None or not self._path.exists():
            # What the journal holds from here on is of the configuration of now.
            self.save()
        if self._changes is not None:
            if not self.checkpoints["ok"]:
                raise CheckpointRefused(
                    f"the changed configuration is not yet in force: {self.checkpoints['why']}; "
                    "see to that, and start with --accept again"
                )
            self._changes = None
        for source in self.sources:
            source.start()
        self._thread.start()

    def recover(self, *, accept: bool = False) -> None:
        """Take the state back: the checkpoint, then what the journal holds since, whose results go
        to the sinks again. Raises CheckpointRefused or JournalDamaged.

        Where the configuration changed, ConfigurationChanged lists what that means; with `accept`
        it is done. The journal is read with the configuration of now.
        """
        self.recovering = True
        try:
            self._recover(accept=accept)
        finally:
            self.recovering = False

    def _recover(self, *, accept: bool) -> None:
        self._evicted.open(self._path.with_name(FILE), self._key)
        if self._path.exists():
            checkpoint = read(self._path, self._key)
            self._changes = self._accepted(checkpoint.facts, accept=accept)
            if not accept:
                self._refuse_missing(checkpoint.facts)
            with self.pipeline.lock:
                place = restore(self.pipeline.walk, checkpoint, self._changes)
            self.place = self._handed = int(place["journal"])
            for source, position in zip(self.sources, place["sources"], strict=True):
                if position is not None:
                    source.resume(position)
            self._positions = list(place["sources"])
            self.pipeline.remember(place["codecs"])
        elif self.journal.first > 0:
            raise CheckpointRefused(
                f"{self._path} is missing, and the journal beside it begins at position "
                f"{self.journal.first}: what came before is in no file any more; restore the "
                "checkpoint, or move the state folder away to start anew"
            )
        else:
            self._evicted.back_to(stored({}), ())
        for position, entry in self.journal.entries(self.place):
            delivery = entry if self._changes is None else self._changes.delivery(entry)
            self.pipeline.feed(self._whole(delivery), position)
            self.place = position
            self.replayed += 1
            self.hand_out()
        self._recovered = True

    def _refuse_missing(self, facts: Mapping[str, Any]) -> None:
        """Devices that were evicted belong to the state."""
        saved = stored(facts)
        missing = self._evicted.missing(saved, facts["devices"]["ids"])
        if missing:
            raise CheckpointRefused(
                f"{self._path.with_name(FILE)} has no state of {missing:,} of "
                f"{saved['devices']:,} idle devices; restore it from the backup that the "
                "checkpoint is from, or start with --accept: they begin anew"
            )

    def _accepted(self, facts: Mapping[str, Any], *, accept: bool) -> Changes | None:
        """What changed since the checkpoint and may be done; None where nothing did."""
        now = self._definition()
        if facts["definition"] == now:
            return None
        changes = compare(facts["definition"], now)
        if changes and not accept:
            raise ConfigurationChanged(
                f"the configuration changed since {self._path} was written\n{changes.text()}\n"
                "start with --accept to go on like this, or put the configuration back"
            )
        entries = self.journal.entries(int(facts["place"]["journal"]))
        held = {entry.source for _, entry in entries if not entry.is_tick}
        gone = sorted({changes.gone[source] for source in held if changes.gone[source]})
        if gone:
            raise CheckpointRefused(
                f"the journal holds readings of source {', '.join(gone)} that were not worked off, "
                "and the configuration has no such source any more; start once with the source in "
                "it, stop the service, and start again with --accept"
            )
        return changes

    def _whole(self, delivery: Delivery) -> Delivery:
        """A delivery of the journal, with the messages that only its source's own log keeps."""
        if delivery.is_tick or delivery.replays:
            return delivery
        if delivery.source >= len(self.sources):
            raise CheckpointRefused(
                f"the journal holds readings of source {delivery.source + 1}, and the "
                f"configuration has {len(self.sources)}; put the source back into it"
            )
        source: Any = self.sources[delivery.source]
        if delivery.position is not None:
            source.resume(delivery.position)
            self._positions[delivery.source] = delivery.position
        return source.reread(delivery) if delivery.runs else delivery

    def stop(self, timeout: float = 10.0) -> None:
        """Finish what was taken, stop the sources, write a last checkpoint, close the sinks.

        No checkpoint is written by a worker that failed or that never got its state back.
        """
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        for source in self.sources:
            source.stop()
        if self._recovered and not self.failure and not self._thread.is_alive():
            self.save()
        self._writer.shutdown()
        self.journal.close()
        self._evicted.close()
        for sink in self.sinks:
            sink.close()
        gc.unfreeze()

    def save(self) -> None:
        """A checkpoint of the state as it is now, written on return. Not for another thread while
        the worker runs."""
        self._copy_rest()
        if self._writing is not None:
            self._writing.result()
        last = self._save()
        self._copy_rest()
        last.result()

    @property
    def why(self) -> str:
        """Why it does not work now."""
        if self._thread.ident is None:
            return f"it takes its state back; {self.replayed:,} deliveries of the journal so far"
        return f"the worker ended: {self.failure or 'stopped'}"

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() and not self.failure

    def _run(self) -> None:
        try:
            self._loop()
            self._copy_rest()
        except Exception:  # noqa: BLE001 - whatever it is, it must be told, not die with the thread
            self.failure = traceback.format_exc()
            self._parts.put(None)

    def _loop(self) -> None:
        for delivery in self._before:
            if self._stop.is_set():
                return
            self.work([delivery])
            self.hand_out()
        sealed = saved = time.monotonic()
        while not self._stop.is_set():
            self._round()
            self._copy_on()
            now = time.monotonic()
            if now - sealed >= SEAL or self.pipeline.walk.gathered >= ENOUGH:
                self.hand_out()
                sealed = now
            if now - saved >= self._every:
                self._save()
                saved = now

    def _round(self) -> None:
        """What each source has, and a tick each second: written down together, then worked off."""
        self._first = [source for source in self._first if not source.finished]
        sources = self._first or self.sources
        taken = [(source, source.take(TAKE, 0.0)) for source in sources]
        if sources and not any(delivery for _, delivery in taken):
            taken = [(sources[0], sources[0].take(TAKE, WAIT))]
        clock = self._clock()
        ticks = clock - self._ticked >= TICK or clock < self._ticked
        # A tick may touch any device, so it waits until a copy under way has all of them.
        ticks = ticks and self.pipeline.walk.copying is None
        if ticks:
            self._ticked = clock
        tick = [Delivery(clock=clock)] if ticks else []
        self.work([delivery for _, delivery in taken if delivery is not None] + tick)
        if ticks and abs(clock - self._scored) >= SCORES_EVERY:
            self.pipeline.score(clock)
            self._scored = clock

    def work(self, deliveries: Sequence[Delivery]) -> None:
        """Deliveries of one round: journal all, acknowledge all, walk all. Called by the worker's
        own thread."""
        for group in groups(deliveries, self.journal.largest):
            began = self._timing.now()
            positions = self._journal(group)
            if positions is None:
                return
            self._timing.spent(Stage.JOURNAL, began)
            began = self._timing.now()
            for delivery in group:
                if delivery.tokens:
                    self.sources[delivery.source].acknowledge(delivery.tokens)
            self._timing.spent(Stage.ACKNOWLEDGE, began)
            for position, delivery in zip(positions, group, strict=True):
                self.pipeline.feed(delivery, position)
                self.place = position
                if delivery.payloads and not delivery.replays:
                    self._timing.delays.add((self._clock() - delivery.received[0]) / 1e6)
                if delivery.position is not None:
                    self._positions[delivery.source] = delivery.position
                if not (delivery.is_tick or delivery.replays):
                    self._ask(self.sources[delivery.source], delivery.source)

    def _ask(self, source: Any, place: int) -> None:
        """Pass on what the source's codec wants to know from the devices."""
        for topic, payload in self.pipeline.requests(place):
            source.send(topic, payload)

    def _journal(self, group: Sequence[Delivery]) -> list[int] | None:
        """Append all, waiting while the journal or the disk is full; None when told to stop first.

        Nothing is acknowledged meanwhile, so the senders keep what does not fit here.
        """
        while True:
            try:
                positions = self.journal.append(*group)
            except OSError as full:
                self.journal_state = {"ok": False, "why": str(full)}
                self._save()
                self._copy_rest()
                if self._stop.wait(RETRY):
                    return None
            else:
                if not self.journal_state["ok"]:
                    self.journal_state = {"ok": True, "why": ""}
                return positions

    def hand_out(self) -> None:
        """Give the sinks what was computed, marked with the place in the journal.

        What came without one, such as scores, names none, or it would pass for a repetition of what
        was there before.
        """
        outputs = self.pipeline.sealed()
        place = 0 if self.place == self._handed else self.place
        began = self._timing.now()
        for k, output in enumerate(outputs, 1):
            marked = replace(output, position=place, more=k < len(outputs))
            for sink in self.sinks:
                sink.write(marked)
        if outputs:
            self._timing.spent(Stage.SINKS, began)
            self._handed = self.place

    def _definition(self) -> dict[str, Any]:
        return definition(self.pipeline.settings, self.pipeline.walk.stages)

    def _save(self) -> Future[None]:
        """Begin a checkpoint of the state as it is now; trim the journal once it is safe.

        The state is copied in slices between deliveries and written in the background.
        """
        if self._writing is not None and not self._writing.done():
            return self._writing
        self.hand_out()
        began = time.monotonic()
        place = {
            "journal": self.place,
            "sources": [self._standing(k) for k in range(len(self.sources))],
            "codecs": self.pipeline.remembered(),
        }
        self._parts = SimpleQueue()
        with self.pipeline.lock:
            facts = begin(self.pipeline.walk, self._definition(), place, self._parts.put)
        self.checkpoints["pause_seconds"] = time.monotonic() - began
        self._writing = self._writer.submit(self._write, facts, self._parts)
        return self._writing

    def _standing(self, place: int) -> Position | None:
        """Where a source stands, for the checkpoint; see `ingest.source.Standing`."""
        source: Any = self.sources[place]
        return source.position() if hasattr(source, "position") else self._positions[place]

    def _copy_on(self) -> None:
        """Copy one slice of the checkpoint that is under way."""
        walk = self.pipeline.walk
        if walk.copying is None:
            return
        began, lap = time.monotonic(), self._timing.now()
        with self.pipeline.lock:
            walk.copying.slice()
            if walk.copying.done:
                walk.copying = None
        self._timing.spent(Stage.CHECKPOINT, lap)
        pause = max(self.checkpoints.get("pause_seconds", 0.0), time.monotonic() - began)
        self.checkpoints["pause_seconds"] = pause

    def _copy_rest(self) -> None:
        """Copy what is left for the checkpoint that is under way."""
        while self.pipeline.walk.copying is not None:
            self._copy_on()

    def _write(self, facts: dict[str, Any], parts: "SimpleQueue[Part | None]") -> None:
        """Write the checkpoint whose parts come out of the queue, None behind the last."""
        behind = self._behind()
        if behind:
            # Their results could not be given again if the journal forgot their readings.
            why = f"{behind} did not have all results within {PATIENCE:g} s; see its state"
            self.checkpoints |= {"ok": False, "why": why}
            return
        began = time.monotonic()
        try:
            self._evicted.settle()
            size = write(self._path, facts, self._coming(parts), self._key)
        except OSError as refused:
            # The old checkpoint and the journal still hold everything: say so and go on.
            self.checkpoints |= {"ok": False, "why": f"cannot write {self._path}: {refused}"}
            return
        self._evicted.durable(facts["evicted"])
        count = self.checkpoints["count"] + 1
        self.checkpoints |= {"ok": True, "why": "", "count": count, "bytes": size}
        self.checkpoints |= {"time": self._clock(), "write_seconds": time.monotonic() - began}
        self.journal.trim(facts["place"]["journal"])

    def _behind(self) -> str:
        """The sink that a checkpoint waits for, "" for none: for the history as long as it takes,
        for others as long as was configured."""
        for sink in self.sinks:
            name = getattr(sink, "name", type(sink).__name__)
            if sink.flush(PATIENCE):
                self._late.pop(id(sink), None)
                continue
            since = self._late.setdefault(id(sink), time.monotonic())
            if sink is self._history:
                return "the history"
            if time.monotonic() - since < self._patience:
                return f"the sink {name}"
        return ""

    def _coming(self, parts: "SimpleQueue[Part | None]") -> Iterator[Part]:
        """The parts as they are copied; OSError where the worker ended before the last."""
        yield from iter(parts.get, None)
        if self.failure:
            raise OSError(errno.ECANCELED, "the worker ended while the state was copied")
