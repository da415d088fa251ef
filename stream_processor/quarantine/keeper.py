"""From what a delivery lost to records of the quarantine: messages, readings and single values."""

import math
from base64 import b64encode
from functools import partial
from typing import Any

import numpy as np

from ingest.codecs._reading import Message, message_at
from ingest.quarantine import Quarantine
from ingest.quarantine_file import MESSAGE, READING, Kept
from ingest.rejects import Rejects
from ingest.source import Codec
from stream_processor.clean._range import EXTREME
from stream_processor.losses import Losses
from stream_processor.quarantine.records import Lost, Records, as_json, flagged, writable
from stream_processor.quarantine.values import named
from stream_processor.settings.model import Settings
from stream_processor.stages import Stages
from streamgauge.arrays import Floats, Ints
from streamgauge.batch import Batch
from streamgauge.delivery import Delivery, Readings
from streamgauge.events import Event, EventKind
from streamgauge.schema import Outside
from streamgauge.words import Flag, Verdict

__all__ = ["Keeper"]

LONGEST = 1_000_000
"""Bytes of a message that is kept; of a longer one there is only the reason."""
_EMPTY, _LATE = int(Verdict.EMPTY), int(Verdict.LATE)
_FAULTS = ("extreme", "non_finite", "out_of_range")
_NAN = math.nan
_UNPLACED = 2**40
"""Readings without a row are numbered apart from those that have one."""


