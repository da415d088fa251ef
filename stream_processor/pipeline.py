"""The pipeline as programs use it: settings in, deliveries in, results out."""

import os
import threading
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ingest.quarantine import Quarantine
from ingest.rejects import Rejects
from ingest.source import Codec
from stream_processor.board import LiveBoard
from stream_processor.compose import compose
from stream_processor.definition import definition
from stream_processor.eviction import Eviction
from stream_processor.label_log import Label, LabelLog
from stream_processor.quarantine.keeper import Keeper
from stream_processor.recorded import ColumnLabel, LabelColumn, RecordedLabels
from stream_processor.settings import load, with_channels
from stream_processor.settings.classes import label_channel
from stream_processor.settings.model import Settings
from stream_processor.stages import Stages
from stream_processor.walk import PART, Walk
from streamgauge.batch import Batch
from streamgauge.delivery import Delivery, Readings
from streamgauge.output import Output
from streamgauge.plugins import load as load_plugin
from streamgauge.timing import Stage, Timing
from streamgauge.words import VERDICTS, Verdict

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Pipeline", "deliveries"]

TICK = 60 * 10**6
"""Log clock between two ticks of a replay, microseconds; a live worker ticks each second."""
ENOUGH = 8_192
"""Records after which a replay hands its output on."""
SHOWN = 100
"""Refused readings kept for inspection, of one delivery: a flood is counted, not described."""


