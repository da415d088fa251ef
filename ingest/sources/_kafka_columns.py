"""Chunks put together as the columns of a delivery, and named as runs."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from ingest.sources._kafka_chunks import Chunk
from streamgauge.delivery import Delivery, Run

__all__ = ["filled", "runs_of"]


def filled(delivery: Delivery, chunks: Sequence[Chunk]) -> Delivery:
    """The delivery with these records for its messages."""
    joined = chain.from_iterable
    return replace(
        delivery,
        payloads=list(joined(chunk.payloads for chunk in chunks)),
        topics=list(joined([chunk.topic] * len(chunk) for chunk in chunks)),
        keys=list(joined(chunk.keys for chunk in chunks)),
        headers=list(joined(chunk.headers for chunk in chunks)),
        stamps=list(joined(chunk.stamps for chunk in chunks)),
    )


def runs_of(chunks: Iterable[Chunk]) -> list[Run]:
    """Where the records stand in their topics, a run wherever no offset is left out."""
    runs: list[Run] = []
    for chunk in chunks:
        for first, count in _stretches(chunk):
            topic, partition, before, length = runs[-1] if runs else ("", -1, 0, 0)
            if (topic, partition, before + length) == (chunk.topic, chunk.partition, first):
                runs[-1] = (topic, partition, before, length + count)
            else:
                runs.append((chunk.topic, chunk.partition, first, count))
    return runs


def _stretches(chunk: Chunk) -> list[tuple[int, int]]:
    """First offset and number of each stretch without a gap."""
    edges = (np.flatnonzero(np.diff(chunk.offsets) != 1) + 1).tolist()
    starts, stops = [0, *edges], [*edges, len(chunk)]
    return [(int(chunk.offsets[a]), b - a) for a, b in zip(starts, stops, strict=True)]
