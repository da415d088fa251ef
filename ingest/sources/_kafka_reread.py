"""Reading again what the journal only names: runs of a topic, after a restart."""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from kafka import TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError

from ingest.sources._kafka_arrivals import Partition
from ingest.sources._kafka_chunks import Chunk
from ingest.sources._kafka_client import Consumer, close, consumer, patiently
from streamgauge.delivery import Run

__all__ = ["Rereader"]

PATIENCE = 60.0
"""Seconds that a start waits for a Kafka that is away."""
POLL_MS = 500


class Rereader:
    """Reads runs through a consumer without a group; `close` when done."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._consumer: Consumer = None
        self._held: dict[Partition, list[Chunk]] = defaultdict(list)
        """What was fetched beyond a run: mostly the next run begins with it."""
        self.why = ""
        """What is waited for; "" while nothing is."""

    def read(self, runs: Sequence[Run]) -> list[Chunk]:
        """The records of the runs in that order; OSError that says what is missing."""
        try:
            return [part for run in runs for part in self._run(*run)]
        except KafkaError as failed:
            raise ConnectionError(
                f"the journal names records of Kafka that cannot be read again: {failed}; start "
                "again once the brokers answer"
            ) from failed

    def close(self) -> None:
        if self._consumer is not None:
            close(self._consumer)
            self._consumer = None
        self._held.clear()

    def _run(self, topic: str, partition: int, first: int, count: int) -> list[Chunk]:
        parts: list[Chunk] = []
        at, end = first, first + count
        while at < end:
            chunk = self._chunk((topic, partition), at)
            start, stop = np.searchsorted(chunk.offsets, (at, end)).tolist() if chunk else (0, 0)
            part = chunk.part(start, stop) if chunk else None
            there = 0 if part is None else len(part)
            if part is None or not there or part.offset - at + 1 != there:
                raise _missing(topic, partition, at, end, part)
            parts.append(part)
            at += there
        return parts

    def _chunk(self, partition: Partition, at: int) -> Chunk | None:
        """The chunk that holds an offset or what comes next; None where there is no more."""
        held = self._held[partition]
        if held and held[0].offsets[0] > at:
            held.clear()
        while held and held[0].offset < at:
            held.pop(0)
        if not held:
            self.why = f"reading again what the journal names of {partition[0]}, from offset {at}"
            held += patiently(partial(self._fetch, partition, at), PATIENCE)
            self.why = ""
        return held[0] if held else None

    def _fetch(self, partition: Partition, at: int) -> list[Chunk]:
        if self._consumer is None:
            self._consumer = consumer(self._settings)
        tp = TopicPartition(*partition)
        there = self._consumer.partitions_for_topic(tp.topic)
        if there and tp.partition not in there:
            # The topic was made anew, with fewer.
            return []
        self._consumer.assign([tp])
        self._consumer.seek(tp, at)
        found: list[Chunk] = []
        try:
            while not found:
                polled = self._consumer.poll(timeout_ms=POLL_MS).get(tp, ())
                found = [chunk for chunk in polled if len(chunk)]
                if not found and self._consumer.position(tp) >= self._end(tp):
                    break
        except OffsetOutOfRangeError:
            return []
        return found

    def _end(self, tp: TopicPartition) -> int:
        return int(self._consumer.end_offsets([tp], timeout_ms=4 * POLL_MS)[tp])


def _missing(topic: str, partition: int, at: int, end: int, part: Chunk | None) -> OSError:
    there = set(part.offsets.tolist()) if part is not None else set()
    lost = next(offset for offset in range(at, end) if offset not in there)
    return FileNotFoundError(
        f"Kafka no longer has offset {lost} of {topic}, partition {partition}, of which the "
        f"journal names {at} to {end - 1}: the topic's retention or compaction has removed what a "
        "restart must read again. Let it keep more than a checkpoint's interval; to go on from "
        "the last checkpoint without these records, move the folder journal out of the state "
        "folder"
    )
