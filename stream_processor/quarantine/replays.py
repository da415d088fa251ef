"""Quarantined readings and messages that are sent again: deliveries in order of event time."""

from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path

import msgspec
import numpy as np

from ingest.quarantine_file import MESSAGE, Record, connected, records, waiting
from stream_processor.quarantine.values import numbers
from streamgauge.delivery import Delivery, Readings
from streamgauge.schema import Schema

__all__ = ["replays"]

TOGETHER = 512
"""Records of one delivery; what a crash interrupts is at most one of them."""
BYTES = 1_000_000
"""Of the messages of one delivery: a record of the journal must not be larger than two of these."""


def replays(path: Path, schema: Schema, sources: Sequence[str], clock: int) -> Iterator[Delivery]:
    """Everything in the file that a replay was asked for and that is still to come.

    `sources` are the names of those there are now; a message of another stays where it is. Each
    delivery is to be walked before the next is asked for, and nothing else meanwhile.
    """
    with connected(path) as file:
        numbered = iter(waiting(file))
        while some := list(islice(numbered, TOGETHER)):
            found = [r for r in records(file, some) if r.kind != MESSAGE or r.source in sources]
            for (kind, source), run in groupby(found, lambda r: (r.kind, _of(r))):
                if kind == MESSAGE:
                    yield from _messages(list(run), sources.index(source), clock)
                else:
                    yield _readings(list(run), schema, clock)


def _of(record: Record) -> str:
    return record.source if record.kind == MESSAGE else ""


def _messages(run: list[Record], source: int, clock: int) -> Iterator[Delivery]:
    one = Delivery(source, clock=clock)
    size, last = 0, None
    for record in run:
        what = (record.place, record.received, record.topic, record.content)
        if what != last and size > BYTES:
            yield one
            one, size = Delivery(source, clock=clock), 0
        one.replays.append(record.number)
        if what == last:
            # Several readings of one message were refused: it is sent once.
            continue
        last = what
        size += len(record.content or "")
        one.payloads.append(record.payload)
        one.topics.append(record.topic)
        one.received.append(record.received)
        one.keys.append(record.key)
        one.headers.append(msgspec.json.decode(record.headers or "{}"))
        one.stamps.append(record.stamp)
    yield one


def _readings(run: list[Record], schema: Schema, clock: int) -> Delivery:
    readings = Readings(
        [record.device for record in run],
        np.array([record.time for record in run], np.int64),
        np.array([record.received for record in run], np.int64),
        np.stack([numbers(schema, record.values) for record in run]),
    )
    return Delivery(readings=readings, clock=clock, replays=[record.number for record in run])