class Keeper:
    """Tells a quarantine what of each delivery was lost: `begin`, the walk, `end`.

    What is sent again and comes too late to teach becomes an event instead, value by value, where
    its rule now lets it pass.
    """

    def __init__(
        self,
        settings: Settings,
        stages: Stages,
        rejects: Rejects,
        quarantine: Quarantine,
    ) -> None:
        self._schema, self._devices = stages.schema, stages.devices
        self._made = Records(settings, stages.schema)
        self._arranged = stages.arrange is not None
        self._keep, self._replayed = quarantine.keep, quarantine.replayed
        self._recovered: list[Event] = []
        self._sources = settings.source_names
        self._refusing = np.array([c.outside is Outside.REJECT for c in stages.schema.channels])
        self._delivery, self._part = Delivery(), Delivery()
        self._codec: Codec | None = None
        self._place = self._messages = self._before = 0
        self._walked = self._first = self._arrived = 0
        self._alike = False
        self._linked: list[int] | None = None
        rejects.undecoded = self._undecoded

    def begin(self, delivery: Delivery, place: int) -> None:
        """All that comes until `end` belongs to this delivery, which ends there in the journal."""
        self._delivery, self._place, self._messages, self._walked = delivery, place, 0, 0
        self._first = self._arrived = 0

    def end(self) -> list[Event]:
        """The delivery was walked; the values that are back since it was sent again."""
        if self._delivery.replays:
            self._replayed(self._delivery.replays, self._delivery.clock)
        events, self._recovered = self._recovered, []
        return events

    def decoding(self, part: Delivery, codec: Codec) -> None:
        """This part of the delivery is decoded next."""
        self._part, self._codec, self._linked = part, codec, None
        self._first, self._before = self._walked, self._messages

    def decoded(self, batch: Batch) -> None:
        """It became these readings, each of its messages one or not."""
        self._alike = batch.n == len(self._part.payloads) and self._messages == self._before
        if self._arranged and batch.n:
            # Arranging takes readings apart: what is empty is known by its message only here.
            empty = np.isnan(batch.values[: batch.n, : len(self._schema)]).all(axis=1) & (
                batch.verdict[: batch.n] == 0
            )
            for i in np.flatnonzero(empty).tolist():
                self._empty(i, i, batch)

    def walked(self, n: int) -> None:
        """So many readings of the delivery are done with."""
        self._walked += n

    def unplaced(self, readings: Readings, k: int) -> None:
        """A recorded reading was of a device beyond the limit."""
        kept = Kept(
            self._place, READING, _UNPLACED + k, int(readings.received[k]), int(readings.time[k]),
            writable(readings.devices[k]), "", "device_limit", "the device is beyond devices.limit",
            self._made.rule("device_limit", ""), self._source(), "",
            as_json(named(self._schema, readings.values[k, : len(self._schema)].tolist())), "",
        )  # fmt: skip
        self._keep(1, lambda: [kept])

    def arranged(self, batch: Batch, sent: Floats) -> None:
        """Values that arranging found to be outside their range, of readings that stay: `sent` is
        what the batch held before."""
        n, missing = batch.n, np.isnan(batch.values[: batch.n, : len(self._schema)])
        sent = sent[:, : len(self._schema)]
        gone = missing & ~np.isnan(sent)
        stays = ~missing.all(axis=1) & ~(gone & self._refusing).any(axis=1)
        rows = np.flatnonzero(gone.any(axis=1) & stays)
        if len(rows):
            # Numbered apart from the rows that the walk gets, which are others.
            self._lose(rows, batch, sent, gone, first=-1 - self._arrived - n)
        self._arrived += n

    def losses(self, rows: Ints, losses: Losses, batch: Batch, start: int) -> None:
        """What the walk refused and dropped of a part of a batch; see `Walk`."""
        if self._delivery.replays:
            late = batch.verdict[rows] == _LATE
            for i in rows[late].tolist():
                self._recover(i, batch, losses.sent[i], start)
            rows = rows[~late]
        if self._delivery.payloads:
            bare = rows[batch.verdict[rows] == _EMPTY]
            if len(bare):
                empty = bare[np.isnan(losses.sent[bare]).all(axis=1)]
                for i in empty.tolist() if not self._arranged else ():
                    self._empty(self._walked - self._first + start + i, i, batch)
                rows = np.setdiff1d(rows, empty)
        if len(rows):
            self._lose(rows, batch, losses.sent, losses.gone, first=self._walked + start)

    def _lose(self, rows: Ints, batch: Batch, sent: Floats, gone: Any, *, first: int) -> None:
        """Copy the columns of these readings; what can wait is done where records are written."""
        ids, verdicts = self._devices.ids, batch.verdict[rows]
        lost = Lost(
            self._place,
            self._source(),
            rows + first,
            [ids[row] or "" for row in batch.row[rows].tolist()],
            batch.time[rows],
            batch.received[rows],
            verdicts,
            batch.flags[rows],
            sent[rows],
            gone[rows],
        )
        n = int(np.count_nonzero(verdicts))
        if n < len(rows):
            n += int(np.count_nonzero(lost.gone[verdicts == 0]))
        self._keep(n, partial(self._made.of, lost))

    def _undecoded(self, reason: str, detail: str, message: Message) -> None:
        self._messages += 1
        if not self._delivery.retained:
            self._message(self._messages, reason, detail, message)

    def _empty(self, at: int, i: int, batch: Batch) -> None:
        """Keep the message that reading `at` of the delivery's part came from."""
        message = self._message_of(at)
        if message is None or self._delivery.retained:
            return
        device, time = self._devices.ids[batch.row[i]] or "", int(batch.time[i])
        detail = "no channel has a value in it: see where the channels' values stand"
        flags = flagged(self._schema.names, batch.flags[i, : len(self._schema)].tolist())
        part = -1 - self._first - at
        self._message(part, "empty", detail, message, device, time, flags)

    def _message(
        self,
        part: int,
        reason: str,
        detail: str,
        message: Message,
        device: str = "",
        time: int | None = None,
        flags: str = "",
    ) -> None:
        content = b64encode(message.payload).decode() if len(message.payload) <= LONGEST else None
        kept = Kept(
            self._place, MESSAGE, part, message.received, time, writable(device), "", reason,
            writable(detail), self._made.rule(reason, ""), self._source(), writable(message.topic),
            content, flags, writable(message.key),
            as_json({writable(k): writable(v) for k, v in message.headers.items()})
            if message.headers else "",
            message.stamp,
        )  # fmt: skip
        self._keep(1, lambda: [kept])

    def _message_of(self, at: int) -> Message | None:
        """The message behind a reading; None where its codec remembers: it is not asked twice."""
        if self._alike:
            return message_at(self._part, at)
        if self._linked is None:
            self._linked = self._links()
        return message_at(self._part, self._linked[at]) if at < len(self._linked) else None

    def _links(self) -> list[int]:
        """The message of each reading, found by decoding every message by itself again."""
        if self._codec is None or hasattr(self._codec, "snapshot"):
            return []
        batch, rejects = Batch(64, self._schema.width), Rejects()
        links: list[int] = []
        for k in range(len(self._part.payloads)):
            self._codec.decode(self._part.part(k, k + 1), batch, rejects)
            links += [k] * batch.n
        return links

    def _recover(self, i: int, batch: Batch, sent: Floats, start: int) -> None:
        """Take back the values of a reading that came too late; keep what is still wrong."""
        row, time = int(batch.row[i]), int(batch.time[i])
        gone = np.zeros((1, len(self._schema)), bool)
        for c, value in enumerate(sent.tolist()):
            if value != value:
                continue
            channel = self._schema.channels[c]
            if channel.low <= value <= channel.high and abs(value) <= EXTREME:
                event = Event(
                    EventKind.RECOVERED, row, -1, time, -1, _NAN, value, _NAN, channel.name
                )
                self._recovered.append(event)
            else:
                gone[0, c] = True
        if gone.any():
            still = Batch(1, len(self._schema))
            still.n = 1
            still.row[0], still.time[0], still.received[0] = row, time, batch.received[i]
            still.flags[0] = np.where(gone[0], int(Flag.OUT_OF_RANGE), 0)
            self._lose(
                np.zeros(1, np.int64), still, sent[None], gone, first=self._walked + start + i
            )

    def _source(self) -> str:
        """Name of the source; "" of what is sent again as a reading, which came from it once."""
        again = bool(self._delivery.replays) and not self._delivery.payloads
        if again or self._delivery.is_tick or not self._sources:
            return ""
        return self._sources[self._delivery.source]