class Pipeline:
    """Readings in, predictions out, for one stream; owned by one thread.

    The owner calls `feed` and `sealed`; any thread may read `board`. Where the settings declare no
    channels, walk and board are there from the first `replay` on, whose numeric columns they take.
    """

    def __init__(
        self,
        settings: Settings,
        rejects: Rejects | None = None,
        quarantine: Quarantine | None = None,
        timing: Timing | None = None,
    ) -> None:
        self.timing = timing or Timing()
        """How long stages take; of this pipeline's own thread, and that of the worker."""
        self.rejects = rejects or Rejects()
        self._quarantine = quarantine
        self.lock = threading.Lock()
        """Held while state changes: readers of the board see whole readings only."""
        self.settings = settings
        if settings.channels:
            self._build(settings)

    def _build(self, settings: Settings) -> None:
        """Make the walk for these channels."""
        self.settings = settings
        stages, self.models = compose(settings)
        self._keeper: Keeper | None = None
        if self._quarantine is not None:
            self._keeper = Keeper(settings, stages, self.rejects, self._quarantine)
        lost = None if self._keeper is None else self._keeper.losses
        kept = settings.state.evicted_max
        eviction = Eviction(stages, definition(settings, stages), kept)
        stages.devices.away = eviction.store
        evict_after = settings.devices.evict_after
        self.walk = Walk(stages, eviction, evict_after=evict_after, lost=lost, timing=self.timing)
        self.board = LiveBoard(settings, self.walk, self.models, self.rejects, self.lock)
        self._arranges = stages.arrange is not None
        self._batch = Batch(4_096, stages.schema.width)
        self._codecs = [self._codec(k) for k in range(len(settings.sources))]
        self._label_log = LabelLog(settings, stages.lanes, stages.devices)
        self._recorded = RecordedLabels(list(_label_columns(settings, stages)))

    @classmethod
    def from_toml(cls, path: str | Path, env: Mapping[str, str] | None = None) -> "Pipeline":
        """A pipeline as configured; raises `Problems`, which lists every mistake."""
        return cls(load(Path(path), os.environ if env is None else env, for_replay=True))

    def _codec(self, source: int) -> Codec | None:
        use = self.settings.sources[source].codec
        if use is None:
            return None
        stages = self.walk.stages
        codec: Codec = load_plugin("ingest.codecs", use.use).build(
            stages.schema, stages.devices, **use.options
        )
        return codec

    def remembered(self) -> dict[str, Any]:
        """What the codecs remember between messages, by the place of their source; JSON-able."""
        return {
            str(k): codec.snapshot()
            for k, codec in enumerate(self._codecs)
            if codec is not None and hasattr(codec, "snapshot")
        }

    def remember(self, saved: Mapping[str, Any]) -> None:
        """Take over what :meth:`remembered` gave."""
        for place, state in saved.items():
            codec: Any = self._codecs[int(place)]
            codec.restore(state)

    def requests(self, source: int) -> list[tuple[str, bytes]]:
        """What the codec of a source wants to be sent to the devices since the last call."""
        codec: Any = self._codecs[source]
        return codec.requests() if hasattr(codec, "requests") else []

    def feed(self, delivery: Delivery, place: int = 0) -> None:
        """Take one delivery in, which ends at `place` in the journal; results wait in `sealed`."""
        with self.lock:
            if self._keeper is not None:
                self._keeper.begin(delivery, place)
            if delivery.payloads and self._label_log.listens:
                for part, labels in self._label_log.runs(delivery):
                    if labels:
                        self._meet(self._label_log.labels(part, self.rejects))
                    else:
                        self._decode(part)
            elif delivery.payloads:
                self._decode(delivery)
            elif delivery.readings is not None:
                if len(delivery.readings):
                    self._fill(delivery.readings)
                    (self._again if delivery.replays else self._walk)(self._batch)
            else:
                self._tick(delivery.clock)
            if self._keeper is not None:
                for event in self._keeper.end():
                    self.walk.tell(event)
            if self.timing.listener is not None:
                self.timing.listener.worked_off(delivery, place)

    def _tick(self, clock: int) -> None:
        for ready in self.walk.overdue(clock):
            self._through(ready)
        began = self.timing.now()
        self.walk.tick(clock)
        self.timing.spent(Stage.TICK, began)

    def _decode(self, delivery: Delivery) -> None:
        codec = self._codecs[delivery.source]
        assert codec is not None, "a source without a codec delivered messages"
        at_once = len(delivery.payloads) <= PART and not self._arranges
        batch = self.walk.batch if at_once else self._batch
        began = self.timing.now()
        if self._keeper is not None:
            self._keeper.decoding(delivery, codec)
        codec.decode(delivery, batch, self.rejects)
        if self._keeper is not None:
            self._keeper.decoded(batch)
        self.timing.spent(Stage.DECODE, began)
        if delivery.retained:
            self.walk.retain(batch)
        self._walk(batch)

    def _meet(self, labels: Iterator[Label]) -> None:
        """Walk labels from elsewhere, as many at a time as the walk takes."""
        batch = self.walk.labels
        while some := list(islice(labels, batch.capacity)):
            batch.n = len(some)
            batch.codes[: batch.n] = [label[:-1] for label in some]
            batch.values[: batch.n] = [label.value for label in some]
            self.walk.meet()

    def _walk(self, batch: Batch) -> None:
        if not self._arranges:
            self._through(batch)
            return
        sent = batch.values[: batch.n].copy()
        for ready in self.walk.arranged(batch):
            self._through(ready)
        if self._keeper is not None:
            self._keeper.arranged(batch, sent)

    def _again(self, batch: Batch) -> None:
        """Walk readings that were refused once: those that their device has gone on from are late,
        however duplicates are told."""
        admit, rows = self.walk.stages.admit, batch.row[: batch.n]
        gone = (batch.time[: batch.n] <= admit.newest[rows]) & (admit.count[rows] > 0.0)
        batch.verdict[: batch.n] = np.where(gone, int(Verdict.LATE), 0)
        self._through(batch)

    def _through(self, batch: Batch) -> None:
        if batch.n and self.walk.readings(batch):
            self._explain(batch)
        if self._keeper is not None:
            self._keeper.walked(batch.n)

    def score(self, clock: int) -> None:
        """Put the scores over all devices, as they stand, into what `sealed` gives next."""
        with self.lock:
            self.walk.score(clock)

    def _fill(self, readings: Readings) -> None:
        """Recorded columns into the batch; devices beyond the limit are rejected by name."""
        rows = np.array(self.walk.stages.devices.rows(readings.devices), np.int32)
        keep = rows >= 0
        if not keep.all():
            for k in np.flatnonzero(~keep).tolist():
                detail = f"device {readings.devices[k]!r} is beyond devices.limit"
                self.rejects.add("device_limit", detail, received=int(readings.received[k]))
                if self._keeper is not None:
                    self._keeper.unplaced(readings, k)
        n = int(keep.sum())
        batch = self._batch
        batch.n = 0
        batch.reserve(n)
        batch.n = n
        batch.row[:n] = rows[keep]
        batch.time[:n] = readings.time[keep]
        batch.received[:n] = readings.received[keep]
        batch.sequence[:n] = -1
        batch.values[:n] = readings.values[keep]
        batch.flags[:n] = 0
        batch.verdict[:n] = 0

    def _explain(self, batch: Batch) -> None:
        """Keep the readings that were not admitted, with their reason; retained ones are none."""
        ids, verdict = self.walk.stages.devices.ids, batch.verdict[: batch.n]
        refused = np.flatnonzero((verdict != 0) & (verdict != Verdict.RETAINED))
        shown = refused if self.rejects.listened else refused[:SHOWN]
        times = np.datetime_as_string(batch.time[shown].view("M8[us]")).tolist()
        columns = (batch.row[shown], verdict[shown], batch.received[shown])
        for time, row, word, received in zip(times, *(c.tolist() for c in columns), strict=True):
            detail = f"device {ids[row]!r}, event time {time}Z"
            self.rejects.note(VERDICTS[word], detail, received=received)

    def sealed(self) -> list[Output]:
        """Results since the last call, oldest first."""
        with self.lock:
            return self.walk.sealed()

    def replay(self, data: "pd.DataFrame") -> "pd.DataFrame":
        """Feed recorded readings in; a row per prediction out (see `table.COLUMNS`).

        `data` has the columns `device`, `time` and the channels, in time order over all devices.
        Call it again with later readings to go on. A clock that runs ahead is told by the rows
        that follow, so the last row is taken as it is.
        """
        # A live service needs no pandas, whose import takes a third of a second.
        from ingest.frames import frame, numeric_names
        from stream_processor.table import Table

        if not self.settings.channels:
            self._build(with_channels(self.settings, numeric_names(data)))
        table = Table(self.walk.stages.lanes, self.walk.stages.classify.of)
        zone = self.settings.devices.timezone
        clock = self.walk.clock or None
        readings = frame(data, self.walk.stages.schema, self.rejects, zone, clock)
        for output in self.record(readings):
            table.add(output)
        return table.frame()

    def record(self, readings: Readings) -> Iterator[Output]:
        """Feed recorded readings in, and the ticks between them; outputs as they are sealed."""
        for delivery in deliveries(readings, self.walk.clock):
            if delivery.readings is None:
                self._tell(self._recorded.known(delivery.clock))
                self.feed(delivery)
            else:
                for run in self._recorded.cut(delivery.readings):
                    if isinstance(run, Readings):
                        self.feed(Delivery(readings=run))
                    else:
                        self._tell(run)
            if self.walk.gathered > ENOUGH:
                yield from self.sealed()
        yield from self.sealed()

    def _tell(self, labels: list[ColumnLabel]) -> None:
        """Walk labels of a recording that became known."""
        row = self.walk.stages.devices.recall
        with self.lock:
            self._meet(
                Label(k.lane, row(k.device), -1, k.time, k.received, k.value) for k in labels
            )


def _label_columns(settings: Settings, stages: Stages) -> Iterator[LabelColumn]:
    columns = stages.schema.labels
    for k, lane in enumerate(stages.lanes):
        label = settings.tasks[lane.task].label
        if label is not None and label.column:
            channel = label_channel(settings.tasks[lane.task], label.column)
            yield LabelColumn(k, columns.index(channel), label.delay)


def deliveries(readings: Readings, clock: int) -> Iterator[Delivery]:
    """Recorded readings as one ordered log with the clock ticks that belong between them.

    A tick stands before the first reading of each new minute of the log clock, `clock` being where
    it stood so far: the same log, whatever the pieces the readings come in.
    """
    if not len(readings):
        return
    minute = readings.received // TICK
    before = np.maximum.accumulate(np.concatenate([[clock // TICK], minute[:-1]]))
    edges = np.flatnonzero(minute > before).tolist()
    start = 0
    for edge in [*edges, len(readings)]:
        if edge > start:
            yield Delivery(readings=readings.part(start, edge))
        if edge < len(readings):
            yield Delivery(clock=int(minute[edge]) * TICK)
        start = edge
